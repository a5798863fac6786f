# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mazes as text: rows apart by `/`, open cells `.`; the thought is a walk.

The answer is the maze with the path marked `o`; any shortest path is right. The eight
turns of a maze share a split.
"""

import dataclasses
import functools
from typing import ClassVar

from lrm_jax.data import maze
from lrm_jax.data.tasks.base import Example, MadeTask, Slips, Solved, check_noise
from lrm_jax.data.tasks.draws import Draws
from lrm_jax.data.tasks.sudoku_text import find_grid, in_rows
from lrm_jax.data.verify.judge import judge
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

_CELLS = "#.SGo"
_STEPS = {"U": (-1, 0), "D": (1, 0), "L": (0, -1), "R": (0, 1)}


@dataclasses.dataclass(frozen=True)
class MazeText(MadeTask[tuple[str, str]]):
    """Mazes with several shortest paths between start and goal.

    Attributes:
      side: cells in a row.
      noise: chance that a step of the worked walk goes wrong; the answer marks the
        cells that the written walk comes to.
    """

    name: ClassVar[str] = "maze"
    symbols: ClassVar[tuple[str, ...]] = (*_CELLS, *"/=UDLR")

    side: int = 6
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sides that no maze can have."""
        if not 4 <= self.side <= 30:
            raise UserError(f"task.side={self.side}: accepted are 4 to 30")
        check_noise(self.noise)

    def draw(self, draws: Draws) -> tuple[str, str]:
        """Draw a maze and one with its path, as lines."""
        made = maze.generate(self.side, 1, draws.bits())
        grids = (made.puzzles[0], made.solutions[0])
        puzzle, solution = (maze.format_maze(g).replace(" ", ".") for g in grids)
        return puzzle, solution

    def canonical(self, problem: tuple[str, str]) -> str:
        """Return the smallest of the eight turns."""
        return _canonical(problem[0])

    def write(self, problem: tuple[str, str], slips: Slips) -> Solved:
        """Walk the path from the start."""
        puzzle, solution = problem
        walk = "".join(
            slips.draws.choice(sorted(set(_STEPS) - {step})) if slips.slip() else step
            for step in walk_of(solution, self.side)
        )
        return Solved(
            prompt=in_rows(puzzle, self.side) + "=",
            answer=in_rows(solution, self.side),
            thought=walk,
            final=in_rows(marked(puzzle, walk, self.side), self.side),
            columns={"puzzle": puzzle},
        )

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion: a shortest path, and nothing else changed."""
        puzzle = example.columns["puzzle"]

        def check(text: str) -> bool | None:
            rows = text.split("/")
            if [len(row) for row in rows] != [self.side] * self.side:
                return None
            return self._solves(puzzle, "".join(rows))

        def check_lenient(text: str) -> bool | None:
            return self._solves(puzzle, "".join(c for c in text if c in _CELLS))

        return judge(completion, check, find_grid, check_lenient)

    def _solves(self, puzzle: str, answer: str) -> bool | None:
        if len(answer) != len(puzzle) or set(answer) - set(_CELLS):
            return None
        grids = [maze.parse_maze(text.replace(".", " ")) for text in (puzzle, answer)]
        return bool(maze.verify(grids[0][None], grids[1][None])[0])


@functools.lru_cache(maxsize=4096)
def _canonical(puzzle: str) -> str:
    tokens = maze.parse_maze(puzzle.replace(".", " "))
    return maze.format_maze(maze.canonical_form(tokens[None])[0])


def walk_of(solution: str, side: int) -> str:
    """Return the steps along the marked cells, from start to goal."""
    at, before, walk = solution.index("S"), -1, ""
    while solution[at] != "G":
        for name in _STEPS:
            to = step_to(at, name, side)
            if to not in (at, before) and solution[to] in "oG":
                at, before, walk = to, at, walk + name
                break
        else:
            raise ValueError(f"the path breaks off at cell {at} of {solution!r}")
    return walk


def step_to(at: int, step: str, side: int) -> int:
    """Return the cell a step comes to; the edge of the board holds it back."""
    row, column = divmod(at, side)
    down, right = _STEPS[step]
    row = min(max(row + down, 0), side - 1)
    return row * side + min(max(column + right, 0), side - 1)


def marked(puzzle: str, walk: str, side: int) -> str:
    """Return the maze with the cells of a walk marked, start and goal left."""
    cells, at = list(puzzle), puzzle.index("S")
    for step in walk:
        at = step_to(at, step, side)
        if cells[at] not in "SG":
            cells[at] = "o"
    return "".join(cells)
