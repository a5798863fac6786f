# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Write a run's parameters in a published format (hrm, trm, hf)."""

import argparse

from lrm_jax.cli.common import Outcome, UsageError

NAME = "export"
SUMMARY = "a run's parameters into a published format"
EXAMPLE = """lrm export trm runs/mlp exported/trm
  lrm export hf runs/grpo@best exported/grpo --dtype bfloat16"""
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "kind", choices=["hrm", "trm", "hf"], help="whose format to write"
    )
    parser.add_argument("run", metavar="RUN", help="run folder, or RUN@step")
    parser.add_argument("dst", metavar="DST", help="folder to write to")
    parser.add_argument(
        "--step", help="a number, latest or best (the default where one was evaluated)"
    )
    parser.add_argument(
        "--no-ema", action="store_true", help="the trained weights, not their average"
    )
    parser.add_argument(
        "--format",
        choices=["safetensors", "torch"],
        help="hrm, trm: of the weights' file; as imported if not given",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        help="hf: of the weights; as imported if not given",
    )
    parser.add_argument(
        "--shard-bytes", type=int, help="hf: largest size of a file (5 GB)"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    step = int(args.step) if args.step and args.step.isdigit() else args.step
    if step is not None and not isinstance(step, int) and step not in _NAMED:
        raise UsageError(f"--step {step}: expected a number, latest or best")
    if args.kind == "hf":
        from lrm_jax.recipes.convert_hf import SHARD_BYTES, export_hf

        _refuse(args, ("format",), "hrm and trm")
        data = export_hf(
            args.run,
            args.dst,
            step=step,
            ema=not args.no_ema,
            dtype=args.dtype,
            shard_bytes=SHARD_BYTES if args.shard_bytes is None else args.shard_bytes,
        )
    else:
        from lrm_jax.recipes.convert import export_checkpoint

        _refuse(args, ("dtype", "shard_bytes"), "hf")
        data = export_checkpoint(
            args.kind,
            args.run,
            args.dst,
            step=step,
            ema=not args.no_ema,
            fmt=args.format,
        )
    title = f"checkpoint of step {data['step']}, {data['tensors']} tensors"
    return Outcome(data, "\n".join([title, *map(str, data["files"])]))


_NAMED = ("latest", "best")


def _refuse(args: argparse.Namespace, options: tuple[str, ...], kinds: str) -> None:
    for option in options:
        if getattr(args, option) is not None:
            raise UsageError(f"--{option.replace('_', '-')} is for {kinds} only")
