# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Time the training step of a preset and count its work."""

import argparse

from lrm_jax.cli.common import Outcome, table

NAME = "bench"
SUMMARY = "steps/s, FLOPs, memory of a training step; of GRPO the time of its parts"
EXAMPLE = "lrm bench trm_att_sudoku train.batch_size=64 --steps 20"
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "preset", metavar="PRESET", help="a preset; overrides may follow"
    )
    parser.add_argument("--steps", type=int, default=10, help="timed steps")


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax import presets
    from lrm_jax.config import apply_overrides
    from lrm_jax.tooling.bench import bench

    config = apply_overrides(presets.get(args.preset), args.overrides)
    data = bench(config, steps=args.steps)
    return Outcome(data, table(["what", "value"], list(data.items())))
