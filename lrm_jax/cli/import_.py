# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Read a published checkpoint (hrm, trm, hf) into a run folder."""

import argparse

from lrm_jax.cli.common import Outcome, UsageError

NAME = "import"
SUMMARY = "a published checkpoint into a run folder"
EXAMPLE = """lrm import hrm downloads/hrm-sudoku runs/hrm-published
  lrm import hf downloads/Qwen3-0.6B runs/qwen3"""
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "kind", choices=["hrm", "trm", "hf"], help="whose format SRC has"
    )
    parser.add_argument(
        "src",
        metavar="SRC",
        help="folder with all_config.yaml or config.json, and weights",
    )
    parser.add_argument("dst", metavar="DST", help="run folder to make")
    parser.add_argument("--arch", metavar="FILE", help="hrm, trm: the model's config")
    dtypes = ["float32", "bfloat16"]
    parser.add_argument("--dtype", choices=dtypes, help="hf: of activations")
    parser.add_argument("--param-dtype", choices=dtypes, help="hf: of the weights")
    parser.add_argument(
        "--scan-layers", action="store_true", help="hf: stack equal layers"
    )
    parser.add_argument(
        "--mtp-layers",
        type=int,
        help="hf: blocks of multi-token prediction to keep (0)",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    if args.kind == "hf":
        from lrm_jax.recipes.convert_hf import import_hf

        if args.arch is not None:
            raise UsageError("--arch is for hrm and trm; an hf folder has config.json")
        data = import_hf(
            args.src,
            args.dst,
            dtype=args.dtype or "float32",
            param_dtype=args.param_dtype or "float32",
            scan_layers=args.scan_layers,
            mtp_layers=args.mtp_layers or 0,
        )
    else:
        from lrm_jax.recipes.convert import import_checkpoint

        for option in ("dtype", "param_dtype", "scan_layers", "mtp_layers"):
            if getattr(args, option):
                raise UsageError(f"--{option.replace('_', '-')} is for hf only")
        data = import_checkpoint(args.kind, args.src, args.dst, arch=args.arch)
    lines = [f"{data['params']:,} parameters in {data['run_dir']}"]
    for key in ("unused", "missing"):
        if data[key]:
            lines.append(f"{key}: {', '.join(data[key])}")
    return Outcome(data, "\n".join([*lines, *data.get("notes", [])]))
