# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The policy under the loops that drive every reasoner."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.policy import positions_of, token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.reasoning.budget import ThinkingBudget, think_for, think_until
from lrm_jax.reasoning.prompts import pad_prompts
from lrm_jax.reasoning.stops import stop_table
from lrm_jax.reasoning.token_budget import ThinkingTags, token_budgets
from lrm_jax.reasoning.token_reasoner import TokenReasoner

POLICY = token_policy(
    PolicyConfig(
        vocab_size=12,
        d_model=16,
        n_layers=1,
        n_heads=2,
        n_kv_heads=2,
        d_ff=32,
        max_seq_len=128,
    )
)
BYTES = [bytes([97 + i]) for i in range(12)]
TAGS = ThinkingTags(open=(1,), close=(2, 3), stop=(4,), wait=(5, 6))
PROMPTS = [[7, 8, 9], [10], [9, 9, 7, 8]]


def _reasoner(tags=TAGS, temperature=1.0):
    return TokenReasoner(
        POLICY,
        token_budgets(["-1"], tags, BYTES, cap=8),
        stop_table(BYTES, [11]),
        max_thought=8,
        max_answer=4,
        temperature=temperature,
    )


@functools.cache
def _program(loop, tags, **options):
    """One compiled loop for all tests that ask for it."""
    return jax.jit(lambda p, x, k: loop(_reasoner(tags), p, x, k, **options))


@functools.cache
def _params():
    return jax.jit(POLICY.init)(jax.random.key(0))


@jax.jit
def _next_logits(params, ids, seen):
    hidden = POLICY.forward(params, ids, positions_of(seen), seen).hidden
    last = hidden[0, jnp.sum(seen) - 1]
    return POLICY.logits(params, last)


def _think(loop, tags=TAGS, seed=0, **options):
    ids, mask = pad_prompts(PROMPTS, (6,), vocab_size=12)
    problem = {"prompt_ids": jnp.asarray(ids), "prompt_mask": jnp.asarray(mask)}
    keys = jax.random.split(jax.random.key(seed), len(PROMPTS))
    found = _program(loop, tags, **options)(_params(), problem, keys)
    return _params(), jax.device_get(found)


def _greedy(params, text, count):
    """Continue a text greedily by whole forwards."""
    out = []
    for _ in range(count):
        ids = np.zeros((1, 32), np.int32)
        ids[0, : len(text)] = text
        token = int(
            np.argmax(_next_logits(params, ids, np.arange(32)[None] < len(text)))
        )
        out, text = out + [token], text + [token]
        if token == 11:
            break
    return out


@pytest.mark.parametrize("budget", ["8", "0", "8+halt"])
def test_the_answer_is_what_the_written_thought_leads_to(budget):
    steps, early_stop = ThinkingBudget(budget, "tokens").resolve(8)
    loop = think_for if early_stop is None else think_until
    how = {} if early_stop is None else {"early_stop": early_stop}
    params, found = _think(loop, seed=2, max_steps=steps, **how)
    carry = found.carry
    for i, prompt in enumerate(PROMPTS):
        thought = carry.thought[i, : int(carry.length[i])].tolist()
        assert len(thought) <= steps
        if early_stop is None:
            assert len(thought) + int(carry.ended[i]) <= steps
        # A thought that ends in a begun tag has it finished for it.
        begun = bool(thought) and thought[-1] == 2 and not bool(carry.waits[i])
        close = [3] if begun else [2, 3] if bool(carry.ended[i]) else [4, 2, 3]
        answer = _greedy(params, prompt + [1] + thought + close, 4)
        mask = np.asarray(found.answer.mask[i])
        assert found.answer.ids[i][mask].tolist() == answer
        best = np.argmax(found.answer.logits[i], axis=-1)[mask]
        assert best.tolist() == answer


def test_ends_are_signals_and_turn_into_waits():
    halts = 0
    for seed in range(4):
        _, stopped = _think(think_until, seed=seed, max_steps=8, early_stop="halt")
        _, exact = _think(think_for, seed=seed, max_steps=8)
        for i in range(len(PROMPTS)):
            length = int(stopped.carry.length[i])
            own = stopped.carry.thought[i, :length].tolist()
            longer = exact.carry.thought[i].tolist()
            assert longer[:length] == own  # the same draws
            assert 11 not in longer
            if bool(stopped.halted[i]):
                halts += 1
                assert int(stopped.steps[i]) == length + 1
                waited = longer[length : int(exact.carry.length[i])][:2]
                assert waited == [5, 6][: len(waited)]
    assert halts > 2


def test_without_a_wait_it_draws_again():
    tags = ThinkingTags(open=(1,), close=(2,))
    _, found = _think(think_for, tags=tags, seed=1, max_steps=8)
    for i in range(len(PROMPTS)):
        thought = found.carry.thought[i, : int(found.carry.length[i])].tolist()
        assert not {2, 11} & set(thought)
        assert (np.asarray(found.steps) == 8).all()
