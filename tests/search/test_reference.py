# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The batched search against a second one of objects and recursion, 200 problems."""

import jax
import numpy as np
import pytest

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.domains.mdp import MdpModel, random_mdps
from lrm_jax.search.mcts import search_jit, start
from tests.search.reference import Reference

STATES, ACTIONS = 10, 4
KINDS = {
    "endless": {"count": 200},
    "ending": {"count": 60, "terminal_share": 0.3, "invalid_share": 0.3},
    "small": {"count": 60, "acyclic": True, "invalid_share": 0.5},
}
CONFIGS = {
    "puct": SearchConfig(simulations=24, method="puct"),
    "uct": SearchConfig(simulations=24, method="uct"),
    "gumbel": SearchConfig(simulations=24, method="gumbel"),
}


def searched(mdp, config, budgets=None):
    index = np.arange(len(mdp.value), dtype=np.int32)
    keys = jax.random.split(jax.random.key(1), len(index))
    model = MdpModel(mdp.valid.shape[-1])
    result = search_jit(model, mdp, {"index": index}, keys, config, budgets=budgets)
    gumbel = None
    if config.method == "gumbel":
        again = jax.random.split(jax.random.key(1), len(index))
        started = jax.jit(start, static_argnames=("model", "config"))
        state = started(model, mdp, {"index": index}, again, config)
        gumbel = np.asarray(state.plan.gumbel)
    return jax.device_get(result._replace(tree=result.tree._replace(keys=None))), gumbel


def same_tree(result, lane, reference):
    """Every node in the order of its making: visits, values, links."""
    tree = jax.tree.map(lambda x: x[lane], result.tree._replace(states=None))
    made = np.flatnonzero(tree.visits)
    assert len(made) == len(reference.order)
    ids = {id(node): at for node, at in zip(reference.order, made, strict=True)}
    np.testing.assert_array_equal(
        tree.visits[made], [node.visits for node in reference.order]
    )
    np.testing.assert_allclose(
        tree.values[made], [node.value for node in reference.order], atol=1e-6
    )
    for node in reference.order:
        row = tree.children[ids[id(node)]]
        expected = np.full_like(row, -1)
        for action, child in node.children.items():
            expected[action] = ids[id(child)]
        np.testing.assert_array_equal(row, expected)
    assert result.simulations[lane] == reference.spent


@pytest.mark.parametrize(
    "kind", ["endless", "ending", pytest.param("small", marks=pytest.mark.nightly)]
)
@pytest.mark.parametrize("method", CONFIGS)
def test_trees_equal_the_second_implementation(method, kind):
    config = CONFIGS[method]
    mdp = random_mdps(3, states=STATES, actions=ACTIONS, **KINDS[kind])
    result, gumbel = searched(mdp, config)
    for lane in range(KINDS[kind]["count"]):
        noise = None if gumbel is None else gumbel[lane]
        same_tree(result, lane, Reference(mdp, lane, config, gumbel=noise))
