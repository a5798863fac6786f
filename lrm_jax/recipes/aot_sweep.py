# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which slice and which mesh: compiles for one after the other and compares."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, cast

from jax.sharding import AbstractMesh

from lrm_jax.cost.aot import device_bytes
from lrm_jax.cost.child import check_libtpu
from lrm_jax.cost.chips import CHIPS, Slice, find_slice, of_chip
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.aot import estimate, on_mesh, plan
from lrm_jax.sharding import MESH_AXES, MeshConfig, show_axes
from lrm_jax.types import UserError

_MODEL = (1, 2, 4, 8)
_EXPERT = (1, 2, 4, 8)


def sweep(
    config: Any,
    topology: str,
    *,
    slices: int = 1,
    show: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> dict[str, Any]:
    """Try the meshes of a slice, or of a chip's slices until two of them fit.

    Args:
      config: of any recipe.
      topology: a slice, or a chip (`v5e`) for its slices from the smallest.
      slices: how many, joined by the network.
      show: told of each before it is compiled.
      **options: of `estimate`.

    Returns:
      results: [{topology, mesh, fits, bytes, compiled, step_time_s_estimate,
      bound_by, mfu, refused}], fits None where the run cannot be laid out so, compiled
      false where what training keeps takes more than there is (bytes are its own
      then); smallest: the fastest of
      the fewest chips that fit; fastest: of all that fit.

    Raises:
      UserError: no such slice or chip, or no libtpu.
    """
    check_libtpu()
    several = of_chip(topology) if topology in CHIPS else [find_slice(topology)]
    results: list[dict[str, Any]] = []
    whole = kept_bytes(config, MeshConfig(1, 1, 1))
    for one in several:
        for mesh in meshes(one.devices * slices, slices, has_experts(config)):
            results.append(_try(config, one, mesh, slices, whole, show, options))
        sizes = {row["topology"] for row in results if row["fits"]}
        if len(sizes) > 1:  # the smallest, and one to compare it with
            break
    fitting = [row for row in results if row["fits"]]
    seconds = lambda row: row["step_time_s_estimate"]
    first = [row for row in fitting if row["topology"] == fitting[0]["topology"]]
    return {
        "results": results,
        "smallest": min(first, key=seconds, default=None),
        "fastest": min(fitting, key=seconds, default=None),
    }


def has_experts(config: Any) -> bool:
    """Return whether a run's model is a mixture of experts."""
    return isinstance(config.model, PolicyConfig) and config.model.moe is not None


def meshes(
    devices: int, slices: int = 1, experts: bool = False
) -> Iterator[MeshConfig]:
    """Yield layouts worth a try: copies or split weights, times model and experts."""
    for model in _MODEL:
        for expert in _EXPERT if experts else (1,):
            rest = devices // (model * expert)
            if devices % (model * expert) or rest % slices:
                continue
            yield MeshConfig(rest, 1, model, expert)
            if rest // slices > 1:
                yield MeshConfig(slices, rest // slices, model, expert)


def kept_bytes(config: Any, mesh: MeshConfig) -> int:
    """Return what parameters, moments and the like take of a device of a mesh."""
    sizes = tuple(getattr(mesh, name) for name in MESH_AXES)
    state, _ = plan(
        dataclasses.replace(config, mesh=mesh),
        cast(Any, AbstractMesh(sizes, MESH_AXES)),
    )
    return device_bytes(state)


def _try(
    config: Any,
    one: Slice,
    mesh: MeshConfig,
    slices: int,
    whole: int,
    show: Callable[[str], None],
    options: dict[str, Any],
) -> dict[str, Any]:
    sizes = {name: getattr(mesh, name) for name in MESH_AXES}
    row: dict[str, Any] = {
        "topology": one.name,
        "mesh": sizes,
        **dict.fromkeys(("fits", "bytes", "step_time_s_estimate", "bound_by", "mfu")),
        "compiled": False,
        "refused": None,
    }
    try:
        on_mesh(config, one, slices, mesh)
    except UserError as error:
        return row | {"refused": str(error)}
    per_chip, room = one.chip.devices_per_chip, one.chip.hbm_bytes
    if whole * per_chip > room:  # else it fits on any mesh
        kept = kept_bytes(config, mesh) * per_chip
        if kept > room:
            return row | {"fits": False, "bytes": kept}
    show(f"{one.name} {show_axes(sizes)}")
    found = estimate(config, one.name, slices=slices, mesh=mesh, **options)
    return row | {
        "fits": found["fits"],
        "bytes": found["bytes_per_chip"]["total"],
        "compiled": True,
        "step_time_s_estimate": found["step_time_s_estimate"],
        "bound_by": found["bound_by"],
        "mfu": found["mfu"],
    }
