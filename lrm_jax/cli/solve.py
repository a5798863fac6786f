# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Solve one puzzle and show the thinking, segment by segment."""

import argparse
from typing import Any

from lrm_jax.cli.common import Outcome

NAME = "solve"
SUMMARY = "one puzzle; shows the thinking step by step"
EXAMPLE = "lrm solve runs/quickstart --puzzle '1... ..2. .3.. ...4' --budget 8"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("run", metavar="RUN", help="run folder; RUN@STEP for a step")
    parser.add_argument(
        "--puzzle", required=True, metavar="TEXT", help="row by row, . or 0 for blank"
    )
    parser.add_argument(
        "--budget", default="-1", metavar="B", help="thinking budget (see lrm eval)"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.run import load

    data = load(args.run).solve(args.puzzle, budget=args.budget)
    verdict = "valid" if data["valid"] else "not valid"
    ending = "halted by itself" if data["halted"] else "budget spent"
    text = f"{data['answer']}\n{verdict}, {data['steps']} steps, {ending}"
    return Outcome(data, f"{thinking(data, args.color)}\n\n{text}")


def thinking(data: dict[str, Any], color: bool, width: int = 80) -> str:
    """Draw every step's board; what changed is marked, confidence is its shade.

    Args:
      data: `puzzle` and each `answer` of `trace` row by row; `rows`, `cols`,
        `box_rows`, `box_cols` (0 for no boxes); `confidence` and `halt_prob` of
        each step.
      color: use ANSI colours; without them a changed cell is followed by `*`.
      width: of the terminal.
    """
    blocks, before = [], data["puzzle"]
    for number, step in enumerate(data["trace"], 1):
        head = f"step {number}  halt {step['halt_prob']:.2f}"
        blocks.append([head, *_board(data, step, before, color)])
        before = step["answer"]
    size = max(len(blocks[0][0]), _board_width(data)) + 3 if blocks else width
    per_line = max(1, width // size)
    lines = []
    for first in range(0, len(blocks), per_line):
        beside = blocks[first : first + per_line]
        heads = "".join(block[0].ljust(size) for block in beside).rstrip()
        gap = " " * (size - _board_width(data))
        boards = [
            gap.join(row).rstrip() for row in zip(*(b[1:] for b in beside), strict=True)
        ]
        lines += [heads, *boards, ""]
    return "\n".join(lines).rstrip()


def _board_width(data: dict[str, Any]) -> int:
    boxes = data["cols"] // data["box_cols"] if data["box_cols"] else 1
    return 2 * data["cols"] + 2 * (boxes - 1)


def _board(
    data: dict[str, Any], step: dict[str, Any], before: str, color: bool
) -> list[str]:
    lines = []
    for row in range(data["rows"]):
        if row and data["box_rows"] and row % data["box_rows"] == 0:
            lines.append(" " * _board_width(data))
        line = ""
        for col in range(data["cols"]):
            if col and data["box_cols"] and col % data["box_cols"] == 0:
                line += "| "
            at = row * data["cols"] + col
            cell, changed = step["answer"][at], step["answer"][at] != before[at]
            line += _cell(cell, changed, step["confidence"][at], color)
        lines.append(line)
    return lines


def _cell(cell: str, changed: bool, confidence: float, color: bool) -> str:
    if not color:
        return cell + ("*" if changed else " ")
    if changed:
        return f"\x1b[1;33m{cell}\x1b[0m "
    grey = 240 + round(15 * min(max(confidence, 0.0), 1.0))  # 240..255: grey to white
    return f"\x1b[38;5;{grey}m{cell}\x1b[0m "
