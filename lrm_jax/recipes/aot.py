# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run would cost on TPUs: memory, FLOPs, collectives, a bound on its speed.

`estimate` is for everybody; it asks a child process (`aot_child.py`), in which
`compile_for` does the work.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from jax.sharding import AxisType, Mesh

from lrm_jax import sharding
from lrm_jax.config import to_dict
from lrm_jax.cost import child
from lrm_jax.cost.aot import Compiled, Work, compile_work, device_bytes
from lrm_jax.cost.chips import Slice, find_slice
from lrm_jax.cost.collectives import Collective, by_axis
from lrm_jax.cost.roofline import Roofline, axis_links, roofline
from lrm_jax.recipes.registry import recipe_of
from lrm_jax.sharding import BATCH_AXES, MESH_AXES, MeshConfig, mesh_sizes
from lrm_jax.types import UserError

MODULE = "lrm_jax.recipes.aot_child"


def estimate(
    config: Any,
    topology: str,
    *,
    slices: int = 1,
    mesh: MeshConfig | None = None,
    programs: Sequence[str] = (),
    full_effort: bool = False,
    timeout_s: float = 900.0,
) -> dict[str, Any]:
    """Compile a run's step for a slice and return what it costs; see `report`.

    Args:
      config: of any recipe.
      topology: `v5e:2x4`, or an accelerator type.
      slices: how many of them, joined by the data-center network.
      mesh: in place of the config's.
      programs: which of the step's (`update`, `score`, `rollout`); all by default.
      full_effort: compile as for a run; several times longer, nearly the same
        figures.
      timeout_s: of the compiler's process.

    Raises:
      UserError: no such slice, a mesh that does not fit it, a config that cannot
        run, or no libtpu.
    """
    one = find_slice(topology)
    config = on_mesh(config, one, slices, mesh)
    request = {
        "config": to_dict(config),
        "topology": one.name,
        "slices": slices,
        "programs": list(programs),
        "full_effort": full_effort,
    }
    return child.ask(MODULE, request, timeout_s)


def on_mesh(config: Any, one: Slice, slices: int, mesh: MeshConfig | None) -> Any:
    """Return the config with a mesh over all devices of the slices.

    Raises:
      UserError: the mesh has another number of devices, or the config cannot run
        on it.
    """
    if slices < 1:
        raise UserError(f"--slices {slices}: expected 1 or more")
    devices = one.devices * slices
    wanted = mesh or config.mesh
    sizes = mesh_sizes(wanted, devices)
    used = math.prod(sizes.values())
    if used != devices:
        shown = sharding.show_axes(sizes)
        where = one.name if slices == 1 else f"{slices} slices {one.name}"
        raise UserError(
            f"--mesh {shown} is {used} devices; {where} has {devices}; -1 on one axis "
            "takes the rest"
        )
    if sizes["data"] % slices:
        raise UserError(
            f"--slices {slices}: the data axis goes over the slices; "
            f"data={sizes['data']} does not divide into them"
        )
    config = dataclasses.replace(config, mesh=MeshConfig(**sizes))
    recipe_of(config).validate(config, n_devices=devices)
    return config


