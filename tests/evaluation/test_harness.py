# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.evaluation import harness
from lrm_jax.evaluation.harness import EvalConfig, evaluate
from lrm_jax.evaluation.judges import exact_match
from lrm_jax.types import UserError
from tests.evaluation.fakes import FakeReasoner, make_problems, random_plots

REASONER = FakeReasoner()
ZERO = jnp.float32(0)
# (halts at, right from): 0 is never.
PLOTS = [(1, 1), (2, 3), (0, 2), (4, 0), (3, 3)]
BUDGETS = ["0", "2", "4", "2+halt", "4+halt", "high", "-1"]


def run(batch_size=2, plots=PLOTS, budgets=BUDGETS, cap=4, **kwargs):
    return evaluate(
        REASONER,
        ZERO,
        make_problems(plots),
        budgets=budgets,
        cap=cap,
        batch_size=batch_size,
        **kwargs,
    )


@pytest.fixture(scope="module")
def result():
    return run()


def row(evaluation, budget):
    return next(r for r in evaluation.report["results"] if r["budget"] == budget)


@pytest.mark.parametrize(
    "budget, correct, steps",
    [
        ("0", [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
        ("2", [1, 0, 1, 0, 0], [2, 2, 2, 2, 2]),
        ("4", [1, 1, 1, 0, 1], [4, 4, 4, 4, 4]),
        ("2+halt", [1, 0, 1, 0, 0], [1, 2, 2, 2, 2]),
        ("4+halt", [1, 0, 1, 0, 1], [1, 2, 4, 4, 3]),
        ("high", [1, 1, 1, 0, 1], [4, 4, 4, 4, 4]),
        ("-1", [1, 1, 1, 0, 1], [4, 4, 4, 4, 4]),  # the rule's 6 is beyond the cap
    ],
)
def test_budgets_by_hand(result, budget, correct, steps):
    np.testing.assert_array_equal(result.correct[budget], np.array(correct, bool))
    np.testing.assert_array_equal(result.steps[budget], steps)
    line = row(result, budget)
    assert line["exact_accuracy"] == sum(correct) / 5
    assert line["correct"] == sum(correct)
    assert line["mean_steps"] == pytest.approx(sum(steps) / 5)
    # A wrong answer is wrong in one cell of five.
    assert line["token_accuracy"] == pytest.approx(1 - (5 - sum(correct)) / 25)


def test_halted_share(result):
    assert row(result, "4")["halted"] == 0.0
    assert row(result, "2+halt")["halted"] == pytest.approx(2 / 5)
    assert row(result, "4+halt")["halted"] == pytest.approx(4 / 5)


def test_own_rule_stops_within_the_cap():
    steps = run(cap=9, budgets=["-1", "9"]).steps
    np.testing.assert_array_equal(steps["-1"], [6] * 5)
    np.testing.assert_array_equal(steps["9"], [9] * 5)


def test_depth_curve_by_hand(result):
    curve = result.report["depth_curve"]
    assert [entry["steps"] for entry in curve] == [1, 2, 3, 4]
    assert [entry["exact_accuracy"] for entry in curve] == [0.2, 0.4, 0.8, 0.8]
    # Halting logits are 2 from step k on, else -2.
    up, down = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))
    fired = [1, 2, 3, 4]
    for entry, n in zip(curve, fired, strict=True):
        assert entry["mean_halt_prob"] == pytest.approx((n * up + (5 - n) * down) / 5)


def test_histogram_by_hand(result):
    assert result.report["halting_histogram"] == [1, 1, 1, 1]
    assert result.report["never_halted"] == 1


def test_calibration_by_hand(result):
    # 20 (problem, step) pairs; fired and right: problem 0 four times, 1 twice,
    # 4 twice; fired and wrong: 1 once, 3 once; silent and right: 2 three times.
    up = 1 / (1 + math.exp(-2))
    true_positive, false_positive, missed, quiet = 8, 2, 3, 7
    positives, negatives = true_positive + missed, false_positive + quiet
    wins = true_positive * quiet
    ties = true_positive * false_positive + missed * quiet
    calibration = result.report["calibration"]
    expected = (wins + ties / 2) / (positives * negatives)
    assert calibration["auroc"] == pytest.approx(expected)
    ece = 10 / 20 * abs(0.8 - up) + 10 / 20 * abs(0.3 - (1 - up))
    assert calibration["ece"] == pytest.approx(ece, abs=1e-6)
    assert sum(b["n"] for b in calibration["bins"]) == 20


def test_report_is_json(result):
    assert json.loads(json.dumps(result.report, allow_nan=False)) == result.report
    assert result.report["n"] == 5


@pytest.mark.parametrize("batch_size", [1, 3, 5, 64])
def test_batch_size_and_padding_change_nothing(result, batch_size):
    other = run(batch_size=batch_size)
    chex.assert_trees_all_equal(other.correct, result.correct)
    chex.assert_trees_all_equal(other.steps, result.steps)
    assert other.report == result.report


