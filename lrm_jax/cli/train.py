# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Train a preset; the same command on the same run folder goes on where it stopped."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from lrm_jax.cli import several
from lrm_jax.cli.aot import parse_mesh, size
from lrm_jax.cli.common import DONE, ENDINGS, Outcome, UsageError, say_inherited, table

NAME = "train"
SUMMARY = "train a preset; resumes a run folder"
EXAMPLE = (
    "lrm train trm_mlp_sudoku data.path=sudoku.csv train.batch_size=384 "
    "--run-dir runs/mlp"
)
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "preset",
        metavar="PRESET",
        help="a preset, package.module:name, or a config.json; then any number of "
        "overrides key.path=value (or --key.path value)",
    )
    parser.add_argument("--data", metavar="PATH", help="the same as data.path=PATH")
    parser.add_argument(
        "--mesh",
        metavar="AXES",
        help="how the devices are laid out, as data=4,fsdp=8,model=2 (or expert=8): "
        "the same as mesh.data=4 and so on; -1 on one axis for the rest",
    )
    parser.add_argument(
        "--run-dir", metavar="D", help="run folder (default: runs/NAME-HASH)"
    )
    parser.add_argument(
        "--init-from",
        metavar="RUN[@STEP]",
        help="start from the parameters of another run or import",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print config, parameter count and batch shapes; compile nothing",
    )
    parser.add_argument(
        "--explain-sharding",
        action="store_true",
        help="print where every array of a step lies on the mesh, in bytes of a device,"
        " and what lies there more often than it must; train and compile nothing",
    )
    parser.add_argument(
        "--profile",
        type=int,
        metavar="STEPS",
        help="write a profiler trace of this many steps after the first",
    )
    parser.add_argument(
        "--stall-s",
        type=float,
        default=600.0,
        metavar="S",
        help="report the stack of every thread after so long without a step; 0 = never"
        " (default: %(default)g)",
    )
    several.add_arguments(parser)


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    if args.profile is not None and args.profile < 1:
        raise UsageError(f"--profile {args.profile}: expected 1 or more steps")
    if not args.stall_s >= 0:
        raise UsageError(f"--stall-s {args.stall_s:g}: expected 0 or more seconds")
    if several.wanted(args) and not (args.dry_run or args.explain_sharding):
        return several.run(args, _train)
    return _train(args)


def _train(args: argparse.Namespace) -> Outcome:
    from lrm_jax import presets, processes
    from lrm_jax.config import apply_overrides, replace
    from lrm_jax.recipes.registry import recipe_of
    from lrm_jax.training import stall

    stall.set_limit(args.stall_s)
    config = apply_overrides(presets.get(args.preset), args.overrides)
    if args.data is not None:
        config = replace(config, {"data.path": args.data})
    if args.mesh is not None:
        config = dataclasses.replace(config, mesh=parse_mesh(args.mesh))
    recipe, asked = recipe_of(config), config
    config = recipe.resolve(config, args.run_dir, args.init_from)
    if processes.is_first():
        say_inherited(asked, config, args.overrides)
    if args.explain_sharding:
        return _explained(config)
    data = recipe.train(
        config,
        args.run_dir or f"runs/{recipe.run_id(config)}",
        init_from=args.init_from,
        dry_run=args.dry_run,
        profile_steps=args.profile,
    )
    return _outcome(data, args.dry_run)


def _explained(config: Any) -> Outcome:
    from lrm_jax.recipes.explain import explain

    data = explain(config)
    mesh = ", ".join(f"{name}={count}" for name, count in data["mesh"].items())
    rows = [
        [leaf.path, _shown(leaf.shape), leaf.dtype, _shown(leaf.spec), size(leaf.bytes)]
        for leaf in data["leaves"]
    ]
    totals = [[name, size(count)] for name, count in data["totals"].items()]
    lines = [
        f"{data['name']}: mesh {mesh} ({data['devices']} devices)",
        "",
        table(["path", "shape", "dtype", "split over", "bytes a device"], rows),
        "",
        table(["group", "bytes a device"], totals),
        *[f"warning: {one.message}" for one in data["warnings"]],
        *[f"note: {note}" for note in data["notes"]],
    ]
    return Outcome(data, "\n".join(lines))


def _shown(parts: Sequence[Any]) -> str:
    return f"[{', '.join('-' if part is None else str(part) for part in parts)}]"


def _outcome(data: dict, dry_run: bool) -> Outcome:
    if dry_run:
        return Outcome(data, _dry_run_text(data))
    code = ENDINGS.get(data["reason"], DONE)
    text = f"{data['message']}\n{data['run_dir']}, step {data['step']}\n"
    rows = [[name, value] for name, value in sorted(data["metrics"].items())]
    return Outcome(data, text + table(["metric", "last"], rows), code)


def _dry_run_text(data: dict) -> str:
    import json

    shapes = [[name, str(shape)] for name, shape in data["batch"].items()]
    return (
        f"{json.dumps(data['config'], indent=2)}\n"
        f"{data['params']:,} trainable parameters\n{table(['batch', 'shape'], shapes)}"
    )
