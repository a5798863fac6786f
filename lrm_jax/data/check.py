# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm data check`: bad rows with their lines, duplicates, overlap of two sets."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lrm_jax.data import (
    csv_puzzles,
    csv_rows,
    folder_source,
    isomorphism,
    puzzle_format,
    sudoku,
)
from lrm_jax.data.views import PuzzleView
from lrm_jax.types import UserError

_SHOWN = 20  # pairs of duplicates named in a report


@dataclasses.dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
      ok: no bad row, no row twice, no puzzle shared between training and test.
      kind: "sudoku", "maze" or "arc".
      rows: all rows, bad ones included.
      bad: {line, reason} of each bad row; line 1 is a CSV's header, in a folder
        line is the row of the array (from 0), -1 for the folder itself.
      duplicates: rows that are there twice, in this set or in both sets.
      details: {equal_inside, isomorphic_inside, isomorphic_between,
        multiple_solutions, pairs}; pairs are line numbers (row numbers in folders).
    """

    ok: bool
    kind: str
    rows: int
    bad: list[dict[str, Any]]
    duplicates: int
    details: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)


class _Loaded(NamedTuple):
    """Good puzzles of a set, one per group, and what is wrong with the rest."""

    view: PuzzleView
    inputs: np.ndarray  # [n, S] uint8
    lines: np.ndarray  # [n] line or row numbers
    is_test: np.ndarray  # [n] bool: of a folder's test split
    rows: int
    bad: list[dict[str, Any]]
    multiple: int  # puzzles with several solutions, declared as such


def check_dataset(
    path: str | Path,
    against: str | Path | None = None,
    *,
    allow_multiple: bool = False,
) -> CheckReport:
    """Check a CSV or a folder in the published format.

    Equal rows are duplicates; isomorphic puzzles inside one list are counted but
    legal. Between training and test (a folder's splits, or `path` and `against`)
    isomorphic puzzles are duplicates too.

    Args:
      path: what to check.
      against: a second CSV or folder that should not share puzzles with it.
      allow_multiple: accept Sudokus with several solutions. They are accepted
        without it where a column `n_solutions` declares their number.
    """
    mine = _load(Path(path), allow_multiple)
    equal, isomorphic, pairs = _inside(mine)
    shared, more = _between_splits(mine)
    pairs += more
    if against is not None:
        theirs = _load(Path(against), True)
        if theirs.view != mine.view:
            raise UserError(
                f"{against} holds {_name(theirs.view)}, {path} holds {_name(mine.view)}"
            )
        both, more = _pairs_between(mine, theirs)
        shared += both
        pairs += more
    return CheckReport(
        ok=not mine.bad and not equal and not shared,
        kind=mine.view.kind,
        rows=mine.rows,
        bad=mine.bad,
        duplicates=equal + shared,
        details={
            "equal_inside": equal,
            "isomorphic_inside": isomorphic,
            "isomorphic_between": shared,
            "multiple_solutions": mine.multiple,
            "pairs": pairs[:_SHOWN],
        },
    )


def _name(view: PuzzleView) -> str:
    return f"{view.kind} of {view.rows}x{view.cols}"


def _load(path: Path, allow_multiple: bool) -> _Loaded:
    return _load_folder(path) if path.is_dir() else _load_csv(path, allow_multiple)


def _load_csv(path: Path, allow_multiple: bool) -> _Loaded:
    """Read a CSV; several solutions are bad unless they are declared or allowed."""
    declared = csv_rows.read_declared_counts(path)
    unique = declared is None and not allow_multiple
    rows = csv_puzzles.read_csv(path, unique=unique)
    bad = [{"line": b.line, "reason": b.reason} for b in rows.bad]
    multiple = 0
    keep = np.ones(len(rows.lines), bool)
    if rows.view.kind == "sudoku" and not unique:
        told = declared or {}
        limit = max([2, *(count + 1 for count in told.values() if count > 0)])
        counts = sudoku.count_solutions(rows.inputs - 1, rows.view.geometry, limit)
        multiple = int((counts > 1).sum())
        for i, (line, count) in enumerate(zip(rows.lines, counts, strict=True)):
            if told and told[int(line)] != count:
                keep[i] = False
                reason = f"n_solutions is {told[int(line)]}, there are {count}"
                bad.append({"line": int(line), "reason": reason})
    bad.sort(key=lambda b: b["line"])
    n = len(rows.inputs) + len(rows.bad)
    test = np.zeros(int(keep.sum()), bool)
    return _Loaded(
        rows.view, rows.inputs[keep], rows.lines[keep], test, n, bad, multiple
    )


def _load_folder(path: Path) -> _Loaded:
    """Read a folder; rows of one group count as one puzzle (its first)."""
    dataset, faults = puzzle_format.inspect_dataset(path)
    bad = [{"line": f.row, "reason": str(f)} for f in faults]
    rows = sum(len(s.inputs) for p in dataset.splits.values() for s in p.sets.values())
    if not dataset.splits:
        raise UserError(f"{path}: {faults[0]}")
    first = next(iter(dataset.splits.values()))
    meta, kind = first.metadata, folder_source.guess_kind(first)
    view = folder_source.view_of(kind, meta["seq_len"], meta["vocab_size"])
    width = view.seq_len * (2 if kind == "arc" else 1)
    empty = np.zeros((0, width), np.uint8)
    inputs, lines, tests = [empty], [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for name, split in {} if faults else dataset.splits.items():
        table = split.table()
        bad += _bad_labels(name, view, table.inputs, table.labels)
        firsts = table.puzzle_starts[table.group_starts[:-1]]
        rows_of = np.asarray(table.inputs[firsts], np.uint8)
        if kind == "arc":  # A pair counts, and each on its own: tasks share parts.
            firsts = np.arange(table.n_examples)
            rows_of = np.concatenate([table.inputs, table.labels], 1).astype(np.uint8)
        inputs.append(rows_of)
        lines.append(firsts.astype(np.int64))
        tests.append(np.full(len(firsts), name == "test"))
    return _Loaded(
        view,
        np.concatenate(inputs),
        np.concatenate(lines),
        np.concatenate(tests),
        rows,
        bad,
        0,
    )


def _bad_labels(
    name: str, view: PuzzleView, inputs: np.ndarray, labels: np.ndarray
) -> list[dict[str, Any]]:
    """List rows whose label does not solve the puzzle."""
    valid = view.is_valid(inputs, labels)
    rows = [] if valid is None else np.flatnonzero(~valid)
    reason = f"{name}: the label does not solve the puzzle"
    return [{"line": int(row), "reason": reason} for row in rows]


def _inside(mine: _Loaded) -> tuple[int, int, list[list[int]]]:
    """Count equal and isomorphic rows inside a set (each beyond the first).

    Augmentations of an ARC task may well give the same pair: nothing is counted.
    """
    equal = isomorphic = 0
    pairs = []
    for split in () if mine.view.kind == "arc" else (False, True):
        part = np.flatnonzero(mine.is_test == split)
        for group in isomorphism.isomorphism_groups(mine.view, mine.inputs[part]):
            rows = part[group]
            texts = {mine.inputs[i].tobytes() for i in rows}
            equal += len(rows) - len(texts)
            isomorphic += len(texts) - 1
            pairs.append([int(line) for line in mine.lines[rows[:2]]])
    return equal, isomorphic, pairs


def _between_splits(mine: _Loaded) -> tuple[int, list[list[int]]]:
    """Count a folder's test puzzles that are isomorphic to a training puzzle."""
    if not mine.is_test.any() or mine.is_test.all():
        return 0, []
    test = mine._replace(
        inputs=mine.inputs[mine.is_test], lines=mine.lines[mine.is_test]
    )
    train = mine._replace(
        inputs=mine.inputs[~mine.is_test], lines=mine.lines[~mine.is_test]
    )
    return _pairs_between(test, train)


def _pairs_between(mine: _Loaded, theirs: _Loaded) -> tuple[int, list[list[int]]]:
    """Count puzzles of one set that are isomorphic to one of another."""
    view = mine.view
    shared = np.flatnonzero(isomorphism.overlaps(view, mine.inputs, theirs.inputs))
    shown = shared[:_SHOWN]
    near = np.flatnonzero(isomorphism.overlaps(view, theirs.inputs, mine.inputs[shown]))
    keys = isomorphism.row_keys(view.canonical_form(theirs.inputs[near]))
    found = {
        key.tobytes(): int(line)
        for key, line in zip(keys, theirs.lines[near], strict=True)
    }
    forms = isomorphism.row_keys(view.canonical_form(mine.inputs[shown]))
    pairs = [
        [int(mine.lines[i]), found[key.tobytes()]]
        for i, key in zip(shown, forms, strict=True)
    ]
    return len(shared), pairs
