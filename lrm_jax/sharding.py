# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One program from laptop to pod: meshes, logical axes, shardings.

Weights and arrays name what their axes mean (`embed`, `batch`, ...); one table
maps these names to mesh axes. `pjit` is an alias of `jax.jit` today: a sharded
program is `jax.jit` over arrays with a `NamedSharding`.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax.types import Array, UserError

Out = TypeVar("Out")

MESH_AXES = ("data", "fsdp", "expert", "model")
BATCH_AXES = ("data", "fsdp", "expert")

RULES: Mapping[str, str | tuple[str, ...] | None] = {
    "batch": BATCH_AXES,
    "seq": None,
    "embed": ("fsdp", "expert"),
    "mlp": "model",
    "experts": "expert",
    "heads": "model",
    "kv_heads": "model",
    "head_dim": None,
    "vocab": "model",
    "layers": None,
    "puzzle_ids": "fsdp",
}
"""Logical axis -> the mesh axis or axes it is split over; None: on every device.

The expert axis splits experts where an array has them, and the width where not."""


class TooFewDevicesError(UserError):
    """A mesh of more devices than there are."""


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How the devices are laid out; no part of a run's identity.

    Attributes:
      data: devices along which the batch is split, weights copied; -1: all that
        the other axes leave.
      fsdp: devices along which the batch and the weights' width are split.
      model: devices along which heads, feed-forward and vocabulary are split.
      expert: devices along which experts, the batch and the other weights' width are
        split.
    """

    data: int = -1
    fsdp: int = 1
    model: int = 1
    expert: int = 1


def mesh_shape(cfg: MeshConfig, n_devices: int) -> tuple[int, int, int, int]:
    """Return the size of each of `MESH_AXES`, -1 filled in.

    Raises:
      UserError: a size that is no size, or more devices than there are.
    """
    sizes = {name: getattr(cfg, name) for name in MESH_AXES}
    for name, size in sizes.items():
        if size < 1 and size != -1:
            raise UserError(
                f"mesh.{name}={size}: expected 1 or more, or -1 for the rest"
            )
    open_axes = [name for name, size in sizes.items() if size == -1]
    if len(open_axes) > 1:
        raise UserError(f"mesh: only one axis may be -1, got {' and '.join(open_axes)}")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    for name in open_axes:
        sizes[name] = max(n_devices // fixed, 1)
    count = math.prod(sizes.values())
    if count > n_devices:
        near = nearest_mesh(cfg, n_devices)
        raise TooFewDevicesError(
            f"mesh {show_axes(sizes)} needs {count} devices; there {_are(n_devices)}: "
            f"the nearest is {show_axes(near)}"
        )
    return sizes["data"], sizes["fsdp"], sizes["expert"], sizes["model"]


def mesh_sizes(cfg: MeshConfig, n_devices: int) -> dict[str, int]:
    """Return the size of each axis by its name; see `mesh_shape`."""
    return dict(zip(MESH_AXES, mesh_shape(cfg, n_devices), strict=True))


def show_axes(sizes: Mapping[str, int]) -> str:
    """Return axes and sizes as people write them; no expert axis of 1."""
    shown = [
        f"{name}={sizes[name]}"
        for name in MESH_AXES
        if name != "expert" or sizes[name] > 1
    ]
    return " x ".join(shown)


def nearest_mesh(cfg: MeshConfig, n_devices: int) -> dict[str, int]:
    """Return sizes of all `n_devices` that are nearest to a mesh, by their ratios.

    Axes of 1 stay 1, but for data.
    """
    wanted = {name: max(getattr(cfg, name), 1) for name in MESH_AXES}
    free = [name for name, size in wanted.items() if size > 1 or name == "data"]

    def distance(sizes: tuple[int, ...]) -> float:
        pairs = zip(free, sizes, strict=True)
        return sum(abs(math.log(size / wanted[name])) for name, size in pairs)

    best = min(_factorizations(n_devices, len(free)), key=distance)
    return wanted | dict(zip(free, best, strict=True))


def _factorizations(count: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield all tuples of so many factors of a number."""
    if parts == 1:
        yield (count,)
        return
    for first in range(1, count + 1):
        if not count % first:
            for rest in _factorizations(count // first, parts - 1):
                yield (first, *rest)


def make_mesh(cfg: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """Return the mesh of a config, over all devices unless some are given.

    Axes are `Auto`: the compiler places what has no constraint (`jax.make_mesh`
    makes them `Explicit` by default, which Linen's constraints do not accept).
    """
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(cfg, len(devices))
    count = math.prod(shape)
    if count < len(devices) and jax.process_count() > 1:
        near = show_axes(nearest_mesh(cfg, len(devices)))
        raise UserError(
            f"mesh {show_axes(mesh_sizes(cfg, len(devices)))} uses {count} of "
            f"{len(devices)} devices; with several processes it must use all of them: "
            f"the nearest is {near}"
        )
    types = (AxisType.Auto,) * len(MESH_AXES)
    return Mesh(_device_grid(shape, devices[:count]), MESH_AXES, axis_types=types)


def _device_grid(shape: tuple[int, ...], devices: Sequence[Any]) -> np.ndarray:
    """Lay devices out so that a mesh axis follows the links between them.

    A TPU's axis is a product of whole dimensions of its torus where there are such
    (model=4 on 4x4x4), and otherwise a part of one (model=4 on 8x8x16).
    """
    try:
        return mesh_utils.create_device_mesh(shape, devices)
    except NotImplementedError:
        return mesh_utils.create_device_mesh(
            shape, devices, allow_split_physical_axes=True
        )


def use_mesh(mesh: Mesh) -> AbstractContextManager[Any]:
    """Return a context in which `constrain` and `jax.jit` see the mesh."""
    return jax.set_mesh(mesh)


def batch_shards(mesh: Mesh | Mapping[str, int]) -> int:
    """Return into how many parts a batch is split, by a mesh or its axes' sizes."""
    sizes = mesh.shape if isinstance(mesh, Mesh) else mesh
    return math.prod(sizes.get(name, 1) for name in BATCH_AXES)


def partition_spec(
    names: Sequence[str | None],
    mesh: Mesh | jax.sharding.AbstractMesh,
    shape: Sequence[int] | None = None,
    rules: Mapping[str, str | tuple[str, ...] | None] = RULES,
) -> P:
    """Return where each axis of an array goes on the mesh.

    A mesh axis serves one axis of an array, the first that names it. With a
    shape, an axis that does not divide stays whole (a vocabulary of 11 on 2).

    Args:
      names: logical names, None for an axis that is never split.
      mesh: what the names are mapped to.
      shape: of the array, if known.
      rules: logical name -> mesh axes.
    """
    placed = [axes if fits else () for axes, fits in _place(names, mesh, shape, rules)]
    return P(*[axes[0] if len(axes) == 1 else axes or None for axes in placed])


def undivided(
    names: Sequence[str | None],
    mesh: Mesh | jax.sharding.AbstractMesh,
    shape: Sequence[int],
) -> dict[int, tuple[str, ...]]:
    """Return which axes of an array stay whole only because they do not divide.

    Returns:
      The mesh axes that the rules would split it over, by the array's axis.
    """
    placed = _place(names, mesh, shape, RULES)
    return {i: axes for i, (axes, fits) in enumerate(placed) if not fits}


def _place(
    names: Sequence[str | None],
    mesh: Mesh | jax.sharding.AbstractMesh,
    shape: Sequence[int] | None,
    rules: Mapping[str, str | tuple[str, ...] | None],
) -> list[tuple[tuple[str, ...], bool]]:
    """For each axis of an array, the mesh axes meant for it and whether they divide."""
    used: set[str] = set()
    placed = []
    for i, name in enumerate(names):
        if name is not None and name not in rules:
            raise ValueError(f"logical axis {name!r} has no rule; known: {list(rules)}")
        target = rules[name] if name is not None else None
        wanted = (target,) if isinstance(target, str) else target or ()
        axes = tuple(a for a in wanted if a not in used and mesh.shape.get(a, 1) > 1)
        size = math.prod(mesh.shape[a] for a in axes)
        fits = shape is None or not shape[i] % size
        if fits:
            used.update(axes)
        placed.append((axes, fits))
    return placed


def tree_shardings(mesh: Mesh, arrays: Any, logical_axes: Any) -> Any:
    """Return a tree of `NamedSharding` like `arrays`.

    Args:
      mesh: where the arrays will live.
      arrays: pytree of arrays or `jax.ShapeDtypeStruct`.
      logical_axes: the same tree with a tuple of names in place of each array;
        None may stand for a whole subtree that every device holds.
    """

    def one(names: tuple[str | None, ...] | None, part: Any) -> Any:
        if names is None:
            return jax.tree.map(lambda _: NamedSharding(mesh, P()), part)
        if len(names) != part.ndim:
            raise ValueError(f"axes {names} name an array of shape {part.shape}")
        return NamedSharding(mesh, partition_spec(names, mesh, part.shape))

    return jax.tree.map(one, logical_axes, arrays, is_leaf=_is_axes)


def batch_shardings(mesh: Mesh, batch: Any) -> Any:
    """Return shardings that split every array's leading axis over the batch axes."""
    spec = lambda x: partition_spec(("batch", *[None] * (x.ndim - 1)), mesh)
    return jax.tree.map(lambda x: NamedSharding(mesh, spec(x)), batch)


def put(tree: Any, shardings: Any) -> Any:
    """Place whole host arrays on the mesh; every process holds the same ones.

    Data is a pure function of (seed, step), so each process makes the global
    batch and keeps its own devices' part.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def one(array: Any, sharding: NamedSharding) -> Array:
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            return jax.device_put(array, sharding)  # it lies on the mesh already
        array = np.asarray(array)
        return jax.make_array_from_callback(
            array.shape, sharding, lambda index: array[index]
        )

    return jax.tree.map(one, tree, shardings)


def replicated(mesh: Mesh, tree: Any) -> Any:
    """Return shardings that put every array whole on every device."""
    return jax.tree.map(lambda _: NamedSharding(mesh, P()), tree)


def splits_model() -> bool:
    """Return whether the mesh in use splits weights over its model axis."""
    return jax.sharding.get_abstract_mesh().shape.get("model", 1) > 1


def constrain(x: Array, *names: str | None) -> Array:
    """Tell the compiler how `x` lies on the mesh in use; no mesh, no effect.

    Under `shard_map` the shapes of `x` are those of a part, and axes of the mesh that
    are manual there are nothing to the compiler: they are left out.

    Args:
      x: an array inside `jax.jit`.
      *names: one logical name (or None) an axis.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    if len(names) != x.ndim:
        raise ValueError(f"axes {names} name an array of shape {x.shape}")
    manual = set(mesh.manual_axes)
    if all(size == 1 or name in manual for name, size in mesh.shape.items()):
        return x
    spec = partition_spec(names, mesh, x.shape, rules_without(manual))
    return jax.lax.with_sharding_constraint(x, spec)


def on_lanes(function: Callable[..., Out], *arrays: Any) -> Out:
    """Return `function(*arrays)`, each device at work on whole rows of its own.

    Written out under `shard_map`, over all axes of the mesh in use that are not manual
    yet: left to the TPU's compiler, a sort of split rows gathers all of them. Where
    they do not divide, and without a mesh, it is just called.

    Args:
      function: every row of its results is of the same row of `arrays` alone.
      *arrays: pytrees of arrays, each with the same axis of rows first.
    """
    mesh = jax.sharding.get_abstract_mesh()
    free = tuple(name for name in mesh.axis_names if name not in mesh.manual_axes)
    parts = math.prod(mesh.shape[name] for name in free)
    if parts == 1 or len(jax.tree.leaves(arrays)[0]) % parts:
        return function(*arrays)
    rows = P(free)
    mapped = jax.shard_map(
        function, in_specs=rows, out_specs=rows, axis_names={*free}, check_vma=False
    )
    return mapped(*arrays)


def rules_without(axes: set[str]) -> dict[str, tuple[str, ...]]:
    """Return `RULES` without some axes of the mesh."""
    as_tuple = lambda x: (x,) if isinstance(x, str) else x or ()
    return {
        name: tuple(axis for axis in as_tuple(target) if axis not in axes)
        for name, target in RULES.items()
    }


def _is_axes(node: Any) -> bool:
    return node is None or (
        isinstance(node, tuple)
        and all(name is None or isinstance(name, str) for name in node)
    )


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
