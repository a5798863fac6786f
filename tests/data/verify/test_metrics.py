# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""pass@k against enumeration; the constant answer and the entropy by hand."""

import itertools
import math

import numpy as np
import pytest

from lrm_jax.data.verify import metrics


def test_pass_at_k_is_the_share_of_subsets_with_a_hit():
    chooser = np.random.default_rng(0)
    correct = (chooser.random((6, 5)) < 0.4).astype(float)
    correct[0], correct[1] = 0, 1
    for k in range(1, 6):
        subsets = list(itertools.combinations(range(5), k))
        expected = [np.mean([row[list(s)].max() for s in subsets]) for row in correct]
        np.testing.assert_allclose(metrics.pass_at_k(correct, k), expected, atol=1e-12)
    np.testing.assert_allclose(metrics.pass_at_k(correct, 1), correct.mean(1))
    with pytest.raises(ValueError, match="k=6 of n=5"):
        metrics.pass_at_k(correct, 6)


def test_the_best_constant_answer():
    assert metrics.constant_score(["1", "2", "1", "0"]) == ("1", 0.5)
    assert metrics.constant_score(["b", "a"]) == ("a", 0.5)
    assert metrics.constant_score([]) == ("", 0.0)


def test_entropy():
    assert metrics.answer_entropy(["1"] * 9) == 0.0
    assert math.copysign(1, metrics.answer_entropy(["1"])) == 1
    assert metrics.answer_entropy(["1", "2", "3", "4"]) == pytest.approx(math.log(4))
    assert metrics.answer_entropy([]) == 0.0
