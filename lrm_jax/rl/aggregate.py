# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From token losses to one number; which way is always the caller's choice.

Every way is a sum of token losses with a weight per row over a denominator that is
a sum of counts per row. Weights and counts are made once from the whole batch, so
that parts of it (micro-batches, devices) add up to exactly the same number.
"""

from typing import Literal, NamedTuple

import chex
import jax.numpy as jnp

from lrm_jax.masked import masked_sum
from lrm_jax.rl.config import Aggregation
from lrm_jax.types import Array


class RowWeights(NamedTuple):
    """How much a row counts: the loss is sum(weights l) / sum(counts).

    Attributes:
      weights: `[B]`, of each token loss of the row.
      counts: `[B]`, the row's share of the denominator.
    """

    weights: Array  # [B]
    counts: Array  # [B]


def row_weights(
    aggregation: Aggregation,
    mask: Array,
    *,
    group_size: int,
    max_length: int,
    empty_rows: Literal["count", "skip"],
) -> RowWeights:
    """Return what makes `aggregate` the named mean over the whole batch.

    With l the token losses, |o| a row's tokens in the mask, N rows:

    - `token_mean`: sum l / sum |o| (DAPO's released code; TRL's `dapo`)
    - `seq_mean_token_mean`: 1/N sum_i 1/|o_i| sum_t l (GRPO, arXiv 2402.03300 eq. 3)
    - `seq_mean_token_sum`: 1/N sum_i sum_t l (REINFORCE)
    - `constant`: 1/N sum_i 1/max_length sum_t l (Dr. GRPO, arXiv 2503.20783)
    - `group_token_mean`: 1/Q sum_q sum_{i in q, t} l / sum_{i in q} |o_i| (as DAPO,
      arXiv 2503.14476 eq. 8, and Magistral, arXiv 2506.10910, are written)

    Args:
      aggregation: one of them.
      mask: `[B, C]` bool, of the whole batch.
      group_size: G, rows of a group.
      max_length: of `constant`.
      empty_rows: whether a row without tokens (for `group_token_mean` a group
        without) is counted in N and Q.
    """
    chex.assert_rank(mask, 2)
    lengths = jnp.sum(mask, axis=1).astype(jnp.result_type(float))
    ones = jnp.ones_like(lengths)
    rows = ones if empty_rows == "count" else (lengths > 0).astype(ones.dtype)
    if aggregation == "token_mean":
        return RowWeights(ones, lengths)
    if aggregation == "seq_mean_token_mean":
        return RowWeights(1 / jnp.maximum(lengths, 1), rows)
    if aggregation == "seq_mean_token_sum":
        return RowWeights(ones, rows)
    if aggregation == "constant":
        return RowWeights(ones / max_length, rows)
    if aggregation == "group_token_mean":
        totals = jnp.sum(lengths.reshape(-1, group_size), axis=1)
        groups = ones if empty_rows == "count" else _per_row(totals > 0, group_size)
        weights = _per_row(1 / jnp.maximum(totals, 1), group_size)
        return RowWeights(weights, groups.astype(ones.dtype) / group_size)
    raise ValueError(f"unknown {aggregation=}")


def denominator(counts: Array) -> Array:
    """Return the denominator of a whole batch, at least a tiny positive number."""
    total = jnp.sum(counts)
    return jnp.where(total > 0, total, 1)


def aggregate(losses: Array, mask: Array, weights: Array, denominator: Array) -> Array:
    """Return these rows' part of the batch's loss; parts add up.

    Args:
      losses: `[B', C]`; what is not in the mask may be anything.
      mask: `[B', C]` bool.
      weights: `[B']` of `row_weights`.
      denominator: of the whole batch.
    """
    sums = masked_sum(losses, mask, axis=1)
    return jnp.sum(sums * weights.astype(sums.dtype)) / denominator.astype(sums.dtype)


def _per_row(groups: Array, group_size: int) -> Array:
    return jnp.repeat(groups, group_size)
