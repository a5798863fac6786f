# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Puzzles as arrays: groups hold puzzles (augmentations), puzzles hold examples."""

from typing import Any, NamedTuple

import numpy as np

from lrm_jax.data import counter_rng as rng

IGNORED = -100
"""The label of a cell that is not supervised, in batches."""


class PuzzleTable(NamedTuple):
    """A split in the layout of the references, without its metadata.

    Group g holds puzzles `group_starts[g]:group_starts[g + 1]`, puzzle p holds
    examples `puzzle_starts[p]:puzzle_starts[p + 1]`.
    """

    inputs: np.ndarray  # [examples, S] unsigned tokens
    labels: np.ndarray  # [examples, S] unsigned tokens; the pad token is ignored
    puzzle_ids: np.ndarray  # [puzzles] int32
    puzzle_starts: np.ndarray  # [puzzles + 1] int32
    group_starts: np.ndarray  # [groups + 1] int32

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.group_starts) - 1

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self.inputs)

    @property
    def mean_puzzle_examples(self) -> float:
        """Examples per puzzle."""
        return self.n_examples / max(1, len(self.puzzle_ids))

    def example_ids(self) -> np.ndarray:
        """Return the puzzle id of each example, int32 `[examples]`."""
        return np.repeat(self.puzzle_ids, np.diff(self.puzzle_starts)).astype(np.int32)


def single_examples(inputs: np.ndarray, labels: np.ndarray) -> PuzzleTable:
    """Return a table in which every row is a group of one puzzle, all of id 0."""
    n = len(inputs)
    starts = np.arange(n + 1, dtype=np.int32)
    ids = np.zeros(n, np.int32)
    return PuzzleTable(_small(inputs), _small(labels), ids, starts, starts)


def _small(rows: np.ndarray) -> np.ndarray:
    """Store tokens in a byte where they fit."""
    fits = rows.size == 0 or (rows.min() >= 0 and rows.max() < 256)
    return np.ascontiguousarray(rows, np.uint8 if fits else np.int32)


def table_arrays(table: PuzzleTable) -> dict[str, np.ndarray]:
    """Return the arrays a batch is gathered from, for the host or the device.

    An epoch is a list of slots: each group has one slot per example of a puzzle
    (the mean, rounded, where its puzzles differ).
    """
    sizes = np.diff(table.puzzle_starts)
    counts = np.diff(table.group_starts)
    sums = np.add.reduceat(sizes, table.group_starts[:-1]) if table.n_groups else sizes
    slots = np.maximum(1, np.rint(sums / np.maximum(counts, 1))).astype(np.int64)
    firsts = np.repeat(np.cumsum(slots) - slots, slots)
    return {
        "inputs": _small(table.inputs),
        "labels": _small(table.labels),
        "puzzle_ids": table.puzzle_ids.astype(np.int32),
        "puzzle_starts": table.puzzle_starts.astype(np.int32),
        "group_starts": table.group_starts.astype(np.int32),
        "slot_group": np.repeat(np.arange(table.n_groups), slots).astype(np.int32),
        "slot_example": (np.arange(slots.sum()) - firsts).astype(np.int32),
    }


class Rows(NamedTuple):
    """Rows of a batch before augmentation, and their counters."""

    inputs: Any  # [B, S]
    labels: Any  # [B, S]
    puzzle_ids: Any  # [B] int32
    epoch: Any  # [B] uint32
    position: Any  # [B] uint32: place in the epoch's order


def seed_words(seed: Any) -> rng.Words:
    """Return two counters for a seed: a Python int, or a traced uint32."""
    return rng.split_seed(seed) if isinstance(seed, int) else (seed, 0)


def gather_rows(
    xp: rng.Xp, arrays: Any, seed: Any, step: Any, batch_size: int, lanes: Any
) -> Rows:
    """Gather the rows of lanes of a step.

    An epoch visits every slot once, in a random order of its own; the puzzle of a
    group is drawn anew each epoch and shared by the group's slots.
    """
    n = arrays["slot_group"].shape[0]
    words = seed_words(seed)
    at = rng.stream_position(xp, step, batch_size, n, lanes)
    slot = rng.shuffle_index(xp, at.index, n, *words, rng.ORDER, at.epoch)
    slot = slot.astype(np.int32)
    group = xp.take(arrays["slot_group"], slot, axis=0)
    first = xp.take(arrays["group_starts"], group, axis=0)
    puzzles = xp.take(arrays["group_starts"], group + 1, axis=0) - first
    draw = rng.random_below(xp, puzzles, *words, rng.PUZZLE, at.epoch, group)
    puzzle = first + draw
    start = xp.take(arrays["puzzle_starts"], puzzle, axis=0)
    size = xp.take(arrays["puzzle_starts"], puzzle + 1, axis=0) - start
    row = start + xp.remainder(xp.take(arrays["slot_example"], slot, axis=0), size)
    return Rows(
        xp.take(arrays["inputs"], row, axis=0),
        xp.take(arrays["labels"], row, axis=0),
        xp.take(arrays["puzzle_ids"], puzzle, axis=0),
        at.epoch,
        at.index,
    )


def ignore_labels(xp: rng.Xp, labels: Any, ignore_label_id: int | None) -> Any:
    """Return labels as int32 with the ignored token as -100."""
    labels = labels.astype(np.int32)
    if ignore_label_id is None:
        return labels
    return xp.where(labels == ignore_label_id, np.int32(IGNORED), labels)
