# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Validity-keeping changes of puzzles, over numpy (host) or jax.numpy (device).

A change is a gather of cells and a renaming of tokens, the same for the inputs and
the labels of a row. Sudoku: digits renamed (pad and blank fixed), bands, rows,
stacks and columns permuted, transposed where boxes are square. Maze: one of the 8
dihedral turns. All draws are functions of counters (`counter_rng`).
"""

from typing import Any, NamedTuple

import numpy as np

from lrm_jax.data import counter_rng as rng
from lrm_jax.data.sudoku import Geometry

_FIRST_DIGIT = 2  # Sudoku tokens: pad 0, blank 1, digit d at d + 1


class Change(NamedTuple):
    """A change of `B` puzzles: `new[b, s] = tokens[b, old[b, cells[b, s]]]`."""

    cells: Any  # [B, S] int32, where each new cell comes from
    tokens: Any  # [B, V] int32, what each token becomes


def apply_change(xp: rng.Xp, change: Change, rows: Any) -> Any:
    """Apply a change to token rows `[B, S]`; the dtype is kept."""
    moved = xp.take_along_axis(rows, change.cells, axis=-1)
    named = xp.take_along_axis(change.tokens, moved.astype(np.int32), axis=-1)
    return named.astype(rows.dtype)


def invert_change(xp: rng.Xp, change: Change) -> Change:
    """Return the change that takes the new rows back to the old."""
    return Change(
        xp.argsort(change.cells, axis=-1).astype(np.int32),
        xp.argsort(change.tokens, axis=-1).astype(np.int32),
    )


def _line_order(xp: rng.Xp, bands: int, inner: int, purpose: int, words: rng.Words):
    """Return `[B, bands * inner]`: permuted bands of permuted lines."""
    outer = rng.random_permutation(xp, bands, *words, purpose, 0)  # [B, bands]
    within = [
        rng.random_permutation(xp, inner, *words, purpose, 1 + band)
        for band in range(bands)
    ]
    lines = xp.stack(within, axis=1)  # [B, bands, inner]
    lines = xp.take_along_axis(lines, outer[:, :, None], axis=1)
    lines = xp.add(outer[:, :, None] * inner, lines)
    return lines.reshape(lines.shape[0], bands * inner)


def sudoku_change(xp: rng.Xp, geometry: Geometry, *words: Any) -> Change:
    """Draw one change of a Sudoku per counter.

    Args:
      xp: array namespace.
      geometry: the board.
      *words: counters; at least one is an array `[B]`.
    """
    side = geometry.side
    bands, stacks = side // geometry.box_rows, side // geometry.box_cols
    rows = _line_order(xp, bands, geometry.box_rows, rng.ROWS, words)  # [B, side]
    columns = _line_order(xp, stacks, geometry.box_cols, rng.COLUMNS, words)
    cells = xp.add(rows[:, :, None] * side, columns[:, None, :])  # [B, side, side]
    if geometry.square_boxes:
        flip = rng.random_below(xp, 2, *words, rng.TRANSPOSE)  # [B]
        turned = xp.swapaxes(cells, 1, 2)
        cells = xp.where((flip == 1)[:, None, None], turned, cells)
    digits = rng.random_permutation(xp, side, *words, rng.DIGITS)  # [B, side]
    fixed = xp.broadcast_to(
        xp.arange(_FIRST_DIGIT, dtype=np.int32)[None],
        (digits.shape[0], _FIRST_DIGIT),
    )
    tokens = xp.concatenate([fixed, digits + _FIRST_DIGIT], axis=1)
    return Change(cells.reshape(-1, geometry.cells), tokens.astype(np.int32))


def dihedral_table(side: int) -> np.ndarray:
    """Return int32 `[8, side * side]`: where each cell of turn t comes from.

    Order of the references: identity, three counter-clockwise quarter turns, flip
    left-right, flip up-down, transpose, anti-transpose.
    """
    grid = np.arange(side * side, dtype=np.int32).reshape(side, side)
    return np.stack([turn.ravel() for turn in dihedral_turns(grid)])


def dihedral_turns(grid: np.ndarray) -> list[np.ndarray]:
    """Return the eight dihedral turns of a grid `[rows, cols]`, in reference order."""
    return [
        grid,
        np.rot90(grid, 1),
        np.rot90(grid, 2),
        np.rot90(grid, 3),
        np.fliplr(grid),
        np.flipud(grid),
        grid.T,
        np.fliplr(np.rot90(grid, 1)),
    ]


def maze_change(xp: rng.Xp, side: int, vocab_size: int, *words: Any) -> Change:
    """Draw one of the 8 dihedral turns of a square grid per counter `[B]`."""
    turn = rng.random_below(xp, 8, *words, rng.DIHEDRAL)  # [B]
    cells = xp.take(xp.asarray(dihedral_table(side)), turn, axis=0)
    names = xp.arange(vocab_size, dtype=np.int32)[None]
    return Change(cells, xp.broadcast_to(names, (turn.shape[0], vocab_size)))
