# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Run the rows of a table, skip finished ones, print mean and standard error."""

import argparse

from lrm_jax.cli.common import Outcome

NAME = "sweep"
SUMMARY = "run a table's rows, skip finished ones, print the table"
EXAMPLE = "lrm sweep experiments/table_halting.py --scale smoke"
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "path",
        metavar="PATH.py",
        help="a table of experiments/; overrides of every row may follow",
    )
    parser.add_argument(
        "--scale", choices=["smoke", "small", "full"], default="full", help="how large"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="ROW", help="these rows (or a*)"
    )
    parser.add_argument("--root", default="runs", help="folder of the run folders")
    parser.add_argument(
        "--dry-run", action="store_true", help="list rows and their state; run nothing"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes import sweep

    data = sweep.run_table(
        sweep.load_table(args.path),
        root=args.root,
        scale=args.scale,
        only=args.only,
        overrides=args.overrides,
        dry_run=args.dry_run,
    )
    return Outcome(data, data["table"])