def plan(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    """Return the abstract state and the programs of a step of a recipe.

    Raises:
      UserError: the recipe has no step.
    """
    found = _PLANS.get(config.recipe)
    if found is None:
        known = ", ".join(_PLANS)
        raise UserError(f"recipe {config.recipe!r}: expected one of {known}")
    return found(config, mesh)


def _latent(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    from lrm_jax.recipes.aot_latent import latent_work

    return latent_work(config, mesh)


def _sft(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    from lrm_jax.recipes.aot_policy import sft_work

    return sft_work(config, mesh)


def _grpo(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    from lrm_jax.recipes.aot_policy import grpo_work

    return grpo_work(config, mesh)


_PLANS: dict[str, Callable[[Any, Mesh], tuple[Any, list[Work]]]] = {
    "latent": _latent,
    "sft": _sft,
    "grpo": _grpo,
}


def compile_for(
    config: Any,
    one: Slice,
    devices: Sequence[Any],
    *,
    slices: int = 1,
    programs: Sequence[str] = (),
    full_effort: bool = False,
) -> dict[str, Any]:
    """Compile the programs of a step for devices and return the report.

    Raises:
      UserError: a program that the recipe has not.
    """
    mesh = topology_mesh(config.mesh, devices, slices)
    state, works = plan(config, mesh)
    names = [work.name for work in works]
    for name in programs:
        if name not in names:
            raise UserError(f"--programs {name!r}: expected some of {', '.join(names)}")
    works = [work for work in works if not programs or work.name in programs]
    compiled = [compile_work(work, mesh, full_effort=full_effort) for work in works]
    return report(config, one, mesh, state, compiled, slices)


def topology_mesh(cfg: MeshConfig, devices: Sequence[Any], slices: int) -> Mesh:
    """Return the mesh of a config over devices, the data axis over the slices."""
    if slices == 1:
        return sharding.make_mesh(cfg, devices)
    from jax.experimental import mesh_utils

    within = (cfg.data // slices, cfg.fsdp, cfg.expert, cfg.model)
    grid = mesh_utils.create_hybrid_device_mesh(
        within, (slices, 1, 1, 1), devices, allow_split_physical_axes=True
    )
    types = (AxisType.Auto,) * len(MESH_AXES)
    return Mesh(grid, MESH_AXES, axis_types=types)


def report(
    config: Any,
    one: Slice,
    mesh: Mesh,
    state: Any,
    programs: Sequence[Compiled],
    slices: int,
) -> dict[str, Any]:
    """Return the figures of a step as JSON.

    Bytes and FLOPs are those of a chip; of several programs, FLOPs, traffic and
    collectives add up and memory is that of the largest. `bytes_per_chip`: `params`,
    `optimizer` (its moments, averaged weights) and `carry` by their shapes,
    `arguments` the compiler's count of these and of the batch, `activations` what the
    program makes meanwhile, `beside` what lies there and is no argument of its.
    """
    links = axis_links(mesh)
    bounds = [_bound(one, program, links, mesh.size) for program in programs]
    fits = all(fits_beside(one, program) for program in programs)
    chips = one.chips * slices
    step_s = sum(b.step_s for b in bounds)
    model = sum(p.model_flops for p in programs)
    hardware = sum(p.hardware_flops for p in programs)
    seconds = _summed(bounds)
    sent = [c for p in programs for c in p.collectives]
    return {
        "fits": fits,
        "preset": config.name,
        "recipe": config.recipe,
        "topology": one.name,
        "accelerator_type": one.accelerator_type,
        "slices": slices,
        "chips": chips,
        "devices": mesh.size,
        "mesh": dict(mesh.shape),
        "bytes_per_chip": memory_of(state, programs, one.chip.devices_per_chip),
        "hbm_bytes": one.chip.hbm_bytes,
        "flops_per_chip": hardware / chips,
        "model_flops": model,
        "hardware_flops": hardware,
        "collectives": by_axis(sent) if fits else None,
        "step_time_s_estimate": step_s if fits else None,
        "seconds": seconds if fits else None,
        "bound_by": max(seconds, key=lambda k: seconds[k]) if fits else None,
        "mfu": model / (chips * one.chip.peak_flops * step_s) if fits else None,
        "compile_s": sum(p.compile_s for p in programs),
        "programs": [
            _program(p, b, one) for p, b in zip(programs, bounds, strict=True)
        ],
    }


def fits_beside(one: Slice, program: Compiled) -> bool:
    """Return whether a program fits a chip with what lies there meanwhile."""
    room = one.chip.hbm_bytes / one.chip.devices_per_chip
    return program.fits and program.needed_bytes + program.beside_bytes <= room


def memory_of(
    state: Any, programs: Sequence[Compiled], per_chip: int
) -> dict[str, int | None]:
    """Return what a chip's memory holds: parameters and optimizer by their shapes.

    Where a program does not fit, `total` is what the compiler asks for, and
    activations are not known.
    """
    size = lambda p: p.needed_bytes + p.beside_bytes
    largest = max(programs, key=lambda p: (not p.fits, size(p)))
    table = device_bytes(state.params) * per_chip
    optimizer = device_bytes((state.opt_state, state.ema)) * per_chip
    carried = device_bytes(state.carry) * per_chip
    total = size(largest) * per_chip
    arguments = largest.argument_bytes * per_chip
    activations = code = None
    if largest.temp_bytes is not None and largest.output_bytes is not None:
        activations = (largest.temp_bytes + largest.output_bytes) * per_chip
        code = (largest.code_bytes or 0) * per_chip
    available = largest.available_bytes
    return {
        "params": table,
        "optimizer": optimizer,
        "carry": carried,
        "arguments": arguments,
        "activations": activations,
        "code": code,
        "beside": largest.beside_bytes * per_chip,
        "total": total,
        "available": None if available is None else available * per_chip,
    }


def _bound(
    one: Slice, program: Compiled, links: dict[str, int], devices: int
) -> Roofline:
    return roofline(
        one.chip,
        flops=program.hardware_flops / devices,
        memory_bytes=program.memory_traffic or 0,
        collectives=program.collectives,
        links=links,
    )


def _summed(bounds: Sequence[Roofline]) -> dict[str, float]:
    total: dict[str, float] = {}
    for bound in bounds:
        for name, seconds in bound.seconds.items():
            total[name] = total.get(name, 0.0) + seconds
    return total


def _largest(found: Sequence[Collective], count: int = 5) -> list[dict[str, Any]]:
    """The collectives of the largest arrays: none should be of a whole table."""
    ordered = sorted(found, key=lambda c: -c.whole_bytes)[:count]
    return [
        {
            "op": one.op,
            "axis": one.axis,
            "whole_bytes": one.whole_bytes,
            "count": one.count,
            "source": one.source,
        }
        for one in ordered
    ]


def _notes(program: Compiled) -> list[str]:
    """What a person should know of a program's collectives."""
    sent: dict[str, float] = {}
    for one in program.collectives:
        if one.open_loop and set(one.axis.split("+")) & set(BATCH_AXES):
            total = sent.get(one.axis, 0.0) + one.sent_bytes * one.count
            sent[one.axis] = total
    return [
        f"{program.name}: {total / 1e9:.3g} GB a chip and step go over {axis} inside a "
        "loop that ends by data: lanes wait for each other, and weights split over "
        "it are gathered at every turn"
        for axis, total in sent.items()
    ]


def _program(program: Compiled, bound: Roofline, one: Slice) -> dict[str, Any]:
    per_chip = one.chip.devices_per_chip
    fits = program.fits
    return {
        "name": program.name,
        "fits": fits,
        "model_flops": program.model_flops,
        "hardware_flops": program.hardware_flops,
        "needed_bytes": program.needed_bytes * per_chip,
        "beside_bytes": program.beside_bytes * per_chip,
        "collectives": by_axis(program.collectives) if fits else None,
        "largest": _largest(program.collectives) if fits else None,
        "notes": _notes(program),
        "seconds": bound.seconds if fits else None,
        "bound_by": bound.bound_by if fits else None,
        "compile_s": program.compile_s,
    }
