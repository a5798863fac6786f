# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the text of a puzzle CSV to tokens; every unreadable row is found.

Plain files, as the published ones are, are read by NumPy (`csv_bytes`), a row that
is not as the others by the csv module, and any other file by that alone.
"""

import collections
import csv
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lrm_jax.data import csv_bytes
from lrm_jax.data.views import PuzzleView, maze_view, sudoku_view
from lrm_jax.types import UserError

_SUDOKU_SIDES = {16: 4, 36: 6, 81: 9}
_FOREIGN = 255  # in place of a token
_DIGITS_MAX = 18  # of an int64
_LOOKED_AT = 100  # questions that tell a maze from a Sudoku


class BadRow(NamedTuple):
    """A row that cannot be used; line 1 is the header."""

    line: int
    reason: str


class Rows(NamedTuple):
    """The readable rows of a puzzle CSV, and the others."""

    view: PuzzleView
    inputs: np.ndarray  # [n, S] uint8 tokens
    labels: np.ndarray | None  # [n, S] uint8 tokens; None where there is no column
    ratings: np.ndarray  # [n] int64, -1 where there is no column
    lines: np.ndarray  # [n] int64
    bad: list[BadRow]


class _Text(NamedTuple):
    """A row as text."""

    line: int
    question: str
    answer: str | None
    rating: str | None
    n_solutions: str | None


def read_header(path: Path) -> list[str]:
    """Return the columns; refuse a missing file, an empty one, a missing column."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _no_csv(path, error) from None
    if not header or header == [""]:
        raise UserError(f"{path}: empty file; a header line is expected")
    if "question" not in header:
        raise UserError(
            f"{path}: no column 'question' in header {','.join(header)!r}; "
            "expected source,question,answer,rating"
        )
    return header


