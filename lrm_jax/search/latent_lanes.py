# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A fixed number of lanes per device: problems in batches, batches over a mesh.

Every device runs the same program on as many lanes whatever the data set or the
mesh, so that a problem's result does not depend on where it ran. Problems are split
by hand (`shard_map`): the compiler can put no collective over them into a loop.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.sharding import PartitionSpec as P

from lrm_jax.sharding import BATCH_AXES

Out = TypeVar("Out")


def problems_per_device(lanes: int, width: int) -> int:
    """Return how many problems of `width` lanes each fit, at least one.

    >>> problems_per_device(256, 16), problems_per_device(8, 16)
    (16, 1)
    """
    return max(lanes // width, 1)


def parts_of_mesh() -> int:
    """Return into how many parts the mesh in use splits a batch."""
    mesh = jax.sharding.get_abstract_mesh()
    return math.prod(mesh.shape[axis] for axis in _batch_axes())


def over_problems(function: Callable[[Any, Any], Out], whole: Any, rows: Any) -> Out:
    """Return `function(whole, rows)`, run for each part of the problems apart.

    Args:
      function: pure; every array it returns has the axis of problems first.
      whole: pytree that every part gets whole.
      rows: pytree of arrays `[B, ...]`, split by problems.
    """
    axes = _batch_axes()
    mesh = jax.sharding.get_abstract_mesh()
    if math.prod(mesh.shape[axis] for axis in axes) == 1:
        return function(whole, rows)
    # Where no other axis splits anything, nothing is left to the compiler.
    manual = {a for a in mesh.axis_names if a in axes or mesh.shape[a] == 1}
    mapped = jax.shard_map(
        function,
        in_specs=(P(), P(axes)),
        out_specs=P(axes),
        axis_names=manual,
        check_vma=False,
    )
    return mapped(whole, rows)


def _batch_axes() -> tuple[str, ...]:
    """Return the batch axes of the mesh in use that are not manual already."""
    mesh = jax.sharding.get_abstract_mesh()
    return tuple(a for a in BATCH_AXES if a in mesh.shape and a not in mesh.manual_axes)
