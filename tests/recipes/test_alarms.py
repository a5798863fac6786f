# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Alarms on planted logs: each fires where it should, once, and nowhere else."""

import math

import pytest

from lrm_jax.recipes.alarms import (
    AlarmConfig,
    AlarmWatch,
    entropy_collapse,
    length_blowup,
    modal_collapse,
    no_signal,
)
from lrm_jax.types import UserError

CFG = AlarmConfig(window=3)


def step_log(n=12, **columns):
    """Records of n steps; a column is a number or a function of the step."""
    values = lambda i: {
        name: column(i) if callable(column) else column
        for name, column in columns.items()
    }
    named = {
        "silent": "groups/no_signal_mean",
        "accuracy": "reward/accuracy",
        "entropy": "entropy/mean",
        "length": "completions/mean_length",
        "clipped": "completions/clipped_ratio",
    }
    return [
        {"step": i, **{named[k]: v for k, v in values(i).items()}} for i in range(n)
    ]


HEALTHY = step_log(
    silent=0.3,
    accuracy=lambda i: 0.2 + 0.05 * i,
    entropy=lambda i: 0.5 - 0.02 * i,
    length=20.0,
    clipped=0.0,
)


def test_a_healthy_log_raises_nothing():
    watch = AlarmWatch(CFG)
    assert [watch.see(record) for record in HEALTHY] == [[]] * 12


def test_a_log_without_signal_is_told_with_its_share():
    log = step_log(silent=0.99, accuracy=0.003)
    text = no_signal(log, CFG)
    assert text is not None
    assert "99%" in text and "0.3%" in text


def test_no_signal_needs_a_whole_window():
    assert no_signal(step_log(n=2, silent=1.0, accuracy=0.0), CFG) is None
    mixed = step_log(silent=lambda i: 0.5 if i == 10 else 1.0, accuracy=0.0)
    assert no_signal(mixed, CFG) is None


def test_groups_that_are_all_right_are_no_fault():
    assert no_signal(step_log(silent=0.99, accuracy=0.98), CFG) is None


def evaluation(greedy, constant, answers, truth):
    return {
        "step": 5,
        "eval/greedy_accuracy": greedy,
        "eval/best_constant": constant,
        "eval/answer_entropy": answers,
        "eval/true_answer_entropy": truth,
    }


def test_always_the_most_frequent_answer_is_told():
    # The under-trained counting run: 34.4 % greedy, P[count = 1] = .356.
    text = modal_collapse([evaluation(0.344, 0.356, 0.02, 1.1)], CFG)
    assert text is not None
    assert "34.4%" in text and "35.6%" in text


@pytest.mark.parametrize(
    "record",
    [
        evaluation(0.60, 0.356, 0.02, 1.1),  # better than guessing
        evaluation(0.02, 0.01, 3.9, 4.0),  # wrong, but not the same each time
        evaluation(1.0, 1.0, 0.0, 0.0),  # there is but one answer
    ],
)
def test_what_is_no_modal_collapse(record):
    assert modal_collapse([record], CFG) is None


def test_entropy_that_vanishes_before_the_task_is_solved():
    falling = lambda i: 0.4 * math.exp(-i)
    text = entropy_collapse(step_log(entropy=falling, accuracy=0.4), CFG)
    assert text is not None and "40.0%" in text
    assert entropy_collapse(step_log(entropy=falling, accuracy=0.95), CFG) is None
    assert entropy_collapse(step_log(entropy=0.3, accuracy=0.4), CFG) is None


def test_longer_completions_that_gain_nothing():
    growing = lambda i: 20.0 * 1.2**i
    columns = {"length": growing, "clipped": 0.25}
    text = length_blowup(step_log(accuracy=0.3, **columns), CFG)
    assert text is not None and "25%" in text
    better = lambda i: 0.3 + 0.02 * i
    assert length_blowup(step_log(accuracy=better, **columns), CFG) is None


def test_each_alarm_is_raised_once_and_at_the_same_step_after_a_restart():
    log = step_log(silent=0.99, accuracy=0.0, entropy=lambda i: 0.4 * math.exp(-i))
    whole = AlarmWatch(CFG)
    raised = [[n.name for n in whole.see(record)] for record in log]
    assert sorted(name for names in raised for name in names) == [
        "entropy_collapse",
        "no_signal",
    ]
    for cut in range(len(log)):
        resumed = AlarmWatch(CFG)
        for record in log[:cut]:
            resumed.see(record)
        assert [[n.name for n in resumed.see(r)] for r in log[cut:]] == raised[cut:]


def test_records_without_the_numbers_are_passed_over():
    assert no_signal([{"step": 1, "reward/accuracy": None}] * 9, CFG) is None
    assert AlarmWatch(CFG).see({"step": 3, "alarm": "no_signal", "message": ""}) == []


def test_an_empty_window_is_refused():
    with pytest.raises(UserError, match="window=0"):
        AlarmConfig(window=0)
