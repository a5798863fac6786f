# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What length, in tokens, does to the reward and to the loss of a completion."""

from typing import Literal, NamedTuple

import jax.numpy as jnp

from lrm_jax.types import Array


def overlong_penalty(
    lengths: Array, *, max_tokens: int, buffer_tokens: int, scale: float = 1.0
) -> Array:
    """Return DAPO's soft overlong punishment, `[B]` in -scale .. 0.

    arXiv 2503.14476 eq. 13, L = max_tokens, C = buffer_tokens: 0 up to L - C,
    (L - C - length) / C up to L, -1 beyond.

    Args:
      lengths: `[B]` tokens of a completion (never characters).
      max_tokens: L.
      buffer_tokens: C; 0 for no punishment.
      scale: factor of it all.
    """
    lengths = lengths.astype(jnp.result_type(float))
    if not buffer_tokens:
        return jnp.zeros_like(lengths)
    share = (max_tokens - buffer_tokens - lengths) / buffer_tokens
    return scale * jnp.clip(share, -1, 0)


class Judged(NamedTuple):
    """Rewards and loss mask after the rule for truncated completions."""

    rewards: Array  # [B]
    mask: Array  # [B, C]


def judge_truncated(
    policy: Literal["mask", "penalise", "keep"],
    rewards: Array,
    mask: Array,
    truncated: Array,
    *,
    truncated_reward: float,
) -> Judged:
    """Return what a config does with completions that never ended.

    Args:
      policy: `mask` takes their loss (their reward still counts in their group),
        `penalise` their reward, `keep` nothing.
      rewards: `[B]`.
      mask: `[B, C]` bool.
      truncated: `[B]` bool.
      truncated_reward: in the place of the reward, for `penalise`.
    """
    if policy == "mask":
        return Judged(rewards, mask & ~truncated[:, None])
    if policy == "penalise":
        return Judged(jnp.where(truncated, truncated_reward, rewards), mask)
    if policy == "keep":
        return Judged(rewards, mask)
    raise ValueError(f"unknown {policy=}")
