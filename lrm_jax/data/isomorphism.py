# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which puzzles are the same, as text or up to isomorphism, in large lists.

Canonical forms are exact but cost about a millisecond on 9x9; a cheap invariant
tells most puzzles apart first.
"""

import numpy as np

from lrm_jax.data import counter_rng, sudoku
from lrm_jax.data.views import PuzzleView


def row_keys(rows: np.ndarray) -> np.ndarray:
    """Return one opaque value per row, equal exactly where rows are equal."""
    rows = np.ascontiguousarray(rows)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()


def is_among(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return bool `[n]`: which keys are among the others."""
    known = {key.tobytes() for key in others}
    return np.fromiter((k.tobytes() in known for k in keys), bool, len(keys))


def sudoku_invariant(puzzles: np.ndarray, geometry: sudoku.Geometry) -> np.ndarray:
    """Return uint32 `[n]`, equal for isomorphic puzzles and rarely for others.

    Every clue is described by how many clues share its row, column, box, band,
    stack and digit; the descriptions are hashed and added up.
    """
    side = geometry.side
    n = len(puzzles)
    clues = np.asarray(puzzles).reshape(n, side, side) != 0
    bands = clues.reshape(n, side // geometry.box_rows, geometry.box_rows, side)
    band = np.repeat(bands.sum((2, 3)), geometry.box_rows, axis=1)[:, :, None]
    stacks = clues.reshape(n, side, side // geometry.box_cols, geometry.box_cols)
    stack = np.repeat(stacks.sum((1, 3)), geometry.box_cols, axis=1)[:, None, :]
    boxes = clues[:, None].reshape(n, *bands.shape[1:3], *stacks.shape[2:])
    box = boxes.sum((2, 4))
    box = box.repeat(geometry.box_rows, 1).repeat(geometry.box_cols, 2)
    counts = np.stack([(puzzles == d).sum(1) for d in range(side + 1)], axis=1)
    digit = np.take_along_axis(counts, puzzles.astype(np.int64), axis=1)
    row, column = clues.sum(2)[:, :, None] * 128 + band, clues.sum(1)[:, None] * 128
    column = column + stack
    if geometry.square_boxes:  # transposing exchanges rows and columns
        row, column = np.minimum(row, column), np.maximum(row, column)
    digit = digit.reshape(n, side, side)
    hashes = counter_rng.random_bits(np, row, column, box, digit)
    return np.where(clues, hashes, np.uint32(0)).sum((1, 2), dtype=np.uint32)


def _cheap_keys(view: PuzzleView, inputs: np.ndarray) -> np.ndarray:
    """Return values that are equal for isomorphic puzzles."""
    if view.kind == "sudoku":
        return sudoku_invariant(np.asarray(inputs) - 1, view.geometry)
    return row_keys(view.canonical_form(inputs))


def overlaps(
    view: PuzzleView, inputs: np.ndarray, others: np.ndarray, how: str = "canonical"
) -> np.ndarray:
    """Return bool `[n]`: which puzzles are among the others.

    Args:
      view: the kind of puzzle.
      inputs: tokens `[n, S]`.
      others: tokens `[m, S]`.
      how: "canonical" up to isomorphism, "none" by text.
    """
    inputs, others = np.asarray(inputs, np.uint8), np.asarray(others, np.uint8)
    if how == "none" or not len(others) or not len(inputs):
        return is_among(row_keys(inputs), row_keys(others))
    mine, theirs = _cheap_keys(view, inputs), _cheap_keys(view, others)
    result = is_among(mine, theirs)
    if view.kind != "sudoku" or not result.any():
        return result
    near = is_among(theirs, mine[result])
    result[result] = is_among(
        row_keys(view.canonical_form(inputs[result])),
        row_keys(view.canonical_form(others[near])),
    )
    return result


def isomorphism_groups(view: PuzzleView, inputs: np.ndarray) -> list[np.ndarray]:
    """Return the row numbers of each set of two or more isomorphic puzzles."""
    inputs = np.asarray(inputs, np.uint8)
    if not len(inputs):
        return []
    cheap = np.unique(_cheap_keys(view, inputs), return_inverse=True)[1].reshape(-1)
    near = np.flatnonzero(np.bincount(cheap)[cheap] > 1)
    if not near.size:
        return []
    keys = row_keys(view.canonical_form(inputs[near]))
    same = np.unique(keys, return_inverse=True)[1].reshape(-1)
    order = np.argsort(same, kind="stable")
    parts = np.split(near[order], np.cumsum(np.bincount(same))[:-1])
    return [part for part in parts if len(part) > 1]
