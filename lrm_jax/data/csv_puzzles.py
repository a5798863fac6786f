# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Readers of the published puzzle CSVs; every bad row is found with its line.

Columns `question` and `answer`, or `n_solutions` where a list has no answers (they
are computed then); `source` and `rating` may be there. Sudoku: digits, `.` or `0` for
open cells. Mazes: `# SGo`, where leading and trailing spaces are cells.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrm_jax.data import maze, sudoku
from lrm_jax.data.csv_rows import BadRow, read_header, read_rows
from lrm_jax.data.views import PuzzleView, describe_conflict
from lrm_jax.types import UserError

MULTIPLE = "several solutions (accepted in training with data.allow_multiple=true)"


@dataclasses.dataclass(frozen=True)
class CsvPuzzles:
    """The good rows of a puzzle CSV, and the bad ones by line.

    Attributes:
      view: kind and size of the puzzles.
      inputs: uint8 `[n, S]` tokens.
      labels: uint8 `[n, S]` tokens; computed where the file has no answers.
      ratings: int64 `[n]`; -1 where the file does not say.
      lines: int64 `[n]`, the line of each row.
      bad: the rows left out.
      unique: whether each Sudoku was found to have one solution.
    """

    view: PuzzleView
    inputs: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray
    lines: np.ndarray
    bad: tuple[BadRow, ...]
    unique: bool = False


def read_csv(
    path: str | Path,
    view: PuzzleView | None = None,
    *,
    unique: bool = True,
    unique_rows_max: int | None = None,
) -> CsvPuzzles:
    """Read a puzzle CSV; bad rows are left out and listed.

    Answers that the file gives are checked by the rules, which solves nothing. What
    is solved: a Sudoku that must be unique, a row without an answer, and every maze.

    Args:
      path: the file.
      view: kind and size that are expected; None to tell from the rows.
      unique: also call a Sudoku with several solutions bad (for training).
      unique_rows_max: in a longer file that gives answers, leave that to the caller.
    """
    header = read_header(Path(path))
    if not {"answer", "n_solutions"} & set(header):
        raise UserError(
            f"{path}: no column 'answer' in header {','.join(header)!r}; expected "
            "source,question,answer,rating (or n_solutions for a list without answers)"
        )
    rows = read_rows(Path(path), view)
    if unique_rows_max is not None and len(rows.lines) > unique_rows_max:
        unique = unique and rows.labels is None
    check = _check_sudoku if rows.view.kind == "sudoku" else _check_maze
    labels, problems = check(rows.inputs, rows.labels, rows.view, unique)
    bad = rows.bad + [BadRow(int(rows.lines[i]), why) for i, why in problems.items()]
    good: Any = slice(None)
    if problems:
        good = np.ones(len(rows.lines), bool)
        good[list(problems)] = False
    return CsvPuzzles(
        rows.view,
        rows.inputs[good],
        labels[good],
        rows.ratings[good],
        rows.lines[good],
        tuple(sorted(bad)),
        unique,
    )


def _check_sudoku(
    inputs: np.ndarray, labels: np.ndarray | None, view: PuzzleView, unique: bool
) -> tuple[np.ndarray, dict[int, str]]:
    """Return labels and what is wrong with which row."""
    geometry = view.geometry
    puzzles = inputs - 1
    problems: dict[int, str] = {}
    counts = None
    if unique or labels is None:
        solved = sudoku.solve(puzzles, geometry, 2 if unique else 1)
        counts = solved.counts
        labels = solved.solutions + 1 if labels is None else labels
    agrees = sudoku.verify(puzzles, labels - 1, geometry)
    suspects = ~agrees if counts is None else ~agrees | (counts != 1)
    for i in np.flatnonzero(suspects):
        count = None if counts is None else int(counts[i])
        why = _sudoku_problem(puzzles[i], labels[i] - 1, geometry, count)
        if why:
            problems[int(i)] = why
    return labels, problems


def _sudoku_problem(
    puzzle: np.ndarray,
    answer: np.ndarray,
    geometry: sudoku.Geometry,
    count: int | None,
) -> str:
    """Say what is wrong with a Sudoku row."""
    conflict = describe_conflict(puzzle, geometry)
    if conflict:
        return conflict
    if count is None:
        count = int(sudoku.count_solutions(puzzle[None], geometry, 1)[0])
    if count == 0:
        return "no solution: the clues contradict each other"
    differs = np.flatnonzero((puzzle != 0) & (puzzle != answer))
    if differs.size:
        row, column = divmod(int(differs[0]), geometry.side)
        return f"answer disagrees with the clue at row {row + 1} column {column + 1}"
    if not sudoku.verify(puzzle[None], answer[None], geometry)[0]:
        return "answer is not a valid grid"
    if count > 1:
        return MULTIPLE
    return ""


def _check_maze(
    inputs: np.ndarray, labels: np.ndarray | None, view: PuzzleView, unique: bool
) -> tuple[np.ndarray, dict[int, str]]:
    """Return labels and what is wrong with which row."""
    del view, unique  # Mazes have many shortest paths; any is a right answer.
    problems: dict[int, str] = {}
    for name, token in (("S", maze.START), ("G", maze.GOAL)):
        counts = (inputs == token).sum(1)
        for i in np.flatnonzero(counts != 1).tolist():
            problems.setdefault(i, f"{counts[i]} cells {name!r}, expected one")
    for i in np.flatnonzero((inputs == maze.PATH).any(1)).tolist():
        problems.setdefault(i, "question contains path cells 'o'")
    whole = np.ones(len(inputs), bool)
    whole[list(problems)] = False
    solved = maze.solve(inputs[whole])
    for i in np.flatnonzero(whole)[solved.ratings == 0].tolist():
        problems[i] = "no path from S to G"
    if labels is None:
        labels = inputs.copy()
        labels[whole] = solved.solutions
    right = maze.verify(inputs[whole], labels[whole])
    for i in np.flatnonzero(whole)[~right].tolist():
        problems.setdefault(i, "answer is not a shortest path of this maze")
    return labels, problems


def require_good(rows: CsvPuzzles, path: str | Path) -> CsvPuzzles:
    """Refuse a file with bad rows."""
    refuse_bad(rows.bad, path)
    return rows


def refuse_bad(bad: Sequence[BadRow], path: str | Path) -> None:
    """Refuse bad rows, if any, naming the first and how many there are."""
    if bad:
        more = len(bad) - 1
        tail = f" (and {more} more bad rows; see `lrm data check`)" if more else ""
        raise UserError(f"{path}, line {bad[0].line}: {bad[0].reason}{tail}")
