# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where every array of a training step lives on the mesh, in bytes of a device.

From shapes alone: nothing is compiled, and no array is made but of resident data.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from lrm_jax import sharding
from lrm_jax.cost.aot import device_bytes
from lrm_jax.data.pipeline import make_source
from lrm_jax.models.latent import latent_core
from lrm_jax.models.policy import token_policy
from lrm_jax.recipes.aot import plan
from lrm_jax.recipes.grpo_config import GrpoRunConfig, trainer_devices
from lrm_jax.recipes.latent_build import latent_step
from lrm_jax.recipes.registry import recipe_of
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.recipes.run_mesh import latent_mesh, policy_mesh
from lrm_jax.recipes.state_axes import (
    AxesOf,
    latent_state_axes,
    path_names,
    policy_state_axes,
)
from lrm_jax.types import UserError

LARGE_BYTES = 1024**2
"""From how many bytes on a device a copy is worth a warning."""

GROUPS = ("params", "optimizer", "ema", "carry", "batch")
_GROUP_OF = {"opt_state": "optimizer", "step": "carry", "key": "carry"}
_WEIGHTS = ("params", "optimizer", "ema")


class Leaf(NamedTuple):
    """One array.

    Attributes:
      group: one of `GROUPS`; the carry holds the step and the key, too.
      path: of the leaf.
      shape: whole.
      dtype: of its elements.
      spec: for each axis the mesh axes it is split over, joined by `+`, or None.
      bytes: on one device.
    """

    group: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    spec: tuple[str | None, ...]
    bytes: int

    @property
    def mesh_axes(self) -> set[str]:
        """Mesh axes that some axis is split over."""
        return {axis for names in self.spec if names for axis in names.split("+")}


class Finding(NamedTuple):
    """Arrays that could take less room.

    Attributes:
      reason: `undivided`, an axis that the rules would split does not divide, or
        `replicated`, no rule splits it over that mesh axis.
      path: of the first of them.
      arrays: how many there are like it.
      mesh_axes: along which there are copies.
      bytes: of all of them on one device.
      message: says it in one line.
    """

    reason: str
    path: str
    arrays: int
    mesh_axes: tuple[str, ...]
    bytes: int
    message: str


