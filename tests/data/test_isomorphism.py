# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Same puzzles in large lists: the cheap invariant never misses a pair."""

import numpy as np
import pytest

from lrm_jax.data import augment, isomorphism, sudoku, views


@pytest.mark.parametrize("side", [4, 6, 9])
def test_invariant_is_kept_by_every_transformation(side):
    board = sudoku.geometry_for(side)
    puzzles = sudoku.generate(board, 100, seed=12).puzzles
    change = augment.sudoku_change(np, board, 2, np.arange(100))
    moved = augment.apply_change(np, change, puzzles + 1) - 1
    before = isomorphism.sudoku_invariant(puzzles, board)
    np.testing.assert_array_equal(before, isomorphism.sudoku_invariant(moved, board))
    if side == 9:  # and it tells random puzzles apart
        assert len(np.unique(before)) == 100


def test_invariant_of_one_clue_by_hand():
    """A lone clue is the same puzzle everywhere; two clues differ by their place."""
    board = sudoku.geometry_for(4)
    rows = np.zeros((4, 16), np.uint8)
    rows[0, 0], rows[1, 7] = 1, 4
    rows[2, [0, 1]], rows[3, [0, 2]] = [1, 2], [1, 2]  # same box; same row only
    values = isomorphism.sudoku_invariant(rows, board)
    assert values[0] == values[1] and len(set(values[1:].tolist())) == 3


@pytest.mark.parametrize("kind", ["sudoku", "maze"])
def test_overlaps_and_groups(kind):
    view = views.sudoku_view(6) if kind == "sudoku" else views.maze_view(8)
    if kind == "sudoku":
        rows = sudoku.generate(view.geometry, 30, seed=3).puzzles + 1
        change = augment.sudoku_change(np, view.geometry, 2, np.arange(30))
    else:
        rows = views.maze.generate(8, 30, seed=3).puzzles
        change = augment.maze_change(np, 8, 6, 2, np.arange(30))
    moved = augment.apply_change(np, change, rows)
    mixed = np.concatenate([moved[:10], rows[20:]])
    assert isomorphism.overlaps(view, rows[:20], mixed).tolist() == (
        [True] * 10 + [False] * 10
    )
    by_text = isomorphism.overlaps(view, rows[10:], mixed, "none")
    assert by_text.tolist() == [False] * 10 + [True] * 10
    groups = isomorphism.isomorphism_groups(view, np.concatenate([rows, moved[:3]]))
    assert sorted(g.tolist() for g in groups) == [[0, 30], [1, 31], [2, 32]]
    assert isomorphism.isomorphism_groups(view, rows) == []
