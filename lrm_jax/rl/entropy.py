# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The entropy bonus and its controller (Skywork-OR1, arXiv 2505.22312).

The entropy is exact, of the distribution the loss sees (`logprobs.chunked_logps`).
"""

from typing import NamedTuple

import jax.numpy as jnp

from lrm_jax.rl.config import EntropyConfig
from lrm_jax.types import Array


class EntropyState(NamedTuple):
    """What the controller remembers; part of a checkpoint.

    Attributes:
      coef: scalar, alpha_k.
    """

    coef: Array


def init_entropy(cfg: EntropyConfig) -> EntropyState:
    """Return the controller before the first step: alpha_0 = coef."""
    return EntropyState(jnp.asarray(cfg.coef, jnp.result_type(float)))


def active_coef(cfg: EntropyConfig, state: EntropyState, entropy: Array) -> Array:
    """Return this step's coefficient of the bonus, a scalar.

    Args:
      cfg: `bonus` gives its constant, `adaptive` alpha_k while the entropy is below
        the target and 0 above it, `none` 0.
      state: of the controller.
      entropy: mean nats per token of this step's rollout.
    """
    if cfg.kind == "none":
        return jnp.zeros_like(state.coef)
    if cfg.kind == "bonus":
        return jnp.full_like(state.coef, cfg.coef)
    return jnp.where(entropy < cfg.target, state.coef, 0)


def update_entropy(
    cfg: EntropyConfig, state: EntropyState, entropy: Array
) -> EntropyState:
    """Return alpha_{k+1} = clip(alpha_k +- step, 0, coef_max).

    Up where this step's entropy is below the target, down elsewhere; the state of
    the other kinds does not change.
    """
    if cfg.kind != "adaptive":
        return state
    step = jnp.where(entropy < cfg.target, cfg.step, -cfg.step)
    coef = jnp.clip(state.coef + step.astype(state.coef.dtype), 0, cfg.coef_max)
    return EntropyState(coef)
