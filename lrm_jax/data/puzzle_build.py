# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Builders of Sudoku and maze folders in the published format, seeded.

As the references': the first puzzle of a training group is the original, its
augmentations follow; the test split is never augmented. Unlike theirs, the same
seed gives the same bytes.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lrm_jax.data import augment, counter_rng, puzzle_load
from lrm_jax.data.pipeline import GENERATE, PuzzleDataConfig
from lrm_jax.data.puzzle_format import Dataset, SetArrays, Split, write_dataset
from lrm_jax.data.puzzle_load import Puzzles
from lrm_jax.data.views import PuzzleView
from lrm_jax.types import UserError

Flavour = Literal["hrm", "trm"]
_BUILD = 0xB17D  # purpose word of the augmentations written to disk


def build_sudoku(
    folder: str | Path,
    cfg: PuzzleDataConfig,
    *,
    num_aug: int = 0,
    flavour: Flavour = "trm",
) -> dict[str, Any]:
    """Write a Sudoku folder from a CSV or generated puzzles (as the config says).

    Args:
      folder: a new or empty folder.
      cfg: kind "sudoku"; `augment` is not looked at, `num_aug` counts.
      num_aug: augmentations of each training puzzle, besides itself.
      flavour: "trm" adds `total_puzzles` to the metadata.

    Returns:
      Sizes: {folder, kind, train_groups, train_examples, test_examples}.
    """
    return _build(folder, dataclasses.replace(cfg, kind="sudoku"), num_aug, flavour)


def build_maze(
    folder: str | Path,
    cfg: PuzzleDataConfig,
    *,
    num_aug: int = 0,
    flavour: Flavour = "trm",
) -> dict[str, Any]:
    """Write a maze folder; `num_aug` is 0, or 7 for all eight dihedral turns."""
    if num_aug not in (0, 7):
        raise UserError(
            f"num_aug is {num_aug}; accepted for mazes are 0 and 7 (all eight turns)"
        )
    return _build(folder, dataclasses.replace(cfg, kind="maze"), num_aug, flavour)


def _build(
    folder: str | Path, cfg: PuzzleDataConfig, num_aug: int, flavour: Flavour
) -> dict[str, Any]:
    if num_aug < 0:
        raise UserError(f"num_aug is {num_aug}; accepted are 0 and more")
    if flavour not in ("hrm", "trm"):
        raise UserError(f"flavour is {flavour!r}; accepted are 'hrm' and 'trm'")
    if Path(cfg.path).is_dir() and cfg.path not in ("", GENERATE):
        raise UserError(f"data.path is the folder {cfg.path!r}; a CSV is expected")
    splits = puzzle_load.load_splits(cfg)
    expand = _expand_sudoku if cfg.kind == "sudoku" else _expand_maze
    train = expand(splits.view, splits.train, num_aug, cfg.seed)
    dataset = Dataset(
        {
            "test": _split(splits.view, splits.test, 1, flavour),
            "train": _split(splits.view, train, 1 + num_aug, flavour),
        },
        {"identifiers.json": ["<blank>"]},
    )
    write_dataset(folder, dataset)
    return {
        "folder": str(folder),
        "kind": cfg.kind,
        "train_groups": len(splits.train.inputs),
        "train_examples": len(train.inputs),
        "test_examples": len(splits.test.inputs),
    }


def _split(view: PuzzleView, puzzles: Puzzles, per_group: int, flavour: str) -> Split:
    """Return a split of groups of equal size, one example a puzzle."""
    n = len(puzzles.inputs)
    arrays = SetArrays(
        puzzles.inputs,
        puzzles.labels,
        np.zeros(n, np.int32),
        np.arange(n + 1, dtype=np.int32),
        np.arange(0, n + 1, per_group, dtype=np.int32),
    )
    metadata: dict[str, Any] = {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": view.vocab_size,
        "seq_len": view.seq_len,
        "num_puzzle_identifiers": 1,
        "total_groups": n // per_group,
        "mean_puzzle_examples": 1.0,
    }
    if flavour == "trm":
        metadata["total_puzzles"] = n // per_group
    metadata["sets"] = ["all"]
    return Split(metadata, {"all": arrays})


def _interleave(versions: list[np.ndarray], dtype: type) -> np.ndarray:
    """Return rows ordered by puzzle, then by version."""
    rows = np.stack(versions, axis=1)
    return np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]), dtype)


def _expand_sudoku(
    view: PuzzleView, puzzles: Puzzles, num_aug: int, seed: int
) -> Puzzles:
    """Return each puzzle followed by its augmentations."""
    words = (*counter_rng.split_seed(seed), _BUILD)
    index = np.arange(len(puzzles.inputs), dtype=np.uint32)
    inputs, labels = [puzzles.inputs], [puzzles.labels]
    for version in range(num_aug):
        change = augment.sudoku_change(np, view.geometry, *words, version, index)
        inputs.append(augment.apply_change(np, change, puzzles.inputs))
        labels.append(augment.apply_change(np, change, puzzles.labels))
    # The references' Sudoku arrays are int64 once they are augmented.
    dtype = np.int64 if num_aug else np.uint8
    return Puzzles(
        _interleave(inputs, dtype),
        _interleave(labels, dtype),
        np.repeat(puzzles.ratings, 1 + num_aug),
    )


def _expand_maze(
    view: PuzzleView, puzzles: Puzzles, num_aug: int, seed: int
) -> Puzzles:
    """Return each maze in its first `1 + num_aug` dihedral turns."""
    del seed  # All turns are written: nothing is drawn.
    table = augment.dihedral_table(view.rows)[: 1 + num_aug]
    return Puzzles(
        _interleave([puzzles.inputs[:, cells] for cells in table], np.uint8),
        _interleave([puzzles.labels[:, cells] for cells in table], np.uint8),
        np.repeat(puzzles.ratings, 1 + num_aug),
    )
