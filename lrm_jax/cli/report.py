# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables, curves and a page that plays the thinking, from run folders alone."""

import argparse

from lrm_jax.cli.common import Outcome

NAME = "report"
SUMMARY = "tables (mean and s.e. over seeds), plots and an HTML page of runs"
EXAMPLE = "lrm report runs/mlp-* --out report --format md html"
TAKES_OVERRIDES = False
FORMATS = ("md", "tex", "csv", "png", "html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument(
        "--out", help="folder to write to (default: report/, in the only run or here)"
    )
    parser.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=list(FORMATS),
        help="what to write (default: all)",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.evaluation.report import write_report

    data = write_report(args.runs, args.out, tuple(args.format))
    return Outcome(data, "\n".join(str(path) for path in data["files"]))
