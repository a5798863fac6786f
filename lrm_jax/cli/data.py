# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Build a data set in the published on-disk format, check one, learn from searches.

`build` takes every setting of a preset's `data.` group as key=value or --key value:
side, train_size, test_size, seed, path (a CSV instead of generated puzzles),
test_path, min_rating, max_rating, holdout, allow_multiple. `trees` turns the trees of
`lrm search --trees` into rows to train on, `steps` labels the steps of a policy's
solutions by its own completions.
"""

import argparse
import dataclasses
from typing import Any

from lrm_jax.cli.common import DONE, FAILED, Outcome, Progress, UsageError, table

NAME = "data"
SUMMARY = "build a data set, seeded; check one; learn from searches; label steps"
EXAMPLE = (
    "lrm data build sudoku data/sudoku6 side=6 train_size=5000 seed=1\n"
    "  lrm data check data/sudoku6\n"
    "  lrm data trees sft trees.jsonl sft.jsonl\n"
    "  lrm data steps runs/policy labels.jsonl n=500 completions=8"
)
TAKES_OVERRIDES = True
_TOLD: dict[str, Any] = {
    "description": "Takes settings of a preset's `data.` group as key=value: side, "
    "train_size, test_size, seed, ...",
    "epilog": "example:\n  lrm data build sudoku data/sudoku6 side=6 seed=1",
}
_SIDES = {"sudoku": 9, "maze": 30}
_SHOWN = 20
_TREE_ROWS = {
    "sft": "sft: finished paths that are right",
    "dpo": "dpo: better and worse steps from one place",
    "prm": "prm: steps with their values",
    "value": "value: every node's value and visits",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(
        dest="action", metavar="build|check|trees|steps", required=True
    )
    build = actions.add_parser("build", help="write a data set folder", **_TOLD)
    build.add_argument("kind", choices=list(_SIDES), help="what to build")
    build.add_argument("out", metavar="OUT", help="folder to write; new or empty")
    build.add_argument("--num-aug", type=int, default=0, help="augmented copies")
    build.add_argument(
        "--flavour",
        choices=["hrm", "trm"],
        default="trm",
        help="whose metadata: trm has one key more",
    )
    check = actions.add_parser(
        "check", help="validate a CSV, a data set folder, or a JSONL of labelled steps"
    )
    check.add_argument(
        "path", metavar="PATH", help="CSV, data set folder, or JSONL of labelled steps"
    )
    check.add_argument(
        "--against",
        metavar="PATH",
        help="a set that should share no puzzle (of steps: no problem) with it",
    )
    check.add_argument(
        "--allow-multiple", action="store_true", help="accept several solutions"
    )
    trees = actions.add_parser("trees", help="search trees as training data")
    trees.add_argument("kind", choices=_TREE_ROWS, help="; ".join(_TREE_ROWS.values()))
    trees.add_argument("trees", metavar="TREES", help="file of lrm search --trees")
    trees.add_argument("out", metavar="OUT", help="JSONL to write")
    trees.add_argument(
        "--min-visits", type=int, help="of a step whose value is learned from (2)"
    )
    trees.add_argument(
        "--margin", type=float, help="dpo: least difference of two steps' values (0.2)"
    )
    trees.add_argument("--per-tree", type=int, help="most rows of a tree (all)")
    trees.add_argument(
        "--wrong-paths", action="store_true", help="sft: the best path even if wrong"
    )
    trees.add_argument("--separator", help="between steps (the search's own)")
    trees.add_argument(
        "--scored",
        action="store_true",
        help="prm: labels of values that no verified answer stands behind",
    )
    steps = actions.add_parser(
        "steps",
        help="label the steps of a policy's solutions",
        description="Takes settings as key=value: n, split, method (mc, omega), "
        "solutions, completions, mode (soft, hard), consensus, separator, max_new, "
        "temperature, batch, lanes, seed.",
    )
    steps.add_argument("run", metavar="RUN", help="run folder of a token policy")
    steps.add_argument("out", metavar="OUT", help="JSONL to write")
    steps.add_argument("--data", metavar="FILE", help="problems (the run's own)")


def run(args: argparse.Namespace) -> Outcome:
    """Do it; a check exits 1 when rows are bad or overlap."""
    if args.action not in ("build", "steps") and args.overrides:
        command = f"lrm data {args.action}"
        raise UsageError(f"unknown argument {args.overrides[0]!r} of {command}")
    actions = {"build": _build, "check": _check, "trees": _trees, "steps": _steps}
    return actions[args.action](args)


def _build(args: argparse.Namespace) -> Outcome:
    from lrm_jax.config import apply_overrides
    from lrm_jax.data.pipeline import PuzzleDataConfig
    from lrm_jax.data.puzzle_build import build_maze, build_sudoku

    start = PuzzleDataConfig(kind=args.kind, side=_SIDES[args.kind])
    config = apply_overrides(start, args.overrides)
    write = build_sudoku if args.kind == "sudoku" else build_maze
    data = write(args.out, config, num_aug=args.num_aug, flavour=args.flavour)
    data = {**data, "seed": config.seed}
    return Outcome(data, table(["what", "value"], [[k, v] for k, v in data.items()]))


def _check(args: argparse.Namespace) -> Outcome:
    from lrm_jax.data.check import check_dataset
    from lrm_jax.data.step_check import check_steps

    if args.path.endswith((".jsonl", ".jsonl.gz")):
        if args.allow_multiple:
            raise UsageError("--allow-multiple is for Sudokus")
        report = check_steps(args.path, args.against)
    else:
        report = check_dataset(
            args.path, args.against, allow_multiple=args.allow_multiple
        )
    lines = [
        f"line {row['line']}: {row['reason']}" if row["line"] >= 0 else row["reason"]
        for row in report.bad[:_SHOWN]
    ]
    if len(report.bad) > _SHOWN:
        lines.append(f"and {len(report.bad) - _SHOWN} more")
    counts = {
        "rows": report.rows,
        "bad": len(report.bad),
        "duplicates": report.duplicates,
    }
    counts |= {k: v for k, v in report.details.items() if isinstance(v, int)}
    lines.append(table(["what", "count"], [[k, v] for k, v in counts.items()]))
    lines.append("ok" if report.ok else "NOT OK")
    return Outcome(report.as_json(), "\n".join(lines), DONE if report.ok else FAILED)


def _trees(args: argparse.Namespace) -> Outcome:
    from lrm_jax.recipes.tree_export import ExportConfig, export_trees

    names = [field.name for field in dataclasses.fields(ExportConfig)]
    given = {name: getattr(args, name) for name in names}
    cfg = ExportConfig(**{k: v for k, v in given.items() if v is not None})
    data = export_trees(args.kind, args.trees, args.out, cfg)
    text = f"{data['rows']} rows of {data['trees']} trees: {data['file']}"
    return Outcome(data, text)


def _steps(args: argparse.Namespace) -> Outcome:
    from lrm_jax.config import apply_overrides
    from lrm_jax.recipes.registry import load
    from lrm_jax.recipes.step_labels import StepLabelConfig, label_run
    from lrm_jax.recipes.token_run import TokenRun
    from lrm_jax.types import UserError

    config = apply_overrides(StepLabelConfig(), args.overrides)
    run = load(args.run)
    if not isinstance(run, TokenRun):
        raise UserError(f"{args.run}: no token policy, so it writes no steps")
    data = label_run(run, args.out, config, data=args.data, progress=Progress())
    shown = [[k, v] for k, v in data.items() if k != "settings"]
    return Outcome(data, table(["what", "value"], shown))
