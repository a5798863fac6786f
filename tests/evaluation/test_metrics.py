# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from lrm_jax.evaluation import metrics


@pytest.mark.parametrize(
    "successes, n, low, high",
    [
        # z² = 3.841459; 5 of 10: centre ½, half = z √(.025 + z²/400) / (1 + z²/10)
        (5, 10, 0.236593, 0.763407),
        (0, 10, 0.0, 0.277533),  # z² / (10 + z²)
        (10, 10, 0.722467, 1.0),
        (1, 1, 0.206549, 1.0),  # 1 / (1 + z²)
        (90, 100, 0.825634, 0.944771),
    ],
)
def test_wilson_by_hand(successes, n, low, high):
    interval = metrics.wilson_interval(successes, n)
    assert interval == pytest.approx((low, high), abs=1e-6)


def test_wilson_edges():
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)
    assert metrics.wilson_interval(0, 7).low == 0.0
    assert metrics.wilson_interval(7, 7).high == 1.0
    with pytest.raises(ValueError, match="8 successes of 7"):
        metrics.wilson_interval(8, 7)


def test_wilson_bounds_solve_the_score_equation():
    # The bounds are where |p̂ - p| = z √(p (1 - p) / n).
    for successes, n in [(3, 17), (211, 422), (1, 5000)]:
        for p in metrics.wilson_interval(successes, n):
            assert abs(successes / n - p) == pytest.approx(
                metrics.Z95 * math.sqrt(p * (1 - p) / n)
            )


def test_mean_and_se_by_hand():
    # Deviations -2, 0, 2: variance 4, s.e. 2/√3.
    assert metrics.mean_and_se([1.0, 3.0, 5.0]) == pytest.approx(
        (3.0, 2 / math.sqrt(3), 3)
    )
    assert metrics.mean_and_se([0.7]) == (0.7, None, 1)
    with pytest.raises(ValueError, match="no values"):
        metrics.mean_and_se([])


def test_paired_difference_by_hand():
    a = [True, True, False, False, True]
    b = [True, False, True, True, True]
    result = metrics.paired_difference(a, b)
    assert (result.only_a, result.only_b) == (1, 2)
    assert result.difference == pytest.approx(0.2)
    # variance (3/5 - 0.04) / 5 = 0.112
    half = 1.959963984540054 * math.sqrt(0.112)
    assert result.ci95 == pytest.approx((0.2 - half, 0.2 + half))


def test_paired_difference_of_equal_runs_is_zero():
    a = np.arange(10) % 3 == 0
    assert metrics.paired_difference(a, a) == (0.0, (0.0, 0.0), 0, 0)
    with pytest.raises(ValueError, match="do not pair"):
        metrics.paired_difference([True], [True, False])


@pytest.mark.parametrize(
    "scores, outcomes, expected",
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([1, 2, 3, 4], [1, 1, 0, 0], 0.0),
        ([5, 5, 5, 5], [1, 0, 1, 0], 0.5),
        ([1, 2, 2, 3], [0, 1, 0, 1], 0.875),  # pairs 1, 1, ½, 1 of 4
    ],
)
def test_auroc_by_hand(scores, outcomes, expected):
    assert metrics.auroc(scores, outcomes) == pytest.approx(expected)


def test_auroc_equals_all_pairs_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(20):
        score = rng.integers(0, 6, 40)
        outcome = rng.random(40) < 0.4
        pairs = score[outcome][:, None] - score[~outcome][None]
        brute = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
        assert metrics.auroc(score, outcome) == pytest.approx(brute, abs=1e-12)


def test_auroc_without_both_classes_is_nan():
    assert math.isnan(metrics.auroc([1.0, 2.0], [1, 1]))
    assert math.isnan(metrics.auroc([], []))
    with pytest.raises(ValueError, match="NaN"):
        metrics.auroc([math.nan, 1.0], [0, 1])


def test_auroc_of_infinite_logits():
    assert metrics.auroc([-math.inf, math.inf], [0, 1]) == 1.0


def test_ece_by_hand():
    # Two bins of width ½: (0.2, 0.4) with accuracy ½, (0.9,) with accuracy 1.
    # 2/3 · |0.5 - 0.3| + 1/3 · |1 - 0.9| = 0.5/3
    assert metrics.ece([0.2, 0.4, 0.9], [0, 1, 1], bins=2) == pytest.approx(0.5 / 3)
    assert metrics.ece([0.0, 1.0], [0, 1]) == 0.0
    assert metrics.ece([0.0, 1.0], [1, 0]) == 1.0
    assert math.isnan(metrics.ece([], []))


def test_bins_are_open_below_and_closed_above():
    table = metrics.reliability_bins(
        [0.0, 0.25, 0.5, 0.75, 1.0], [0, 1, 1, 0, 1], bins=4
    )
    np.testing.assert_array_equal(table.counts, [2, 1, 1, 1])
    np.testing.assert_allclose(table.accuracy, [0.5, 1, 0, 1])
    np.testing.assert_allclose(table.confidence, [0.125, 0.5, 0.75, 1.0])
    empty = metrics.reliability_bins([0.9], [1], bins=2)
    assert math.isnan(empty.accuracy[0]) and empty.accuracy[1] == 1
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        metrics.reliability_bins([1.5], [1])
