# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Solve one puzzle and show the thinking, segment by segment."""

import argparse
import shutil

from lrm_jax.cli.common import Outcome, warning_of

NAME = "solve"
SUMMARY = "one puzzle; shows the thinking step by step"
EXAMPLE = "lrm solve runs/tiny --puzzle '1... ..3. .4.. ...2' --budget 8"
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
    from lrm_jax.evaluation.terminal import draw_thinking
    from lrm_jax.recipes.registry import load
    from lrm_jax.recipes.run import Run
    from lrm_jax.types import UserError

    trained = load(args.run)
    if not isinstance(trained, Run):
        raise UserError(f"{args.run}: a token policy solves no puzzles; see lrm sample")
    solution = trained.solve(args.puzzle, budget=args.budget)
    width = shutil.get_terminal_size().columns
    drawn = draw_thinking(solution.trace, solution.view, color=args.color, width=width)
    verdict = {True: "valid, ", False: "not valid, ", None: ""}[solution.valid]
    ending = "halted by itself" if solution.halted else "budget spent"
    text = f"{drawn}\n\n{solution.answer}\n{verdict}{solution.steps} steps, {ending}"
    return Outcome(solution.to_json() | warning_of(trained), text)
