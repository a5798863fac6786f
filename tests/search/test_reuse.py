# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is kept below an action is that subtree, and can be searched on."""

import functools

import jax
import numpy as np
import pytest

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.domains.mdp import MdpModel, random_mdps
from lrm_jax.search.mcts import search_jit, search_on
from lrm_jax.search.reuse import keep_subtree
from lrm_jax.types import UserError
from tests.search.test_tree import assert_books

COUNT, SIMULATIONS = 8, 32
MDP = random_mdps(4, count=COUNT, terminal_share=0.2, invalid_share=0.2)
MODEL = MdpModel(4)
CONFIG = SearchConfig(simulations=SIMULATIONS)
PROBLEM = {"index": np.arange(COUNT, dtype=np.int32)}
keep = jax.jit(keep_subtree, static_argnames=("config", "capacity"))


@functools.cache
def first():
    keys = jax.random.split(jax.random.key(3), COUNT)
    return jax.device_get(search_jit(MODEL, MDP, PROBLEM, keys, CONFIG))


def paths(tree, lane, root):
    """Statistics by the actions that lead from a node."""
    found = {}

    def walk(node, path):
        names = ("visits", "values", "raw_values", "open_actions", "proven", "terminal")
        found[path] = tuple(getattr(tree, name)[lane, node] for name in names)
        found[path] += (tuple(tree.keys[lane, node]), tree.states["state"][lane, node])
        for action, child in enumerate(tree.children[lane, node]):
            if child >= 0:
                walk(child, (*path, action))

    walk(root, ())
    return found


def test_all_of_the_subtree_is_kept_where_there_is_room():
    result = first()
    action = result.visits.argmax(axis=1).astype(np.int32)
    kept = jax.device_get(keep(result.tree, action, CONFIG, capacity=SIMULATIONS))
    roots = result.tree.children[np.arange(COUNT), 0, action]
    assert (kept.dropped == 0).all()
    for lane in range(COUNT):
        assert paths(kept.tree, lane, 0) == paths(result.tree, lane, roots[lane])
        assert kept.nodes[lane] == (kept.tree.visits[lane] > 0).sum()


def test_beyond_the_capacity_the_books_are_made_up_again():
    result = first()
    action = result.visits.argmax(axis=1).astype(np.int32)
    kept = jax.device_get(keep(result.tree, action, CONFIG, capacity=5))
    assert (kept.nodes <= 5).all() and (kept.dropped > 0).any()
    tree = kept.tree
    for lane in range(COUNT):
        for node in np.flatnonzero(tree.visits[lane] > 0):
            kids = tree.children[lane, node]
            kids = kids[kids >= 0]
            if tree.terminal[lane, node] or not kept.dropped[lane]:
                continue
            seen = tree.visits[lane, kids]
            assert tree.visits[lane, node] == 1 + seen.sum()
            q = (
                tree.rewards[lane, kids]
                + tree.discounts[lane, kids] * (tree.values[lane, kids])
            )
            if tree.open_actions[lane, node]:
                value = (tree.raw_values[lane, node] + seen @ q) / (1 + seen.sum())
                np.testing.assert_allclose(tree.values[lane, node], value, rtol=1e-5)


@pytest.mark.parametrize(
    "capacity", [6, pytest.param(SIMULATIONS, marks=pytest.mark.nightly)]
)
def test_searching_on_spends_its_budget_on_new_nodes(capacity):
    result = first()
    action = result.visits.argmax(axis=1).astype(np.int32)
    action[0] = result.visits[0].argmin()  # never expanded, or nearly
    kept = keep(result.tree, action, CONFIG, capacity=capacity)
    keys = jax.random.split(jax.random.key(4), COUNT)
    search = jax.jit(search_on, static_argnames=("model", "config"))
    after = jax.device_get(search(MODEL, MDP, PROBLEM, keys, kept, CONFIG))
    before = np.maximum(np.asarray(kept.tree.visits[:, 0]), 1)
    np.testing.assert_array_equal(after.tree.visits[:, 0], before + after.simulations)
    assert ((after.simulations == SIMULATIONS) | after.closed).all()
    nodes = np.maximum(np.asarray(kept.nodes), 1)
    made = (after.tree.visits > 0).sum(axis=1)
    np.testing.assert_array_equal(made, nodes + after.expansions)
    whole = after._replace(simulations=after.tree.visits[:, 0] - 1, expansions=made - 1)
    assert_books(whole, CONFIG)


def test_a_capacity_that_cannot_be_is_refused():
    with pytest.raises(UserError, match="capacity=0"):
        keep(first().tree, np.zeros(COUNT, np.int32), CONFIG, capacity=0)
