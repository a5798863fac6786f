# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import re

import pytest

from lrm_jax.evaluation.terminal import draw_thinking
from tests.evaluation.boards import MAZE, SUDOKU, maze_trace, sudoku_trace


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_plain_sudoku_by_hand():
    trace = sudoku_trace()
    text = draw_thinking(
        trace._replace(preds=trace.preds[:1], halt_prob=[0.02]), SUDOKU
    )
    assert text == (
        "puzzle             step 1  halt 2%\n"
        "1 . | . .          1 1!| 1!1!\n"
        ". . | 2 .          1!1!| 2 1*\n"
        "----+-----         ----+-----\n"
        ". 3 | . .          1!3 | 1*1!\n"
        ". . | . 4          1!1*| 1!4\n"
        "\n"
        "* changed  ! wrong"
    )


def test_without_labels_nothing_is_wrong():
    text = draw_thinking(sudoku_trace(labels=None), SUDOKU)
    assert "!" not in text
    assert text.endswith("* changed")


def test_every_step_is_shown_and_fits_the_width():
    text = draw_thinking(sudoku_trace(), SUDOKU, width=40)
    for head in ("puzzle", "step 1  halt 2%", "step 2  halt 97%", "step 3  halt 40%"):
        assert head in text
    assert max(map(len, text.splitlines())) <= 40
    wide = draw_thinking(sudoku_trace(), SUDOKU, width=200)
    assert len(wide.splitlines()) < len(text.splitlines())


@pytest.mark.parametrize("width", [1, 40, 80, 200])
def test_colour_changes_codes_only(width):
    trace = sudoku_trace()
    colored = draw_thinking(trace, SUDOKU, color=True, width=width)
    assert "\x1b[31;4m" in colored and "\x1b[1m" in colored
    boards = plain(colored).rpartition("\n\n")[0]
    without = draw_thinking(trace, SUDOKU, width=width).rpartition("\n\n")[0]
    strip = lambda text: [x.rstrip() for x in text.splitlines()]
    assert strip(boards) == strip(re.sub("[*!]", " ", without))


def test_maze_is_one_character_a_cell():
    text = draw_thinking(maze_trace(), MAZE, width=40)
    assert text.splitlines()[:5] == [
        "puzzle              step 1  halt 10%",
        "S #                 So#",
        "#                   #",
        "# #                 # #",
        "   G                   G",
    ]
    assert "*" not in text and "!" not in text
    assert " ooG" in text
