# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Policies trained by two processes: the numbers, the rows and the files of one."""

import json

import pytest

from lrm_jax.data.text_source import first_index
from lrm_jax.training.run_folder import SAMPLES
from tests.recipes import process_runs as runs
from tests.recipes.counted_data import FOLDER, noted
from tests.recipes.process_runs import assert_close, train_alone, values_of

QUICK = ("eval.greedy=false", "checkpoint.best_metric=eval/loss")
"""Without decoding, which the other recipe tests."""
COUNTED = "task.name=tests.recipes.counted_data:"
TRIES = 1000  # examples that a row of the endless stream may look at


def counted_run(folder, *words, base):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder))
        runs.run_all(folder / "two", 2, 2, *words, base=base)
    return folder


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Five steps of fine-tuning by two processes with two devices each."""
    folder = tmp_path_factory.mktemp("tuned")
    words = ("train.total_steps=5", f"{COUNTED}addition", *QUICK)
    return counted_run(folder, *words, base=runs.SFT)


def test_fine_tuning_by_two_processes_is_that_of_one(tuned):
    words = ("train.total_steps=5", "mesh.data=4", *QUICK)
    train_alone(tuned / "one", *words, base=runs.SFT)
    assert_close(tuned / "one", tuned / "two", "loss/lm")
    one, two = (values_of(tuned / run, "eval/loss") for run in ("one", "two"))
    assert one and one == pytest.approx(two, abs=1e-5)


def test_each_process_tokenises_its_own_rows_alone(tuned):
    for process, lanes in enumerate((range(4), range(4, 8))):
        seen = noted(tuned, "examples", process)
        rows = {(i - first_index(0)) // TRIES for i in seen if i >= first_index(0)}
        assert rows == {8 * step + lane for step in range(5) for lane in lanes}


@pytest.fixture(scope="module")
def reinforced(tmp_path_factory):
    """Four rollouts by two processes with two devices each."""
    folder = tmp_path_factory.mktemp("reinforced")
    return counted_run(folder, f"{COUNTED}digit", base=runs.GRPO)


def test_reinforcement_by_two_processes_is_that_of_one(reinforced):
    train_alone(reinforced / "one", "mesh.data=4", base=runs.GRPO)
    assert_close(reinforced / "one", reinforced / "two", "reward/mean")
    assert max(values_of(reinforced / "one", "optim/grad_norm")) > 0
    one, two = (
        [json.loads(x) for x in (reinforced / n / SAMPLES).read_text().splitlines()]
        for n in ("one", "two")
    )
    assert len(one) == len(two) > 0
    for first, second in zip(one, two, strict=True):
        assert first.pop("logps") == pytest.approx(second.pop("logps"), abs=2e-4)
        assert first == second
    for name in ("eval/greedy_accuracy", "eval/greedy_length"):
        first, second = (values_of(reinforced / n, name) for n in ("one", "two"))
        assert first and first == second, name


def test_each_completion_is_scored_by_one_process(reinforced):
    parts = [noted(reinforced, "scored", process) for process in (0, 1)]
    counts = [sum(len(batch) for batch in part) for part in parts]
    assert sum(counts) == 4 * 16 + 6 and counts[0] == counts[1]  # and held out


def test_the_first_process_alone_writes(reinforced):
    steps = values_of(reinforced / "two", "reward/mean")
    assert len(steps) == 4
    assert "step 4/4" in runs.said_by(reinforced / "two", 0)
    assert "step" not in runs.said_by(reinforced / "two", 1)
