# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compile a preset's training step for TPUs you have not rented, and say what it costs.

Whether it fits, bytes of a chip and for what, FLOPs, what is sent along which mesh
axis, and the least time a step can take. Nothing runs; no TPU is needed.
"""

import argparse
import sys
from typing import Any

from lrm_jax.cli.common import Outcome, UsageError, table

NAME = "aot"
SUMMARY = "does it fit a TPU slice, and how fast could it be: compiled ahead of time"
EXAMPLE = (
    "lrm aot hrm_sudoku --topology v5e:2x4\n"
    "  lrm aot hrm_sudoku --topology v5p-64 --mesh data=-1,model=2 --json"
)
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "preset", metavar="PRESET", help="a preset; overrides may follow"
    )
    parser.add_argument(
        "--topology",
        help="a slice: v5e:2x4, v5p:8x8x16, or an accelerator type as v5p-64; "
        "by default the one that a preset at scale is meant for",
    )
    parser.add_argument(
        "--mesh", help="data=N,fsdp=N,expert=N,model=N, -1 on one axis for the rest"
    )
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="try the meshes of a slice, or with --topology CHIP the slices of a chip "
        "until two of them fit",
    )
    parser.add_argument(
        "--programs", default="", help="update,score,rollout: only these (all)"
    )
    parser.add_argument(
        "--slices", type=int, default=1, help="slices joined by the network (1)"
    )
    parser.add_argument(
        "--full-effort",
        action="store_true",
        help="compile as for a run: slower, nearly the same figures",
    )
    parser.add_argument(
        "--timeout", type=float, default=900.0, help="seconds it may take (900)"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax import presets
    from lrm_jax.config import apply_overrides
    from lrm_jax.presets.scale import SLICES
    from lrm_jax.recipes.aot import estimate
    from lrm_jax.recipes.aot_sweep import sweep

    config = apply_overrides(presets.get(args.preset), args.overrides)
    topology, mesh = args.topology, parse_mesh(args.mesh)
    if topology is None and args.preset in SLICES:
        topology = SLICES[args.preset].topology
    if topology is None:
        raise UsageError("--topology is missing, for example --topology v5e:2x4")
    meant = SLICES.get(args.preset)
    if mesh is None and meant is not None and meant.topology == topology:
        mesh = meant.mesh
    programs = [word.strip() for word in args.programs.split(",") if word.strip()]
    options: dict[str, Any] = {
        "slices": args.slices,
        "programs": programs,
        "full_effort": args.full_effort,
        "timeout_s": args.timeout,
    }
    if args.sweep:
        found = sweep(config, topology, show=_show, **options)
        return Outcome(found, describe_sweep(found), 0 if found["smallest"] else 1)
    data = estimate(config, topology, mesh=mesh, **options)
    return Outcome(data, describe(data), 0 if data["fits"] else 1)


def _show(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)


def parse_mesh(text: str | None) -> Any:
    """Return the mesh of `data=2,model=4`; axes left out are 1, data the rest.

    Raises:
      UsageError: names what is no axis or no number.
    """
    from lrm_jax.sharding import MESH_AXES, MeshConfig

    if text is None:
        return None
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            size = int(value)
        except ValueError:
            size = 0
        if name not in MESH_AXES or name in sizes or (size < 1 and size != -1):
            raise UsageError(
                f"--mesh {text!r}: expected data=N,fsdp=N,expert=N,model=N, each a "
                f"whole number or -1 for the rest; got {part.strip()!r}"
            )
        sizes[name] = size
    if -1 in sizes.values():
        sizes.setdefault("data", 1)
    return MeshConfig(**sizes)


def describe(data: dict[str, Any]) -> str:
    """Return what a person reads."""
    mesh = ", ".join(f"{name}={size}" for name, size in data["mesh"].items())
    slices = f"{data['slices']} x " if data["slices"] > 1 else ""
    lines = [
        f"{data['preset']} on {slices}{data['topology']} "
        f"({data['accelerator_type']}): "
        f"{data['chips']} chips, mesh {mesh}",
        f"{'fits' if data['fits'] else 'DOES NOT FIT'}"
        f" (compiled in {data['compile_s']:.0f} s)",
        "",
        memory_table(data),
        "",
    ]
    lines.append(f"FLOPs per chip and step: {data['flops_per_chip']:.4g}")
    if data["fits"]:
        rows = [
            [one["op"], one["axis"], size(one["bytes"]), one["count"]]
            for one in data["collectives"]
        ]
        sent = table(["collective", "axis", "sent", "times"], rows)
        lines += ["", sent] if rows else ["no collectives"]
        seconds = [[name, s] for name, s in data["seconds"].items()]
        lines += [
            "",
            table(["bound", "s"], seconds),
            "",
            f"a step takes {data['step_time_s_estimate']:.4g} s or more, bound by "
            f"{data['bound_by']}; model FLOPs utilization at most "
            f"{100 * data['mfu']:.1f} %",
        ]
    lines += [note for one in data["programs"] for note in one["notes"]]
    return "\n".join(lines)


def memory_table(data: dict[str, Any]) -> str:
    """Return bytes of a chip by what they hold."""
    held = data["bytes_per_chip"]
    rows = [[name, size(value)] for name, value in held.items() if value is not None]
    rows.append(["of", size(data["hbm_bytes"])])
    return table(["memory of a chip", "bytes"], rows)


def size(count: float) -> str:
    """Return bytes as people say them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.3g} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def describe_sweep(found: dict[str, Any]) -> str:
    """Return the table of a sweep, and what it comes to."""
    rows = []
    for one in found["results"]:
        total = None if one["bytes"] is None else size(one["bytes"])
        if total is not None and not one["compiled"]:
            total = f"{total}, not compiled"
        fits = {True: "yes", False: "no"}.get(one["fits"], "refused")
        time_s, bound = one["step_time_s_estimate"], one["bound_by"]
        rows.append([one["topology"], _axes(one), fits, total, time_s, bound])
    head = ["slice", "mesh", "fits", "bytes a chip", "s a step or more", "bound by"]
    lines = [table(head, rows), ""]
    for name in ("smallest", "fastest"):
        one = found[name]
        said = f"{one['topology']} {_axes(one)}" if one else "none"
        lines.append(f"{name}: {said}")
    return "\n".join(lines)


def _axes(one: dict[str, Any]) -> str:
    """A mesh as `--mesh` takes it; no expert axis of 1."""
    return ",".join(
        f"{name}={count}"
        for name, count in one["mesh"].items()
        if name != "expert" or count > 1
    )
