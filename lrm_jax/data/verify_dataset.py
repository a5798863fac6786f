# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of reference-built dataset folders, for `lrm verify`.

Every output is a count of things that differ, so 0.0 is a pass:
  NAME/bytes        files that are not written again byte for byte
  NAME/invariants   faults of lengths, ranges, ids, all-ignored rows
  NAME/labels       rows whose label does not solve its input (Sudoku, maze)
  NAME/groups       groups whose puzzles are not augmentations of the first: other
                    canonical form (Sudoku); not the turns t0 ... t7 in order (maze)
  NAME/source       CSV rows that do not give the test split, or training originals
                    that are no CSV row
  FLAVOUR_batches/i batches of run i that do not come out bit for bit, sampling
                    included (private generators, no global state)
"""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from lrm_jax.data import csv_puzzles, folder_source, puzzle_format, reference_batches
from lrm_jax.data.augment import dihedral_table
from lrm_jax.data.isomorphism import row_keys
from lrm_jax.data.puzzle_format import Dataset
from lrm_jax.data.views import PuzzleView
from lrm_jax.types import UserError


def find_datasets(folder: str | Path) -> list[Path]:
    """Return the dataset folders at or below a folder, sorted."""
    folder = Path(folder)
    if puzzle_format.is_dataset(folder):
        return [folder]
    below = (p.parent.parent for p in folder.rglob("dataset.json"))
    return sorted(set(below))


def verify_dataset_folder(folder: str | Path) -> dict[str, float]:
    """Return what differs, by output (see the module's text); 0.0 is a pass."""
    folder = Path(folder)
    datasets = find_datasets(folder)
    if not datasets:
        raise UserError(f"{folder}: no dataset folder at or below it")
    diffs: dict[str, float] = {}
    for path in datasets:
        name = path.relative_to(folder).as_posix() if path != folder else path.name
        dataset, faults = puzzle_format.inspect_dataset(path)
        diffs[f"{name}/bytes"] = float(count_changed_files(path, dataset))
        diffs[f"{name}/invariants"] = float(len(faults))
        if not faults:
            checks = _check_meaning(path, dataset)
            diffs |= {f"{name}/{key}": float(n) for key, n in checks.items()}
    for path in sorted(folder.glob("*_batches.json")):
        diffs |= {k: float(n) for k, n in _check_batches(path).items()}
    return diffs


def count_changed_files(path: Path, dataset: Dataset) -> int:
    """Write a dataset again and count files that are missing, new or different."""
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch) / "again"
        puzzle_format.write_dataset(again, dataset)
        files = {p.relative_to(path) for p in path.rglob("*") if p.is_file()}
        written = {p.relative_to(again) for p in again.rglob("*") if p.is_file()}
        differ = sum(
            (path / p).read_bytes() != (again / p).read_bytes() for p in files & written
        )
        return differ + len(files ^ written)


def _check_meaning(path: Path, dataset: Dataset) -> dict[str, int]:
    """Check labels, groups and source of Sudoku and maze folders."""
    first = next(iter(dataset.splits.values()))
    meta, kind = first.metadata, folder_source.guess_kind(first)
    if kind == "arc":
        return {}
    view = folder_source.view_of(kind, meta["seq_len"], meta["vocab_size"])
    wrong_labels = wrong_groups = 0
    for split in dataset.splits.values():
        table = split.table()
        valid = view.is_valid(table.inputs, table.labels)
        wrong_labels += 0 if valid is None else int((~valid).sum())
        wrong_groups += _count_wrong_groups(view, table)
    checks = {"labels": wrong_labels, "groups": wrong_groups}
    source = path.parent / "source"
    if (source / "train.csv").is_file() and (source / "test.csv").is_file():
        checks["source"] = _count_source_differences(source, view, dataset)
    return checks


def _count_wrong_groups(view: PuzzleView, table) -> int:
    """Count groups that are not a puzzle followed by augmentations of it."""
    firsts = table.puzzle_starts[table.group_starts[:-1]]
    ends = table.puzzle_starts[table.group_starts[1:]]
    if view.kind == "sudoku":
        keys = row_keys(view.canonical_form(np.asarray(table.inputs)))
        return sum(
            len({k.tobytes() for k in keys[a:b]}) != 1
            for a, b in zip(firsts, ends, strict=True)
        )
    turns = dihedral_table(view.rows)
    wrong = 0
    for a, b in zip(firsts, ends, strict=True):
        cells = turns[: b - a]
        same_inputs = np.array_equal(table.inputs[a:b], table.inputs[a][cells])
        wrong += not (
            same_inputs and np.array_equal(table.labels[a:b], table.labels[a][cells])
        )
    return wrong


def _count_source_differences(source: Path, view: PuzzleView, dataset: Dataset) -> int:
    """Compare the folder with the CSVs it was built from."""
    train = csv_puzzles.read_csv(source / "train.csv", view, unique=False)
    test = csv_puzzles.read_csv(source / "test.csv", view, unique=False)
    wrong = len(train.bad) + len(test.bad)
    if "test" in dataset.splits:
        table = dataset.splits["test"].table()
        # A difficulty filter may have left rows out; the order stays.
        left = iter(zip(test.inputs, test.labels, strict=True))
        for question, answer in zip(table.inputs, table.labels, strict=True):
            wrong += not any(
                np.array_equal(question, q) and np.array_equal(answer, a)
                for q, a in left
            )
    if "train" in dataset.splits:
        table = dataset.splits["train"].table()
        known = {
            (q.tobytes(), a.tobytes())
            for q, a in zip(train.inputs, train.labels, strict=True)
        }
        for at in table.puzzle_starts[table.group_starts[:-1]]:
            question, answer = table.inputs[at], table.labels[at]
            pair = (question.astype(np.uint8), answer.astype(np.uint8))
            wrong += (pair[0].tobytes(), pair[1].tobytes()) not in known
    return wrong


def _check_batches(path: Path) -> dict[str, int]:
    """Reproduce the runs of a `FLAVOUR_batches.json`; count batches that differ."""
    flavour = path.name.removesuffix("_batches.json")
    fields = [f.name for f in dataclasses.fields(reference_batches.LoaderSettings)]
    diffs = {}
    for at, run in enumerate(json.loads(path.read_text(encoding="utf-8"))["runs"]):
        settings = reference_batches.LoaderSettings(**{k: run[k] for k in fields})
        dataset = puzzle_format.read_dataset(path.parent / run["kind"] / flavour)
        split = dataset.splits[run["split"]]
        batches = list(reference_batches.load_batches(split, settings))
        same = [
            reference_batches.matches_record(batch, record)
            for batch, record in zip(batches, run["batches"], strict=False)
        ]
        missing = abs(len(batches) - len(run["batches"]))
        diffs[f"{path.stem}/{at}"] = same.count(False) + missing
    return diffs
