# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data import maze as maze_data
from lrm_jax.data.views import arc_view, maze_view, sudoku_view
from lrm_jax.evaluation.judges import (
    MazeJudge,
    SudokuJudge,
    cells_right,
    exact_match,
    judges_for,
    verdict,
)
from lrm_jax.types import UserError

GRID_6 = """
123456
456123
231564
564231
312645
645312
"""


def sudoku(text):
    """Digits to token ids; '.' is blank."""
    return np.array([[1 if c == "." else int(c) + 1 for c in "".join(text.split())]])


def maze(text):
    return np.array([["# SGo".index(c) + 1 for c in text.replace("|", "")]])


def judge_maze(puzzle, answer, shape):
    judge = jax.jit(MazeJudge(*shape))
    return bool(judge(jnp.array(maze(answer)), {"inputs": jnp.array(maze(puzzle))})[0])


def test_exact_match_by_hand():
    labels = jnp.array([[1, 2, -100], [1, 2, 3], [-100, -100, -100]])
    ids = jnp.array([[1, 2, 9], [1, 2, 9], [1, 2, 3]])
    np.testing.assert_array_equal(
        exact_match(ids, {"labels": labels}), [True, False, False]
    )
    right, cells = cells_right(ids, {"labels": labels})
    np.testing.assert_array_equal(right, [2, 2, 0])
    np.testing.assert_array_equal(cells, [2, 3, 0])


def test_sudoku_accepts_valid_grids_that_keep_the_givens():
    judge = jax.jit(SudokuJudge(2, 3))
    grid = sudoku(GRID_6)
    blank = np.ones_like(grid)
    assert judge(grid, {"inputs": blank})[0]
    assert judge(grid, {"inputs": np.where(np.arange(36) % 5, 1, grid)})[0]
    swapped = np.where(grid == 2, 3, np.where(grid == 3, 2, grid))  # 1 <-> 2
    assert judge(swapped, {"inputs": blank})[0]
    assert not judge(swapped, {"inputs": grid})[0]


@pytest.mark.parametrize("wrong", [0, 1, 8])
def test_sudoku_refuses_any_changed_cell(wrong):
    judge = jax.jit(SudokuJudge(2, 3))
    grid = sudoku(GRID_6)
    answers = np.repeat(grid, 36, 0)
    answers[np.arange(36), np.arange(36)] = np.where(
        answers[np.arange(36), np.arange(36)] == wrong, 2, wrong
    )
    same = (answers == grid).all(1)
    verdict = judge(answers, {"inputs": np.ones_like(answers)})
    np.testing.assert_array_equal(verdict, same)


def test_sudoku_boxes_matter():
    # A Latin square whose 2x2 boxes repeat digits.
    latin = sudoku("1234 2341 3412 4123")
    assert not SudokuJudge(2, 2)(jnp.array(latin), {"inputs": jnp.ones((1, 16), int)})[
        0
    ]
    box_ok = sudoku("1234 3412 2143 4321")
    assert SudokuJudge(2, 2)(jnp.array(box_ok), {"inputs": jnp.ones((1, 16), int)})[0]


def test_all_4x4_grids_are_288():
    rows = np.array(list(itertools.permutations(range(2, 6))))
    pick = np.stack(np.meshgrid(*[np.arange(24)] * 4, indexing="ij"), -1).reshape(-1, 4)
    pick = pick[pick[:, 0] == 0]  # first row fixed: 288 / 24
    grids = rows[pick].reshape(-1, 16)
    verdict = jax.jit(SudokuJudge(2, 2))(grids, {"inputs": np.ones_like(grids)})
    assert int(verdict.sum()) == 12


PUZZLE = "S  |   |  G"


@pytest.mark.parametrize(
    "answer, right",
    [
        ("Soo|  o|  G", True),
        ("S  |o  |ooG", True),  # another shortest path
        ("So | o | oG", True),
        ("Soo|  o| oG", False),  # one cell too many
        ("So |  o|  G", False),  # a gap
        ("S o|  o|  G", False),  # does not touch the start
        ("S  |   |  G", False),
        ("ooo|  o|  G", False),  # marks the start
        ("Soo|# o|  G", False),  # changes another cell
    ],
)
def test_maze_by_hand(answer, right):
    assert judge_maze(PUZZLE, answer, (3, 3)) == right


