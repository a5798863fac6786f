# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.latent import latent_core
from lrm_jax.reasoning.budget import lane_keys, step_keys, think_for
from lrm_jax.reasoning.halting import HaltingConfig
from lrm_jax.reasoning.latent import LatentReasoner
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.latent_noise import NoiseConfig, noise_keys
from lrm_jax.search.latent_tree import LatentTree, answer_node, page_bytes
from lrm_jax.search.mcts import search_jit
from tests.search.test_latent_pass import CONFIG, problems

SEARCH = SearchConfig(simulations=12)
answers = jax.jit(answer_node, static_argnames="rule")


def model_of(bias=0.0, max_depth=4, sigma=0.5):
    reasoner = LatentReasoner(latent_core(CONFIG), HaltingConfig("halt_only"))
    params = reasoner.core.init(jax.random.key(0))
    head = params["weights"]["q_head"]
    drawn = 0.2 * jax.random.normal(jax.random.key(5), head["kernel"].shape)
    params["weights"]["q_head"] = {
        "kernel": drawn, "bias": head["bias"] * 0 + bias,
    }  # fmt: skip
    return LatentTree(reasoner, 3, max_depth, NoiseConfig(sigma)), params


@pytest.fixture(scope="module")
def grown():
    """Three trees that never halt by themselves."""
    model, params = model_of(bias=-9.0)
    problem = problems(3)
    keys = lane_keys(jax.random.key(1), jnp.arange(3))
    return model, params, problem, search_jit(model, params, problem, keys, SEARCH)


def test_a_node_is_its_path_of_noise_thought_through_by_hand(grown):
    model, params, problem, result = grown
    reasoner, tree = model.reasoner, result.tree
    lane, node = 1, int(np.argmax(np.asarray(tree.visits[1] > 0) * np.arange(13)))
    path = []
    while node > 0:
        path.insert(0, int(tree.actions[lane, node]))
        node = int(tree.parents[lane, node])
    assert path
    key = lane_keys(jax.random.key(1), jnp.array([lane]))
    one = jax.tree.map(lambda x: x[lane : lane + 1], problem)
    carry = reasoner.start(params, one, step_keys(key, jnp.zeros(1, jnp.int32)))
    at, signals = 0, None
    for action in path:
        at = int(tree.children[lane, at, action])
        key = jax.vmap(jax.random.fold_in)(key, jnp.array([action]))
        scale = jnp.array([0.0 if action == 0 else 0.5])
        carry = reasoner.perturb(carry, noise_keys(key), scale, ("z_h",))
        carry, signals = reasoner.think(params, carry, key)
        stored = tree.states.halt[lane, at]
        np.testing.assert_allclose(stored, signals.halt[0], rtol=1e-4)
    np.testing.assert_allclose(
        tree.states.carry.z_h[lane, at], carry.z_h[0], atol=1e-3, rtol=0
    )


def test_the_path_of_first_actions_is_the_plain_reasoner(grown):
    model, params, problem, result = grown
    keys = lane_keys(jax.random.key(1), jnp.arange(3))

    def observe(carry, signals):
        return signals.halt, model.reasoner.answer(params, carry).ids

    plain = think_for(
        model.reasoner, params, problem, keys, max_steps=4, observe=observe
    )
    tree = result.tree
    for lane in range(3):
        node, depth = int(tree.children[lane, 0, 0]), 0
        while node >= 0:
            expected = plain.record[0][depth, lane]
            np.testing.assert_allclose(
                tree.states.halt[lane, node], expected, rtol=1e-4
            )
            node, depth = int(tree.children[lane, node, 0]), depth + 1
        assert depth > 0


def test_nothing_is_thought_below_a_terminal(grown):
    tree = grown[3].tree
    depth = np.zeros(tree.visits.shape, int)
    for lane, node in np.ndindex(*tree.visits.shape):
        if node and tree.visits[lane, node]:
            depth[lane, node] = depth[lane, int(tree.parents[lane, node])] + 1
    made = np.asarray(tree.visits) > 0
    assert depth.max() <= 4
    np.testing.assert_array_equal(np.asarray(tree.terminal)[made], depth[made] == 4)
    value = 1 / (1 + np.exp(-np.asarray(tree.states.halt)))
    ended = np.asarray(tree.terminal)
    np.testing.assert_allclose(np.asarray(tree.rewards)[ended], value[ended], rtol=1e-6)
    assert (np.asarray(tree.values)[ended] == 0).all()


def test_a_tree_does_not_depend_on_its_neighbours(grown):
    model, params, problem, result = grown
    rows = jnp.array([2, 2, 0])
    moved = search_jit(
        model,
        params,
        jax.tree.map(lambda x: x[rows], problem),
        lane_keys(jax.random.key(1), rows),
        SEARCH,
    )
    for name in ("visits", "parents", "actions", "values", "rewards"):
        a, b = getattr(result.tree, name), getattr(moved.tree, name)
        np.testing.assert_array_equal(np.asarray(a)[np.asarray(rows)], b)
    np.testing.assert_array_equal(result.tree.states.ids[rows], moved.tree.states.ids)


def test_a_tree_of_thoughts_that_halt_at_once_is_done_when_all_are_tried():
    model, params = model_of(bias=9.0)
    problem = problems(2)
    keys = lane_keys(jax.random.key(1), jnp.arange(2))
    result = search_jit(model, params, problem, keys, SEARCH)
    assert result.simulations.tolist() == [3, 3] and result.closed.all()
    assert result.tree.states.halt[:, 0].max() < -50
    for rule in ("best", "weighted", "visits"):
        assert all(1 <= node <= 3 for node in answers(result, rule).tolist())


def test_answers_by_hand(grown):
    result = grown[3]
    tree = result.tree
    # Node 1 and 4 agree; 2 is alone and the surest; 3 has not ended.
    shape = tree.visits.shape
    nodes = np.zeros(shape, np.int32)
    nodes[:, 1:5] = [[3, 1, 2, 1]] * 3
    ended = np.zeros(shape, bool)
    ended[:, [1, 2, 4]] = True
    halt = np.zeros(shape, np.float32)
    halt[:, :5] = [[9, 1.0, 2.0, 8.0, 0.5]] * 3
    ids = np.arange(np.prod(shape)).reshape(*shape, 1) + np.zeros(16, np.int32)
    ids[:, 4] = ids[:, 1]
    children = np.full(tree.children.shape, -1, np.int32)
    children[:, 0], children[:, 1, 1] = [1, 2, 3], 4
    changed = result._replace(
        tree=tree._replace(
            visits=jnp.asarray(nodes).at[:, 0].set(7),
            terminal=jnp.asarray(ended),
            children=jnp.asarray(children),
            states=tree.states._replace(
                halt=jnp.asarray(halt), ids=jnp.asarray(ids, jnp.int32)
            ),
        )
    )
    assert answers(changed, "best").tolist() == [2, 2, 2]
    assert answers(changed, "weighted").tolist() == [1, 1, 1]
    assert answers(changed, "visits").tolist() == [4, 4, 4]
    none = changed._replace(tree=changed.tree._replace(terminal=jnp.zeros(shape, bool)))
    assert answers(none, "best").tolist() == [0, 0, 0]


def test_a_page_is_the_carry_and_the_answer(grown):
    model, params, problem, _ = grown
    floats = 2 * 16 * 16  # z_h, z_l
    ints = 1 + 16 + 1 + 16  # steps, inputs, puzzle id, answer
    assert page_bytes(model, params, problem) == 4 * (floats + ints + 1)
