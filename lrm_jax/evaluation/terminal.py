# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trace of thought as text: boards side by side, in ANSI colours or without.

With colour: givens bold, changed cells cyan, wrong cells red and underlined, cells
the reasoner doubts (below one half) dim. Without: a changed cell is followed by `*`,
a wrong one by `!`; a maze is drawn with one character a cell and no marks.
"""

import numpy as np

from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation.html import givens
from lrm_jax.evaluation.trace import ThoughtTrace, cell_marks

RESET, BOLD, DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
CYAN, RED_UNDERLINED = "\x1b[36m", "\x1b[31;4m"
GAP = 4
"""Columns between two boards."""


def draw_thinking(
    trace: ThoughtTrace, view: PuzzleView, *, color: bool = False, width: int = 80
) -> str:
    """Return the puzzle and the answer after each step, as text.

    Args:
      trace: one problem's thinking.
      view: how the puzzle is written.
      color: use ANSI codes; pass whether the output is a terminal.
      width: columns of the terminal; as many boards stand side by side as fit.
    """
    boards = [["puzzle", *_board(trace, view, 0, color)]]
    for t, halt in enumerate(trace.halt_prob, 1):
        head = f"step {t}  halt {100 * halt:.0f}%"
        boards.append([head, *_board(trace, view, t, color)])
    board_width = _board_width(view)
    size = max(board_width, *(len(board[0]) for board in boards)) + GAP
    per_line = max(1, (width + GAP) // size)
    lines = []
    for first in range(0, len(boards), per_line):
        row = boards[first : first + per_line]
        lines.append("".join(board[0].ljust(size) for board in row).rstrip())
        # Codes take no room on the screen: pad by the board's width, not len().
        pad = " " * (size - board_width)
        bodies = zip(*(board[1:] for board in row), strict=True)
        lines += [pad.join(parts).rstrip() for parts in bodies]
        lines.append("")
    return "\n".join([*lines, _legend(trace, view, color)]).rstrip()


def _board(trace: ThoughtTrace, view: PuzzleView, t: int, color: bool) -> list[str]:
    """One board's lines, all of the same visible width; t = 0 is the puzzle."""
    now = trace.preds[t - 1] if t else trace.inputs
    before = trace.preds[t - 2] if t > 1 else trace.inputs
    changed = now != before
    wrong = (cell_marks(trace, t - 1) < 0) if t else np.zeros(now.shape, bool)
    doubted = (trace.confidence[t - 1] < 0.5) if t else np.zeros(now.shape, bool)
    given = givens(trace.inputs, view)
    text = view.render(now)
    lines = []
    for row in range(view.rows):
        if row and view.box_rows and row % view.box_rows == 0:
            lines.append(_rule(view))
        line = ""
        for col in range(view.cols):
            i = row * view.cols + col
            if col and view.box_cols and col % view.box_cols == 0:
                line += "| "
            flags = (bool(given[i]), bool(changed[i]), bool(wrong[i]))
            line += _cell(text[i], view, color, *flags, doubted=bool(doubted[i]))
        lines.append(line)
    return lines


def _cell(
    char: str,
    view: PuzzleView,
    color: bool,
    given: bool,
    changed: bool,
    wrong: bool,
    *,
    doubted: bool,
) -> str:
    """One cell, as wide as its view's cells are."""
    room = " " if _cell_width(view) == 2 else ""
    if not color:
        mark = "!" if wrong else "*" if changed else " "
        return char + (mark if room else "")
    codes = BOLD if given and not wrong else DIM if doubted else ""
    codes += RED_UNDERLINED if wrong else CYAN if changed else ""
    return f"{codes}{char}{RESET}{room}" if codes else char + room


def _cell_width(view: PuzzleView) -> int:
    return 1 if view.kind == "maze" else 2


def _board_width(view: PuzzleView) -> int:
    bars = (view.cols // view.box_cols - 1) if view.box_cols else 0
    return _cell_width(view) * view.cols + 2 * bars


def _rule(view: PuzzleView) -> str:
    """The line between two bands of boxes, as wide as the board."""
    boxes = view.cols // view.box_cols if view.box_cols else 1
    part = "-" * (2 * view.box_cols)
    return "+-".join([part] * boxes) if view.box_cols else "-" * _board_width(view)


def _legend(trace: ThoughtTrace, view: PuzzleView, color: bool) -> str:
    """What the marks mean; nothing where there are none."""
    known = trace.labels is not None
    if color:
        parts = [f"{BOLD}given{RESET}", f"{CYAN}changed{RESET}"]
        parts.append(f"{DIM}less than half sure{RESET}")
        return "  ".join(parts + ([f"{RED_UNDERLINED}wrong{RESET}"] if known else []))
    if _cell_width(view) == 1:
        return ""
    return "* changed" + ("  ! wrong" if known else "")
