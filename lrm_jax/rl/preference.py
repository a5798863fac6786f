# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Online DPO: the best against the worst completion of each group.

DPO is arXiv 2305.18290 eq. 7; pairs drawn from the policy itself, arXiv 2402.04792.
Here a verifier, not an annotator, ranks a group, and ties take the first row.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from lrm_jax.masked import masked_sum
from lrm_jax.types import Array

Tree = TypeVar("Tree")


class Pairs(NamedTuple):
    """One pair of rows for each prompt.

    Attributes:
      chosen: `[Q]` int32, row of the best reward.
      rejected: `[Q]` int32, row of the worst reward.
      valid: `[Q]` bool, whether the two rewards differ.
    """

    chosen: Array  # [Q]
    rejected: Array  # [Q]
    valid: Array  # [Q]


def choose_pairs(rewards: Array, *, atol: float = 1e-6) -> Pairs:
    """Return the best and the worst row of each group of `rewards`, `[Q, G]`.

    A group of one, or of rewards within `atol`, has no valid pair.
    """
    q, group_size = rewards.shape
    first = jnp.arange(q) * group_size
    spread = jnp.max(rewards, axis=1) - jnp.min(rewards, axis=1)
    return Pairs(
        (first + jnp.argmax(rewards, axis=1)).astype(jnp.int32),
        (first + jnp.argmin(rewards, axis=1)).astype(jnp.int32),
        spread > atol,
    )


def take_pairs(rows: Tree, pairs: Pairs) -> Tree:
    """Return `[2Q, ...]` of `[B, ...]` leaves: chosen and rejected rows in turn."""
    order = jnp.stack([pairs.chosen, pairs.rejected], axis=1).reshape(-1)
    return jax.tree.map(lambda x: x[order], rows)


def dpo_pair_losses(
    logps: Array, ref_logps: Array, mask: Array, *, beta: float
) -> tuple[Array, Array]:
    """Return -log sigmoid(beta (D_chosen - D_rejected)) and beta D a pair.

    D is the sum over a row's tokens of log policy / reference.

    Args:
      logps: `[2Q, C]`, rows of `take_pairs`.
      ref_logps: `[2Q, C]`; no gradient reaches them.
      mask: `[2Q, C]` bool.
      beta: of DPO.

    Returns:
      losses `[Q]` and implicit rewards `[Q, 2]` (chosen, rejected).
    """
    distance = masked_sum(logps - lax.stop_gradient(ref_logps), mask, axis=1)
    implicit = beta * distance.reshape(-1, 2)
    return -jax.nn.log_sigmoid(implicit[:, 0] - implicit[:, 1]), implicit
