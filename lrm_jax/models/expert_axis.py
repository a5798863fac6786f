# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Experts split over a mesh: every device runs its own experts, and sums meet.

The devices of an expert group bring their rows together (all-gather), each runs its
own experts on all of them, and the sums go back to where the rows were
(reduce-scatter): no row is dropped, and no kernel leaves its device along this axis.
All of it is written out under `shard_map`, as the partitioner gathers rows over all
devices to sort them by expert.
"""

from collections.abc import Callable

import jax
from jax.sharding import PartitionSpec as P

from lrm_jax.sharding import partition_spec, rules_without
from lrm_jax.types import Array

Kernels = tuple[Array, Array, Array]
Run = Callable[[Array, Array, Array, Array, Array, Array], Array]
"""From rows `[R, D]`, expert ids and weights `[R, k]`, and the kernels of gate, up and
down to `[R, D]`. An id that none of the kernels has adds nothing."""

KERNEL_AXES = (
    ("experts", "embed", "mlp"),
    ("experts", "embed", "mlp"),
    ("experts", "mlp", "embed"),
)
"""Logical axes of gate, up and down."""


def run_experts(
    run: Run, x: Array, ids: Array, weights: Array, kernels: Kernels
) -> Array:
    """Return the weighted sum of the chosen experts' outputs, `[B, T, D]`.

    Args:
      run: what experts at hand do with rows at hand.
      x: `[B, T, D]`.
      ids: `[B, T, k]` int32 chosen experts.
      weights: `[B, T, k]` of their outputs.
      kernels: `[E, ...]` of gate, up and down.
    """
    mesh = jax.sharding.get_abstract_mesh()
    free = {name for name in mesh.axis_names if name not in mesh.manual_axes}
    if all(mesh.shape[name] == 1 for name in free):
        return _run_rows(run, x, ids, weights, kernels)
    rules = rules_without(set(mesh.manual_axes))
    spec = lambda names, array: partition_spec(names, mesh, array.shape, rules)
    rows = spec(("batch", None, None), x)
    specs = tuple(map(spec, KERNEL_AXES, kernels))
    part = _Part(run, _axes(rows[0]), specs)
    mapped = jax.shard_map(
        part,
        in_specs=(rows, rows, rows, specs),
        out_specs=rows,
        axis_names=free,
        check_vma=False,
    )
    return mapped(x, ids, weights, kernels)


class _Part:
    """What one device does; all mesh axes are manual."""

    def __init__(
        self, run: Run, row_axes: tuple[str, ...], specs: tuple[P, ...]
    ) -> None:
        self._run, self._specs = run, specs
        self._experts, _, self._inner = map(_axes, specs[0])
        # Rows that are on every device of an expert group need no gathering.
        self._gathered = tuple(a for a in self._experts if a in row_axes)

    def __call__(self, x: Array, ids: Array, weights: Array, kernels: Kernels) -> Array:
        gate, up, down = map(_whole_width, kernels, self._specs, KERNEL_AXES)
        if self._gathered:
            gather = lambda a: jax.lax.all_gather(a, self._gathered, tiled=True)
            x, ids, weights = gather(x), gather(ids), gather(weights)
        if self._experts:
            ids = ids - jax.lax.axis_index(self._experts) * gate.shape[0]
        y = _run_rows(self._run, x, ids, weights, (gate, up, down))
        if self._gathered:
            y = jax.lax.psum_scatter(y, self._gathered, tiled=True)
        summed = self._inner + (() if self._gathered else self._experts)
        return jax.lax.psum(y, summed) if summed else y


def _run_rows(
    run: Run, x: Array, ids: Array, weights: Array, kernels: Kernels
) -> Array:
    flat = lambda a: a.reshape(-1, a.shape[-1])
    return run(flat(x), flat(ids), flat(weights), *kernels).reshape(x.shape)


def _whole_width(kernel: Array, spec: P, names: tuple[str, str, str]) -> Array:
    """Gather a kernel's width, which is split to take less room."""
    axis = names.index("embed")
    over = _axes(spec[axis])
    if not over:
        return kernel
    return jax.lax.all_gather(kernel, over, axis=axis, tiled=True)


def _axes(entry: object) -> tuple[str, ...]:
    """Return the mesh axes of one axis of a spec."""
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else tuple(entry)  # pyright: ignore[reportArgumentType]
