# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A reasoner whose every number can be worked out by hand.

Problem i carries its own plot in `inputs[i] = [k, r, ...]`: from step r on its
answer equals its labels (r = 0: never), and from step k on its halting logit is
positive (k = 0: never). Before r the answer is wrong in the last cell only.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.types import Answer, Signals

VOCAB = 12
CELLS = 5


class FakeCarry(NamedTuple):
    inputs: jax.Array  # [B, S]
    steps: jax.Array  # [B]
    noise: jax.Array  # [B] sum of the draws so far


class FakeReasoner:
    """Counts its own traces; `params` is added to the halting logit."""

    def __init__(self, rule_steps=6):
        self.rule_steps = rule_steps
        self.traces = {"start": 0, "think": 0, "answer": 0}

    def start(self, params, problem, keys):
        self.traces["start"] += 1
        assert (problem["labels"].shape) == problem["inputs"].shape
        lanes = problem["inputs"].shape[0]
        noise = jax.vmap(jax.random.uniform)(keys)
        return FakeCarry(problem["inputs"], jnp.zeros(lanes, jnp.int32), noise)

    def think(self, params, carry, keys):
        self.traces["think"] += 1
        steps = carry.steps + 1
        noise = carry.noise + jax.vmap(jax.random.uniform)(keys)
        k = carry.inputs[:, 0]
        fired = (k > 0) & (steps >= k)
        halt = jnp.where(fired, 2.0, -2.0) + params
        signals = Signals(halt, jax.nn.sigmoid(halt), steps >= self.rule_steps)
        return FakeCarry(carry.inputs, steps, noise), signals

    def answer(self, params, carry):
        self.traces["answer"] += 1
        r = carry.inputs[:, 1]
        solved = (r > 0) & (carry.steps >= r)  # [B]
        ids = solution(carry.inputs)
        wrong = ids.at[:, -1].set((ids[:, -1] + 1) % VOCAB)
        ids = jnp.where(solved[:, None], ids, wrong)
        logits = 3.0 * jax.nn.one_hot(ids, VOCAB)
        return Answer(ids, logits, jnp.ones(ids.shape, bool))


def solution(inputs):
    """The labels of a problem: each cell one more, modulo the vocabulary."""
    return (inputs + 1) % VOCAB


def make_problems(plots, seed=0):
    """`plots` is a list of (k, r); the other cells are random."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, VOCAB, (len(plots), CELLS)).astype(np.int32)
    inputs[:, :2] = plots
    return {
        "inputs": inputs,
        "labels": np.asarray(solution(inputs), np.int32),
        "puzzle_ids": np.zeros(len(plots), np.int32),
    }


def random_plots(n, max_steps, seed):
    rng = np.random.default_rng(seed)
    return [tuple(map(int, rng.integers(0, max_steps + 2, 2))) for _ in range(n)]
