# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training and test puzzles from a folder in the published format."""

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from lrm_jax.data import maze, puzzle_format, puzzle_load
from lrm_jax.data.curriculum import Reveal
from lrm_jax.data.puzzle_table import PuzzleTable
from lrm_jax.data.views import PuzzleView, arc_view, maze_view, sudoku_view
from lrm_jax.types import UserError

if TYPE_CHECKING:
    from lrm_jax.data.pipeline import PuzzleDataConfig, PuzzleSource


def view_of(kind: str, seq_len: int, vocab_size: int) -> PuzzleView:
    """Return the view of a folder's puzzles; refuse a kind that does not fit."""
    side = round(seq_len**0.5)
    if side * side != seq_len:
        raise UserError(f"seq_len {seq_len} is not a square board")
    if kind == "sudoku":
        view = sudoku_view(side)
    else:
        view = maze_view(side) if kind == "maze" else arc_view(seq_len)
    if view.vocab_size != vocab_size:
        raise UserError(
            f"a folder with vocab_size {vocab_size} is not of kind {kind!r}, which has "
            f"{view.vocab_size} at seq_len {seq_len}"
        )
    return view


def guess_kind(split: puzzle_format.Split) -> str:
    """Return the kind of a split's puzzles, by vocabulary and length.

    Mazes and Sudokus of 4x4 have these in common and are told apart by content.
    """
    seq_len, vocab_size = split.metadata["seq_len"], split.metadata["vocab_size"]
    fits = []
    for kind in ("maze", "arc", "sudoku"):
        with contextlib.suppress(UserError):
            view_of(kind, seq_len, vocab_size)
            fits.append(kind)
    if not fits:
        raise UserError(
            f"no known kind of puzzle has vocab_size {vocab_size} and seq_len {seq_len}"
        )
    if len(fits) > 1 and "maze" in fits and not _look_like_mazes(split):
        fits.remove("maze")
    return fits[0]


def _look_like_mazes(split: puzzle_format.Split) -> bool:
    """Whether most labels hold one start, one goal, and walls.

    A solved 4x4 Sudoku holds each of these tokens four times, or never.
    """
    for arrays in split.sets.values():
        labels = np.atleast_2d(arrays.labels[:1000])
        ends = [(labels == token).sum(-1) == 1 for token in (maze.START, maze.GOAL)]
        return bool((ends[0] & ends[1] & (labels == maze.WALL).any(-1)).mean() > 0.5)
    return False


def load_folder_source(cfg: "PuzzleDataConfig") -> "PuzzleSource":
    """Build a source from `cfg.path`, tested on `cfg.test_path` or its test split."""
    from lrm_jax.data.pipeline import PuzzleSource

    if cfg.min_rating or cfg.max_rating != -1:
        raise UserError(
            "data.min_rating and data.max_rating choose among CSV rows or generated "
            f"puzzles; the folder {cfg.path!r} holds no ratings"
        )
    dataset = puzzle_format.read_dataset(cfg.path)
    if "train" not in dataset.splits:
        raise UserError(f"{cfg.path}: no train split (train/dataset.json)")
    split = dataset.splits["train"]
    meta = split.metadata
    view = view_of(cfg.kind, meta["seq_len"], meta["vocab_size"])
    if cfg.side and cfg.kind != "arc" and cfg.side != view.rows:
        raise UserError(f"data.side is {cfg.side}; {cfg.path} has side {view.rows}")
    train = _some_groups(split.table(), cfg.train_size, cfg.seed)
    if cfg.test_path:
        test, ratings = puzzle_load.load_test(cfg.test_path, view)
    else:
        if "test" not in dataset.splits:
            raise UserError(f"{cfg.path}: no test split; name data.test_path")
        test, ratings = dataset.splits["test"].table(), None
    if cfg.test_size and cfg.test_size < test.n_examples:
        pick = puzzle_load.sample_rows(test.n_examples, cfg.test_size, cfg.seed)
        test = pick_examples(test, pick)
        ratings = None if ratings is None else ratings[pick]
    in_place = cfg.augment and cfg.kind != "arc"
    return PuzzleSource(
        view=view,
        train=train,
        test=test,
        vocab_size=meta["vocab_size"],
        seq_len=meta["seq_len"],
        num_puzzle_ids=meta["num_puzzle_identifiers"],
        change=puzzle_load.change_for(view) if in_place else "none",
        ignore_label_id=meta["ignore_label_id"],
        test_ratings=ratings,
        reveal=Reveal(cfg.reveal, cfg.reveal_steps),
    )


def pick_examples(table: PuzzleTable, rows: np.ndarray) -> PuzzleTable:
    """Return some examples, each as a puzzle and a group of its own."""
    starts = np.arange(len(rows) + 1, dtype=np.int32)
    return PuzzleTable(
        np.asarray(table.inputs[rows]),
        np.asarray(table.labels[rows]),
        table.example_ids()[rows],
        starts,
        starts,
    )


def _some_groups(table: PuzzleTable, count: int, seed: int) -> PuzzleTable:
    """Return a random sample of whole groups (0: all of them)."""
    if not 0 < count < table.n_groups:
        return table
    groups = puzzle_load.sample_rows(table.n_groups, count, seed)
    puzzles = _expand(table.group_starts, groups)
    examples = _expand(table.puzzle_starts, puzzles)
    return PuzzleTable(
        np.asarray(table.inputs[examples]),
        np.asarray(table.labels[examples]),
        table.puzzle_ids[puzzles],
        _starts(table.puzzle_starts, puzzles),
        _starts(table.group_starts, groups),
    )


def _expand(starts: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """Return the members of picked ranges."""
    return np.concatenate(
        [np.arange(int(starts[i]), int(starts[i + 1])) for i in picked]
    )


def _starts(starts: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """Return the starts of picked ranges laid end to end."""
    return np.concatenate([[0], np.cumsum(np.diff(starts)[picked])]).astype(np.int32)
