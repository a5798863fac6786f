# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scoring sampled texts: one program for batches of any size, seconds kept apart."""

from types import SimpleNamespace

import jax
import numpy as np

from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.models.reward import reward_model, with_head
from lrm_jax.recipes import token_search_samples
from lrm_jax.recipes.token_search import TokenSearchConfig, _result
from lrm_jax.recipes.token_search_found import Found
from lrm_jax.recipes.token_search_samples import score_texts
from lrm_jax.search.guided_answers import Solution
from lrm_jax.steps import StepRule, step_table
from tests.search import planted
from tests.search.planted import END, PAD, SEP, A, B


def _bench():
    model = PolicyConfig(
        vocab_size=6, d_model=8, n_layers=1, n_heads=2, d_ff=8, max_seq_len=16
    )
    scorer = reward_model(model, "future_success")
    weights = jax.jit(scorer.init)(jax.random.key(1))
    weights = with_head(weights, jax.random.normal(jax.random.key(2), (8,)))
    return SimpleNamespace(
        table=step_table(planted.LETTERS, StepRule(separator=";", last="text")),
        lengths=np.asarray([2]),
        max_new=6,
        run=SimpleNamespace(tokenizer=SimpleNamespace(pad_id=PAD, eos_ids=(END,))),
        scorer=SimpleNamespace(scorer=scorer, params=weights),
    )


def test_batches_of_any_size_are_scored_by_one_program():
    bench = _bench()
    texts = [[A, B, *[A] * (1 + i % 2), SEP, B, END] for i in range(7)]
    compiled = token_search_samples._score_jit._cache_size  # pyright: ignore
    before = compiled()
    whole = score_texts(bench, texts, [2] * 7, rows=3)
    part = score_texts(bench, texts[:2], [2] * 2, rows=3)
    assert compiled() - before == 1
    assert all(len(one) == 2 for one in whole)
    np.testing.assert_allclose(whole[:2], part, rtol=1e-6)
    np.testing.assert_allclose(whole, score_texts(bench, texts, [2] * 7), rtol=1e-5)


def test_a_majority_is_not_charged_for_the_seconds_of_scoring(monkeypatch):
    said = SimpleNamespace(right=[[1.0]])
    monkeypatch.setattr("lrm_jax.recipes.token_search.verdicts", lambda *_: said)
    monkeypatch.setattr("lrm_jax.recipes.token_search.vote_scores", lambda *_: [1.0])
    monkeypatch.setattr("lrm_jax.recipes.token_search.search_flops", lambda *_: 1.0)
    bench = SimpleNamespace(
        config=TokenSearchConfig(),
        scorer="there",
        lengths=np.asarray([2]),
        pooled=lambda found: [[0.5]],
    )
    one = [[Solution([1], [1], [0.5], 0.0, 0, 0.5)]]
    parts = [Found(one, np.ones(1), np.ones(1), 1, 1, 1, 1, s) for s in (0.25, 0.5)]
    found = Found.join(parts)
    spent = {
        name: _result(bench, name, 1, found, 2.0).time_s  # pyright: ignore
        for name in ("majority", "weighted", "best_of_n")
    }
    assert spent == {"majority": 1.25, "weighted": 2.0, "best_of_n": 2.0}
