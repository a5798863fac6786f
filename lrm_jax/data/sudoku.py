# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sudoku of 4x4, 6x6 and 9x9 cells: solve, rate, verify, generate, compare.

Grids are uint8 `[n, cells]`, row-major, 0 for an open cell. The inner loops are
compiled (`sudoku_kernels`) on first use; checking a grid needs NumPy only.
"""

import dataclasses
import functools
import itertools
from typing import NamedTuple

import numpy as np

from lrm_jax.data import counter_rng
from lrm_jax.types import UserError

_BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
_VERIFIED_AT_ONCE = 4096
_SOLVED_AT_ONCE = 1024  # by one thread
_GENERATE = 0x5D0C  # purpose word of the generator's random stream


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A Sudoku board.

    Attributes:
      side: cells in a row, and number of digits.
      box_rows: rows of a box.
      box_cols: columns of a box; `box_rows * box_cols == side`.
    """

    side: int
    box_rows: int
    box_cols: int

    def __post_init__(self):
        """Refuse boxes that do not hold every digit once."""
        if self.box_rows * self.box_cols != self.side:
            raise UserError(
                f"sudoku boxes of {self.box_rows}x{self.box_cols} cells do not hold "
                f"{self.side} digits; box rows times box columns must be the side"
            )

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.side * self.side

    @property
    def square_boxes(self) -> bool:
        """Whether transposing a valid grid gives a valid grid."""
        return self.box_rows == self.box_cols

    @functools.cached_property
    def units(self) -> np.ndarray:
        """Cells of each row, column and box, int32 `[3 * side, side]`."""
        grid = np.arange(self.cells, dtype=np.int32).reshape(self.side, self.side)
        boxes = [
            grid[i : i + self.box_rows, j : j + self.box_cols].ravel()
            for i in range(0, self.side, self.box_rows)
            for j in range(0, self.side, self.box_cols)
        ]
        return np.stack([*grid, *grid.T, *boxes])

    @functools.cached_property
    def peers(self) -> np.ndarray:
        """Cells that share a unit with each cell, int32 `[cells, peers]`."""
        rows = [
            sorted(set(self.units[(self.units == cell).any(1)].ravel()) - {cell})
            for cell in range(self.cells)
        ]
        return np.array(rows, np.int32)

    @functools.cached_property
    def column_orders(self) -> np.ndarray:
        """Every validity-keeping column order, int32 `[orders, side]`."""
        stacks = self.side // self.box_cols
        inner = list(itertools.permutations(range(self.box_cols)))
        orders = [
            [
                stack * self.box_cols + c
                for stack, p in zip(order, ps, strict=True)
                for c in p
            ]
            for order in itertools.permutations(range(stacks))
            for ps in itertools.product(inner, repeat=stacks)
        ]
        return np.array(orders, np.int32)


def geometry_for(side: int) -> Geometry:
    """Return the board of a side: 4 (2x2 boxes), 6 (2 rows x 3 columns) or 9."""
    if side not in _BOXES:
        raise UserError(f"sudoku side {side}: accepted are 4, 6 and 9")
    return Geometry(side, *_BOXES[side])


class Solved(NamedTuple):
    """What the solver found, one entry a puzzle."""

    solutions: np.ndarray  # [n, cells] uint8, the first one found; zeros if none
    counts: np.ndarray  # [n] int64, number of solutions up to the limit
    ratings: np.ndarray  # [n] int64, candidates refuted before the first solution


class Generated(NamedTuple):
    """Generated puzzles: minimal, distinct, each with exactly one solution."""

    puzzles: np.ndarray  # [n, cells] uint8
    solutions: np.ndarray  # [n, cells] uint8
    ratings: np.ndarray  # [n] int64


