# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which slice and which mesh: compiles for one after the other and compares."""

from collections.abc import Callable, Iterator
from typing import Any

from lrm_jax.cost.child import check_libtpu
from lrm_jax.cost.chips import CHIPS, Slice, find_slice, of_chip
from lrm_jax.recipes.aot import estimate, on_mesh
from lrm_jax.sharding import MeshConfig
from lrm_jax.types import UserError

_MODEL = (1, 2, 4, 8)


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
      results: [{topology, mesh, fits, bytes, step_time_s_estimate, bound_by, mfu,
      refused}], fits None where the run cannot be laid out so; smallest: the fastest of
      the fewest chips that fit; fastest: of all that fit.

    Raises:
      UserError: no such slice or chip, or no libtpu.
    """
    check_libtpu()
    several = of_chip(topology) if topology in CHIPS else [find_slice(topology)]
    results: list[dict[str, Any]] = []
    for one in several:
        for mesh in meshes(one.devices * slices, slices):
            results.append(_try(config, one, mesh, slices, show, options))
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


def meshes(devices: int, slices: int = 1) -> Iterator[MeshConfig]:
    """Yield layouts worth a try: copies or split weights, times a model axis."""
    for model in _MODEL:
        rest = devices // model
        if devices % model or rest % slices:
            continue
        yield MeshConfig(rest, 1, model)
        if rest // slices > 1:
            yield MeshConfig(slices, rest // slices, model)


def _try(
    config: Any,
    one: Slice,
    mesh: MeshConfig,
    slices: int,
    show: Callable[[str], None],
    options: dict[str, Any],
) -> dict[str, Any]:
    sizes = {"data": mesh.data, "fsdp": mesh.fsdp, "model": mesh.model}
    row: dict[str, Any] = {
        "topology": one.name,
        "mesh": sizes,
        **dict.fromkeys(("fits", "bytes", "step_time_s_estimate", "bound_by", "mfu")),
        "refused": None,
    }
    try:
        on_mesh(config, one, slices, mesh)
    except UserError as error:
        return row | {"refused": str(error)}
    show(f"{one.name} {sizes}")
    found = estimate(config, one.name, slices=slices, mesh=mesh, **options)
    return row | {
        "fits": found["fits"],
        "bytes": found["bytes_per_chip"]["total"],
        "step_time_s_estimate": found["step_time_s_estimate"],
        "bound_by": found["bound_by"],
        "mfu": found["mfu"],
    }
