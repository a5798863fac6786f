# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Intervals over seeds: quantiles from tables, by hand, and how often they hold."""

import numpy as np
import pytest

from lrm_jax.evaluation.paired import seed_difference, t_quantile


@pytest.mark.parametrize(
    ("degrees", "level", "want"),
    [  # printed tables of Student's t
        (1, 0.95, 12.706205),
        (2, 0.95, 4.302653),
        (3, 0.95, 3.182446),
        (4, 0.95, 2.776445),
        (5, 0.95, 2.570582),
        (9, 0.95, 2.262157),
        (30, 0.95, 2.042272),
        (4, 0.99, 4.604095),
        (1000, 0.95, 1.962339),
    ],
)
def test_quantiles_are_those_of_the_tables(degrees, level, want):
    assert t_quantile(degrees, level) == pytest.approx(want, abs=1e-6)


def test_the_interval_by_hand():
    a = [0.50, 0.52, 0.48, 0.51, 0.49]
    b = [0.53, 0.54, 0.52, 0.52, 0.54]  # differences 3, 2, 4, 1, 5 points
    found = seed_difference(a, b)
    assert found.difference == pytest.approx(0.03)
    half = 2.776445 * np.sqrt(0.00025) / np.sqrt(5)  # variance 10e-4 / 4
    assert found.ci95 == pytest.approx((0.03 - half, 0.03 + half), abs=1e-8)
    assert found.excludes_zero
    assert not seed_difference(a, [*b[:4], 0.45]).excludes_zero
    turned = seed_difference(b, a)
    assert turned.difference == -found.difference and turned.excludes_zero


def test_problems_are_averaged_within_seeds():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 5, 40)).astype(bool)
    whole, means = seed_difference(a, b), seed_difference(a.mean(1), b.mean(1))
    np.testing.assert_allclose(whole.per_seed, means.per_seed, atol=1e-15)
    assert whole.ci95 == pytest.approx(means.ci95)


def test_the_interval_holds_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(0.2, 1.0, (4000, 5))
    held = 0
    for row in draws:
        low, high = seed_difference(np.zeros(5), row).ci95
        held += low <= 0.2 <= high
    assert 0.94 <= held / 4000 <= 0.96


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([0.5, 0.5], [0.5], "do not pair"),
        ([0.5], [0.6], "two seeds"),
        ([0.5, np.nan], [0.6, 0.6], r"a\[1\] is nan"),
        (np.zeros((2, 3)), np.array([[0, 0, 0], [0, 0, np.inf]]), r"b\[1, 2\] is inf"),
        (np.zeros((2, 0)), np.zeros((2, 0)), "two seeds"),
    ],
)
def test_what_is_refused(a, b, said):
    with pytest.raises(ValueError, match=said):
        seed_difference(a, b)


def test_zero_degrees_are_refused():
    with pytest.raises(ValueError, match="degrees=0"):
        t_quantile(0)
