# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The on-disk format of HRM and TRM: read, check, write again byte for byte.

A folder holds `identifiers.json` (and TRM's ARC `test_puzzles.json`) and splits;
a split holds `dataset.json` and, for each of its sets, five arrays
`SET__{inputs,labels,puzzle_identifiers,puzzle_indices,group_indices}.npy`.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lrm_jax.data.puzzle_table import PuzzleTable
from lrm_jax.types import UserError

METADATA_KEYS = (
    "pad_id",
    "ignore_label_id",
    "blank_identifier_id",
    "vocab_size",
    "seq_len",
    "num_puzzle_identifiers",
    "total_groups",
    "mean_puzzle_examples",
    "sets",
)
_CHUNK = 65_536  # rows looked at together, so that large sets stay on the disk


class SetArrays(NamedTuple):
    """The arrays of one set, with the dtypes they have on disk."""

    inputs: np.ndarray  # [examples, S] uint8 or int64
    labels: np.ndarray  # [examples, S], the same
    puzzle_identifiers: np.ndarray  # [puzzles] int32
    puzzle_indices: np.ndarray  # [puzzles + 1] int32
    group_indices: np.ndarray  # [groups + 1] int32


@dataclasses.dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
      metadata: `dataset.json`, keys in file order.
      sets: arrays by set name, in the order of `metadata["sets"]`.
    """

    metadata: dict[str, Any]
    sets: dict[str, SetArrays]

    def table(self) -> PuzzleTable:
        """Return all sets as one table."""
        sets = list(self.sets.values())
        examples = np.cumsum([0] + [len(s.inputs) for s in sets])
        puzzles = np.cumsum([0] + [len(s.puzzle_identifiers) for s in sets])
        if len(sets) == 1:
            return PuzzleTable(*sets[0])
        return PuzzleTable(
            np.concatenate([s.inputs for s in sets]),
            np.concatenate([s.labels for s in sets]),
            np.concatenate([s.puzzle_identifiers for s in sets]),
            _join_starts([s.puzzle_indices for s in sets], examples),
            _join_starts([s.group_indices for s in sets], puzzles),
        )


def _join_starts(starts: list[np.ndarray], offsets: np.ndarray) -> np.ndarray:
    parts = [s[:-1] + offset for s, offset in zip(starts, offsets, strict=False)]
    return np.concatenate([*parts, offsets[-1:]]).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A folder in the published format.

    Attributes:
      splits: by name, "train" and "test" as a rule.
      root_files: JSON values of the root's files by name ("identifiers.json").
    """

    splits: dict[str, Split]
    root_files: dict[str, Any]


class Fault(NamedTuple):
    """Something wrong in a folder; row is -1 where it is not about one row."""

    file: str
    row: int
    reason: str

    def __str__(self) -> str:
        """Say where and what in one line."""
        row = f", row {self.row}" if self.row >= 0 else ""
        return f"{self.file}{row}: {self.reason}"


def is_dataset(folder: Path) -> bool:
    """Whether a folder is in the published format (has a split)."""
    return folder.is_dir() and any(
        (child / "dataset.json").is_file() for child in folder.iterdir()
    )


def read_dataset(folder: str | Path) -> Dataset:
    """Read a folder; refuse it, naming file and row, if anything is wrong."""
    dataset, faults = inspect_dataset(folder)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(f"{folder}: {faults[0]}{more}")
    return dataset


def inspect_dataset(folder: str | Path) -> tuple[Dataset, list[Fault]]:
    """Read what can be read of a folder, and list everything that is wrong."""
    folder = Path(folder)
    if not is_dataset(folder):
        raise UserError(
            f"{folder}: not a dataset folder; expected train/dataset.json and "
            "test/dataset.json below it"
        )
    faults: list[Fault] = []
    root_files = {}
    for path in sorted(folder.glob("*.json")):
        root_files[path.name] = _read_json(path, path.name, faults)
    splits = {}
    for child in sorted(folder.iterdir()):
        if (child / "dataset.json").is_file():
            split = _read_split(child, faults)
            if split is not None:
                splits[child.name] = split
    faults += _check_agreement(splits)
    identifiers = root_files.get("identifiers.json")
    for name, split in splits.items():
        faults += _check_split(name, split, identifiers)
    return Dataset(splits, root_files), faults


def _read_json(path: Path, name: str, faults: list[Fault]) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        faults.append(Fault(name, -1, f"not JSON ({error})"))
        return None


def _read_split(folder: Path, faults: list[Fault]) -> Split | None:
    """Read a split; None where its metadata or an array cannot be read."""
    name = f"{folder.name}/dataset.json"
    metadata = _read_json(folder / "dataset.json", name, faults)
    if not isinstance(metadata, dict):
        return None
    missing = [key for key in METADATA_KEYS if key not in metadata]
    if missing:
        faults.append(Fault(name, -1, f"key {missing[0]!r} is missing"))
        return None
    wrong = _wrong_values(metadata)
    if wrong:
        faults += [Fault(name, -1, reason) for reason in wrong]
        return None
    sets = {}
    for set_name in metadata["sets"]:
        arrays = [
            _read_array(folder, f"{set_name}__{field}.npy", faults)
            for field in SetArrays._fields
        ]
        if all(array is not None for array in arrays):
            sets[set_name] = SetArrays(*arrays)
    return Split(metadata, sets) if len(sets) == len(metadata["sets"]) else None


def _wrong_values(metadata: dict[str, Any]) -> list[str]:
    """Say which values of `dataset.json` are of a type that none can have."""

    def is_whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    wrong = [
        f"{key} is {metadata[key]!r}, expected a whole number above 0"
        for key in ("vocab_size", "seq_len", "num_puzzle_identifiers")
        if not (is_whole(metadata[key]) and metadata[key] > 0)
    ]
    ignored = metadata["ignore_label_id"]
    if not (ignored is None or is_whole(ignored)):
        wrong.append(f"ignore_label_id is {ignored!r}, expected a token or null")
    mean = metadata["mean_puzzle_examples"]
    if not (is_whole(mean) or isinstance(mean, float)):
        wrong.append(f"mean_puzzle_examples is {mean!r}, expected a number")
    sets = metadata["sets"]
    named = isinstance(sets, list) and all(isinstance(s, str) for s in sets)
    if not (named and sets):
        wrong.append(f"sets is {sets!r}, expected a list of names")
    return wrong


def _read_array(folder: Path, name: str, faults: list[Fault]) -> Any:
    """Map an array from disk; pickled objects are never loaded."""
    path, label = folder / name, f"{folder.name}/{name}"
    if not path.is_file():
        faults.append(Fault(label, -1, "is missing"))
        return None
    try:
        large = "inputs" in name or "labels" in name
        array = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        faults.append(Fault(label, -1, f"cannot be read as an array ({error})"))
        return None
    if not np.issubdtype(array.dtype, np.integer):
        faults.append(Fault(label, -1, f"has dtype {array.dtype}, expected integers"))
        return None
    return array


def _check_agreement(splits: dict[str, Split]) -> Iterator[Fault]:
    """Yield what splits of one folder must have in common and have not."""
    for key in ("vocab_size", "seq_len", "ignore_label_id"):
        told = {name: split.metadata[key] for name, split in splits.items()}
        if len(set(told.values())) > 1:
            text = ", ".join(f"{value} in {name}" for name, value in told.items())
            yield Fault("dataset.json", -1, f"{key} is {text}")


def _check_split(name: str, split: Split, identifiers: Any) -> Iterator[Fault]:
    """Yield what is wrong with a split whose arrays could all be read."""
    meta = split.metadata
    groups = puzzles = examples = 0
    sound = True
    for set_name, arrays in split.sets.items():
        faults = list(_check_lengths(f"{name}/{set_name}", arrays, meta["seq_len"]))
        yield from faults
        if faults:
            sound = False
            continue
        yield from _check_values(f"{name}/{set_name}", arrays, meta)
        groups += len(arrays.group_indices) - 1
        puzzles += len(arrays.puzzle_identifiers)
        examples += len(arrays.inputs)
    file = f"{name}/dataset.json"
    if sound:
        mean = examples / puzzles if puzzles else 0.0
        # TRM's Sudoku and maze builders count groups as puzzles, its ARC builder
        # counts puzzles.
        expected = {"total_groups": {groups}, "total_puzzles": {groups, puzzles}}
        for key, values in expected.items():
            if key in meta and meta[key] not in values:
                text = f"{key} is {meta[key]}, the arrays hold {max(values)}"
                yield Fault(file, -1, text)
        if abs(meta["mean_puzzle_examples"] - mean) > 1e-6 * max(1.0, mean):
            told = meta["mean_puzzle_examples"]
            yield Fault(
                file, -1, f"mean_puzzle_examples is {told}, it should be {mean}"
            )
    if (
        isinstance(identifiers, list)
        and len(identifiers) != (meta["num_puzzle_identifiers"])
    ):
        yield Fault(
            file,
            -1,
            f"num_puzzle_identifiers is {meta['num_puzzle_identifiers']}, "
            f"identifiers.json has {len(identifiers)}",
        )


def _check_lengths(where: str, arrays: SetArrays, seq_len: int) -> Iterator[Fault]:
    """Yield faults of shapes and of the two index arrays."""
    rows = len(arrays.inputs)
    for field in ("inputs", "labels"):
        shape = getattr(arrays, field).shape
        if shape != (rows, seq_len):
            text = f"has shape {list(shape)}, expected {[rows, seq_len]}"
            yield Fault(f"{where}__{field}.npy", -1, text)
    owned = {
        "puzzle_indices": (len(arrays.puzzle_identifiers), rows, "inputs"),
        "group_indices": (
            len(arrays.group_indices) - 1,
            len(arrays.puzzle_identifiers),
            "puzzle_identifiers",
        ),
    }
    for field, (count, total, target) in owned.items():
        starts = getattr(arrays, field)
        file = f"{where}__{field}.npy"
        if starts.ndim != 1 or len(starts) != count + 1 or len(starts) < 2:
            yield Fault(file, -1, f"has {starts.size} entries, expected {count + 1}")
        elif starts[0] != 0 or starts[-1] != total:
            text = f"runs from {starts[0]} to {starts[-1]}, expected 0 to {total}"
            yield Fault(file, -1, f"{text} (the length of {target})")
        elif (np.diff(starts) < 1).any():
            row = int((np.diff(starts) < 1).argmax())
            yield Fault(file, row, "an entry is empty; starts must rise")


def _check_values(where: str, arrays: SetArrays, meta: dict) -> Iterator[Fault]:
    """Yield rows with tokens or ids out of range, or without any label."""
    ids, size = arrays.puzzle_identifiers, meta["num_puzzle_identifiers"]
    for row in np.flatnonzero((ids < 0) | (ids >= size)):
        text = f"puzzle id {ids[row]} is beyond the table of {size}"
        yield Fault(f"{where}__puzzle_identifiers.npy", int(row), text)
    for start in range(0, len(arrays.inputs), _CHUNK):
        for field in ("inputs", "labels"):
            tokens = np.asarray(getattr(arrays, field)[start : start + _CHUNK])
            wrong = ((tokens < 0) | (tokens >= meta["vocab_size"])).any(1)
            for row in np.flatnonzero(wrong):
                text = f"a token is outside [0, {meta['vocab_size']})"
                yield Fault(f"{where}__{field}.npy", start + int(row), text)
        ignored = (tokens == meta["ignore_label_id"]).all(1)
        if meta["ignore_label_id"] is not None:
            for row in np.flatnonzero(ignored):
                text = "every label is ignored; nothing can be learned or judged"
                yield Fault(f"{where}__labels.npy", start + int(row), text)


def write_dataset(folder: str | Path, dataset: Dataset) -> None:
    """Write a folder; it appears complete or not at all.

    Bytes are those the references write for the same arrays and metadata.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: already there and not empty; name a new folder")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        for name, value in dataset.root_files.items():
            (partial / name).write_bytes(json_bytes(value))
        for name, split in dataset.splits.items():
            (partial / name).mkdir()
            (partial / name / "dataset.json").write_bytes(json_bytes(split.metadata))
            for set_name, arrays in split.sets.items():
                for field, array in zip(SetArrays._fields, arrays, strict=True):
                    np.save(partial / name / f"{set_name}__{field}.npy", array)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def json_bytes(value: Any) -> bytes:
    """Return JSON as the references write it."""
    return json.dumps(value).encode("utf-8")