def test_maze_walls_detours_and_neighbours():
    puzzle = "S #|# #|  G"
    assert judge_maze(puzzle, "So#|#o#| oG", (3, 3))
    assert not judge_maze(puzzle, "So#|#oo|  G", (3, 3))  # through a wall
    assert judge_maze("SG |   |   ", "SG |   |   ", (3, 3))  # nothing to mark
    assert not judge_maze("SG |   |   ", "SG |oo |   ", (3, 3))
    assert not judge_maze("S#G|###|   ", "S#G|###|   ", (3, 3))  # no way at all
    # Valid but longer than the shortest.
    assert not judge_maze("S G|   ", "S G|ooo", (2, 3))
    assert judge_maze("S G|   ", "SoG|   ", (2, 3))


def test_maze_lanes_do_not_disturb_each_other():
    judge = jax.jit(MazeJudge(3, 3))
    puzzles = np.concatenate([maze(PUZZLE), maze("S #|# #|  G"), maze("SG |   |   ")])
    answers = np.concatenate(
        [maze("Soo|  o|  G"), maze("So#|#o#| oG"), maze("SG |   |o  ")]
    )
    np.testing.assert_array_equal(
        judge(answers, {"inputs": puzzles}), [True, True, False]
    )


def test_judges_hash_by_their_fields():
    assert hash(SudokuJudge(2, 3)) == hash(SudokuJudge(2, 3))
    assert MazeJudge(3, 4) == MazeJudge(3, 4) != MazeJudge(4, 3)


def test_judges_of_a_kind():
    assert judges_for(sudoku_view(6)) == (SudokuJudge(2, 3), {"label": exact_match})
    assert judges_for(maze_view(5)) == (exact_match, {"valid": MazeJudge(5, 5)})
    assert judges_for(arc_view(9)) == (exact_match, {})


def test_maze_judge_agrees_with_the_verifier_of_the_data():
    mazes = maze_data.generate(6, 40, seed=1)
    rng = np.random.default_rng(0)
    flips = rng.random(mazes.solutions.shape) < 0.02
    noisy = np.where(flips, rng.integers(1, 6, flips.shape), mazes.solutions)
    turned = mazes.solutions[::-1]  # the path of another maze
    for answers in (mazes.solutions, noisy, turned):
        verdict = jax.jit(MazeJudge(6, 6))(
            jnp.array(answers), {"inputs": jnp.array(mazes.puzzles, jnp.int32)}
        )
        np.testing.assert_array_equal(verdict, maze_data.verify(mazes.puzzles, answers))


def test_sudoku_judge_agrees_with_the_verifier_of_the_data():
    grid = np.repeat(sudoku(GRID_6), 30, 0)
    rng = np.random.default_rng(0)
    answers = np.where(
        rng.random(grid.shape) < 0.02, rng.integers(0, 9, grid.shape), grid
    )
    inputs = np.where(rng.random(grid.shape) < 0.6, 1, grid)
    verdict = jax.jit(SudokuJudge(2, 3))(answers, {"inputs": inputs})
    expected = sudoku_view(6).is_valid(inputs, answers)
    np.testing.assert_array_equal(verdict, expected)
    assert 0 < int(verdict.sum()) < 30


def test_own_judges_come_beside_those_of_the_kind():
    own = {"blank_free": lambda ids, problem: (ids > 1).all(-1)}
    assert judges_for(arc_view(9), own) == (exact_match, own)
    judge, extra = judges_for(sudoku_view(4), own)
    assert judge == SudokuJudge(2, 2) and list(extra) == ["label", "blank_free"]


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (lambda ids, p: ids.sum(-1), r"returned int32\[3\]; expected bool\[3\]"),
        (lambda ids, p: ids > 1, r"returned bool\[3, 4\]; expected bool\[3\]"),
        (lambda ids, p: True, r"returned bool; expected bool\[3\]"),
        (lambda ids, p: np.sort(ids)[:, 0] > 0, "must be written with jax.numpy"),
        (lambda ids, p: [bool(x) for x in ids[:, 0]], "must be written with jax.n"),
    ],
)
def test_what_is_no_judge_is_named(judge, message):
    ids = jnp.ones((3, 4), jnp.int32)
    with pytest.raises(UserError, match=f"^judge 'mine'.*{message}"):
        jax.jit(lambda ids: verdict("mine", judge, ids, {}))(ids)
