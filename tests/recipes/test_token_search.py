# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods of token search side by side: what they count, refuse and hand out."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from lrm_jax import presets
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.search_result import results_json
from lrm_jax.recipes.token_run import TokenRun
from lrm_jax.recipes.token_search import METHODS, TokenSearchConfig, search_run
from lrm_jax.recipes.token_search_found import Found
from lrm_jax.recipes.token_search_vote import Said, vote_scores
from lrm_jax.search.guided_answers import Solution
from lrm_jax.types import UserError


@pytest.fixture(scope="module")
def run():
    """A policy that has learned nothing; every method must still add up."""
    config = presets.get("sft_addition_cold")
    model = PolicyConfig(
        vocab_size=19, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_len=32
    )
    config = replace(config, model=model, data=replace(config.data, test_size=3))
    weights = jax.jit(token_policy(model).init)(jax.random.key(0))
    return TokenRun(config, weights)


FEW = ("one_pass", "majority", "weighted", "beam", "mcts")


@pytest.mark.parametrize(
    "methods", [FEW, pytest.param(METHODS, marks=pytest.mark.nightly)]
)
def test_methods_are_measured_side_by_side(run, methods):
    config = TokenSearchConfig(
        methods=methods, budgets=(4,), k=2, max_depth=3, max_new=8, step_tokens=4, n=3
    )
    seen = []
    rows = search_run(run, config, progress=lambda *said: seen.append(said))
    assert [row.method for row in rows] == list(methods)
    assert results_json(rows)["n"] == 3
    by = {row.method: row for row in rows}
    units = ["candidates"] * (len(methods) - 1) + ["simulations"]
    assert [row.unit for row in rows] == units
    for row in rows:
        assert 0 <= row.accuracy <= 1
        assert row.tokens and row.flops and row.tokens > 0 and row.flops > 0
        assert 0 < row.extra["lane_use"] <= 1
        assert row.extra["scored_tokens"] == 0  # nobody scores but the policy
    assert by["one_pass"].tokens <= 8
    assert by["majority"].tokens == by["weighted"].tokens <= 32
    if "lookahead" in by:
        assert by["lookahead"].tokens >= by["beam"].tokens
    assert by["majority"].flops > by["one_pass"].flops
    assert ("mcts 4", 3, 3) in seen
    small = {"budgets": (4,), "k": 2, "max_depth": 3, "max_new": 8, "step_tokens": 4}
    again = run.search(methods=("beam", "mcts"), n=3, **small)
    assert again["n"] == 3
    for one in again["results"]:
        assert one["tokens"] == by[one["method"]].tokens
        assert one["accuracy"] == by[one["method"]].accuracy


def test_a_problem_does_not_depend_on_the_batch(run):
    config = TokenSearchConfig(
        methods=("beam",), budgets=(4,), k=2, max_depth=3, max_new=8, step_tokens=4, n=3
    )
    whole = search_run(run, config)[0]
    apart = search_run(run, replace(config, batch=1))[0]
    assert whole.tokens == apart.tokens


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"methods": ("bean",)}, "did you mean 'beam'"),
        ({"budgets": (2,)}, "below the k=4 candidates"),
        ({"budgets": ("-1",)}, "a number, low, medium or high"),
        ({"budgets": (6,), "methods": ("beam",)}, "multiple of the continuations"),
        ({"final": "best"}, "expected one of vote, score, visits"),
        ({"separator": "\n"}, "'\\\\n'"),
        ({"k": 0}, "k=0: expected 1 or more"),
    ],
)
def test_what_cannot_be_tried_is_refused(run, settings, message):
    with pytest.raises(UserError, match=message):
        search_run(run, TokenSearchConfig(**settings))


def _solution(visits=0):
    return Solution([1], [1], [0.5], 0.0, visits, 0.5)


def test_votes_are_expectations_over_ties():
    found = Found([[_solution()] * 3, []], np.ones(2), np.ones(2), 1, 1, 1, 1)
    said = Said([["7", "8", None], []], [[1.0, 0.0, 0.0], []])
    pooled = [[0.2, 0.2, 0.9], []]
    assert vote_scores(found, said, "majority", pooled) == [0.5, 0.0]
    assert vote_scores(found, said, "vote", pooled) == [0.5, 0.0]
    assert vote_scores(found, said, "score", pooled) == [0.0, 0.0]
    pooled = [[0.3, 0.2, -1.0], []]
    assert vote_scores(found, said, "vote", pooled) == [1.0, 0.0]
    most = [[_solution(1), _solution(5), _solution()], []]
    found = found._replace(solutions=most)
    assert vote_scores(found, said, "visits", pooled) == [0.0, 0.0]
