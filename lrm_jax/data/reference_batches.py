# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The batch order of HRM's and TRM's own loader, for comparison with their runs.

Training here uses `pipeline` instead. Theirs: groups come from Philox(seed + pass),
the puzzle of a group from the same generator, the examples of a puzzle from NumPy's
global generator (here a private one with the same seed).
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from lrm_jax.data.puzzle_format import SetArrays, Split
from lrm_jax.data.puzzle_table import IGNORED


@dataclasses.dataclass(frozen=True)
class LoaderSettings:
    """How the references' loader was run.

    Attributes:
      global_batch_size: rows over all replicas.
      epochs_per_iter: epochs shuffled together in one pass.
      rank: this replica.
      num_replicas: replicas that share the global batch.
      seed: of the group order.
      np_random_seed: of NumPy's global generator.
      test_set_mode: rows in order, the last batch padded.
      iterations: passes over the data (training).
    """

    global_batch_size: int
    epochs_per_iter: int
    rank: int
    num_replicas: int
    seed: int
    np_random_seed: int
    test_set_mode: bool
    iterations: int

    @property
    def local_rows(self) -> slice:
        """Rows of a global batch that this replica gets."""
        size = self.global_batch_size // self.num_replicas
        return slice(self.rank * size, (self.rank + 1) * size)


@dataclasses.dataclass(frozen=True)
class LoadedBatch:
    """One batch of one replica, and how many rows all replicas got."""

    iteration: int
    set_name: str
    arrays: dict[str, np.ndarray]
    effective_global_batch: int


def load_batches(split: Split, settings: LoaderSettings) -> Iterator[LoadedBatch]:
    """Yield what the references' loader yields from a split."""
    if settings.test_set_mode:
        yield from _test_batches(split, settings)
        return
    legacy = np.random.RandomState(settings.np_random_seed)
    passes = 0
    for iteration in range(settings.iterations):
        for name, arrays in split.sets.items():
            passes += 1
            philox = np.random.Philox(seed=settings.seed + passes)
            rng = np.random.Generator(philox)
            for rows, puzzles in _train_rows(arrays, settings, rng, legacy):
                local = settings.local_rows
                batch = _collate(split, arrays, rows[local], puzzles[local], settings)
                yield LoadedBatch(iteration, name, batch, len(rows))


def _train_rows(
    arrays: SetArrays, settings: LoaderSettings, rng: np.random.Generator, legacy: Any
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield examples and puzzles of full global batches of one pass."""
    groups, starts = arrays.group_indices, arrays.puzzle_indices
    order = np.concatenate(
        [rng.permutation(len(groups) - 1) for _ in range(settings.epochs_per_iter)]
    )
    at = 0
    while at < len(order):
        rows: list[np.ndarray] = []
        owners: list[np.ndarray] = []
        room = settings.global_batch_size
        while at < len(order) and room:
            puzzle = rng.integers(groups[order[at]], groups[order[at] + 1])
            at += 1
            size = int(starts[puzzle + 1] - starts[puzzle])
            take = min(size, room)
            drawn = legacy.choice(size, take, replace=False)
            rows.append(starts[puzzle] + drawn)
            owners.append(np.full(take, puzzle))
            room -= take
        if room:
            return  # The last, partial batch is dropped.
        yield np.concatenate(rows), np.concatenate(owners)


def _test_batches(split: Split, settings: LoaderSettings) -> Iterator[LoadedBatch]:
    """Yield all examples in order."""
    local = settings.local_rows
    for name, arrays in split.sets.items():
        total, size = len(arrays.inputs), settings.global_batch_size
        for start in range(0, total, size):
            end = min(total, start + size)
            rows = np.arange(start, end)[local]
            owners = np.searchsorted(arrays.puzzle_indices, rows, side="right") - 1
            batch = _collate(split, arrays, rows, owners, settings)
            yield LoadedBatch(0, name, batch, end - start)


def _collate(
    split: Split,
    arrays: SetArrays,
    rows: np.ndarray,
    puzzles: np.ndarray,
    settings: LoaderSettings,
) -> dict[str, np.ndarray]:
    """Gather, mark ignored labels, pad to the replica's batch size."""
    meta = split.metadata
    labels = arrays.labels[rows].astype(np.int32)
    if meta["ignore_label_id"] is not None:
        labels[labels == meta["ignore_label_id"]] = IGNORED
    size = settings.local_rows.stop - settings.local_rows.start

    def pad(values: np.ndarray, value: int) -> np.ndarray:
        room = [(0, size - len(values))] + [(0, 0)] * (values.ndim - 1)
        return np.pad(values.astype("<i4"), room, constant_values=value)

    return {
        "inputs": pad(arrays.inputs[rows], meta["pad_id"]),
        "labels": pad(labels, IGNORED),
        "puzzle_identifiers": pad(
            arrays.puzzle_identifiers[puzzles], meta["blank_identifier_id"]
        ),
    }


def matches_record(batch: LoadedBatch, record: dict[str, Any]) -> bool:
    """Whether a batch is the one a `*_batches.json` describes, to the last bit."""
    arrays = batch.arrays
    found = {
        "iteration": batch.iteration,
        "set": batch.set_name,
        "effective_global_batch": batch.effective_global_batch,
        "puzzle_identifiers": arrays["puzzle_identifiers"].tolist(),
        "inputs_shape": list(arrays["inputs"].shape),
        "labels_ignored": (arrays["labels"] == IGNORED).sum(1).tolist(),
        "row_input_sums": arrays["inputs"].sum(1).tolist(),
        "inputs_sha256": hashlib.sha256(arrays["inputs"].tobytes()).hexdigest(),
        "labels_sha256": hashlib.sha256(arrays["labels"].tobytes()).hexdigest(),
    }
    return all(found[key] == record[key] for key in found if key in record)
