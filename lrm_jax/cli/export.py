# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Write a run's parameters in a published format (hrm, trm)."""

import argparse

from lrm_jax.cli.common import Outcome

NAME = "export"
SUMMARY = "a run's parameters into a published format"
EXAMPLE = "lrm export trm runs/mlp exported/trm"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("kind", choices=["hrm", "trm"], help="whose format to write")
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("dst", metavar="DST", help="folder to write to")


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.convert import export_checkpoint

    data = export_checkpoint(args.kind, args.run, args.dst)
    return Outcome(data, "\n".join(str(path) for path in data["files"]))
