# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run would cost on TPUs: memory, FLOPs, collectives, a bound on its speed.

`estimate` is for everybody; it asks a child process for each program of a step
(`aot_child.py`), in which `compile_for` does the work.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from jax.sharding import AxisType, Mesh

from lrm_jax import sharding
from lrm_jax.config import to_dict
from lrm_jax.cost import child
from lrm_jax.cost.aot import Work, compile_work
from lrm_jax.cost.chips import Slice, find_slice
from lrm_jax.recipes.aot_report import Part, part_of, whole
from lrm_jax.recipes.registry import recipe_of
from lrm_jax.sharding import MESH_AXES, MeshConfig, mesh_sizes
from lrm_jax.types import UserError

MODULE = "lrm_jax.recipes.aot_child"
LONGEST_FIRST = ("rollout", "update", "score")
"""The order in which programs are compiled, as many at a time as there are cores."""


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
    """Compile a run's step for a slice and return what it costs; see `whole`.

    Args:
      config: of any recipe.
      topology: `v5e:2x4`, or an accelerator type.
      slices: how many of them, joined by the data-center network.
      mesh: in place of the config's.
      programs: which of the step's (`update`, `score`, `rollout`); all by default.
      full_effort: compile as for a run; several times longer, nearly the same
        figures.
      timeout_s: of a compiler's process.

    Raises:
      UserError: no such slice, a mesh that does not fit it, a config that cannot
        run, a program that the recipe has not, or no libtpu.
    """
    one = find_slice(topology)
    config = on_mesh(config, one, slices, mesh)
    there = program_names(config)
    for name in programs:
        if name not in there:
            raise UserError(f"--programs {name!r}: expected some of {', '.join(there)}")
    names = [name for name in there if not programs or name in programs]
    request = {
        "config": to_dict(config),
        "topology": one.name,
        "slices": slices,
        "full_effort": full_effort,
    }
    order = sorted(names, key=LONGEST_FIRST.index)
    requests = [request | {"program": name} for name in order]
    parts = dict(zip(order, child.ask_all(MODULE, requests, timeout_s), strict=True))
    return whole(config, one, slices, [parts[name] for name in names])


def on_mesh(config: Any, one: Slice, slices: int, mesh: MeshConfig | None) -> Any:
    """Return the config with a mesh over all devices of the slices.

    Raises:
      UserError: the mesh has another number of devices, the config cannot run on
        it, or nobody says how fast the chip's slices are joined.
    """
    if slices < 1:
        raise UserError(f"--slices {slices}: expected 1 or more")
    if slices > 1 and one.chip.dcn_bandwidth is None:
        raise UserError(
            f"--slices {slices}: how fast the network between slices of "
            f"{one.chip.name} is, its page does not say; expected 1"
        )
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


def program_names(config: Any) -> tuple[str, ...]:
    """Return the programs of a step of a recipe, in the order in which they run.

    Raises:
      UserError: the recipe has no step.
    """
    _plan_of(config)
    if config.recipe != "grpo":
        return ("update",)
    from lrm_jax.recipes.aot_policy import scores_first

    return ("rollout", *["score"][: scores_first(config)], "update")


def plan(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    """Return the abstract state and the programs of a step of a recipe.

    Raises:
      UserError: the recipe has no step.
    """
    return _plan_of(config)(config, mesh)


def _plan_of(config: Any) -> Callable[[Any, Mesh], tuple[Any, list[Work]]]:
    found = _PLANS.get(config.recipe)
    if found is None:
        known = ", ".join(_PLANS)
        raise UserError(f"recipe {config.recipe!r}: expected one of {known}")
    return found


def _latent(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    from lrm_jax.recipes.aot_latent import latent_work

    return latent_work(config, mesh)


def _sft(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    from lrm_jax.recipes.aot_policy import sft_work

    return sft_work(config, mesh)


def _grpo(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    from lrm_jax.recipes.aot_policy import grpo_work

    if config.process_reward:
        raise UserError(
            f"process_reward={config.process_reward!r}: what a reward model costs in "
            "a step is not counted; leave it and rl.process out"
        )
    return grpo_work(config, mesh)


def _prm(config: Any, mesh: Mesh) -> tuple[Any, list[Work]]:
    from lrm_jax.recipes.aot_prm import prm_work

    return prm_work(config, mesh)


_PLANS: dict[str, Callable[[Any, Mesh], tuple[Any, list[Work]]]] = {
    "latent": _latent,
    "sft": _sft,
    "grpo": _grpo,
    "prm": _prm,
}


def compile_for(
    config: Any,
    one: Slice,
    devices: Sequence[Any],
    *,
    program: str,
    slices: int = 1,
    full_effort: bool = False,
) -> Part:
    """Compile a program of a step for devices and return its figures."""
    mesh = topology_mesh(config.mesh, devices, slices)
    state, works = plan(config, mesh)
    work = next(work for work in works if work.name == program)
    compiled = compile_work(work, mesh, full_effort=full_effort)
    return part_of(one, mesh, state, compiled)


def topology_mesh(cfg: MeshConfig, devices: Sequence[Any], slices: int) -> Mesh:
    """Return the mesh of a config over devices, the data axis over the slices."""
    if slices == 1:
        return sharding.make_mesh(cfg, devices)
    from jax.experimental import mesh_utils

    sizes = mesh_sizes(cfg, len(devices))
    sizes["data"] //= slices
    over = [slices if name == "data" else 1 for name in MESH_AXES]
    grid = mesh_utils.create_hybrid_device_mesh(
        tuple(sizes.values()), over, devices, allow_split_physical_axes=True
    )
    types = (AxisType.Auto,) * len(MESH_AXES)
    return Mesh(grid, MESH_AXES, axis_types=types)