def _no_csv(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a CSV in UTF-8 ({error})")


def _read_text(path: Path) -> list[_Text]:
    """Read all rows by the csv module."""
    header = read_header(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            rows = [
                _as_text(reader.line_num, row, header)
                for row in reader
                if row and row != [""]
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise _no_csv(path, error) from None
    if not rows:
        raise _no_rows(path)
    return rows


def _no_rows(path: Path) -> UserError:
    return UserError(f"{path}: no rows after the header")


def _as_text(line: int, row: list[str], header: list[str]) -> _Text:
    """Return the columns that are used; a field that is cut off is empty."""

    def field(name: str) -> str | None:
        if name not in header:
            return None
        at = header.index(name)
        return row[at] if at < len(row) else ""

    question = field("question") or ""
    return _Text(line, question, field("answer"), field("rating"), field("n_solutions"))


def guess_view(
    path: Path, lengths: Iterable[int], questions: Iterable[str]
) -> PuzzleView:
    """Return the view that most questions fit: by their length and characters.

    Args:
      path: of the file, for what is said of it.
      lengths: of all questions.
      questions: the same ones as text; a few are looked at.
    """
    length = collections.Counter(lengths).most_common(1)[0][0]
    fitting = (q for q in questions if len(q) == length)
    votes = ["#" in q or "S" in q for q in itertools.islice(fitting, _LOOKED_AT)]
    side = round(length**0.5)
    if 2 * sum(votes) > len(votes):
        if side * side == length and length:
            return maze_view(side)
    elif length in _SUDOKU_SIDES:
        return sudoku_view(_SUDOKU_SIDES[length])
    raise UserError(
        f"{path}: questions of {length} characters are neither a sudoku (16, 36 or 81 "
        "digits and '.') nor a square maze (over '# SGo')"
    )


def _token_table(view: PuzzleView) -> np.ndarray:
    """Return the token of each byte, uint8 `[256]`."""
    table = np.full(256, _FOREIGN, np.uint8)
    for token, char in enumerate(view.charset):
        if token:
            table[ord(char)] = token
    if view.kind == "sudoku":
        table[ord("0")] = 1
    return table


def _tokens(texts: list[str], view: PuzzleView) -> np.ndarray:
    """Return uint8 `[n, S]` of sound fields."""
    data = np.frombuffer("".join(texts).encode("ascii"), np.uint8)
    return _token_table(view)[data].reshape(len(texts), view.seq_len)


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
    return len(digits) <= _DIGITS_MAX and digits.isascii() and digits.isdigit()


def read_declared_counts(path: str | Path) -> dict[int, int] | None:
    """Return the column `n_solutions` by line (-1 where it is no number), if any."""
    if "n_solutions" not in read_header(Path(path)):
        return None
    rows = _read_text(Path(path))
    told = [row.n_solutions or "" for row in rows]
    return {
        row.line: int(text) if _is_whole(text) else -1
        for row, text in zip(rows, told, strict=True)
    }


def read_rows(path: Path, view: PuzzleView | None) -> Rows:
    """Read the rows of a puzzle CSV that can be read.

    Args:
      path: the file.
      view: kind and size that are expected; None to tell from the rows.

    Raises:
      UserError: it is no CSV of puzzles at all.
    """
    header = read_header(path)
    data = csv_bytes.open_plain(path)
    try:
        if data is None:
            return _rows_from_text(path, view)
        return _rows_from_bytes(path, data, view, header)
    except csv.Error as error:
        raise _no_csv(path, error) from None


def _rows_from_text(path: Path, view: PuzzleView | None) -> Rows:
    rows = _read_text(path)
    questions = [row.question for row in rows]
    view = view or guess_view(path, map(len, questions), questions)
    reasons = [_text_problem(row, view) for row in rows]
    bad = [BadRow(row.line, why) for row, why in zip(rows, reasons, strict=True) if why]
    rows = [row for row, why in zip(rows, reasons, strict=True) if not why]
    has_answers = bool(rows) and rows[0].answer is not None
    return Rows(
        view,
        _tokens([row.question for row in rows], view),
        _tokens([row.answer or "" for row in rows], view) if has_answers else None,
        np.array([int(row.rating or -1) for row in rows], np.int64),
        np.array([row.line for row in rows], np.int64),
        bad,
    )


def _rows_from_bytes(
    path: Path, data: np.ndarray, view: PuzzleView | None, header: list[str]
) -> Rows:
    if view is None:
        lengths, questions = _questions(data, header)
        if not lengths:
            raise _no_rows(path)
        view = guess_view(path, lengths, questions)
    blocks = csv_bytes.read_blocks(data, len(header))
    parts = [_rows_of_block(block, view, header) for block in blocks]
    bad = [row for part in parts for row in part.bad]
    if not bad and not any(len(part.lines) for part in parts):
        raise _no_rows(path)
    labels = [part.labels for part in parts if part.labels is not None]
    return Rows(
        view,
        np.concatenate([part.inputs for part in parts]),
        np.concatenate(labels) if labels else None,
        np.concatenate([part.ratings for part in parts]),
        np.concatenate([part.lines for part in parts]),
        bad,
    )


def _questions(data: np.ndarray, header: list[str]) -> tuple[list[int], list[str]]:
    """Return the lengths of all questions, and the first of them."""
    at = header.index("question")
    lengths: list[int] = []
    first: list[str] = []
    for block in csv_bytes.read_blocks(data, len(header)):
        lengths += (block.ends[:, at] - block.starts[:, at]).tolist()
        if not first:
            rows = range(min(len(block.lines), 10 * _LOOKED_AT))
            lines = csv.reader(block.text(i) for i in rows)
            first = [_as_text(0, row, header).question for row in lines]
    return lengths, first


def _rows_of_block(block: csv_bytes.Block, view: PuzzleView, header: list[str]) -> Rows:
    """Read a block; rows that are not as the others are looked at one by one."""
    table, sound = _token_table(view), ~block.odd
    grids: dict[str, np.ndarray] = {}
    for name in {"question", "answer"} & set(header):
        raw, fits = csv_bytes.fixed_width(block, header.index(name), view.seq_len)
        grids[name] = table[raw]
        sound &= fits & (grids[name] != _FOREIGN).all(1)
    ratings = np.full(len(sound), -1, np.int64)
    for name in {"rating", "n_solutions"} & set(header):
        numbers, whole = csv_bytes.whole_numbers(block, header.index(name))
        sound &= whole
        if name == "rating":
            ratings = numbers
    bad: list[BadRow] = []
    for i in np.flatnonzero(~sound).tolist():
        text = _as_text(
            int(block.lines[i]), next(csv.reader([block.text(i)]), []), header
        )
        why = _text_problem(text, view)
        if why:
            bad.append(BadRow(text.line, why))
            continue
        for name in grids:
            grids[name][i] = _tokens([getattr(text, name)], view)[0]
        ratings[i], sound[i] = int(text.rating or -1), True
    rows: Any = slice(None) if sound.all() else sound
    labels = grids["answer"][rows] if "answer" in grids else None
    return Rows(
        view, grids["question"][rows], labels, ratings[rows], block.lines[rows], bad
    )
