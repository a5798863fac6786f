# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Read a published checkpoint (hrm, trm) into a run folder."""

import argparse

from lrm_jax.cli.common import Outcome

NAME = "import"
SUMMARY = "a published checkpoint into a run folder"
EXAMPLE = "lrm import hrm downloads/hrm-sudoku runs/hrm-published"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("kind", choices=["hrm", "trm"], help="whose format SRC has")
    parser.add_argument(
        "src", metavar="SRC", help="folder with all_config.yaml or config.json, weights"
    )
    parser.add_argument("dst", metavar="DST", help="run folder to make")
    parser.add_argument("--arch", metavar="FILE", help="the model's config")


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.convert import import_checkpoint

    data = import_checkpoint(args.kind, args.src, args.dst, arch=args.arch)
    text = f"{data['params']:,} parameters in {data['run_dir']}"
    for key in ("unused", "missing"):
        if data[key]:
            text += f"\n{key}: {', '.join(data[key])}"
    return Outcome(data, text)
