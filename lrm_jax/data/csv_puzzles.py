# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Readers of the published puzzle CSVs; every bad row is found with its line.

Columns `question` and, where an answer cannot be computed, `answer`; `source`,
`rating` and `n_solutions` may be there. Sudoku: digits, `.` or `0` for open cells.
Mazes: `# SGo`, where leading and trailing spaces are cells.
"""

import collections
import csv
import dataclasses
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lrm_jax.data import maze, sudoku
from lrm_jax.data.views import PuzzleView, describe_conflict, maze_view, sudoku_view
from lrm_jax.types import UserError

_SUDOKU_SIDES = {16: 4, 36: 6, 81: 9}


class BadRow(NamedTuple):
    """A row that cannot be used; line 1 is the header."""

    line: int
    reason: str


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
    """

    view: PuzzleView
    inputs: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray
    lines: np.ndarray
    bad: tuple[BadRow, ...]


class _Text(NamedTuple):
    """A row as text."""

    line: int
    question: str
    answer: str | None
    rating: str | None
    n_solutions: str | None


def _read_text(path: Path) -> list[_Text]:
    """Read the rows; refuse a missing file, an empty one and a missing column."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, None)
            if not header or header == [""]:
                raise UserError(f"{path}: empty file; a header line is expected")
            if "question" not in header:
                raise UserError(
                    f"{path}: no column 'question' in header {','.join(header)!r}; "
                    "expected source,question,answer,rating"
                )
            at = {name: header.index(name) for name in header}
            rows = [
                _Text(reader.line_num, *_fields(row, at))
                for row in reader
                if row and row != [""]
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV in UTF-8 ({error})") from None
    if not rows:
        raise UserError(f"{path}: no rows after the header")
    return rows


def _fields(
    row: list[str], at: dict[str, int]
) -> tuple[str, str | None, str | None, str | None]:
    """Return the columns that are used; a field that is cut off is empty."""

    def field(name: str) -> str | None:
        if name not in at:
            return None
        return row[at[name]] if at[name] < len(row) else ""

    question = field("question") or ""
    return question, field("answer"), field("rating"), field("n_solutions")


def guess_view(questions: list[str]) -> PuzzleView:
    """Return the view that most questions fit: by their length and characters."""
    lengths = collections.Counter(len(q) for q in questions)
    length = lengths.most_common(1)[0][0]
    text = "".join(itertools.islice((q for q in questions if len(q) == length), 100))
    side = round(length**0.5)
    if "#" in text or "S" in text:
        if side * side == length and length:
            return maze_view(side)
    elif length in _SUDOKU_SIDES:
        return sudoku_view(_SUDOKU_SIDES[length])
    raise UserError(
        f"questions of {length} characters are neither a sudoku (16, 36 or 81 digits "
        "and '.') nor a square maze (over '# SGo')"
    )


def _tokens(texts: list[str], view: PuzzleView) -> np.ndarray:
    """Return uint8 `[n, S]`, 255 where a character is foreign; lengths must fit."""
    table = np.full(256, 255, np.uint8)
    for token, char in enumerate(view.charset):
        if token:
            table[ord(char)] = token
    if view.kind == "sudoku":
        table[ord("0")] = 1
    data = bytearray("".join(texts).encode("latin-1", "replace"))
    return table[np.array(data, np.uint8)].reshape(len(texts), view.seq_len)


def _find_foreign(text: str, name: str, view: PuzzleView) -> str | None:
    """Say what is wrong with the length or the characters of a field."""
    if len(text) != view.seq_len:
        return f"{name} has {len(text)} characters, expected {view.seq_len}"
    accepted = view.charset[1:] + ("0" if view.kind == "sudoku" else "")
    for at, char in enumerate(text):
        if char not in accepted:
            return f"{name} character {at + 1} is {char!r}, accepted are {accepted!r}"
    return None


def _text_problem(row: _Text, view: PuzzleView) -> str | None:
    """Say what is wrong with a row before its meaning is looked at."""
    reason = _find_foreign(row.question, "question", view)
    if reason is None and row.answer is not None:
        reason = _find_foreign(row.answer, "answer", view)
    for name in ("rating", "n_solutions"):
        value: str | None = getattr(row, name)
        if reason is None and value is not None and not _is_whole(value):
            reason = f"{name} {value!r} is not a whole number"
    return reason


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()


def read_declared_counts(path: str | Path) -> dict[int, int] | None:
    """Return the column `n_solutions` by line (-1 where it is no number), if any."""
    rows = _read_text(Path(path))
    if rows[0].n_solutions is None:
        return None
    told = [row.n_solutions or "" for row in rows]
    return {
        row.line: int(text) if _is_whole(text) else -1
        for row, text in zip(rows, told, strict=True)
    }


def read_csv(
    path: str | Path,
    view: PuzzleView | None = None,
    *,
    unique: bool = True,
    select: np.ndarray | None = None,
) -> CsvPuzzles:
    """Read a puzzle CSV; bad rows are left out and listed.

    Args:
      path: the file.
      view: kind and size that are expected; None to tell from the rows.
      unique: also call a Sudoku with several solutions bad (for training).
      select: numbers of the rows to read (0 is the first after the header);
        None for all.
    """
    path = Path(path)
    rows = _read_text(path)
    if select is not None:
        rows = [rows[i] for i in select]
    try:
        view = view or guess_view([row.question for row in rows])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    reasons = [_text_problem(row, view) for row in rows]
    bad = [BadRow(row.line, why) for row, why in zip(rows, reasons, strict=True) if why]
    rows = [row for row, why in zip(rows, reasons, strict=True) if not why]
    inputs = _tokens([row.question for row in rows], view)
    has_answers = bool(rows) and rows[0].answer is not None
    labels = _tokens([r.answer or "" for r in rows], view) if has_answers else None
    check = _check_sudoku if view.kind == "sudoku" else _check_maze
    labels, problems = check(inputs, labels, view, unique)
    bad += [
        BadRow(row.line, why) for row, why in zip(rows, problems, strict=True) if why
    ]
    good = np.array([not why for why in problems], bool)
    ratings = np.array([int(row.rating or -1) for row in rows], np.int64)
    lines = np.array([row.line for row in rows], np.int64)
    return CsvPuzzles(
        view,
        inputs[good],
        labels[good],
        ratings[good],
        lines[good],
        tuple(sorted(bad)),
    )


def _check_sudoku(
    inputs: np.ndarray, labels: np.ndarray | None, view: PuzzleView, unique: bool
) -> tuple[np.ndarray, list[str]]:
    """Return labels and, for each row, what is wrong with it (empty if nothing)."""
    geometry = view.geometry
    puzzles = inputs - 1
    problems = [""] * len(puzzles)
    counts = None
    if unique or labels is None:
        solved = sudoku.solve(puzzles, geometry, 2 if unique else 1)
        counts = solved.counts
        labels = solved.solutions + 1 if labels is None else labels
    agrees = sudoku.verify(puzzles, labels - 1, geometry)
    suspects = ~agrees if counts is None else ~agrees | (counts != 1)
    for i in np.flatnonzero(suspects):
        problems[i] = _sudoku_problem(
            puzzles[i], labels[i] - 1, geometry, None if counts is None else counts[i]
        )
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
        return "several solutions (accepted in training with data.allow_multiple=true)"
    return ""


def _check_maze(
    inputs: np.ndarray, labels: np.ndarray | None, view: PuzzleView, unique: bool
) -> tuple[np.ndarray, list[str]]:
    """Return labels and, for each row, what is wrong with it (empty if nothing)."""
    del view, unique  # Mazes have many shortest paths; any is a right answer.
    problems = [""] * len(inputs)
    for name, token in (("S", maze.START), ("G", maze.GOAL)):
        counts = (inputs == token).sum(1)
        for i in np.flatnonzero(counts != 1):
            problems[i] = problems[i] or f"{counts[i]} cells {name!r}, expected one"
    for i in np.flatnonzero((inputs == maze.PATH).any(1)):
        problems[i] = problems[i] or "question contains path cells 'o'"
    whole = np.array([not why for why in problems], bool)
    solved = maze.solve(inputs[whole])
    for i in np.flatnonzero(whole)[solved.ratings == 0]:
        problems[i] = "no path from S to G"
    if labels is None:
        labels = inputs.copy()
        labels[whole] = solved.solutions
    right = maze.verify(inputs[whole], labels[whole])
    for i in np.flatnonzero(whole)[~right]:
        problems[i] = problems[i] or "answer is not a shortest path of this maze"
    return labels, problems


def require_good(rows: CsvPuzzles, path: str | Path) -> CsvPuzzles:
    """Refuse a file with bad rows, naming the first and how many there are."""
    if rows.bad:
        first, more = rows.bad[0], len(rows.bad) - 1
        tail = f" (and {more} more bad rows; see `lrm data check`)" if more else ""
        raise UserError(f"{path}, line {first.line}: {first.reason}{tail}")
    return rows
