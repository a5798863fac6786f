# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Train a small reasoner on this machine in minutes and show what thinking buys."""

import argparse

from lrm_jax.cli.common import ENDINGS, Outcome, table

NAME = "quickstart"
SUMMARY = "train a small reasoner in minutes; accuracy against thinking budget"
EXAMPLE = "lrm quickstart --part latent --out runs/quickstart"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--part", choices=["latent", "all"], default="all", help="what to train"
    )
    parser.add_argument(
        "--control",
        action="store_true",
        help="also train the same model at depth 1 for the same time",
    )
    parser.add_argument(
        "--out", default="runs/quickstart", help="folder of the run and its report"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes import quickstart

    data = quickstart.run(args.part, args.out, control=args.control)
    if data.get("reason") in ENDINGS:
        return Outcome(data, data["message"], ENDINGS[data["reason"]])
    rows = [
        [r["budget"], r["exact_accuracy"], *r["ci95"], r["mean_steps"]]
        for r in data["latent"]["results"]
    ]
    header = ["budget", "exact accuracy", "ci95 low", "ci95 high", "mean steps"]
    text = (
        f"{data['latent']['n']} unseen puzzles after {data['time_s']:.0f} s\n"
        f"{table(header, rows)}\nreport: {data['report']}"
    )
    return Outcome(data, text)
