# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Train small reasoners on this machine in minutes and show what they learned."""

import argparse

from lrm_jax.cli.common import ENDINGS, Outcome, table

NAME = "quickstart"
SUMMARY = "train small reasoners in minutes: a latent one, and a policy by GRPO"
EXAMPLE = "lrm quickstart --part latent --out runs/quickstart"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--part",
        choices=["latent", "policy", "all"],
        default="all",
        help="what to train",
    )
    parser.add_argument(
        "--control",
        action="store_true",
        help="also train the latent model at depth 1 for the same time",
    )
    parser.add_argument(
        "--out", default="runs/quickstart", help="folder of the run and its report"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes import quickstart
    from lrm_jax.recipes.quickstart_policy import describe

    data = quickstart.run(args.part, args.out, control=args.control)
    if data.get("reason") in ENDINGS:
        return Outcome(data, data["message"], ENDINGS[data["reason"]])
    parts = []
    if "latent" in data:
        rows = [
            [r["budget"], r["exact_accuracy"], *r["ci95"], r["mean_steps"]]
            for r in data["latent"]["results"]
        ]
        header = ["budget", "exact accuracy", "ci95 low", "ci95 high", "mean steps"]
        after = f"{data['latent']['n']} unseen puzzles after {data['time_s']:.0f} s"
        parts.append(f"{after}\n{table(header, rows)}")
    if "policy" in data:
        parts.append(describe(data["policy"]))
    parts.append(f"report: {data['report']} ({data['time_s']:.0f} s in all)")
    return Outcome(data, "\n".join(parts))
