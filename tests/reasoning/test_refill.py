# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Refilled lanes write what `generate` writes, in fewer steps."""

import jax
import numpy as np
import pytest

from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.reasoning.decoding import generate_jit
from lrm_jax.reasoning.prompts import pad_prompts
from lrm_jax.reasoning.refill import cache_axes, generate_refilled_jit
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.reasoning.stops import stop_table
from lrm_jax.reasoning.token_budget import ThinkingTags, token_budgets

POLICY = PolicyConfig(
    vocab_size=50,
    d_model=32,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    d_ff=64,
    max_seq_len=64,
)
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9], [10, 11]]
BYTES = [bytes([65 + i % 26]) for i in range(50)]
LONG = 20


@pytest.mark.parametrize(("lanes", "refill_at"), [(3, 1), (3, 2), (16, 1)])
def test_equals_generate(lanes, refill_at):
    policy = token_policy(POLICY)
    params = policy.init(jax.random.key(0))
    ids, mask = pad_prompts(PROMPTS, (8,), vocab_size=50)
    rows = 12
    limits = [1, LONG, 2, 3, 0, 4, LONG, 2, 1, 5, 3, 2]  # a long tail
    tags = ThinkingTags(open=(3,), close=(4,), wait=(5,))
    budgets = ["0", "3", "-1", "2+halt", "low", "-1"] * 2
    options = {
        "group_size": 3,
        "max_new_tokens": LONG,
        "sampling": sampling_params(rows, max_new=limits, temperature=0.9, top_p=0.9),
        "key": jax.random.key(3),
        "stops": stop_table(BYTES, [49], ["BC"]),
        "budget": token_budgets(budgets, tags, BYTES, cap=4),
        "pad_id": 1,
    }
    plain = generate_jit(policy, params, ids, mask, **options)
    refilled = generate_refilled_jit(
        policy, params, ids, mask, lanes=lanes, refill_at=refill_at, **options
    )
    for name in ("ids", "mask", "forced", "length", "stop", "thinking_tokens"):
        np.testing.assert_array_equal(
            getattr(refilled.completions, name), getattr(plain, name), err_msg=name
        )
    np.testing.assert_allclose(refilled.completions.logps, plain.logps, atol=1e-5)
    lengths = np.asarray(plain.length)
    if lanes == 3 and refill_at == 1:
        # Without refill, lanes of three wait for the longest of them.
        batched = np.maximum(lengths.reshape(-1, 3).max(1) - 1, 0).sum()
        assert int(refilled.steps) < batched
        assert int(refilled.steps) * lanes < rows * (lengths.max() - 1)
    if lanes == 16:
        assert int(refilled.steps) == lengths.max() - 1


def test_no_row_sees_the_one_before_it():
    # One lane: every row but the first sits where another was.
    policy = token_policy(POLICY)
    params = policy.init(jax.random.key(1))
    ids, mask = pad_prompts(PROMPTS, (8,), vocab_size=50)
    options = {
        "group_size": 1,
        "max_new_tokens": 9,
        "sampling": sampling_params(4, max_new=9),
        "key": jax.random.key(3),
    }
    plain = generate_jit(policy, params, ids, mask, **options)
    refilled = generate_refilled_jit(policy, params, ids, mask, lanes=1, **options)
    np.testing.assert_array_equal(refilled.completions.ids, plain.ids)
    np.testing.assert_allclose(refilled.completions.logps, plain.logps, atol=1e-5)
    assert int(refilled.steps) == 4 * 8


def test_axes_of_a_cache():
    lanes, slots = cache_axes(token_policy(POLICY))
    assert lanes.valid == 0 and slots.valid == 1
    assert {(x["k"], x["v"]) for x in lanes.layers} == {(0, 0)}
    assert {(x["k"], x["v"]) for x in slots.layers} == {(2, 2)}
