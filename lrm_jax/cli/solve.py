# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Solve one puzzle and show the thinking, segment by segment."""

import argparse
from typing import Any

from lrm_jax.cli.common import Outcome

NAME = "solve"
SUMMARY = "one puzzle; shows the thinking step by step"
EXAMPLE = "lrm solve runs/quickstart --puzzle '1... ..2. .3.. ...4' --budget 8"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("run", metavar="RUN", help="run folder; RUN@STEP for a step")
    parser.add_argument(
        "--puzzle", required=True, metavar="TEXT", help="row by row, . or 0 for blank"
    )
    parser.add_argument(
        "--budget", default="-1", metavar="B", help="thinking budget (see lrm eval)"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.run import load

    data = load(args.run).solve(args.puzzle, budget=args.budget)
    return Outcome(data, _text(data))


def _text(data: dict[str, Any]) -> str:
    return str(data["answer"])
