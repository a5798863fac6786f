# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of a step: of one program each in its child, of all of them together."""

from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from lrm_jax.cost.aot import Compiled, device_bytes
from lrm_jax.cost.chips import Slice
from lrm_jax.cost.collectives import Collective, by_axis
from lrm_jax.cost.roofline import axis_links, roofline
from lrm_jax.sharding import BATCH_AXES, MESH_AXES

Part = dict[str, Any]
"""Figures of one program, as JSON; bytes and seconds are those of a chip."""


def part_of(one: Slice, mesh: Mesh, state: Any, program: Compiled) -> Part:
    """Return the figures of one program.

    Args:
      one: a slice.
      mesh: over its devices.
      state: abstract training state.
      program: compiled.
    """
    per_chip, fits = one.chip.devices_per_chip, fits_beside(one, program)
    bound = roofline(
        one.chip,
        flops=program.hardware_flops / mesh.size,
        memory_bytes=program.memory_traffic or 0,
        collectives=program.collectives,
        links=axis_links(mesh),
    )
    chip = lambda count: None if count is None else count * per_chip
    made = None
    if program.temp_bytes is not None and program.output_bytes is not None:
        made = program.temp_bytes + program.output_bytes
    return {
        "name": program.name,
        "fits": fits,
        "model_flops": program.model_flops,
        "hardware_flops": program.hardware_flops,
        "params_bytes": chip(device_bytes(state.params)),
        "optimizer_bytes": chip(device_bytes((state.opt_state, state.ema))),
        "carry_bytes": chip(device_bytes(state.carry)),
        "argument_bytes": chip(program.argument_bytes),
        "made_bytes": chip(made),
        "code_bytes": chip(program.code_bytes),
        "needed_bytes": chip(program.needed_bytes),
        "beside_bytes": chip(program.beside_bytes),
        "available_bytes": chip(program.available_bytes),
        "collectives": by_axis(program.collectives) if program.fits else None,
        "largest": _largest(program.collectives) if program.fits else None,
        "notes": _notes(program),
        "seconds": bound.seconds if program.fits else None,
        "bound_by": bound.bound_by if program.fits else None,
        "step_s": bound.step_s if program.fits else None,
        "compile_s": program.compile_s,
    }


def fits_beside(one: Slice, program: Compiled) -> bool:
    """Return whether a program fits a chip with what lies there meanwhile."""
    room = one.chip.hbm_bytes / one.chip.devices_per_chip
    return program.fits and program.needed_bytes + program.beside_bytes <= room


def whole(config: Any, one: Slice, slices: int, parts: Sequence[Part]) -> Part:
    """Return the figures of a step as JSON.

    Bytes and FLOPs are those of a chip; of several programs, FLOPs, traffic and
    collectives add up and memory is that of the largest. `bytes_per_chip`: `params`,
    `optimizer` (its moments, averaged weights) and `carry` by their shapes,
    `arguments` the compiler's count of these and of the batch, `activations` what the
    program makes meanwhile, `beside` what lies there and is no argument of its.
    """
    fits = all(part["fits"] for part in parts)
    chips = one.chips * slices
    total = lambda name: sum(part[name] for part in parts)
    model, hardware = total("model_flops"), total("hardware_flops")
    found = {
        "fits": fits,
        "preset": config.name,
        "recipe": config.recipe,
        "topology": one.name,
        "accelerator_type": one.accelerator_type,
        "slices": slices,
        "chips": chips,
        "devices": one.devices * slices,
        "mesh": {name: getattr(config.mesh, name) for name in MESH_AXES},
        "bytes_per_chip": _memory(parts),
        "hbm_bytes": one.chip.hbm_bytes,
        "flops_per_chip": hardware / chips,
        "model_flops": model,
        "hardware_flops": hardware,
        "compile_s": total("compile_s"),
        "programs": list(parts),
    }
    names = ("collectives", "step_time_s_estimate", "seconds", "bound_by", "mfu")
    if not fits:
        return found | dict.fromkeys(names)
    seconds = _summed_seconds(parts)
    step_s = total("step_s")
    return found | {
        "collectives": _summed_collectives(parts),
        "step_time_s_estimate": step_s,
        "seconds": seconds,
        "bound_by": max(seconds, key=lambda k: seconds[k]),
        "mfu": model / (chips * one.chip.peak_flops * step_s),
    }


def _memory(parts: Sequence[Part]) -> dict[str, int | None]:
    """What a chip's memory holds, by the program that asks for most.

    Where a program does not fit, `total` is what the compiler asks for, and
    activations are not known.
    """
    asked = lambda part: part["needed_bytes"] + part["beside_bytes"]
    largest = max(parts, key=lambda part: (not part["fits"], asked(part)))
    return {
        "params": largest["params_bytes"],
        "optimizer": largest["optimizer_bytes"],
        "carry": largest["carry_bytes"],
        "arguments": largest["argument_bytes"],
        "activations": largest["made_bytes"],
        "code": largest["code_bytes"],
        "beside": largest["beside_bytes"],
        "total": asked(largest),
        "available": largest["available_bytes"],
    }


def _summed_seconds(parts: Sequence[Part]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, seconds in part["seconds"].items():
            total[name] = total.get(name, 0.0) + seconds
    return total


def _summed_collectives(parts: Sequence[Part]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str], list[int]] = {}
    for row in (row for part in parts for row in part["collectives"]):
        entry = sums.setdefault((row["op"], row["axis"]), [0, 0])
        entry[0] += row["bytes"]
        entry[1] += row["count"]
    ordered = sorted(sums.items(), key=lambda item: -item[1][0])
    return [
        {"op": op, "axis": axis, "bytes": total, "count": count}
        for (op, axis), (total, count) in ordered
    ]


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
