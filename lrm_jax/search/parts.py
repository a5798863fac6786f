# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trees split over a mesh, and searched so many at a time on each device.

A search's loops run under `shard_map` with the batch axes manual
(`lrm_jax.reasoning.shards`): no collective over them is inside, and each device ends
when its own trees have. Shape letters: `B` trees.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from lrm_jax.reasoning.shards import mesh_parts, on_parts, rows_spec
from lrm_jax.types import Array

Out = TypeVar("Out")


def on_lanes(
    function: Callable[[Any, Any, Array], Out],
    whole: Any,
    rows: Any,
    budgets: Array,
    lanes: int,
) -> Out:
    """Return `function(whole, rows, budgets)`, run on the parts of the mesh in use.

    With `lanes`, every call of the function has that many rows: devices work through
    theirs in turns, and short turns are padded with copies of the last row that have
    a budget of 0. Without, a device has all of its rows in one call, and every device
    has all of them where they do not divide.

    Args:
      function: pure; every array it takes in rows, and returns, has an axis of rows
        first.
      whole: what each part gets whole.
      rows: pytree, leaves `[B, ...]`.
      budgets: `[B]` int32.
      lanes: rows of a call; 0: any number.
    """
    count = len(budgets)
    odd = -count % mesh_parts() if lanes else 0
    rows, budgets = _padded(rows, odd), _padded(budgets, odd, empty=True)

    def part(whole: Any, split: tuple[Any, Array]) -> Out:
        rows, budgets = split
        here = len(budgets)
        short = -here % lanes if lanes else 0
        rows, budgets = _padded(rows, short), _padded(budgets, short, empty=True)
        turns = len(budgets) // lanes if lanes else 1
        if turns == 1:
            out = function(whole, rows, budgets)
        else:
            cut = lambda x: x.reshape((turns, lanes, *x.shape[1:]))
            out = jax.lax.map(
                lambda turn: function(whole, *turn), jax.tree.map(cut, (rows, budgets))
            )
            out = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), out)
        return jax.tree.map(lambda x: x[:here], out) if short else out

    spec = rows_spec(count + odd)
    out = on_parts(part, whole, (rows, budgets), spec, spec)
    return jax.tree.map(lambda x: x[:count], out) if odd else out


def _padded(rows: Any, padding: int, *, empty: bool = False) -> Any:
    """Repeat the last row, or add zeros."""
    if not padding:
        return rows

    def one(array: Array) -> Array:
        last = jnp.zeros_like(array[-1:]) if empty else jnp.asarray(array[-1:])
        more = jnp.broadcast_to(last, (padding, *array.shape[1:]))
        return jnp.concatenate([jnp.asarray(array), more])

    return jax.tree.map(one, rows)
