# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A global batch of which each process makes only the rows that its devices hold.

Which rows these are follows from the mesh alone, and what is in a row from its place
in the batch: so the numbers do not depend on how many processes there are.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from lrm_jax import sharding


def own_rows(mesh: Mesh, count: int) -> np.ndarray:
    """Return which of the `count` rows of a batch this process makes, ascending.

    Processes that share a data shard make the same rows.
    """
    where = _split(mesh, (count,), axis=0)
    held = where.addressable_devices_indices_map((count,)).values()
    parts = [np.arange(count)[index or ()] for index in held]
    return np.unique(np.concatenate(parts))


def place(
    mesh: Mesh,
    rows: Mapping[str, np.ndarray],
    own: np.ndarray,
    count: int,
    *,
    axis: int = 0,
) -> dict[str, jax.Array]:
    """Return global arrays, split over the data shards, out of each process's rows.

    Args:
      mesh: where the batch goes.
      rows: arrays of the rows in `own`.
      own: of `own_rows`.
      count: rows of the global batch.
      axis: of the rows.
    """

    def one(array: np.ndarray) -> jax.Array:
        if array.shape[axis] != len(own):
            raise ValueError(f"{array.shape[axis]} rows of {len(own)} on axis {axis}")
        shape = (*array.shape[:axis], count, *array.shape[axis + 1 :])
        where = _split(mesh, shape, axis=axis)

        def part(index: Any) -> np.ndarray:
            first, end, _ = index[axis].indices(count)
            low, high = np.searchsorted(own, (first, end))
            return array[(*index[:axis], slice(low, high), *index[axis + 1 :])]

        return jax.make_array_from_callback(shape, where, part)

    return {name: one(np.asarray(array)) for name, array in rows.items()}


def _split(mesh: Mesh, shape: tuple[int, ...], *, axis: int) -> NamedSharding:
    names = (*[None] * axis, "batch", *[None] * (len(shape) - axis - 1))
    return NamedSharding(mesh, sharding.partition_spec(names, mesh, shape))
