# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentation keeps validity and uniqueness, can be undone, covers the group."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from lrm_jax.data import augment, maze, sudoku

BOARDS = [sudoku.geometry_for(side) for side in (4, 6, 9)]


@functools.cache
def puzzles_of(side, count=100):
    made = sudoku.generate(sudoku.geometry_for(side), count, seed=21)
    return made.puzzles + 1, made.solutions + 1


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: f"{b.side}x{b.side}")
def test_every_augmented_sudoku_is_valid_and_unique(board):
    puzzles, solutions = puzzles_of(board.side)
    for seed in range(3):
        change = augment.sudoku_change(np, board, seed, np.arange(len(puzzles)))
        new, answers = (
            augment.apply_change(np, change, rows) for rows in (puzzles, solutions)
        )
        assert new.dtype == puzzles.dtype
        assert sudoku.verify(new - 1, answers - 1, board).all()
        assert (sudoku.count_solutions(new - 1, board, 2) == 1).all()
        assert sudoku.is_minimal(new - 1, board).all()
        assert ((new == 1).sum(1) == (puzzles == 1).sum(1)).all()
        assert (new != puzzles).any(1).mean() > 0.9


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: f"{b.side}x{b.side}")
def test_changes_can_be_undone(board):
    puzzles, _ = puzzles_of(board.side)
    change = augment.sudoku_change(np, board, 5, np.arange(len(puzzles)))
    back = augment.invert_change(np, change)
    moved = augment.apply_change(np, change, puzzles)
    np.testing.assert_array_equal(augment.apply_change(np, back, moved), puzzles)


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: f"{b.side}x{b.side}")
def test_host_and_device_agree_to_the_bit(board):
    puzzles, _ = puzzles_of(board.side)
    lanes = np.arange(len(puzzles))

    def change_rows(xp, rows, lanes):
        change = augment.sudoku_change(xp, board, 7, lanes)
        back = augment.invert_change(xp, change)
        return augment.apply_change(xp, change, rows), *change, *back

    host = change_rows(np, puzzles, lanes)
    device = jax.jit(functools.partial(change_rows, jnp))(puzzles, lanes)
    for a, b in zip(host, device, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, np.asarray(b))


def test_all_transformations_of_4x4_occur_equally():
    """3,072 transformations of a grid: 8 row and 8 column orders, 2 turns, 4! names.

    A solved grid has fewer images (its symmetries); the 36 classes of minimal
    puzzles without symmetry have exactly 3,072.
    """
    board = BOARDS[0]
    puzzles, _ = puzzles_of(4, 400)
    orbit = {}
    for puzzle in puzzles[:8]:
        change = augment.sudoku_change(np, board, 1, np.arange(30_000))
        rows = augment.apply_change(np, change, np.repeat(puzzle[None], 30_000, 0))
        counts = np.unique(rows, axis=0, return_counts=True)[1]
        orbit[len(counts)] = counts
    assert max(orbit) == 3072
    assert set(orbit) <= {3072, 1536, 768, 384}
    assert orbit[3072].min() >= 1 and orbit[3072].max() < 40  # mean 10


def test_6x6_is_never_transposed():
    """A cell's row-mates stay row-mates on a board whose boxes are not square."""
    change = augment.sudoku_change(np, BOARDS[1], 3, np.arange(200))
    rows = change.cells.reshape(200, 6, 6) // 6
    assert (rows == rows[:, :, :1]).all()


def test_9x9_is_transposed_half_of_the_time():
    change = augment.sudoku_change(np, BOARDS[2], 3, np.arange(2000))
    rows = change.cells.reshape(2000, 9, 9) // 9
    straight = (rows == rows[:, :, :1]).all((1, 2)).mean()
    assert abs(straight - 0.5) < 0.05


def test_blank_and_pad_are_fixed():
    change = augment.sudoku_change(np, BOARDS[2], 0, np.arange(50))
    assert (change.tokens[:, :2] == [0, 1]).all()
    assert (np.sort(change.tokens[:, 2:], 1) == np.arange(2, 11)).all()


def test_dihedral_turns_are_the_references(lrm_fixtures):
    stored = load_file(lrm_fixtures / "pieces" / "dihedral.safetensors")
    for at, turn in enumerate(augment.dihedral_turns(stored["x"])):
        np.testing.assert_array_equal(turn, stored[f"t{at}"])


def test_dihedral_turns_by_hand():
    turns = [t.tolist() for t in augment.dihedral_turns(np.array([[1, 2], [3, 4]]))]
    assert turns == [
        [[1, 2], [3, 4]],
        [[2, 4], [1, 3]],
        [[4, 3], [2, 1]],
        [[3, 1], [4, 2]],
        [[2, 1], [4, 3]],
        [[3, 4], [1, 2]],
        [[1, 3], [2, 4]],
        [[4, 2], [3, 1]],
    ]


def test_turned_mazes_stay_valid_and_can_be_undone():
    made = maze.generate(10, 64, seed=9)
    change = augment.maze_change(np, 10, 6, 4, np.arange(64))
    new = augment.apply_change(np, change, made.puzzles)
    answers = augment.apply_change(np, change, made.solutions)
    assert maze.verify(new, answers).all()
    np.testing.assert_array_equal(maze.rate(new), made.ratings)
    back = augment.invert_change(np, change)
    np.testing.assert_array_equal(augment.apply_change(np, back, new), made.puzzles)
    assert len(np.unique(change.cells, axis=0)) == 8
    device = jax.jit(functools.partial(augment.maze_change, jnp, 10, 6))(
        4, jnp.arange(64)
    )
    np.testing.assert_array_equal(change.cells, np.asarray(device.cells))
