# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The formula for a tree's memory against what the compiler sets aside."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.mcts import search_jit
from lrm_jax.search.sizes import check_size, node_bytes, tree_size
from lrm_jax.search.tree import Expansion
from lrm_jax.types import UserError

TREES, ACTIONS, WIDTH = 16, 8, 256


class Wide:
    """A model whose nodes hold vectors."""

    num_actions = ACTIONS

    def root(self, params, problem, keys):
        del keys
        return self.say(params, problem), problem

    def step(self, params, view, action, keys):
        del keys
        state = advance(params, view.state(), action)
        return self.say(params, state), state

    def say(self, params, state):
        out = state @ params[1]
        zero = jnp.zeros_like(out[:, 0])
        valid = jnp.ones_like(out[:, :ACTIONS], bool)
        return Expansion(zero, zero + 1, out[:, :ACTIONS], valid, out[:, -1], zero > 1)


def advance(params, state, action):
    return jnp.tanh(state @ params[0] + action[:, None])


def arguments():
    rng = np.random.default_rng(0)
    params = (
        rng.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        rng.normal(size=(WIDTH, ACTIONS + 1)).astype(np.float32),
    )
    problem = rng.normal(size=(TREES, WIDTH)).astype(np.float32)
    return params, problem, jax.random.split(jax.random.key(0), TREES)


def bare(params, state):
    """The same forwards in a row, without a tree."""

    def one(state, _):
        state = advance(params, state, jnp.zeros(TREES))
        return state, None

    return jax.lax.scan(one, state, None, length=63)[0]


def peak_bytes(compiled):
    sizes = compiled.memory_analysis()
    return (
        sizes.temp_size_in_bytes
        + sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
    )


def test_a_node_takes_110_bytes_with_8_actions():
    # 4 ints, 5 floats, 2 flags, a key of 2 words, 8 children and 8 logits.
    assert node_bytes(8, 2) == 16 + 20 + 2 + 8 + 64 == 110
    assert node_bytes(8, 2, 8) == 16 + 40 + 2 + 8 + 96


@pytest.mark.parametrize("method", ["puct", "gumbel"])
def test_the_compiled_search_takes_what_the_formula_says(method):
    config = SearchConfig(simulations=63, method=method)
    params, problem, keys = arguments()
    size = tree_size(Wide(), params, problem, keys, config)
    assert size.states == (64 + 1) * WIDTH * 4  # a row is on its way
    searched = search_jit.lower(Wide(), params, problem, keys, config).compile()
    looped = jax.jit(bare).lower(params, problem).compile()
    more = peak_bytes(searched) - peak_bytes(looped)
    print(method, more, size.total, more / size.total)
    assert abs(more / size.total - 1) < 0.02, (more, size.total)


def test_trees_above_the_limit_are_refused_with_the_most_that_fit():
    params, problem, keys = arguments()
    config = SearchConfig(simulations=64, leaves=4, memory_limit_bytes=600_000)
    with pytest.raises(UserError, match="the most that fit are 28") as refusal:
        check_size(Wide(), params, problem, keys, config)
    assert "16 trees take" in str(refusal.value)
    fits = dataclasses.replace(config, simulations=28)
    assert check_size(Wide(), params, problem, keys, fits).total <= 600_000
    over = dataclasses.replace(config, simulations=32)
    with pytest.raises(UserError, match="28"):
        search_jit.lower(Wide(), params, problem, keys, over)
    tiny = dataclasses.replace(config, memory_limit_bytes=1000)
    with pytest.raises(UserError, match="not one fits"):
        check_size(Wide(), params, problem, keys, tiny)
