# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Judges of an answer: pure, batched, jit-able, and hashable by their fields.

A judge takes the answer's token ids `[B, S]` and the problem, and says which lanes
are right. Token ids are those of the published data sets (sudoku: blank 1, digit d
is d + 1; maze: `# SGo` are 1 to 5).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.data.views import PuzzleView
from lrm_jax.types import Array, Judge, Problem, UserError

IGNORED = -100
"""The label of a cell that is not supervised."""


def cells_right(ids: Array, problem: Problem) -> tuple[Array, Array]:
    """Return `[B]` labelled cells that are right, and `[B]` labelled cells."""
    labelled = problem["labels"] != IGNORED  # [B, S]
    right = labelled & (ids == problem["labels"])
    return right.sum(-1, dtype=jnp.int32), labelled.sum(-1, dtype=jnp.int32)


def exact_match(ids: Array, problem: Problem) -> Array:
    """Right where every labelled cell is; a problem without labels is not."""
    right, labelled = cells_right(ids, problem)
    return (right == labelled) & (labelled > 0)


@dataclass(frozen=True)
class SudokuJudge:
    """Right where the grid is valid and keeps the givens, whatever the label says.

    Attributes:
      box_rows: rows of a box.
      box_cols: columns of a box; the side is box_rows · box_cols.
    """

    box_rows: int = 3
    box_cols: int = 3

    def __call__(self, ids: Array, problem: Problem) -> Array:
        """Return `[B]` bool."""
        side = self.box_rows * self.box_cols
        digits = ids - 1  # [B, S], 1 .. side where filled
        units = digits[:, self._units()]  # [B, 3 · side, side]
        want = jnp.arange(1, side + 1)[None, None]
        complete = (jnp.sort(units, axis=-1) == want).all((-1, -2))
        given = problem["inputs"] > 1
        return complete & (~given | (ids == problem["inputs"])).all(-1)

    def _units(self) -> np.ndarray:
        """Cells of each row, column and box, `[3 · side, side]`."""
        side = self.box_rows * self.box_cols
        grid = np.arange(side * side).reshape(side, side)
        bands, stacks = side // self.box_rows, side // self.box_cols
        boxes = grid.reshape(bands, self.box_rows, stacks, self.box_cols)
        boxes = boxes.transpose(0, 2, 1, 3).reshape(side, side)
        return np.concatenate([grid, grid.T, boxes])


def judges_for(
    view: PuzzleView, own: Mapping[str, Judge] | None = None
) -> tuple[Judge, dict[str, Judge]]:
    """Return what decides exactness for a kind of puzzle, and its extra judges.

    A Sudoku is solved by any valid grid. A maze is exact by its label, as in the
    published figures; whether the path is a valid shortest one is said apart. The
    task's `own` judges are extra ones.
    """
    own = dict(own or {})
    if view.kind == "sudoku":
        return SudokuJudge(view.box_rows, view.box_cols), {"label": exact_match} | own
    if view.kind == "maze":
        return exact_match, {"valid": MazeJudge(view.rows, view.cols)} | own
    return exact_match, own


def verdict(name: str, judge: Judge, ids: Array, problem: Problem) -> Array:
    """Return what a judge says, `[B]` bool, inside `jax.jit`.

    Raises:
      UserError: it says anything else, or is not written with `jax.numpy`.
    """
    try:
        right = judge(ids, problem)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        raise UserError(
            f"judge {name!r}: it must be written with jax.numpy, without turning "
            "arrays into NumPy ones or Python values"
        ) from None
    shape, dtype = getattr(right, "shape", None), getattr(right, "dtype", None)
    if shape != ids.shape[:1] or dtype != jnp.bool_:
        told = type(right).__name__ if dtype is None else f"{dtype}{list(shape or ())}"
        raise UserError(
            f"judge {name!r} returned {told}; expected bool[{len(ids)}], one verdict a "
            "problem"
        )
    return right


WALL, FREE, START, GOAL, PATH = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class MazeJudge:
    """Right where the answer is the maze with one shortest path marked.

    Any shortest path from start to goal counts; every other cell must be the
    puzzle's.

    Attributes:
      rows: of the maze.
      cols: of the maze.
    """

    rows: int
    cols: int

    def __call__(self, ids: Array, problem: Problem) -> Array:
        """Return `[B]` bool."""
        shape = (-1, self.rows, self.cols)
        maze, answer = problem["inputs"].reshape(shape), ids.reshape(shape)
        path = answer == PATH
        start, goal = maze == START, maze == GOAL
        shortest = _distance(maze != WALL, start, goal)  # [B]
        along = _distance(path | start | goal, start, goal)
        kept = jnp.where(path, maze == FREE, answer == maze).all((1, 2))
        marked = path.sum((1, 2), dtype=jnp.int32)
        # Connected with shortest - 1 cells: every one of them lies on the path.
        one_path = (along == shortest) & (marked == shortest - 1)
        return kept & (shortest > 0) & one_path


def _distance(passable: Array, start: Array, goal: Array) -> Array:
    """Return `[B]` moves from start to goal over passable cells; -1 without a way.

    All grids flood together, one ring an iteration, until none grows any more.
    """

    def grow(reached: Array) -> Array:
        padded = jnp.pad(reached, ((0, 0), (1, 1), (1, 1)))
        up, down = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
        left, right = padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
        return reached | (passable & (up | down | left | right))

    def body(state: tuple[Array, ...]) -> tuple[Array, ...]:
        moves, reached, distance, _ = state
        grown = grow(reached)
        arrived = (grown & goal).any((1, 2)) & (distance < 0)
        distance = jnp.where(arrived, moves + 1, distance)
        growing = ((grown != reached).any((1, 2)) & (distance < 0)).any()
        return moves + 1, grown, distance, growing

    unknown = jnp.full(start.shape[0], -1, jnp.int32)
    state = (jnp.int32(0), start & passable, unknown, jnp.array(True))
    return jax.lax.while_loop(lambda s: s[3], body, state)[2]