def _as_grids(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    grids = np.ascontiguousarray(puzzles, dtype=np.uint8)
    if grids.ndim != 2 or grids.shape[1] != geometry.cells:
        raise ValueError(f"want [n, {geometry.cells}], got {grids.shape}")
    if grids.size and grids.max() > geometry.side:
        raise ValueError(f"digit {grids.max()} on a board of side {geometry.side}")
    return grids


def solve(puzzles: np.ndarray, geometry: Geometry, limit: int = 2) -> Solved:
    """Solve puzzles `[n, cells]`, counting solutions up to `limit` each.

    A puzzle without solution has count 0, rating 0 and a zero grid.
    """
    from lrm_jax.data import sudoku_kernels
    from lrm_jax.data.jit import in_threads

    grids = _as_grids(puzzles, geometry)
    parts = [
        grids[at : at + _SOLVED_AT_ONCE]
        for at in range(0, max(1, len(grids)), _SOLVED_AT_ONCE)
    ]

    def solve_part(part: np.ndarray) -> tuple[np.ndarray, ...]:
        return sudoku_kernels.solve_all(part, limit, geometry.units, geometry.peers)

    found = in_threads(solve_part, parts)
    solved = Solved(*(np.concatenate(column) for column in zip(*found, strict=True)))
    solved.ratings[solved.counts == 0] = 0
    return solved


def count_solutions(puzzles: np.ndarray, geometry: Geometry, limit: int) -> np.ndarray:
    """Return the number of solutions of each puzzle, `[n]`, up to `limit`."""
    return solve(puzzles, geometry, limit).counts


def rate(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the difficulty `[n]`: candidates refuted before the first solution.

    After naked and hidden singles to a fixpoint, the open cell with the fewest
    candidates (lowest index first) is tried in ascending order; 0 means that
    singles alone solve the puzzle.
    """
    return solve(puzzles, geometry, 1).ratings


def verify(puzzles: np.ndarray, answers: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return bool `[n]`: the answer is a valid grid that agrees with the clues."""
    puzzles, answers = np.asarray(puzzles), np.asarray(answers)
    right = np.empty(len(answers), bool)
    for at in range(0, len(answers), _VERIFIED_AT_ONCE):
        rows = slice(at, at + _VERIFIED_AT_ONCE)
        right[rows] = _verify(puzzles[rows], answers[rows], geometry)
    return right


def _verify(puzzles: np.ndarray, answers: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Verify few enough rows for the processor's cache: a bit a digit, or-ed."""
    side, rows, cols = geometry.side, geometry.box_rows, geometry.box_cols
    agrees = ((puzzles == 0) | (puzzles == answers)).all(-1)
    known = (answers >= 1) & (answers <= side)
    table = np.append(np.uint16(0), np.uint16(1) << np.arange(side, dtype=np.uint16))
    bits = table[np.where(known, answers, 0)].reshape(-1, side, side)
    boxes = bits.reshape(-1, side // rows, rows, side // cols, cols)
    full = np.uint16((1 << side) - 1)
    for unit, axes in ((bits, 1), (bits, 2), (boxes, (2, 4))):
        seen = np.bitwise_or.reduce(unit, axis=axes)
        agrees &= (seen == full).reshape(len(agrees), side).all(-1)
    return agrees


def find_conflict(puzzle: np.ndarray, geometry: Geometry) -> tuple[int, int] | None:
    """Return two cells of one unit that hold the same clue, or None."""
    puzzle = np.asarray(puzzle)
    for unit in geometry.units:
        first: dict[int, int] = {}
        for cell in unit:
            digit = int(puzzle[cell])
            if digit and digit in first:
                return first[digit], int(cell)
            first[digit] = int(cell)
    return None


def is_minimal(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return bool `[n]`: no clue can go without a second solution appearing.

    The puzzles must have exactly one solution.
    """
    from lrm_jax.data import sudoku_kernels

    grids = _as_grids(puzzles, geometry).copy()
    return sudoku_kernels.minimal_all(grids, geometry.units, geometry.peers)


def canonical_form(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return the smallest equivalent puzzle of each, uint8 `[n, cells]`.

    Equivalent: renamed digits; permuted bands, stacks, rows in a band and columns
    in a stack; transposed where boxes are square. Two puzzles are isomorphic
    exactly when their canonical forms are equal.
    """
    from lrm_jax.data import sudoku_kernels

    return sudoku_kernels.canonical_all(
        _as_grids(puzzles, geometry),
        geometry.box_rows,
        geometry.box_cols,
        geometry.column_orders,
    )


def isomorphism_classes(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return a class number `[n]` per puzzle, ordered by canonical form."""
    forms = canonical_form(puzzles, geometry)
    return np.unique(forms, axis=0, return_inverse=True)[1].reshape(-1)


def _easy_share(
    geometry: Geometry, asked: float | None, max_rating: int | None
) -> float:
    if max_rating == 0:
        return 1.0
    if asked is not None:
        return asked
    return 0.5 if geometry.side >= 9 else 1.0


def generate(
    geometry: Geometry,
    count: int,
    seed: int,
    *,
    min_rating: int = 0,
    max_rating: int | None = None,
    max_easy: float | None = None,
) -> Generated:
    """Generate distinct minimal puzzles with exactly one solution.

    Puzzle i depends on the seed and the filters only: asking for more puzzles
    gives the same ones first.

    Args:
      geometry: the board.
      count: number of puzzles.
      seed: up to 64 bits.
      min_rating: least difficulty (see `rate`).
      max_rating: greatest difficulty; None for no bound.
      max_easy: largest fraction of rating 0 in the result and in each start of
        it; None is 0.5 on 9x9 and 1.0 on smaller boards, which are nearly all
        solved by singles. Not applied when `max_rating` is 0.
    """
    from lrm_jax.data import sudoku_kernels

    max_easy = _easy_share(geometry, max_easy, max_rating)
    seen: set[bytes] = set()
    kept: list[tuple[np.ndarray, np.ndarray, int]] = []
    easy, tried, patience = 0, 0, 100 * count + 20_000
    while len(kept) < count:
        if tried > patience:
            raise UserError(
                f"only {len(kept)} of {count} distinct {geometry.side}x{geometry.side} "
                f"puzzles with rating {min_rating} to {max_rating} found in {tried} "
                "tries; ask for fewer or widen the ratings"
            )
        chunk = min(1024, max(16, count - len(kept)))
        seeds = counter_rng.stream_seeds(seed, _GENERATE, tried, chunk)
        made = sudoku_kernels.generate_all(seeds, geometry.units, geometry.peers)
        tried += chunk
        for puzzle, solution, rating in zip(*made, strict=True):
            if rating < min_rating or (max_rating is not None and rating > max_rating):
                continue
            if rating == 0 and easy + 1 > max_easy * (len(kept) + 1):
                continue
            key = puzzle.tobytes()
            if key in seen or len(kept) == count:
                continue
            seen.add(key)
            kept.append((puzzle, solution, int(rating)))
            easy += rating == 0
    cells = geometry.cells
    return Generated(
        np.array([k[0] for k in kept], np.uint8).reshape(count, cells),
        np.array([k[1] for k in kept], np.uint8).reshape(count, cells),
        np.array([k[2] for k in kept], np.int64),
    )


def parse_grid(text: str, geometry: Geometry) -> np.ndarray:
    """Return digits uint8 `[cells]` of a line of digits, `.` or `0` for open."""
    if len(text) != geometry.cells:
        raise UserError(
            f"sudoku of {len(text)} characters; a {geometry.side}x{geometry.side} "
            f"board has {geometry.cells}"
        )
    allowed = ".0123456789"[: geometry.side + 2]
    for at, char in enumerate(text):
        if char not in allowed:
            raise UserError(
                f"sudoku character {at + 1} is {char!r}; accepted are '.', '0' and "
                f"1 to {geometry.side}"
            )
    return np.array([0 if c == "." else int(c) for c in text], np.uint8)


def format_grid(digits: np.ndarray) -> str:
    """Return a grid as one line, `.` for open cells."""
    return "".join("." if d == 0 else str(int(d)) for d in np.asarray(digits).ravel())