def explain(config: Any) -> dict[str, Any]:
    """Return where the arrays of a run's step live.

    Args:
      config: of any recipe that trains, resolved.

    Returns:
      {name, recipe, mesh, devices, leaves: [Leaf], totals: {group: bytes of a
      device}, warnings: [Finding], notes: [str]}.

    Raises:
      UserError: the config cannot run on the devices there are.
    """
    mesh = _mesh(config)
    state, works = plan(config, mesh)
    axes_of = _axes_of(config)
    found = [
        _leaf(path_names(path), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    ]
    found += _batch(config, mesh, works[-1].args)
    totals: dict[str, int] = dict.fromkeys(GROUPS, 0)
    for leaf in found:
        totals[leaf.group] += leaf.bytes
    return {
        "name": config.name,
        "recipe": config.recipe,
        "mesh": dict(mesh.shape),
        "devices": mesh.size,
        "leaves": sorted(found, key=lambda leaf: GROUPS.index(leaf.group)),
        "totals": totals | {"total": sum(totals.values())},
        "warnings": _findings(found, mesh, axes_of),
        "notes": _notes(totals, mesh),
    }


def _mesh(config: Any) -> Mesh:
    """The mesh of a config that can run on it."""
    try:
        sharding.mesh_shape(config.mesh, jax.device_count())
    except sharding.TooFewDevicesError as error:
        raise UserError(
            f"{error}; for devices that are not here there is lrm aot"
        ) from error
    recipe_of(config).validate(config)
    devices = jax.devices()
    if isinstance(config, GrpoRunConfig):
        devices = devices[: trainer_devices(config)]
    if isinstance(config, RunConfig):
        return latent_mesh(config, latent_step(config, latent_core(config.model)))
    return policy_mesh(config, devices)


def _axes_of(config: Any) -> AxesOf:
    if isinstance(config, RunConfig):
        return latent_state_axes(latent_core(config.model))
    return policy_state_axes(token_policy(config.model))


def _batch(config: Any, mesh: Mesh, args: tuple[Any, ...]) -> list[Leaf]:
    """What a step is given beside the state."""
    train = config.train
    if isinstance(config, GrpoRunConfig):
        _, groups, valid, scores, _ = args  # the last is of the carry
        given: Any = {"groups": groups, "valid": valid, "scores": scores}
    elif config.data.resident if isinstance(config, RunConfig) else False:
        arrays = make_source(config.data).train_arrays()
        given = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            {"resident": arrays},
            {"resident": sharding.replicated(mesh, arrays)},
        )
    else:
        steps = max(1, min(train.steps_per_dispatch, train.total_steps))
        given = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                (steps, *x.shape[1:]), x.dtype, sharding=x.sharding
            ),
            args[1],
        )
    return [
        _leaf(["batch", *path_names(path)], leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(given)
    ]


def _leaf(names: list[str], leaf: Any) -> Leaf:
    spec = [*leaf.sharding.spec, *[None] * leaf.ndim][: leaf.ndim]
    joined = lambda axes: "+".join(axes) if isinstance(axes, tuple) else axes
    return Leaf(
        group=_GROUP_OF.get(names[0], names[0]),
        path="/".join(names),
        shape=tuple(leaf.shape),
        dtype=str(leaf.dtype),
        spec=tuple(joined(axes) for axes in spec),
        bytes=device_bytes(leaf),
    )


def _findings(leaves: Sequence[Leaf], mesh: Mesh, axes_of: AxesOf) -> list[Finding]:
    """The most bytes first; arrays that are alike in one."""
    alike: dict[tuple[Any, ...], list[tuple[Leaf, str]]] = {}
    for leaf in leaves:
        names = leaf.path.split("/")
        axes = axes_of(names, len(leaf.shape)) if leaf.group != "batch" else None
        like = tuple(name.rstrip("0123456789") for name in names[-2:])
        whole: set[str] = set()
        if axes is not None:
            for i, over in sharding.undivided(axes, mesh, leaf.shape).items():
                whole |= set(over)
                text = _undivided(leaf, i, axes[i], over, mesh)
                key = ("undivided", over, leaf.shape, like)
                alike.setdefault(key, []).append((leaf, text))
        could = tuple(
            axis
            for axis in _candidates(leaf, axes, mesh)
            if axis not in whole and _could_split(leaf, mesh, axis)
        )
        if could and leaf.bytes >= LARGE_BYTES:
            key = ("replicated", could, leaf.shape, like)
            alike.setdefault(key, []).append((leaf, _replicated(could, mesh)))
    found = [_finding(key[0], key[1], group) for key, group in alike.items()]
    return sorted(found, key=lambda one: -one.bytes)


def _finding(
    reason: str, mesh_axes: tuple[str, ...], group: list[tuple[Leaf, str]]
) -> Finding:
    first, text = group[0]
    total = sum(leaf.bytes for leaf, _ in group)
    more = f" and {len(group) - 1} like it" if len(group) > 1 else ""
    shown = ", ".join(map(str, first.shape))
    message = f"{first.path} [{shown}] {first.dtype}{more}: {text}; {_size(total)}"
    return Finding(
        reason, first.path, len(group), mesh_axes, total, f"{message} a device"
    )


def _undivided(
    leaf: Leaf, i: int, name: str | None, over: tuple[str, ...], mesh: Mesh
) -> str:
    count = math.prod(mesh.shape[axis] for axis in over)
    size = leaf.shape[i]
    fits = size + -size % count
    remedy = "model.num_puzzle_ids" if name == "puzzle_ids" else "the nearest above"
    return (
        f"{size} of {name} do not divide over {'+'.join(over)}={count} and lie whole "
        f"on each; {remedy}={fits} would"
    )


def _replicated(axes: tuple[str, ...], mesh: Mesh) -> str:
    shown = " x ".join(f"{axis}={mesh.shape[axis]}" for axis in axes)
    return f"a copy on each device of {shown}, which could split it"


def _candidates(
    leaf: Leaf, axes: tuple[str | None, ...] | None, mesh: Mesh
) -> list[str]:
    """Mesh axes that may split a leaf and do not: weights have copies along data."""
    weight = leaf.group in _WEIGHTS or (axes is not None and "batch" not in axes)
    split = leaf.mesh_axes | ({"data"} if weight else set())
    return [axis for axis, size in mesh.shape.items() if size > 1 and axis not in split]


def _could_split(leaf: Leaf, mesh: Mesh, axis: str) -> bool:
    """Whether what is left of some axis of the array divides."""
    parts = [
        math.prod(mesh.shape[a] for a in names.split("+")) if names else 1
        for names in leaf.spec
    ]
    left = (size // part for size, part in zip(leaf.shape, parts, strict=True))
    return any(size and not size % mesh.shape[axis] for size in left)


def _notes(totals: dict[str, int], mesh: Mesh) -> list[str]:
    copies = mesh.shape["data"]
    weights = sum(totals[group] for group in _WEIGHTS)
    if copies == 1 or weights < LARGE_BYTES:
        return []
    return [
        f"data={copies}: parameters, optimizer and average, {_size(weights)} a device, "
        f"have {copies} copies; mesh.fsdp splits them"
    ]


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"
