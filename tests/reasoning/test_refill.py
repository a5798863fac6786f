# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Refilled lanes write what `generate` writes, in fewer steps."""

import jax
import numpy as np
import pytest

from lrm_jax import sharding
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
    n_layers=1,
    n_heads=4,
    n_kv_heads=2,
    d_ff=32,
    max_seq_len=64,
)
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9], [10, 11]]
BYTES = [bytes([65 + i % 26]) for i in range(50)]
ROWS, LONG = 12, 20


@pytest.fixture(scope="module")
def task():
    """Arguments of a batch with a long tail, options, and what `generate` writes."""
    policy = token_policy(POLICY)
    params = jax.jit(policy.init)(jax.random.key(0))
    ids, mask = pad_prompts(PROMPTS, (8,), vocab_size=50)
    limits = [1, LONG, 2, 3, 0, 4, LONG, 2, 1, 5, 3, 2]
    tags = ThinkingTags(open=(3,), close=(4,), wait=(5,))
    budgets = ["0", "3", "-1", "2+halt", "low", "-1"] * 2
    options = {
        "group_size": 3,
        "max_new_tokens": LONG,
        "sampling": sampling_params(ROWS, max_new=limits, temperature=0.9, top_p=0.9),
        "key": jax.random.key(3),
        "stops": stop_table(BYTES, [49], ["BC"]),
        "budget": token_budgets(budgets, tags, BYTES, cap=4),
        "pad_id": 1,
    }
    arguments = (policy, params, ids, mask)
    plain = jax.device_get(generate_jit(*arguments, **options))
    return arguments, options, plain


def _same(found, plain):
    for name in ("ids", "mask", "forced", "length", "stop", "thinking_tokens"):
        np.testing.assert_array_equal(
            getattr(found, name), getattr(plain, name), err_msg=name
        )
    np.testing.assert_allclose(found.logps, plain.logps, atol=1e-5)


@pytest.mark.parametrize("refill_at", [1, 2])
def test_equals_generate(task, refill_at):
    # Most rows sit where another was, and see nothing of it.
    arguments, options, plain = task
    found = generate_refilled_jit(*arguments, lanes=3, refill_at=refill_at, **options)
    _same(found.completions, plain)
    if refill_at == 1:
        # Without refill, lanes of three wait for the longest of them.
        batched = np.maximum(plain.length.reshape(-1, 3).max(1) - 1, 0).sum()
        assert int(found.steps) < batched
        assert int(found.steps) * 3 < ROWS * (plain.length.max() - 1)


def test_more_lanes_than_rows_split_over_a_mesh(task):
    (policy, params, ids, mask), options, plain = task
    mesh = sharding.make_mesh(sharding.MeshConfig(data=2), jax.devices()[:2])
    params = sharding.put(params, sharding.replicated(mesh, params))
    ids, mask = sharding.put((ids, mask), sharding.batch_shardings(mesh, (ids, mask)))
    with sharding.use_mesh(mesh):
        lowered = generate_refilled_jit.lower(
            *(policy, params, ids, mask), lanes=16, **options
        )
        compiled = lowered.compile()
        names = ("group_size", "max_new_tokens", "pad_id")
        traced = {k: v for k, v in options.items() if k not in names}
        found = compiled(params, ids, mask, **traced)
    _same(found.completions, plain)
    assert int(found.steps) == plain.length.max() - 1
    # Lanes, 2 key heads, 8 + 20 slots, heads of 8: half of the lanes on each device.
    text = compiled.as_text()
    assert "f32[8,2,28,8]" in text and "f32[16,2,28,8]" not in text


def test_axes_of_a_cache():
    lanes, slots = cache_axes(token_policy(POLICY))
    assert lanes.valid == 0 and slots.valid == 1
    assert {(x["k"], x["v"]) for x in lanes.layers} == {(0, 0)}
    assert {(x["k"], x["v"]) for x in slots.layers} == {(2, 2)}
