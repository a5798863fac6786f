# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The books of a tree, terminals, proofs, masks, budgets, noisy and broken values."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.search.backup import backup
from lrm_jax.search.config import SearchConfig, check_config
from lrm_jax.search.domains.mdp import MdpModel, best_return, random_mdps
from lrm_jax.search.expansion import expand, leaf_keys
from lrm_jax.search.mcts import check_result, search_jit, start, view_of
from lrm_jax.search.selection import select
from lrm_jax.search.tree import Expansion, node_keys
from lrm_jax.types import UserError

COUNT = 16


def searched(mdp, config, **options):
    index = np.arange(len(mdp.value), dtype=np.int32)
    keys = jax.random.split(jax.random.key(3), len(index))
    model = MdpModel(mdp.valid.shape[-1])
    return jax.device_get(
        search_jit(model, mdp, {"index": index}, keys, config, **options)
    )


def assert_books(result, config):
    """Every node is made once, and visits add up from the leaves to the root."""
    tree = result.tree
    trees, nodes, _ = tree.children.shape
    np.testing.assert_array_equal(tree.visits[:, 0], result.simulations + 1)
    for lane in range(trees):
        there = tree.visits[lane] > 0
        assert there.sum() == result.expansions[lane] + 1
        kids = tree.children[lane][tree.children[lane] >= 0]
        assert sorted(kids) == list(np.flatnonzero(there)[1:])  # each node once
        depth = np.zeros(nodes, int)
        for node in np.flatnonzero(there):
            children = tree.children[lane, node]
            some = children[children >= 0]
            for action in np.flatnonzero(children >= 0):
                assert tree.parents[lane, children[action]] == node < children[action]
                assert tree.actions[lane, children[action]] == action
            depth[some] = depth[node] + 1
            below = tree.visits[lane, some].sum()
            if tree.terminal[lane, node]:
                assert not len(some)  # nothing below a terminal
            elif depth[node] < (config.max_depth or nodes):
                assert tree.visits[lane, node] == 1 + below
            else:
                assert not len(some)


CONFIGS = {
    "puct": SearchConfig(simulations=24),
    "gumbel": SearchConfig(simulations=24, method="gumbel", max_depth=3),
    "uct_count": SearchConfig(simulations=24, method="uct", solved="count"),
    "leaves": SearchConfig(simulations=24, leaves=4, virtual_loss=0.5),
    "gumbel_leaves": SearchConfig(simulations=24, leaves=3, method="gumbel"),
}


def nightly(*names):
    return [pytest.param(name, marks=pytest.mark.nightly) for name in names]


