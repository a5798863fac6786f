# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measure a run at one or several thinking budgets in one pass."""

import argparse

from lrm_jax.cli.common import Outcome, show_count, table

NAME = "eval"
SUMMARY = "accuracy of a run at one or several thinking budgets"
EXAMPLE = "lrm eval runs/mlp --data puzzles.csv --budget 0 4 16+halt"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("run", metavar="RUN", help="run folder; RUN@STEP for a step")
    parser.add_argument(
        "--data", metavar="PATH", help="CSV or dataset folder (default: the run's own)"
    )
    parser.add_argument(
        "--budget",
        nargs="+",
        action="extend",
        metavar="B",
        help="0 (least), N, N+halt, -1 (the recipe's own rule), low, medium, high",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.run import load

    data = load(args.run).evaluate(args.data, budgets=args.budget, on_batch=show_count)
    rows = [
        [r["budget"], r["exact_accuracy"], *r["ci95"], r["mean_steps"]]
        for r in data["results"]
    ]
    header = ["budget", "exact accuracy", "ci95 low", "ci95 high", "mean steps"]
    return Outcome(data, f"{data['n']} puzzles\n{table(header, rows)}")
