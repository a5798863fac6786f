# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Run a reference fixture and print the largest difference of every output."""

import argparse
import sys

from lrm_jax.cli.common import DONE, FAILED, WRONG_INPUT, Outcome, table

NAME = "verify"
SUMMARY = "compare with reference numbers; exit 1 when over tolerance"
EXAMPLE = "lrm verify fixtures/hrm"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("folder", metavar="FOLDER", help="a fixture, or a tree of them")
    parser.add_argument(
        "--no-float64",
        action="store_true",
        help="compare in float32 alone: faster, less sharp; a gradient that rounding "
        "cannot tell from zero may then fail a step of training",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.verify import verify

    data = verify(
        args.folder,
        float64=not args.no_float64,
        progress=lambda line: print(line, file=sys.stderr),
    )
    rows = [[name, value] for name, value in data["max_diff"].items()]
    lines = [table(["output", "largest difference"], rows), *data["failed"]]
    for name, folder in data["folders"].items():
        lines += [f"note: {name}: {note}" for note in folder["notes"]]
        if folder["unchecked"]:
            lines.append(f"unchecked: {name}: {', '.join(folder['unchecked'])}")
    lines += [f"skipped: {name}: no verifier for its kind" for name in data["skipped"]]
    text = "\n".join([*lines, "ok" if data["ok"] else "NOT OK"])
    code = DONE if data["ok"] else FAILED
    return Outcome(data, text, WRONG_INPUT if data["errors"] else code)
