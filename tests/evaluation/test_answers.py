# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import pytest

from lrm_jax.evaluation.answers import answer_entropy, best_constant, pass_at_k


def test_pass_at_k_is_the_share_of_subsets_with_a_right_one():
    right = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    for k in range(1, 5):
        shares = [
            np.mean([any(row[list(s)]) for s in itertools.combinations(range(4), k)])
            for row in right
        ]
        assert pass_at_k(right, k) == pytest.approx(np.mean(shares), abs=1e-15)
    assert pass_at_k(right, 1) == pytest.approx(right.mean())
    with pytest.raises(ValueError, match="k=5"):
        pass_at_k(right, 5)


def test_the_best_constant_answer():
    assert best_constant(["7", "7", "3", "12"]) == 0.5
    assert best_constant([]) == 0.0


def test_entropy_of_answers():
    assert answer_entropy(["a"] * 9) == 0.0
    assert answer_entropy(["a", "b", "a", "b"]) == pytest.approx(math.log(2))
    assert answer_entropy(["a", "b", "c", "d"]) == pytest.approx(math.log(4))
