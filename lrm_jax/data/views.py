# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a kind of puzzle is written, read, drawn and judged: tokens to text and back."""

import dataclasses

import numpy as np

from lrm_jax.data import maze, sudoku
from lrm_jax.types import UserError

PAD = "?"
"""Shown for token 0 and for tokens outside the vocabulary."""


@dataclasses.dataclass(frozen=True)
class PuzzleView:
    """The face of a kind of puzzle.

    Attributes:
      kind: "sudoku", "maze", "arc" or a name of the user's own.
      rows: rows of the board.
      cols: columns of the board; rows * cols is the sequence length.
      box_rows: rows of a box, 0 where there are no boxes.
      box_cols: columns of a box, 0 where there are no boxes.
      charset: the character of each token; its length is the vocabulary size.
    """

    kind: str
    rows: int
    cols: int
    box_rows: int
    box_cols: int
    charset: str

    @property
    def seq_len(self) -> int:
        """Number of cells."""
        return self.rows * self.cols

    @property
    def vocab_size(self) -> int:
        """Number of tokens, pad included."""
        return len(self.charset)

    @property
    def geometry(self) -> sudoku.Geometry:
        """The Sudoku board; only where there are boxes."""
        return sudoku.Geometry(self.rows, self.box_rows, self.box_cols)

    def parse(self, text: str) -> np.ndarray:
        """Return token ids int32 `[S]` of a puzzle written as one line.

        Line breaks are left out, and spaces where they are no cell (in a maze they
        are); a Sudoku's open cells are `.` or `0`. Refuses a wrong length, a foreign
        character and, for Sudoku, equal clues in a unit.
        """
        line = text.replace("\r", "").replace("\n", "")
        if " " not in self.charset:
            line = "".join(line.split())
        if len(line) != self.seq_len:
            raise UserError(
                f"puzzle of {len(line)} characters; {self.kind} of {self.rows}x"
                f"{self.cols} has {self.seq_len}"
            )
        if self.kind == "sudoku":
            digits = sudoku.parse_grid(line, self.geometry)
            conflict = describe_conflict(digits, self.geometry)
            if conflict:
                raise UserError(f"puzzle cannot be solved: {conflict}")
            return digits.astype(np.int32) + 1
        ids = np.array([self.charset.find(c) for c in line], np.int32)
        if (ids < 1).any():
            at = int((ids < 1).argmax())
            raise UserError(
                f"puzzle character {at + 1} is {line[at]!r}; accepted are "
                f"{self.charset[1:]!r}"
            )
        if self.kind == "maze":
            for name in "SG":
                if line.count(name) != 1:
                    raise UserError(
                        f"maze with {line.count(name)} cells {name!r}; it needs one"
                    )
        return ids

    def render(self, ids: np.ndarray) -> str:
        """Return token ids as one line of text."""
        known = {i: c for i, c in enumerate(self.charset)}
        return "".join(known.get(int(i), PAD) for i in np.asarray(ids).ravel())

    def render_grid(self, ids: np.ndarray) -> str:
        """Return token ids as text, one line a row of the board."""
        line = self.render(ids)
        return "\n".join(
            line[i : i + self.cols] for i in range(0, len(line), self.cols)
        )

    def is_valid(self, inputs: np.ndarray, answers: np.ndarray) -> np.ndarray | None:
        """Judge answers `[n, S]` by the rules of the puzzle, not by a stored label.

        Returns bool `[n]`; None where the kind has no rules of its own (ARC).
        """
        inputs, answers = np.asarray(inputs), np.asarray(answers)
        if self.kind == "sudoku":
            return sudoku.verify(inputs - 1, answers - 1, self.geometry)
        if self.kind == "maze":
            return maze.verify(inputs, answers)
        return None

    def canonical_form(self, inputs: np.ndarray) -> np.ndarray:
        """Return one representative per isomorphism class of inputs `[n, S]`."""
        inputs = np.asarray(inputs)
        if self.kind == "sudoku":
            return sudoku.canonical_form(inputs - 1, self.geometry) + 1
        if self.kind == "maze" and self.rows == self.cols:
            return maze.canonical_form(inputs)
        return inputs


def describe_conflict(digits: np.ndarray, geometry: sudoku.Geometry) -> str:
    """Return where two equal clues share a unit, in words; empty if nowhere."""
    conflict = sudoku.find_conflict(digits, geometry)
    if conflict is None:
        return ""
    (r1, c1), (r2, c2) = (divmod(cell, geometry.side) for cell in conflict)
    return (
        f"contradicting clues: {digits[conflict[0]]} at row {r1 + 1} column {c1 + 1} "
        f"and at row {r2 + 1} column {c2 + 1}"
    )


def sudoku_view(side: int) -> PuzzleView:
    """Return the view of a 4x4, 6x6 or 9x9 Sudoku."""
    g = sudoku.geometry_for(side)
    charset = PAD + "." + "123456789"[:side]
    return PuzzleView("sudoku", side, side, g.box_rows, g.box_cols, charset)


def maze_view(side: int) -> PuzzleView:
    """Return the view of a square maze."""
    return PuzzleView("maze", side, side, 0, 0, PAD + maze.CHARSET)


def arc_view(seq_len: int = 900) -> PuzzleView:
    """Return the view of an ARC canvas: pad, end strip `|`, colours 0 to 9."""
    side = maze.side_of(seq_len)
    return PuzzleView("arc", side, side, 0, 0, PAD + "|0123456789")
