# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sudoku as text: rows apart by `/`, open cells `.`; the thought fills cell by cell.

A step such as `123` sets row 1, column 2 to 3. A cell with one candidate left comes
first, then the one with fewest. Puzzles of one isomorphism class share a split.
"""

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from lrm_jax.data import sudoku
from lrm_jax.data.tasks.base import Example, MadeTask, Slips, Solved, check_noise
from lrm_jax.data.tasks.draws import Draws
from lrm_jax.data.verify.extract import answer_tag
from lrm_jax.data.verify.judge import judge
from lrm_jax.data.verify.tags import ANSWER_OPEN, after_thought
from lrm_jax.data.verify.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class SudokuText(MadeTask[tuple[str, str]]):
    """Minimal puzzles with one solution.

    Attributes:
      side: 4, 6 or 9.
      noise: chance that a step of the worked solution sets a wrong digit, which
        the answer then has.
    """

    name: ClassVar[str] = "sudoku"
    symbols: ClassVar[tuple[str, ...]] = (*"123456789", *"./=,")

    side: int = 4
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse other sides."""
        sudoku.geometry_for(self.side)
        check_noise(self.noise)

    @property
    def geometry(self) -> sudoku.Geometry:
        """The board."""
        return sudoku.geometry_for(self.side)

    def draw(self, draws: Draws) -> tuple[str, str]:
        """Draw a puzzle with its solution, as lines."""
        made = sudoku.generate(self.geometry, 1, draws.bits())
        puzzle, solution = made.puzzles[0], made.solutions[0]
        return sudoku.format_grid(puzzle), sudoku.format_grid(solution)

    def canonical(self, problem: tuple[str, str]) -> str:
        """Return the smallest equivalent puzzle."""
        return _canonical(self.side, problem[0])

    def write(self, problem: tuple[str, str], slips: Slips) -> Solved:
        """Fill the cells one by one."""
        puzzle, solution = problem
        steps, final = [], list(puzzle)
        for cell in solving_order(puzzle, solution, self.side):
            digit = int(solution[cell])
            if slips.slip():
                digit = slips.draws.other(1, self.side, digit)
            final[cell] = str(digit)
            row, column = divmod(cell, self.side)
            steps.append(f"{row + 1}{column + 1}{digit}")
        return Solved(
            prompt=in_rows(puzzle, self.side) + "=",
            answer=in_rows(solution, self.side),
            thought=",".join(steps),
            final=in_rows("".join(final), self.side),
            columns={"puzzle": puzzle},
        )

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion by the rules of the game and the clues."""
        puzzle = example.columns["puzzle"]

        def check(text: str) -> bool | None:
            rows = text.split("/")
            if [len(row) for row in rows] != [self.side] * self.side:
                return None
            return self._solves(puzzle, "".join(rows))

        def check_lenient(text: str) -> bool | None:
            return self._solves(puzzle, "".join(c for c in text if c in "0123456789."))

        return judge(completion, check, find_grid, check_lenient)

    def _solves(self, puzzle: str, answer: str) -> bool | None:
        digits = "123456789"[: self.side]
        if len(answer) != self.geometry.cells or set(answer) - set(digits):
            return None
        grids = [sudoku.parse_grid(text, self.geometry) for text in (puzzle, answer)]
        return bool(sudoku.verify(grids[0][None], grids[1][None], self.geometry)[0])


@functools.lru_cache(maxsize=4096)
def _canonical(side: int, puzzle: str) -> str:
    geometry = sudoku.geometry_for(side)
    grid = sudoku.parse_grid(puzzle, geometry)
    return sudoku.format_grid(sudoku.canonical_form(grid[None], geometry)[0])


def solving_order(puzzle: str, solution: str, side: int) -> list[int]:
    """Return the open cells, those with fewest candidates first at each step."""
    peers = sudoku.geometry_for(side).peers
    grid = list(puzzle)
    order = []
    while "." in grid:
        open_cells = [cell for cell, digit in enumerate(grid) if digit == "."]
        free = [side - len({grid[p] for p in peers[c]} - {"."}) for c in open_cells]
        cell = open_cells[int(np.argmin(free))]
        grid[cell] = solution[cell]
        order.append(cell)
    return order


def in_rows(line: str, side: int) -> str:
    """Put `/` between the rows of a line of cells."""
    return "/".join(line[i : i + side] for i in range(0, len(line), side))


def find_grid(completion: str) -> str | None:
    """Return what the answer tag holds, or the text after the thought."""
    text = after_thought(completion)
    return answer_tag(text) if ANSWER_OPEN in text else text