def test_every_batch_is_reported_as_done():
    done = []
    run(batch_size=2, on_batch=lambda i, n: done.append((i, n)))
    assert done == [(2, 5), (4, 5), (5, 5)]


def test_judges_decide_and_add(result):
    def first_cell(ids, problem):
        return ids[:, 0] == problem["labels"][:, 0]

    judged = run(judge=first_cell, extra_judges={"all": exact_match})
    assert row(judged, "0")["exact_accuracy"] == 1.0
    assert row(judged, "0")["all_accuracy"] == 0.2
    assert judged.report["depth_curve"][3]["all_accuracy"] == 0.8


def test_equal_shapes_compile_once():
    reasoner = FakeReasoner()
    for seed in range(3):
        evaluate(
            reasoner,
            ZERO,
            make_problems(random_plots(7, 4, seed), seed),
            budgets=["4+halt"],
            cap=4,
            batch_size=3,
        )
    assert reasoner.traces["start"] == 1
    assert reasoner.traces["think"] == 1


def test_labels_are_hidden_and_may_be_absent():
    problems = make_problems(PLOTS)
    del problems["labels"]
    evaluation = evaluate(REASONER, ZERO, problems, budgets=["4"], cap=4)
    line = row(evaluation, "4")
    assert line["exact_accuracy"] == 0.0 and line["token_accuracy"] is None


def test_ignored_cells_do_not_count():
    problems = make_problems(PLOTS)
    problems["labels"][:, -1] = -100  # the only cell that is ever wrong
    evaluation = evaluate(REASONER, ZERO, problems, budgets=["0"], cap=4)
    assert row(evaluation, "0")["exact_accuracy"] == 1.0


def test_diverged_halting_head_is_null_not_a_crash():
    evaluation = evaluate(
        REASONER, jnp.float32(math.nan), make_problems(PLOTS), budgets=["4+halt"], cap=4
    )
    assert evaluation.report["calibration"] == {"auroc": None, "ece": None, "bins": []}
    assert row(evaluation, "4+halt")["halted"] == 0.0
    json.dumps(evaluation.report, allow_nan=False)


def test_draws_follow_the_problem_not_the_batch():
    class Noisy(FakeReasoner):
        def think(self, params, carry, keys):
            carry, signals = super().think(params, carry, keys)
            return carry, signals._replace(halt=carry.noise - 1.5)

    problems = make_problems(random_plots(9, 4, 0))
    key = jax.random.key(5)
    noisy = Noisy()
    passes = [
        harness.depth_pass(noisy, ZERO, problems, max_steps=4, batch_size=b, key=key)
        for b in (2, 9)
    ]
    np.testing.assert_allclose(passes[0].halt, passes[1].halt, rtol=1e-6)
    assert len(np.unique(passes[0].halt)) == 36


def test_proxy_is_a_fixed_random_subset():
    indices = harness.proxy_indices(1000, 100, seed=3)
    assert len(np.unique(indices)) == 100
    np.testing.assert_array_equal(indices, harness.proxy_indices(1000, 100, seed=3))
    assert (np.diff(indices) > 0).all()
    assert not np.array_equal(indices, np.arange(100))
    assert not np.array_equal(indices, harness.proxy_indices(1000, 100, seed=4))
    # Spread over the list: binomial(100, ½) in each half, five sigma.
    assert 25 < (indices < 500).sum() < 75
    assert set(harness.proxy_indices(1000, 50, seed=3)) <= set(indices)
    np.testing.assert_array_equal(harness.proxy_indices(5, 0, seed=0), np.arange(5))
    np.testing.assert_array_equal(harness.proxy_indices(5, 9, seed=0), np.arange(5))


def test_splitmix64_by_published_value():
    # The first output of the generator seeded with 0.
    first = harness._splitmix64(np.zeros(1, np.uint64))[0]
    assert first == 0xE220A8397B1DCDAF


@pytest.mark.parametrize(
    "kwargs, words",
    [
        ({"batch_size": 0}, "eval.batch_size=0"),
        ({"every_steps": -1}, "eval.every_steps=-1"),
        ({"budgets": ()}, "eval.budgets is empty"),
        ({"budgets": ("hihg",)}, "did you mean 'high'"),
    ],
)
def test_config_refuses(kwargs, words):
    with pytest.raises(UserError, match=words):
        EvalConfig(**kwargs)


def test_bad_test_sets_are_refused():
    problems = make_problems(PLOTS)
    with pytest.raises(UserError, match="holds no problem"):
        harness.on_device({k: v[:0] for k, v in problems.items()})
    with pytest.raises(UserError, match="'labels' has shape .4, 5., 'inputs' has 5"):
        harness.on_device(problems | {"labels": problems["labels"][:4]})
    with pytest.raises(UserError, match="needs an array 'inputs'"):
        harness.on_device({"labels": problems["labels"]})
    with pytest.raises(UserError, match="beyond the cap of 4"):
        run(budgets=["5"])
    with pytest.raises(UserError, match="no thinking budget"):
        run(budgets=[])