@pytest.mark.parametrize(
    "name", ["puct", "gumbel_leaves", *nightly("gumbel", "leaves", "uct_count")]
)
def test_books(name):
    config = CONFIGS[name]
    mdp = random_mdps(4, count=COUNT, terminal_share=0.3, invalid_share=0.3)
    budgets = np.minimum(np.arange(COUNT) * 2, 24)
    result = searched(mdp, config, budgets=budgets)
    assert_books(result, config)
    spent = result.simulations + result.collisions
    finished = spent == np.minimum(
        -(-budgets // config.leaves) * config.leaves, budgets
    )
    np.testing.assert_array_equal(finished | result.closed, True)
    assert (result.simulations > 0).any() and finished.any()
    assert (result.collisions > 0).any() == (config.leaves > 1)


@pytest.mark.parametrize("name", ["uct_count", *nightly("puct")])
def test_value_behind_a_terminal_never_counts(name):
    mdp = random_mdps(4, count=COUNT, terminal_share=0.3)
    loud = mdp._replace(value=np.where(mdp.terminal, np.float32(1e6), mdp.value))
    quiet, other = searched(mdp, CONFIGS[name]), searched(loud, CONFIGS[name])
    assert (quiet.tree.terminal & (quiet.tree.visits > 0)).any()
    jax.tree.map(np.testing.assert_array_equal, quiet, other)


def test_three_functions_one_by_one_make_the_tree_of_the_loop():
    config = SearchConfig(simulations=6)
    mdp = jax.tree.map(jnp.asarray, random_mdps(4, count=COUNT, terminal_share=0.3))
    problem = {"index": jnp.arange(COUNT, dtype=jnp.int32)}
    keys = jax.random.split(jax.random.key(3), COUNT)
    model = MdpModel(4)
    again = jax.random.split(jax.random.key(3), COUNT)
    jitted = functools.partial(jax.jit, static_argnames="config")
    root = jax.jit(start, static_argnames=("model", "config"))

    @jax.jit
    def ask(tree, selection):
        data = leaf_keys(tree, selection, jnp.zeros(COUNT, jnp.int32), config)
        view = view_of(tree, selection)
        return *model.step(mdp, view, selection.action, node_keys(data)), data

    tree = root(model, mdp, problem, keys, config).tree
    for number in range(config.simulations):
        active = tree.open_actions[:, 0] > 0
        selection = jitted(select)(tree, None, active, config)
        slot = jnp.int32(number + 1)
        tree, leaf = jitted(expand)(
            tree, selection, slot, *ask(tree, selection), config
        )
        tree = jitted(backup)(tree, selection, leaf, config)
    fused = search_jit(model, mdp, problem, again, config)
    there = np.asarray(fused.tree.visits) > 0
    for name in set(tree._fields) - {"states"}:
        here, was = (
            np.asarray(getattr(tree, name)),
            np.asarray(getattr(fused.tree, name)),
        )
        np.testing.assert_array_equal(here[there], was[there], err_msg=name)


def test_one_action_deep_values_are_exact():
    mdp = random_mdps(6, count=COUNT, actions=4)
    result = searched(mdp, SearchConfig(simulations=4, method="uct"))
    lanes = np.arange(COUNT)[:, None]
    to = mdp.next_state[:, 0]
    expected = mdp.reward[:, 0] + mdp.discount[:, 0] * mdp.value[lanes, to]
    np.testing.assert_array_equal(result.visits, 1)
    np.testing.assert_allclose(result.qvalues, expected, rtol=1e-6)


def test_full_enumeration_proves_the_best_plan():
    mdp = random_mdps(7, count=8, states=5, actions=3, acyclic=True, invalid_share=0.2)
    best = [best_return(mdp, lane, 0, 5) for lane in range(8)]
    for how, leaves in (("mean", 1), ("max", 1), ("mean", 4)):
        config = SearchConfig(simulations=160, method="uct", backup=how, leaves=leaves)
        result = searched(mdp, config)
        assert result.closed.all() and (result.simulations < 160).all()  # early stop
        np.testing.assert_allclose(result.value, best, atol=1e-6)
        chosen = np.take_along_axis(result.qvalues, result.action[:, None], axis=1)
        np.testing.assert_allclose(chosen[:, 0], best, atol=1e-6)
        assert_books(result, config)


def test_max_backup_without_proofs_is_the_best_plan_too():
    mdp = random_mdps(8, count=8, states=6, actions=2)
    best = [best_return(mdp, lane, 0, 3) for lane in range(8)]
    config = SearchConfig(
        simulations=200, method="uct", uct_c=20.0, backup="max", max_depth=3
    )
    result = searched(mdp, config)
    assert (result.expansions == 14).all()  # 2 + 4 + 8: all of them
    np.testing.assert_allclose(result.value, best, atol=1e-6)


def test_dead_ends_and_a_root_without_actions():
    mdp = random_mdps(9, count=4)
    valid, to = np.array(mdp.valid), np.maximum(mdp.next_state, 1)
    valid[0, 0] = False
    valid[1:, 1:] = False  # every state but the root is a dead end
    mdp = mdp._replace(valid=valid, next_state=to)
    result = searched(mdp, SearchConfig(simulations=16))
    np.testing.assert_array_equal(result.action >= 0, [False, True, True, True])
    assert result.weights[0].sum() == 0 and result.simulations[0] == 0
    assert result.closed.all() and not result.bad.any()
    np.testing.assert_array_equal(result.expansions, [0, 4, 4, 4])
    np.testing.assert_allclose(result.qvalues[1:], mdp.reward[1:, 0], rtol=1e-6)
    np.testing.assert_array_equal(result.action[1:], mdp.reward[1:, 0].argmax(axis=1))


class Bandit:
    """Arms that pay 1 with their chance; values come in bfloat16."""

    num_actions = 2

    def root(self, params, problem, keys):
        del keys
        return self.node(problem, jnp.zeros_like(problem)), problem

    def step(self, params, view, action, keys):
        chance = jnp.where(action == 0, params, 0.0)
        paid = jax.vmap(jax.random.bernoulli)(keys, chance)
        return self.node(view.state(), paid), view.state()

    def node(self, state, value):
        value = value.astype(jnp.bfloat16)
        flags = jnp.zeros((len(state), 2), bool)
        return Expansion(
            value * 0, value * 0 + 1, flags * value[:, None], ~flags, value, flags[:, 0]
        )


def test_means_of_a_bandit_hold_in_bfloat16_at_the_greatest_depth():
    config = SearchConfig(simulations=4096, max_depth=1, solved="count")
    state = np.zeros((2,), np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    result = search_jit(Bandit(), jnp.float32(0.3), state, keys, config)
    assert result.tree.values.dtype == result.tree.prior_logits.dtype == jnp.float32
    assert (result.visits[:, 0] > 3000).all() and (result.expansions == 2).all()
    assert np.abs(result.qvalues[:, 0] - 0.3).max() < 0.03
    shares = result.visits / result.visits.sum(axis=1, keepdims=True)
    mean = (shares * result.qvalues).sum(axis=1)
    np.testing.assert_allclose(result.value, mean * 4096 / 4097, atol=1e-4)


def test_values_that_are_no_numbers_are_named():
    mdp = random_mdps(4, count=8)
    value = np.array(mdp.value)
    value[5, np.unique(mdp.next_state[5, 0])[0]] = np.nan
    result = searched(mdp._replace(value=value), SearchConfig(simulations=16))
    np.testing.assert_array_equal(np.flatnonzero(result.bad), [5])
    assert np.isfinite(result.value).all()
    node = np.flatnonzero(result.tree.bad[5])[0]
    with pytest.raises(UserError, match=f"lane 5 at node {node} "):
        check_result(result)
    check_result(searched(mdp, SearchConfig(simulations=16)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("simulations", 0),
        ("leaves", 5),
        ("method", "minimax"),
        ("value_range", (1.0, 1.0)),
        ("dirichlet_fraction", 1.5),
    ],
)
def test_configs_that_cannot_be_are_refused(field, value):
    with pytest.raises(UserError, match=field):
        check_config(dataclasses.replace(SearchConfig(), **{field: value}))
