# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Read a published checkpoint (hrm, trm, hf) into a run folder."""

import argparse
from typing import Any

from lrm_jax.cli.common import Outcome, UsageError

NAME = "import"
SUMMARY = "a published checkpoint into a run folder"
EXAMPLE = """lrm import hrm downloads/hrm-sudoku runs/hrm-published
  lrm import hf downloads/Qwen3-0.6B runs/qwen3
  lrm import hf downloads/Qwen2.5-Math-PRM-7B runs/prm --reader qwen"""
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
    parser.add_argument(
        "--reader",
        metavar="NAME",
        help="hf: a reward model, and how it is read: qwen, trl, skywork, "
        "math_shepherd or rlhflow",
    )
    parser.add_argument(
        "--separator",
        metavar="TEXT",
        help="hf: of a reward model's steps, in place of the reader's own; "
        "\\n is a line's end",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    if args.separator and not args.reader:
        raise UsageError("--separator is for reward models; name a --reader")
    if args.kind == "hf" and args.reader:
        data = _import_reward(args)
    elif args.kind == "hf":
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

        hf_only = ("dtype", "param_dtype", "scan_layers", "mtp_layers", "reader")
        for option in hf_only:
            if getattr(args, option):
                raise UsageError(f"--{option.replace('_', '-')} is for hf only")
        data = import_checkpoint(args.kind, args.src, args.dst, arch=args.arch)
    lines = [f"{data['params']:,} parameters in {data['run_dir']}"]
    for key in ("unused", "missing"):
        if data[key]:
            lines.append(f"{key}: {', '.join(data[key])}")
    return Outcome(data, "\n".join([*lines, *data.get("notes", [])]))


def _import_reward(args: argparse.Namespace) -> dict[str, Any]:
    """Import a reward model's folder."""
    from lrm_jax.recipes.import_reward import import_reward

    for option in ("arch", "mtp_layers"):
        if getattr(args, option):
            raise UsageError(f"--{option.replace('_', '-')}: not for reward models")
    return import_reward(
        args.src,
        args.dst,
        reader=args.reader,
        separator=(args.separator or "").replace("\\n", "\n"),
        dtype=args.dtype or "float32",
        param_dtype=args.param_dtype or "float32",
        scan_layers=args.scan_layers,
    )
