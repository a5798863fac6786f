# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np

from lrm_jax.evaluation.step_quality import auroc_within, step_quality


def pairs(scores, right, groups):
    """By counting."""
    won = count = 0.0
    for i in np.flatnonzero(right):
        for j in np.flatnonzero(~right):
            if groups[i] == groups[j]:
                won += (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
                count += 1
    return won / count if count else math.nan


def test_within_a_place_only_pairs_of_that_place_count():
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 6, 80), rng.random(80) < 0.4
    groups = rng.integers(0, 4, 80)
    assert np.isclose(auroc_within(scores, right, groups), pairs(scores, right, groups))
    assert math.isnan(auroc_within([1.0, 2.0], [True, False], [0, 1]))


def test_a_score_of_the_place_alone_is_worth_nothing_within_it():
    index = np.tile([0, 1, 2], 50)
    right = np.random.default_rng(1).random(150) < 0.9 - 0.4 * index
    found = step_quality(-index, right, index)
    assert found.auroc == found.by_index > 0.7
    assert found.within_index == 0.5
    better = step_quality(right - 10.0 * index, right, index)
    assert better.within_index == 1.0
