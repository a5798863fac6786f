# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A tree's bits do not depend on its company or its device; nothing is sent."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import sharding
from lrm_jax.cost import hlo
from lrm_jax.cost.collectives import read_collectives
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.domains.mdp import MdpModel, random_mdps
from lrm_jax.search.mcts import search_jit
from lrm_jax.search.tree import Expansion

MDP = random_mdps(5, count=8, terminal_share=0.2, invalid_share=0.2)
MODEL = MdpModel(4)
KEYS = jax.random.key_data(jax.random.split(jax.random.key(2), 8))
BATCH = {*sharding.BATCH_AXES}


class Network:
    """A value and a prior by matrix products, whose bits hang on their shapes."""

    num_actions = 4

    def root(self, params, problem, keys):
        noise = jax.vmap(lambda key: jax.random.normal(key, (32,)))(keys)
        return self.say(params, jnp.tanh(problem + 0.1 * noise))

    def step(self, params, view, action, keys):
        del keys
        return self.say(params, jnp.tanh(view.state() @ params[0] + params[2][action]))

    def say(self, params, state):
        out = jnp.tanh(state @ params[0]) @ params[1]
        nothing = jnp.zeros_like(out[:, 0])
        valid = jnp.ones_like(out[:, :4], bool)
        end = out[:, 5] > 1.5
        node = Expansion(nothing, nothing + 0.97, out[:, :4], valid, out[:, 4], end)
        return node, state


@functools.cache
def weights():
    rng = np.random.default_rng(0)
    shapes = ((32, 32), (32, 6), (4, 32))
    return tuple(rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes)


@functools.cache
def mesh_of(*shape):
    return sharding.make_mesh(sharding.MeshConfig(*shape))


def rows(problem, lanes):
    return jax.tree.map(lambda x: x[np.asarray(lanes)], problem)


def found(model, params, problem, keys, config, mesh=None):
    """The result, and the program's text."""
    keys = jax.random.wrap_key_data(keys)
    if mesh is None:
        compiled = search_jit.lower(model, params, problem, keys, config).compile()
        return jax.device_get(compiled(params, problem, keys)), compiled.as_text()
    with sharding.use_mesh(mesh):
        compiled = search_jit.lower(model, params, problem, keys, config).compile()
        return jax.device_get(compiled(params, problem, keys)), compiled.as_text()


def assert_same_bits(result, other):
    jax.tree.map(np.testing.assert_array_equal, result, other)


def collectives(text, mesh):
    program = hlo.parse(text)
    inside = [hlo.Program(program.computations, name) for name in program.computations]
    axes = dict(mesh.shape)
    return [x for one in inside for x in read_collectives(one, axes, while_bound=1)]


@pytest.mark.parametrize(
    "method", ["gumbel", pytest.param("puct", marks=pytest.mark.nightly)]
)
def test_no_collective_over_the_batch_and_the_same_bits_on_8_devices(method):
    config = SearchConfig(simulations=8, method=method)
    problem, mesh = {"index": np.arange(8, dtype=np.int32)}, mesh_of(8)
    whole, _ = found(MODEL, MDP, problem, KEYS, config)
    split, text = found(MODEL, MDP, problem, KEYS, config, mesh)
    assert "while" in text
    assert not [x for x in collectives(text, mesh) if BATCH & {*x.axis.split("+")}]
    assert_same_bits(whole, split)
    for lane in (0, 5):  # alone
        alone, _ = found(
            MODEL, MDP, rows(problem, [lane]), KEYS[lane : lane + 1], config
        )
        assert_same_bits(rows(whole, [lane]), alone)


def test_a_network_with_fixed_lanes_gives_the_same_bits_anywhere():
    config = SearchConfig(simulations=8, method="gumbel", lanes=4)
    problem = np.random.default_rng(1).normal(size=(8, 32)).astype(np.float32)
    whole, _ = found(Network(), weights(), problem, KEYS, config)
    order = np.array([6, 2, 7, 0, 3, 1, 5, 4])
    moved, _ = found(Network(), weights(), problem[order], KEYS[order], config)
    assert_same_bits(rows(whole, order), moved)
    alone, _ = found(Network(), weights(), problem[3:4], KEYS[3:4], config)
    assert_same_bits(rows(whole, [3]), alone)
    mesh = mesh_of(2, 2)
    split, text = found(Network(), weights(), problem, KEYS, config, mesh)
    assert not [x for x in collectives(text, mesh) if BATCH & {*x.axis.split("+")}]
    assert_same_bits(whole, split)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "config",
    [
        SearchConfig(simulations=24, method="gumbel"),
        SearchConfig(simulations=24, max_depth=3),
        SearchConfig(simulations=24, method="uct", leaves=4),
    ],
)
def test_the_same_bits_among_64_trees(config):
    problem = {"index": np.arange(8, dtype=np.int32)}
    whole, _ = found(MODEL, MDP, problem, KEYS, config)
    many = np.random.default_rng(0).integers(0, 8, 64)
    crowd, _ = found(MODEL, MDP, rows(problem, many), KEYS[many], config)
    assert_same_bits(rows(whole, many), crowd)
    crowd, _ = found(MODEL, MDP, rows(problem, many), KEYS[many], config, mesh_of(8))
    assert_same_bits(rows(whole, many), crowd)
