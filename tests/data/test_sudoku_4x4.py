# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""All of 4x4 Sudoku, counted; splits by whole classes."""

import numpy as np
import pytest

from lrm_jax.data import sudoku, sudoku_4x4
from lrm_jax.types import UserError

BOARD = sudoku.geometry_for(4)


def test_all_grids_are_288_valid_ones():
    grids = sudoku_4x4.all_grids()
    assert len({g.tobytes() for g in grids}) == 288
    assert sudoku.verify(np.zeros_like(grids), grids, BOARD).all()
    assert sudoku.isomorphism_classes(grids, BOARD).max() + 1 == 2


def test_all_minimal_puzzles_and_their_36_classes():
    every = sudoku_4x4.all_minimal()
    assert len({p.tobytes() for p in every.puzzles}) == len(every.puzzles) == 85_632
    clues = np.bincount((every.puzzles > 0).sum(1))
    assert clues.tolist() == [0, 0, 0, 0, 25_728, 58_368, 1_536]
    assert every.classes.max() + 1 == 36
    solved = sudoku.solve(every.puzzles, BOARD)
    assert (solved.counts == 1).all() and (solved.ratings == 0).all()
    np.testing.assert_array_equal(solved.solutions, every.solutions)
    assert sudoku.is_minimal(every.puzzles, BOARD).all()


def test_generated_puzzles_are_among_the_enumerated():
    every = {p.tobytes() for p in sudoku_4x4.all_minimal().puzzles}
    made = sudoku.generate(BOARD, 500, seed=6)
    assert all(p.tobytes() in every for p in made.puzzles)


def test_class_split_holds_out_whole_classes():
    classes = sudoku_4x4.all_minimal().classes
    split = sudoku_4x4.class_split(5000, 2000, seed=1)
    assert [len(part) for part in split] == [5000, 1000, 1000, 9]
    trained = set(classes[split.train])
    assert len(trained) == 27 and not trained & set(split.held_out)
    assert set(classes[split.test_unseen]) <= set(split.held_out)
    assert set(classes[split.test_seen]) <= trained
    assert not set(split.train) & set(split.test_seen)


def test_class_split_is_seeded_and_uses_all_when_asked():
    a = sudoku_4x4.class_split(0, 2000, seed=1)
    b = sudoku_4x4.class_split(0, 2000, seed=1)
    c = sudoku_4x4.class_split(0, 2000, seed=2)
    np.testing.assert_array_equal(a.train, b.train)
    assert a.held_out.tolist() != c.held_out.tolist()
    every = sudoku_4x4.all_minimal().classes
    assert len(a.train) + len(a.test_seen) == (~np.isin(every, a.held_out)).sum()


def test_class_split_refuses_what_is_not_there():
    with pytest.raises(UserError, match="accepted are 1 to 35"):
        sudoku_4x4.class_split(10, 10, seed=0, held_out_classes=36)
    with pytest.raises(UserError, match="ask for more than"):
        sudoku_4x4.class_split(90_000, 10, seed=0)
