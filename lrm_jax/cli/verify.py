# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Run a reference fixture and print the largest difference of every output."""

import argparse

from lrm_jax.cli.common import DONE, FAILED, Outcome, table

NAME = "verify"
SUMMARY = "compare with reference numbers; exit 1 when over tolerance"
EXAMPLE = "lrm verify fixtures/hrm"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("folder", metavar="FOLDER", help="a fixture, or a tree of them")


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.verify import verify

    data = verify(args.folder)
    rows = [[name, value] for name, value in data["max_diff"].items()]
    verdict = "ok" if data["ok"] else "FAILED: " + ", ".join(data["failed"])
    text = f"{table(['output', 'largest difference'], rows)}\n{verdict}"
    return Outcome(data, text, DONE if data["ok"] else FAILED)
