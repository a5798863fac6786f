# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The search against mctx: its stored trees, and one problem that it never saw.

Where the two mean the same: no terminal, no depth limit, no noise.
"""

import gzip
import json

import chex
import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.domains.mdp import MdpModel, random_mdps
from lrm_jax.search.mcts import search_jit
from lrm_jax.search.tree import Expansion

SAME = {"solved": "count", "gumbel_scale": 0.0}


class Stored:
    """A stored tree as a model: its nodes are states, what is not stored is NaN."""

    def __init__(self, actions):
        self.num_actions = actions

    def root(self, tables, problem, keys):
        del keys
        return self.node(tables, problem), problem

    def step(self, tables, view, action, keys):
        del keys
        to = tables["children"][view.state(), action]
        return self.node(tables, to), to

    def node(self, tables, at):
        nothing = jnp.zeros(at.shape, bool)
        return Expansion(
            reward=tables["reward"][at],
            discount=jnp.full(at.shape, tables["discount"]),
            prior_logits=tables["logits"][at],
            valid=jnp.ones((*at.shape, self.num_actions), bool),
            value=tables["value"][at],
            terminal=nothing,
        )


def flattened(tree):
    """Stored nodes in the order of their evaluation, with their children's ids."""
    found = {}

    def walk(node):
        found[node["evaluation_index"]] = node
        for child in node["child_stats"]:
            if child["child_stats"]:
                walk(child)

    walk(tree)
    return [found[i] for i in range(len(found))]


def tables_of(stored):
    nodes = flattened(stored["tree"])
    children = np.full((len(nodes), len(nodes[0]["child_stats"])), -1, np.int32)
    for i, node in enumerate(nodes):
        for child in node["child_stats"]:
            if child["child_stats"]:
                children[i, child["action"]] = child["evaluation_index"]
    priors = [[c["prior"] for c in node["child_stats"]] for node in nodes]
    return nodes, {
        "children": children,
        "logits": np.log(np.asarray(priors)).astype(np.float32),
        "value": np.asarray([n["raw_value_view"] for n in nodes], np.float32),
        "reward": np.asarray([n.get("reward", 0) for n in nodes], np.float32),
        "discount": np.float32(stored["env_config"]["discount"]),
    }


def config_of(stored):
    given = stored["algorithm_config"]
    if stored["algorithm"] == "muzero":
        return {
            "method": "puct",
            "pb_c_init": given["pb_c_init"],
            "pb_c_base": given["pb_c_base"],
        }
    scale = given["qtransform_kwargs"]
    return {
        "method": "gumbel",
        "max_considered": given["max_num_considered_actions"],
        "value_scale": scale["value_scale"],
        "maxvisit_init": scale["maxvisit_init"],
        "rescale_values": scale["rescale_values"],
    }


@pytest.mark.parametrize(
    "name", ["gumbel_muzero_tree.json.gz", "muzero_qtransform_tree.json"]
)
def test_stored_trees_are_found_again(lrm_data, name):
    path = lrm_data / "mctx" / name
    opened = gzip.open(path, "rt") if name.endswith("gz") else path.open()
    with opened as file:
        stored = json.load(file)
    nodes, tables = tables_of(stored)
    config = SearchConfig(simulations=len(nodes) - 1, **SAME, **config_of(stored))
    keys = jax.random.split(jax.random.key(0), 1)
    root = np.zeros((1,), np.int32)
    model = Stored(tables["logits"].shape[1])
    tree = search_jit(model, tables, root, keys, config).tree
    np.testing.assert_array_equal(tree.children[0], tables["children"])
    np.testing.assert_array_equal(tree.visits[0], [n["visit"] for n in nodes])
    values = [node["value_view"] for node in nodes]
    np.testing.assert_allclose(tree.values[0], values, atol=1e-5)


MDP = random_mdps(77, count=8, states=30, actions=6)


def from_mctx(method, simulations):
    def facts(at):
        return MDP.prior_logits[0, at], MDP.value[0, at]

    def recurrent(params, key, action, at):
        del params, key
        to = jnp.asarray(MDP.next_state)[0, at, action]
        logits, value = (jnp.asarray(x)[0, to] for x in (MDP.prior_logits, MDP.value))
        reward = jnp.asarray(MDP.reward)[0, at, action]
        out = mctx.RecurrentFnOutput(
            reward=reward,
            discount=jnp.full_like(reward, 0.97),
            prior_logits=logits,
            value=value,
        )
        return out, to

    at = np.zeros((1,), np.int32)
    logits, value = facts(at)
    root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=at)
    if method == "gumbel":
        return jax.jit(
            lambda key: mctx.gumbel_muzero_policy(
                None, key, root, recurrent, simulations, gumbel_scale=0.0
            )
        )
    return jax.jit(
        lambda key: mctx.muzero_policy(
            None, key, root, recurrent, simulations, dirichlet_fraction=0.0
        )
    )


@pytest.mark.parametrize(
    "method", [pytest.param("puct", marks=pytest.mark.nightly), "gumbel"]
)
def test_an_unseen_problem_gives_the_tree_of_mctx(method):
    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        theirs = from_mctx(method, 48)(jax.random.key(0))
    config = SearchConfig(simulations=48, method=method, **SAME)
    keys = jax.random.split(jax.random.key(0), 1)
    problem = {"index": np.zeros((1,), np.int32)}
    ours = search_jit(MdpModel(6), MDP, problem, keys, config)
    tree = theirs.search_tree
    np.testing.assert_array_equal(ours.tree.children, tree.children_index)
    np.testing.assert_array_equal(ours.tree.visits, tree.node_visits)
    np.testing.assert_allclose(ours.tree.values, tree.node_values, atol=1e-5)
    chex.assert_trees_all_close(ours.weights, theirs.action_weights, atol=1e-5)
    if method == "gumbel":
        np.testing.assert_array_equal(ours.action, theirs.action)
