# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sudoku and maze as text: by hand, any right answer, and what is not."""

import pytest

from lrm_jax.data.tasks.base import Example
from lrm_jax.data.tasks.maze_text import MazeText, marked, step_to, walk_of
from lrm_jax.data.tasks.sudoku_text import SudokuText, in_rows, solving_order
from lrm_jax.types import UserError


def _said(answer: str) -> str:
    return f"<think>x</think><answer>{answer}</answer>"


GRID = "4312213412433421"
CLUES = "4.1......2.3...."
SUDOKU = Example("", in_rows(GRID, 4), "", {"puzzle": CLUES})


@pytest.mark.parametrize(
    ("answer", "strict", "lenient", "status"),
    [
        ("4312/2134/1243/3421", 1, 1, "right"),
        ("4312213412433421", 0, 1, "parse_error"),
        ("4 3 1 2\n2 1 3 4\n1 2 4 3\n3 4 2 1", 0, 1, "parse_error"),
        ("4312/2134/1243/3412", 0, 0, "wrong"),
        ("4.1./..../.2.3/....", 0, 0, "parse_error"),
        ("1234/3412/2143/4321", 0, 0, "wrong"),  # a grid, but not of these clues
        ("4312/2134/1243", 0, 0, "parse_error"),
        ("4312/2134/1243/342\u0661", 0, 0, "parse_error"),
        ("5312/2134/1243/3421", 0, 0, "parse_error"),
        ("4312/2134/1243/3421/4312/2134/1243/3421", 0, 0, "parse_error"),
        ("", 0, 0, "no_answer"),
    ],
)
def test_sudoku_answers(answer, strict, lenient, status):
    verdict = SudokuText().verify(_said(answer), SUDOKU)
    assert (verdict.strict, verdict.lenient, verdict.status) == (
        strict,
        lenient,
        status,
    )


def test_sudoku_steps_fill_every_open_cell_by_single_candidates():
    order = solving_order(CLUES, GRID, 4)
    assert sorted(order) == [i for i, c in enumerate(CLUES) if c == "."]
    task = SudokuText()
    example = task.example(0, 0, "train")
    steps = example.solution.partition("<think>")[2].partition("</think>")[0].split(",")
    rows = example.answer.split("/")
    assert all(rows[int(s[0]) - 1][int(s[1]) - 1] == s[2] for s in steps)


def test_sudoku_classes_are_apart():
    task = SudokuText()
    turned = "".join(CLUES[j * 4 + i] for i in range(4) for j in range(4))
    renamed = CLUES.translate(str.maketrans("1234", "3142"))
    assert task.split_of((turned, "")) == task.split_of((CLUES, ""))
    assert task.split_of((renamed, "")) == task.split_of((CLUES, ""))


def test_one_wrong_digit_makes_a_wrong_sudoku():
    task = SudokuText(noise=0.1)
    share = expected = 0.0
    for index in range(150):
        example = task.example(0, index, "train")
        share += task.verify(example.solution, example).strict / 150
        expected += 0.9 ** example.columns["puzzle"].count(".") / 150
    assert abs(share - expected) < 0.1


def test_maze_walks_by_hand():
    side = 4
    puzzle = "S..#" + ".#.." + "...." + "#..G"
    solution = "Soo#" + ".#o." + "..o." + "#.oG"
    assert walk_of(solution, side) == "RRDDDR"
    assert marked(puzzle, "RRDDDR", side) == solution
    assert step_to(0, "U", side) == step_to(0, "L", side) == 0
    task = MazeText(4)
    example = Example("", in_rows(solution, side), "", {"puzzle": puzzle})
    other = "Soo#" + ".#oo" + "...o" + "#..G"
    for answer, strict, lenient, status in (
        (in_rows(solution, side), 1, 1, "right"),
        (in_rows(other, side), 1, 1, "right"),
        (other, 0, 1, "parse_error"),
        (in_rows(puzzle, side), 0, 0, "wrong"),
        (in_rows(marked(puzzle, "RRDDRDL", side), side), 0, 0, "wrong"),
        (in_rows(solution.replace("#", "."), side), 0, 0, "wrong"),
        (in_rows(solution.replace("G", "o"), side), 0, 0, "wrong"),
        ("RRDDDR", 0, 0, "parse_error"),
    ):
        verdict = task.verify(_said(answer), example)
        assert (verdict.strict, verdict.lenient, verdict.status) == (
            strict,
            lenient,
            status,
        ), answer


def test_maze_noise_spoils_the_walk():
    task = MazeText(5, noise=1.0)
    for index in range(10):
        example = task.example(0, index, "train")
        assert task.verify(example.solution, example).strict == 0


def test_bad_sides_are_refused():
    with pytest.raises(UserError, match="side 5"):
        SudokuText(5)
    with pytest.raises(UserError, match="task.side=3"):
        MazeText(3)
