# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The critic's loss."""

import jax.numpy as jnp
from jax import lax

from lrm_jax.types import Array


def value_losses(
    values: Array, old_values: Array, returns: Array, *, clip: float
) -> tuple[Array, Array]:
    """Return PPO's value loss per token and where the clip acted.

    max((v - R)^2, (v_old + clip(v - v_old, -clip, clip) - R)^2) / 2, as in the code
    of PPO (arXiv 1707.06347; Engstrom et al. 2020, arXiv 2005.12729, section 3).

    Args:
      values: `[B, C]` of the critic, finite.
      old_values: `[B, C]` at the rollout.
      returns: `[B, C]` targets; no gradient reaches them.
      clip: how far a value may move; 0 for no bound.
    """
    returns = lax.stop_gradient(returns)
    plain = jnp.square(values - returns)
    if not clip:
        return 0.5 * plain, jnp.zeros(values.shape, bool)
    old_values = lax.stop_gradient(old_values)
    near = old_values + jnp.clip(values - old_values, -clip, clip)
    bounded = jnp.square(near - returns)
    return 0.5 * jnp.maximum(plain, bounded), bounded > plain
