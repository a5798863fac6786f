# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a line of progress says, by recipe."""

import pytest

from lrm_jax.training.progress import make_progress
from lrm_jax.types import UserError


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"loss/total": 1.5, "loss/lm": 1.25, "perf/steps_per_s": 2.0},
            "step 3/7  loss 1.5000  2 steps/s  ETA 0:00:02",
        ),
        ({"loss/lm": 1.25}, "step 3/7  loss 1.2500"),
        (
            {"eval/loss": 0.5, "eval/greedy_accuracy": 0.125},
            "step 3/7  eval loss 0.5000  eval greedy 12.5%",
        ),
        ({"reward/mean": 0.75, "other": 1}, "step 3/7  reward 0.750"),
        ({"eval/exact_accuracy": None}, "step 3/7"),
    ],
)
def test_lines(capsys, values, line):
    make_progress("plain", name="run", start=0, total=7).show(3, values)
    assert capsys.readouterr().err == f"run: {line}\n"


def test_off_and_unknown(capsys):
    progress = make_progress("off", name="run", start=0, total=7)
    progress.show(3, {"loss/total": 1.0})
    progress.say("a word")
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match="accepted are auto, bar, plain, off"):
        make_progress("loud", name="run", start=0, total=7)  # pyright: ignore[reportArgumentType]
