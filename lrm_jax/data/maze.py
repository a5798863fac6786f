# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mazes like Maze-Hard: scattered walls, loops, a long shortest path.

A maze is a row of tokens uint8 `[n, side * side]`: pad 0, then `# SGo` as 1 to 5
(wall, open, start, goal, path). Many shortest paths exist as a rule, so an answer
is judged in two ways: equal to the stored one, and a valid shortest path.
"""

from typing import NamedTuple

import numpy as np

from lrm_jax.data import counter_rng
from lrm_jax.data.augment import dihedral_table
from lrm_jax.types import UserError

CHARSET = "# SGo"
WALL, OPEN, START, GOAL, PATH = range(1, 6)

# Walls fall independently with a chance drawn per maze from this range; with the
# demand for a long path that gives the density and spread of Maze-Hard.
WALL_CHANCE = (0.3, 0.5)
_GENERATE = 0x3A2E  # purpose word of the generator's random stream


class Generated(NamedTuple):
    """Generated mazes, all different."""

    puzzles: np.ndarray  # [n, cells] uint8
    solutions: np.ndarray  # [n, cells] uint8: the puzzle with one shortest path
    ratings: np.ndarray  # [n] int64: cells of the path with both ends


class Solved(NamedTuple):
    """One shortest path a maze.

    Breadth-first from the start, neighbours down, left, right, up, each cell keeping
    the cell it was first reached from: this gives the answers of Maze-Hard.
    """

    solutions: np.ndarray  # [n, cells] uint8
    ratings: np.ndarray  # [n] int64: cells of the path with both ends; 0 = no path


def side_of(cells: int) -> int:
    """Return the side of a square maze of that many cells."""
    side = round(cells**0.5)
    if side * side != cells:
        raise UserError(f"a maze of {cells} cells is not square")
    return side


def default_min_rating(side: int) -> int:
    """Return the least path length asked for: 110 at 30x30, as in Maze-Hard."""
    return max(3, round(110 * (side / 30) ** 1.5))


def parse_maze(text: str) -> np.ndarray:
    """Return tokens uint8 `[cells]` of a line over `# SGo` (spaces are open)."""
    for at, char in enumerate(text):
        if char not in CHARSET:
            raise UserError(
                f"maze character {at + 1} is {char!r}; accepted are {CHARSET!r}"
            )
    return np.array([CHARSET.index(c) + 1 for c in text], np.uint8)


def format_maze(tokens: np.ndarray) -> str:
    """Return a maze as one line."""
    return "".join(("?" + CHARSET)[int(t)] for t in np.asarray(tokens).ravel())


def solve(puzzles: np.ndarray) -> Solved:
    """Find a shortest path in each maze (exactly one start and one goal each)."""
    from lrm_jax.data import maze_kernels

    puzzles = np.asarray(puzzles, np.uint8)
    if puzzles.shape[0] == 0:
        return Solved(puzzles, np.zeros(0, np.int64))
    side = side_of(puzzles.shape[1])
    for name, token in (("start", START), ("goal", GOAL)):
        if ((puzzles == token).sum(1) != 1).any():
            raise ValueError(f"every maze needs exactly one {name}")
    starts = (puzzles == START).argmax(1)
    goals = (puzzles == GOAL).argmax(1)
    paths, steps = maze_kernels.solve_all(puzzles == WALL, starts, goals, side)
    solutions = np.where(paths & (puzzles == OPEN), PATH, puzzles).astype(np.uint8)
    return Solved(solutions, steps + 1)


def rate(puzzles: np.ndarray) -> np.ndarray:
    """Return the number of cells of a shortest path with both ends; 0 = no path."""
    return solve(puzzles).ratings


def verify(puzzles: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return bool `[n]`: the answer marks a valid shortest path and nothing else.

    It differs from the puzzle only by path on open cells, has as many path cells
    as a shortest path, and start and goal are joined through them.
    """
    from lrm_jax.data import maze_kernels

    puzzles, answers = np.asarray(puzzles, np.uint8), np.asarray(answers)
    marked = answers == PATH
    same = np.where(marked, puzzles == OPEN, answers == puzzles).all(1)
    ratings = rate(puzzles)
    result = same & (ratings > 0) & (marked.sum(1) == ratings - 2)
    if result.any():
        rows = np.flatnonzero(result)
        off = (puzzles[rows] == WALL) | ((puzzles[rows] == OPEN) & ~marked[rows])
        starts = (puzzles[rows] == START).argmax(1)
        goals = (puzzles[rows] == GOAL).argmax(1)
        side = side_of(puzzles.shape[1])
        # As many cells as a shortest path and connected: every cell is on it.
        _, steps = maze_kernels.solve_all(off, starts, goals, side)
        result[rows] = steps + 1 == ratings[rows]
    return result


def canonical_form(puzzles: np.ndarray) -> np.ndarray:
    """Return the smallest of the eight dihedral turns of each maze, `[n, cells]`."""
    puzzles = np.asarray(puzzles, np.uint8)
    table = dihedral_table(side_of(puzzles.shape[1]))
    turns = puzzles[:, table]  # [n, 8, cells]
    forms = [min(rows, key=lambda row: row.tobytes()) for rows in turns]
    return np.array(forms, np.uint8).reshape(puzzles.shape)


def generate(
    side: int, count: int, seed: int, *, min_rating: int = 0, max_rating: int = 0
) -> Generated:
    """Generate different mazes with the statistics of Maze-Hard.

    Start and goal are a random pair at least `min_rating` cells apart, and there
    is always more than one shortest path between them. Maze i depends on the seed
    and the filters only.

    Args:
      side: cells in a row, at least 4.
      count: number of mazes.
      seed: up to 64 bits.
      min_rating: least number of path cells; 0 is `default_min_rating(side)`.
      max_rating: greatest number of path cells; 0 for no bound.
    """
    from lrm_jax.data import maze_kernels

    if side < 4:
        raise UserError(f"maze side {side}: accepted are 4 and more")
    least = min_rating or default_min_rating(side)
    enough = max(1, side * side // 9)
    seen: set[bytes] = set()
    rows: list[np.ndarray] = []
    tried, patience = 0, 100 * count + 1000
    while len(rows) < count:
        chunk = min(64, count - len(rows))
        seeds = counter_rng.stream_seeds(seed, _GENERATE, tried, chunk)
        walls, starts, goals = maze_kernels.generate_all(
            seeds, side, least - 1, *WALL_CHANCE, enough, 200_000
        )
        tried += chunk
        if (starts < 0).any() or tried > patience:
            raise UserError(
                f"mazes of side {side} with a shortest path of {least} to "
                f"{max_rating or side * side} cells are too rare; "
                f"min_rating {default_min_rating(side)} suits this side"
            )
        mazes = np.where(walls, WALL, OPEN).astype(np.uint8)
        mazes[np.arange(chunk), starts] = START
        mazes[np.arange(chunk), goals] = GOAL
        for maze, rating in zip(mazes, rate(mazes), strict=True):
            if maze.tobytes() not in seen and not 0 < max_rating < rating:
                seen.add(maze.tobytes())
                rows.append(maze)
    puzzles = np.array(rows, np.uint8).reshape(count, side * side)
    return Generated(puzzles, *solve(puzzles))
