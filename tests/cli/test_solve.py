# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The thinking, drawn in the terminal."""

import re

from lrm_jax.cli.solve import thinking

DATA = {
    "puzzle": "1..." + "...." * 2 + "...4",
    "rows": 4,
    "cols": 4,
    "box_rows": 2,
    "box_cols": 2,
    "trace": [
        {
            "answer": "1234341221434321",
            "confidence": [0.5] * 16,
            "halt_prob": 0.25,
        },
        {
            "answer": "1234341221434324",
            "confidence": [1.0] * 16,
            "halt_prob": 0.75,
        },
    ],
}
DRAWN = """\
step 1  halt 0.25   step 2  halt 0.75
1 2*| 3*4*          1 2 | 3 4
3*4*| 1*2*          3 4 | 1 2

2*1*| 4*3*          2 1 | 4 3
4*3*| 2*1*          4 3 | 2 4*"""


def test_boards_stand_beside_each_other_and_mark_what_changed():
    assert thinking(DATA, color=False) == DRAWN


def test_a_narrow_terminal_stacks_them():
    text = thinking(DATA, color=False, width=20)
    assert text.count("\nstep 2  halt 0.75\n") == 1
    assert text.startswith("step 1  halt 0.25\n1 2*| 3*4*\n")


def test_colour_shades_confidence_and_keeps_the_layout():
    text = thinking(DATA, color=True)
    assert "\x1b[1;33m4\x1b[0m" in text  # changed
    assert "\x1b[38;5;255m1\x1b[0m" in text  # sure
    assert "\x1b[38;5;248m1\x1b[0m" in text  # half sure
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert [line.rstrip() for line in plain.splitlines()] == [
        line.rstrip() for line in DRAWN.replace("*", " ").splitlines()
    ]


def test_no_boxes_and_no_steps():
    maze = {"puzzle": "S G ", "rows": 2, "cols": 2, "box_rows": 0, "box_cols": 0}
    step = {"answer": "SoGo", "confidence": [1.0] * 4, "halt_prob": 1.0}
    text = thinking({**maze, "trace": [step]}, color=False)
    assert text == "step 1  halt 1.00\nS o*\nG o*"
    assert thinking({**maze, "trace": []}, color=False) == ""
