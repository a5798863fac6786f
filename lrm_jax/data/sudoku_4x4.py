# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""All of 4x4 Sudoku: 288 grids, their minimal puzzles, splits by whole classes."""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from lrm_jax.data import counter_rng, sudoku
from lrm_jax.types import UserError

_SPLIT = 0x4C55  # purpose word of the split's random stream
SEEN_CLASS, UNSEEN_CLASS = "seen-class", "unseen-class"


class AllMinimal(NamedTuple):
    """Every minimal 4x4 puzzle, in order of grid, then of clue mask."""

    puzzles: np.ndarray  # [n, 16] uint8
    solutions: np.ndarray  # [n, 16] uint8
    classes: np.ndarray  # [n] int64, isomorphism class by canonical form


class ClassSplit(NamedTuple):
    """Row numbers into `AllMinimal`; no class of `test_unseen` is in training."""

    train: np.ndarray  # [n] int64
    test_seen: np.ndarray  # [n] int64: other puzzles of classes that are trained on
    test_unseen: np.ndarray  # [n] int64: puzzles of held-out classes
    held_out: np.ndarray  # [n] int64, the classes held out


@functools.cache
def all_grids() -> np.ndarray:
    """Return the 288 valid grids in ascending order, uint8 `[288, 16]`."""
    rows = list(itertools.permutations(range(1, 5)))
    grids = np.array(
        [
            a + b + c + d
            for a, b in itertools.product(rows, repeat=2)
            if not (set(a[:2]) & set(b[:2]) or set(a[2:]) & set(b[2:]))
            for c, d in itertools.product(rows, repeat=2)
            if not (set(c[:2]) & set(d[:2]) or set(c[2:]) & set(d[2:]))
        ],
        np.uint8,
    )
    columns = np.sort(grids.reshape(-1, 4, 4), axis=1)
    valid = (columns == np.arange(1, 5)[:, None]).all((1, 2))
    return grids[valid]


def _minimal_masks(difference_masks: np.ndarray) -> np.ndarray:
    """Return the clue masks `[k]` that are unique and lose that with any clue.

    A mask has one solution exactly when it meets the cells in which every other
    grid differs.
    """
    masks = np.arange(1 << 16, dtype=np.uint16)
    unique = np.ones(masks.size, bool)
    for cells in _smallest_sets(difference_masks):
        unique &= (masks & cells) != 0
    minimal = unique.copy()
    for bit in (1 << np.arange(16)).astype(np.uint16):
        minimal &= ((masks & bit) == 0) | ~unique[masks & ~bit]
    return masks[minimal]


def _smallest_sets(sets: np.ndarray) -> list[np.uint16]:
    """Drop the sets that contain another: meeting the small one meets both."""
    order = sorted(set(sets.tolist()), key=lambda s: (s.bit_count(), s))
    small: list[int] = []
    for s in order:
        if not any(s & t == t for t in small):
            small.append(s)
    return [np.uint16(s) for s in small]


@functools.cache
def all_minimal() -> AllMinimal:
    """Enumerate every minimal puzzle with its solution and isomorphism class."""
    grids = all_grids()
    bits = (1 << np.arange(16)).astype(np.uint16)
    puzzles, solutions = [], []
    for at, grid in enumerate(grids):
        differs = ((grids != grid) * bits).sum(1).astype(np.uint16)
        masks = _minimal_masks(np.delete(differs, at))
        clues = (masks[:, None] & bits) != 0  # [k, 16]
        puzzles.append(np.where(clues, grid, 0).astype(np.uint8))
        solutions.append(np.repeat(grid[None], len(masks), 0))
    rows = np.concatenate(puzzles)
    classes = sudoku.isomorphism_classes(rows, sudoku.geometry_for(4))
    return AllMinimal(rows, np.concatenate(solutions), classes)


def class_split(
    train_size: int, test_size: int, seed: int, held_out_classes: int = 9
) -> ClassSplit:
    """Split the minimal puzzles so that whole classes are unseen in training.

    Half of the test set (rounded up) are puzzles of trained classes that are not
    among the training puzzles, the rest are puzzles of the held-out classes.

    Args:
      train_size: number of training puzzles, or 0 for all that remain.
      test_size: size of both test parts together.
      seed: chooses classes and puzzles.
      held_out_classes: how many of the 36 classes are never trained on.
    """
    classes = all_minimal().classes
    n_classes = int(classes.max()) + 1
    if not 0 < held_out_classes < n_classes:
        raise UserError(
            f"held_out_classes {held_out_classes}: accepted are 1 to {n_classes - 1}"
        )
    words = (*counter_rng.split_seed(seed), _SPLIT)
    order = counter_rng.random_permutation(np, n_classes, *words, 0)
    held_out = np.sort(order[:held_out_classes]).astype(np.int64)
    shuffled = counter_rng.random_permutation(np, classes.size, *words, 1)
    unseen = np.isin(classes[shuffled], held_out)
    seen_rows, unseen_rows = shuffled[~unseen], shuffled[unseen]
    n_unseen = min(test_size // 2, unseen_rows.size)
    n_seen = test_size - n_unseen
    n_train = train_size or seen_rows.size - n_seen
    if n_train < 1 or n_seen + n_train > seen_rows.size:
        raise UserError(
            f"train_size {train_size} and test_size {test_size} ask for more than the "
            f"{seen_rows.size} minimal 4x4 puzzles of the trained classes"
        )
    return ClassSplit(
        seen_rows[n_seen : n_seen + n_train].astype(np.int64),
        seen_rows[:n_seen].astype(np.int64),
        unseen_rows[:n_unseen].astype(np.int64),
        held_out,
    )
