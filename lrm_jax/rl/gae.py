# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Generalised advantage estimation over the tokens of completions."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from lrm_jax.types import Array


class Estimates(NamedTuple):
    """What PPO trains on; 0 outside the mask.

    Attributes:
      advantages: `[B, C]`, the policy's.
      returns: `[B, C]`, the critic's targets.
    """

    advantages: Array  # [B, C]
    returns: Array  # [B, C]


def gae(
    rewards: Array,
    values: Array,
    mask: Array,
    last_values: Array,
    *,
    gamma: float,
    lambda_: Array | float,
) -> Array:
    """Return advantages, `[B, C]` (arXiv 1506.02438 eq. 16).

    A_t = delta_t + gamma lambda A_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t, over
    the tokens of the mask only: a forced token between two others is stepped over.

    Args:
      rewards: `[B, C]`.
      values: `[B, C]`, of the state a token was drawn in.
      mask: `[B, C]` bool.
      last_values: `[B]`, value after the last token: 0 after an end token.
      gamma: discount.
      lambda_: scalar or `[B]`.
    """
    rewards = jnp.where(mask, rewards, 0)
    values = jnp.where(mask, values, 0)
    decay = gamma * jnp.broadcast_to(jnp.asarray(lambda_, values.dtype), mask.shape[:1])

    def step(
        carry: tuple[Array, Array], column: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], Array]:
        advantage, next_value = carry
        reward, value, kept = column
        delta = reward + gamma * next_value - value
        new = delta + decay * advantage
        carry = jnp.where(kept, new, advantage), jnp.where(kept, value, next_value)
        return carry, jnp.where(kept, new, 0)

    first = jnp.zeros_like(decay), last_values.astype(values.dtype)
    columns = rewards.T.astype(values.dtype), values.T, mask.T
    return lax.scan(step, first, columns, reverse=True)[1].T


def length_adaptive_lambda(lengths: Array, alpha: float) -> Array:
    """Return max(0, 1 - 1 / (alpha l)) (VAPO, arXiv 2504.05118), `[B]`.

    The paper's alpha .05 is below 0 for l < 20: it is cut off at 0.
    """
    lengths = lengths.astype(jnp.result_type(float))
    return jnp.maximum(0, 1 - 1 / (alpha * jnp.maximum(lengths, 1)))


def actor_critic_estimates(
    rewards: Array,
    values: Array,
    mask: Array,
    last_values: Array,
    *,
    gamma: float,
    actor_lambda: Array | float,
    critic_lambda: float,
) -> Estimates:
    """Return advantages with one lambda and returns with another.

    Decoupled GAE (VAPO, arXiv 2504.05118, after VC-PPO, arXiv
    2503.01491); with equal lambdas, PPO. With gamma = lambda = 1 an advantage is
    R - V and a return R (Open-Reasoner-Zero, arXiv 2503.24290).
    """
    arguments = (rewards, values, mask, last_values)
    advantages = gae(*arguments, gamma=gamma, lambda_=actor_lambda)
    returns = gae(*arguments, gamma=gamma, lambda_=critic_lambda) + values
    return Estimates(advantages, jnp.where(mask, returns, 0))


def at_last_token(row_values: Array, mask: Array) -> Array:
    """Return `[B, C]`: each row's value at its last token of the mask, else 0."""
    columns = jnp.arange(mask.shape[1])[None, :]
    last = jnp.max(jnp.where(mask, columns, -1), axis=1, keepdims=True)
    return jnp.where(columns == last, row_values.reshape(-1, 1), 0)
