# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient accumulation: several micro-batches that make one big batch.

Losses here are sums over lanes divided by the *global* batch (the references'
normalisation), so gradients of micro-batches add up to the big batch's.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lrm_jax.types import Array, UserError


def accumulate(
    fn: Callable[[Any], tuple[Any, Any]], lanes: Any, grad_accum: int
) -> tuple[Any, Any]:
    """Run `fn` on each micro-batch; add up one result, put lanes of the other back.

    Micro-batch i holds lanes i, n + i, 2n + i, ... so that every device keeps its
    own lanes. Draws per lane must come in as arrays (keys `[B]`), then they do
    not depend on the split.

    Args:
      fn: maps lanes `[B / n, ...]` to (summed, per_lane): gradients, losses and
        (sum, weight) metrics; and new carry or row gradients `[B / n, ...]`.
      lanes: pytree whose leaves start with the lane axis `[B, ...]`.
      grad_accum: number n of micro-batches; divides B.

    Returns:
      (summed, per_lane) as `fn(lanes)` would return for the whole batch.
    """
    if grad_accum == 1:
        return fn(lanes)
    batch = jax.tree.leaves(lanes)[0].shape[0]
    if batch % grad_accum:
        raise UserError(
            f"train.grad_accum is {grad_accum}; it must divide the batch of {batch}"
        )
    micro = jax.tree.map(lambda x: _split(x, grad_accum), lanes)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), micro)
    summed, _ = jax.eval_shape(fn, shapes)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), summed)

    def step(total: Any, part: Any) -> tuple[Any, Any]:
        added, per_lane = fn(part)
        return jax.tree.map(jnp.add, total, added), per_lane

    total, per_lane = jax.lax.scan(step, zeros, micro)
    return total, jax.tree.map(_join, per_lane)


def _split(x: Array, n: int) -> Array:
    """`[B, ...]` as `[n, B / n, ...]`, lanes dealt out like cards."""
    deal = lambda a: a.reshape(a.shape[0] // n, n, *a.shape[1:]).swapaxes(0, 1)
    return _through_key_data(deal, x)


def _join(x: Array) -> Array:
    """Undo `_split`."""
    gather = lambda a: a.swapaxes(0, 1).reshape(a.shape[0] * a.shape[1], *a.shape[2:])
    return _through_key_data(gather, x)


def _through_key_data(move: Callable[[Array], Array], x: Array) -> Array:
    """Apply `move`; for keys to their data, as a transpose counts as their use."""
    if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return move(x)
    data = move(jax.random.key_data(x))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
