# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoding with a tokenizer: lanes, meshes, least thoughts; waiting for nothing."""

import jax
import numpy as np
import pytest

from lrm_jax import sharding
from lrm_jax.data.tokenizer import SymbolTokenizer
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.token_sampler import Sampler, Sampling
from lrm_jax.recipes.token_thinking import Thinking, thinking_tags
from lrm_jax.types import UserError

TOKENIZER = SymbolTokenizer([*"abWit", "<think>", "</think>"])
CFG = PolicyConfig(
    vocab_size=TOKENIZER.vocab_size,
    d_model=16,
    n_layers=1,
    n_heads=2,
    n_kv_heads=2,
    d_ff=16,
    max_seq_len=64,
)
PROMPTS = [TOKENIZER.encode(text) for text in ("ab", "a", "ba", "abab", "b", "aa")]
LONG = 24


@pytest.fixture(scope="module")
def policy():
    policy = token_policy(CFG)
    return policy, policy.init(jax.random.key(0))


def _sampler(policy, data=1):
    config = sharding.MeshConfig(data=data)
    mesh = sharding.make_mesh(config, jax.devices()[:data])
    return Sampler(policy[0], TOKENIZER, mesh)


def _write(sampler, policy, **how):
    how = {"max_new": LONG, "group_size": 2, "rows": 8, "sampling": Sampling()} | how
    weights = policy[1]
    if sampler.mesh.size > 1:
        where = sharding.replicated(sampler.mesh, weights)
        weights = sharding.put(weights, where)
    decoding = sampler.start(weights, PROMPTS, jax.random.key(5), **how)
    return sampler.collect(decoding), decoding


@pytest.fixture(scope="module")
def whole(policy):
    found, decoding = _write(_sampler(policy), policy)
    assert decoding.steps is None
    return found


@pytest.mark.parametrize(("lanes", "data"), [(4, 1), (4, 2), (3, 2)])
def test_lanes_change_no_token(policy, whole, lanes, data):
    found, decoding = _write(_sampler(policy, data), policy, lanes=lanes)
    for name in ("ids", "mask", "length", "stop"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    np.testing.assert_allclose(found.logps, whole.logps, atol=1e-5)
    # Twelve rows four at a time, each four waiting for their longest.
    waiting = whole.length.reshape(-1, lanes).max(axis=1) - 1
    assert whole.length.min() < LONG // 4 and whole.length.max() > LONG // 2
    assert 0 < int(decoding.steps) < waiting.sum()


def test_as_many_lanes_as_rows_are_no_lanes(policy, whole):
    found, decoding = _write(_sampler(policy), policy, lanes=16)
    assert decoding.steps is None
    np.testing.assert_array_equal(found.ids, whole.ids)


@pytest.mark.parametrize("numbers", [None, np.arange(12, dtype=np.int32)])
def test_prompts_are_rounded_up_to_the_parts_of_the_mesh(policy, whole, numbers):
    sampler = _sampler(policy, 4)
    found, decoding = _write(sampler, policy, rows=None, sequence_ids=numbers)
    assert decoding.completions.ids.shape == (16, LONG) and decoding.rows == 12
    np.testing.assert_array_equal(found.ids, whole.ids)
    np.testing.assert_allclose(found.logps, whole.logps, atol=1e-5)


def test_a_start_is_on_the_device_and_a_call_on_the_host(policy, whole):
    sampler = _sampler(policy)
    _, decoding = _write(sampler, policy)
    assert isinstance(decoding.completions.ids, jax.Array)
    assert decoding.completions.ids.shape == (16, LONG) and decoding.rows == 12
    called = sampler(
        *(policy[1], PROMPTS, jax.random.key(5)),
        **{"max_new": LONG, "group_size": 2, "rows": 8, "sampling": Sampling()},
    )
    assert isinstance(called.ids, np.ndarray)
    np.testing.assert_array_equal(called.ids, whole.ids)


@pytest.fixture(scope="module")
def thinking_sampler(policy):
    return _sampler(policy)


def _thoughts(sampler, policy, thinking):
    found, _ = _write(sampler, policy, thinking=thinking)
    return found, sampler.texts(found)


def test_a_least_thought_waits(thinking_sampler, policy):
    thinking = Thinking("20+halt", minimum=14)
    found, texts = _thoughts(thinking_sampler, policy, thinking)
    assert all(text.startswith("<think>") for text in texts)
    assert (found.thinking_tokens >= 14).all() and (found.thinking_tokens <= 20).all()
    wait = TOKENIZER.encode("Wait")
    waited = 0
    for ids, forced in zip(found.ids.tolist(), found.forced, strict=True):
        for i in range(1, LONG - 4):
            if forced[i] and not forced[i - 1] and ids[i] == wait[0]:
                assert ids[i : i + 4] == wait
                waited += 1
    assert waited > 3
    assert not found.logps[found.forced].any()


@pytest.mark.parametrize("wait", ["", "Hm"])  # none, and one that cannot be written
def test_without_a_wait_no_early_end_is_drawn(thinking_sampler, policy, wait):
    thinking = Thinking("-1", minimum=14, wait=wait)
    found, texts = _thoughts(thinking_sampler, policy, thinking)
    assert (found.thinking_tokens >= 14).all()
    assert all(text.startswith("<think>") for text in texts)
    forced = found.forced.sum(axis=1)
    assert set(forced.tolist()) == {1}  # the tag that opens


def test_a_thought_that_the_prompt_has_closed_is_over(thinking_sampler, policy):
    prompts = [TOKENIZER.encode(x) for x in ("a<think></think>", "a<think>", "a")]
    found = thinking_sampler(
        *(policy[1], prompts, jax.random.key(5)),
        **{"max_new": LONG, "group_size": 2, "rows": 8, "sampling": Sampling()},
        thinking=Thinking("0"),
    )
    assert found.forced.sum(axis=1).tolist() == [0, 0, 1, 1, 2, 2]
    assert not found.thinking_tokens.any()


def test_waits_are_for_least_thoughts_alone():
    assert thinking_tags(TOKENIZER).wait == ()
    assert thinking_tags(TOKENIZER, "Wait").wait == tuple(TOKENIZER.encode("Wait"))
    assert thinking_tags(SymbolTokenizer("ab")) is None


@pytest.mark.parametrize(
    ("thinking", "bound", "says"),
    [
        (Thinking("3+halt", 3), 3, None),
        (Thinking("low"), 2, None),
        (Thinking("0"), 0, None),
        (Thinking("-1", 8), -1, None),
        (Thinking("-1", 9), None, "min_thinking=9: budget '-1' with a cap of 8 allows"),
        (Thinking("0", 1), None, "allows 0 tokens of thought; expected 0 to 0"),
        (Thinking("2", -1), None, "min_thinking=-1"),
        (Thinking("9"), None, "beyond the cap of 8 tokens"),
        (Thinking("5", cap=4), None, "beyond the cap of 4 tokens"),
    ],
)
def test_bounds(thinking, bound, says):
    if says is None:
        assert thinking.bound(8) == bound
    else:
        with pytest.raises(UserError, match=says):
            thinking.bound(8)
