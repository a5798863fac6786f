# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A row of `lrm search`: its keys, its interval, what it refuses."""

import json

import numpy as np
import pytest

from lrm_jax.cli.common import table
from lrm_jax.evaluation.metrics import wilson_interval
from lrm_jax.recipes.search_result import MethodResult, results_json, results_table

RIGHT = MethodResult("majority", 4, "candidates", np.array([True, False, True, True]))


def test_a_row_has_the_stable_keys():
    row = MethodResult(
        *("beam", "16", "candidates", np.array([1.0, 0.5])),
        **{"tokens": 96.0, "flops": 1e9, "time_s": 2.5, "extra": {"width": 4}},
    ).to_json()
    assert row == {
        **{"method": "beam", "budget": "16", "unit": "candidates", "n": 2},
        **{"accuracy": 0.75, "ci95": list(wilson_interval(1.5, 2))},
        **{"tokens": 96.0, "flops": 1e9, "time_s": 2.5, "width": 4},
    }
    assert json.loads(json.dumps(row)) == row


def test_the_interval_is_wilsons():
    assert RIGHT.accuracy == 0.75
    # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), p = 3/4, n = 4
    assert RIGHT.ci95 == pytest.approx((0.30064, 0.95441), abs=1e-5)


def test_all_results_are_of_the_same_problems():
    data = results_json([RIGHT, RIGHT])
    assert data["n"] == 4 and len(data["results"]) == 2
    other = MethodResult("majority", 4, "candidates", np.ones(3))
    with pytest.raises(ValueError, match=r"\[3, 4\] problems"):
        results_json([RIGHT, other])
    with pytest.raises(ValueError, match="expected one number"):
        results_json([])


def test_the_table_prints_what_is_unknown_as_a_dash():
    header, body = table(*results_table([RIGHT])).splitlines()
    assert header.split()[:4] == ["method", "budget", "unit", "accuracy"]
    assert body.split() == "majority 4 candidates 0.75 0.3006 0.9544 - - -".split()


@pytest.mark.parametrize(
    ("scores", "said"),
    [([], "expected"), ([0.0, np.nan], "problem 1"), ([2.0], "problem 0")],
)
def test_scores_outside_are_refused(scores, said):
    with pytest.raises(ValueError, match=said):
        MethodResult("majority", 1, "candidates", np.array(scores))


def test_extra_keys_may_not_replace_the_rows_own():
    with pytest.raises(ValueError, match="accuracy"):
        MethodResult("a", 1, "candidates", np.ones(1), extra={"accuracy": 1.0})
