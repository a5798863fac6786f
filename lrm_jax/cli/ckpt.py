# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""List the checkpoints of a run, or check every byte of them."""

import argparse
from typing import Any

from lrm_jax.cli.common import DONE, FAILED, Outcome, table

NAME = "ckpt"
SUMMARY = "list and check checkpoints"
EXAMPLE = "lrm ckpt verify runs/mlp"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("action", choices=["ls", "verify"])
    parser.add_argument("run", metavar="RUN", help="run folder")


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.training.checkpoint import list_steps
    from lrm_jax.training.files import as_path
    from lrm_jax.types import UserError

    folder = as_path(args.run) / "checkpoints"
    if not folder.exists():
        raise UserError(f"{args.run}: holds no checkpoints; expected a run folder")
    found = [info._asdict() for info in list_steps(folder)]
    return _verify(folder, found) if args.action == "verify" else _list(folder, found)


def _list(folder: Any, found: list[dict[str, Any]]) -> Outcome:
    from lrm_jax.training import manifest

    def state(info: dict[str, Any]) -> str:
        if info["complete"]:
            return "complete"
        begun = folder / str(info["step"])
        return "damaged" if manifest.exists(begun) else "half-written"

    header = ["step", "state", "metric", "best", "MB"]
    rows = [
        [
            info["step"],
            state(info),
            info["metric"],
            "best" if info["best"] else "",
            info["bytes"] / 1e6,
        ]
        for info in found
    ]
    return Outcome({"checkpoints": found}, table(header, rows))


def _verify(folder: Any, found: list[dict[str, Any]]) -> Outcome:
    from lrm_jax.training.checkpoint import verify

    checked = []
    for info in found:
        problems = verify(folder, info["step"])
        checked.append({**info, "ok": not problems, "problems": problems})
    ok = bool(checked) and all(info["ok"] for info in checked)
    lines = [
        f"{info['step']}: {'ok' if info['ok'] else '; '.join(info['problems'])}"
        for info in checked
    ]
    text = "\n".join(lines or ["no checkpoint"])
    code = DONE if ok else FAILED
    return Outcome({"ok": ok, "checkpoints": checked}, text, code)
