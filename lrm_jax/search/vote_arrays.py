# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The votes of `voting.py` over arrays: batched, jit-able, float32 at least.

Permuting a lane's candidates permutes its shares, bit for bit: sums run over the
sorted scores of a class. `B` problems, `N` candidates of each.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from lrm_jax.search.voting import NO_CLASS
from lrm_jax.types import Array


class Votes(NamedTuple):
    """What a method hands out, see `voting.Vote`.

    Attributes:
      winner: `[B]` int32 class by the rule for ties: of the tied ones the lowest;
        -1 where nobody answered.
      share: `[B, N]` chance that a candidate is handed out with ties at random; all
        NaN where a score that counts is (a lane cannot win by one).
    """

    winner: Array
    share: Array


def majority(class_ids: Array, valid: Array | None = None) -> Votes:
    """Return the largest class; arguments as of `weighted`."""
    return weighted(class_ids, jnp.ones(class_ids.shape, jnp.float32), valid)


def weighted(class_ids: Array, weights: Array, valid: Array | None = None) -> Votes:
    """Return the class of the largest sum of weights.

    Args:
      class_ids: `[B, N]` int32 below N; -1 where a candidate has no answer.
      weights: `[B, N]`, 0 or more.
      valid: `[B, N]` bool, the candidates that there are; all by default.
    """
    ids, weights = _checked(class_ids, weights, valid)
    n = ids.shape[1]
    # Sorted, the terms of a sum come in an order that no permutation changes.
    by_class, terms = jax.lax.sort((ids, weights), num_keys=2)
    slots = jnp.arange(n, dtype=jnp.int32)
    at_slot = by_class[:, :, None] == slots[None, None]  # [B, N, slot]
    totals = jnp.where(at_slot, terms[:, :, None], 0).sum(1)  # [B, slot]
    sizes = at_slot.sum(1, dtype=jnp.int32)
    totals = jnp.where(sizes > 0, totals, -jnp.inf)
    tied = (sizes > 0) & (totals == totals.max(1, keepdims=True))
    per_member = jnp.where(tied, 1 / jnp.maximum(sizes, 1), 0).astype(weights.dtype)
    per_member /= jnp.maximum(tied.sum(1, keepdims=True), 1)
    share = jnp.take_along_axis(per_member, jnp.maximum(ids, 0), axis=1)
    share = jnp.where(ids == NO_CLASS, 0, share)
    return Votes(_lowest(jnp.where(tied, slots[None], n)), _poison(share, ids, weights))


def best_of(class_ids: Array, scores: Array, valid: Array | None = None) -> Votes:
    """Return the candidate of the highest score; -inf never wins.

    Args:
      class_ids: `[B, N]` int32 below N; -1 where a candidate has no answer.
      scores: `[B, N]`.
      valid: `[B, N]` bool, the candidates that there are; all by default.
    """
    ids, scores = _checked(class_ids, scores, None)
    there = jnp.ones(ids.shape, bool) if valid is None else valid
    values = jnp.where(there, scores, -jnp.inf)
    tied = (values == values.max(1, keepdims=True)) & (values > -jnp.inf)
    share = tied.astype(values.dtype)
    share /= jnp.maximum(tied.sum(1, keepdims=True), 1)
    bad = jnp.isnan(values).any(1, keepdims=True)
    n = ids.shape[1]
    winner = _lowest(jnp.where(tied & (ids != NO_CLASS), ids, n))
    return Votes(winner, jnp.where(bad, jnp.nan, share))


def _checked(
    class_ids: Array, values: Array, valid: Array | None
) -> tuple[Array, Array]:
    """Shapes checked; absent candidates without a class, values float32 at least."""
    chex.assert_rank(class_ids, 2)
    chex.assert_equal_shape([class_ids, values])
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if valid is not None:
        chex.assert_equal_shape([class_ids, valid])
        class_ids = jnp.where(valid, class_ids, NO_CLASS)
    return class_ids.astype(jnp.int32), values


def _lowest(candidates: Array) -> Array:
    """The lowest entry of each row, -1 where all are as large as the row."""
    low = candidates.min(1)
    return jnp.where(low == candidates.shape[1], NO_CLASS, low).astype(jnp.int32)


def _poison(share: Array, ids: Array, weights: Array) -> Array:
    """NaN for lanes where a vote that counts is NaN."""
    bad = (jnp.isnan(weights) & (ids != NO_CLASS)).any(1, keepdims=True)
    return jnp.where(bad, jnp.nan, share)
