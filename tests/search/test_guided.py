# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trees over written steps against enumeration: candidates, values, keys, tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.models.reward import reward_model, with_head
from lrm_jax.prm.scorer import score_steps
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.guided import GuidedModel, GuidedParams, ends_with
from lrm_jax.search.guided_answers import tree_solutions, tree_spent
from lrm_jax.search.guided_steps import (
    ANSWER,
    Drawing,
    StepWriter,
    begin_texts,
    node_keys,
    write_steps,
)
from lrm_jax.search.mcts import search
from lrm_jax.types import UserError
from tests.search import planted
from tests.search.planted import END, SEP, A, B, C

K, DEPTH, WIDTH = 4, 3, 2
LETTERS = [A, B, C, A]
SEARCH = SearchConfig(simulations=24, max_depth=DEPTH, backup="max")
MODEL = GuidedModel(
    planted.POLICY,
    planted.SCORER,
    candidates=K,
    step_tokens=WIDTH,
    max_depth=DEPTH,
    max_new_tokens=2 * DEPTH,
)


@functools.partial(jax.jit, static_argnames=("model", "config"))
def _search(params, ids, mask, keys, gold, *, model=MODEL, config=SEARCH):
    problem = model.problem(params, ids, mask, gold, None if gold is None else gold > 0)
    return search(model, params, problem, keys, config)


def _params():
    table = planted.table()
    return GuidedParams(table, table, planted.ends(), Drawing())


def _keys(seeds):
    return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))


def _run(letters=LETTERS, seeds=None, gold=None, **options):
    ids, mask = planted.prompts(letters)
    seeds = range(len(letters)) if seeds is None else seeds
    keys = _keys(list(seeds))
    return jax.device_get(_search(_params(), ids, mask, keys, gold, **options))


@functools.partial(jax.jit)
def _one_node(table, ends, ids, mask, key):
    writer = StepWriter(planted.POLICY, table, ends, WIDTH)
    texts = begin_texts(planted.POLICY, table, ids, mask, slots=12)
    return write_steps(
        writer,
        texts,
        node_keys(key[None], K),
        Drawing(),
        count=K,
        room=jnp.asarray([WIDTH]),
        keep_pages=False,
    )


def _enumerate(prompt, key, depth=0, written=()):
    """The value of a node by trying everything below it, from its text alone."""
    text = [prompt, SEP, *written]
    ids = np.zeros((1, 12), np.int32)
    ids[0, : len(text)] = text
    steps = _one_node(planted.table(), planted.ends(), ids, ids > 0, key)
    best, seen = 0.0, set()
    for k in range(K):
        step = tuple(np.asarray(steps.ids[k][: steps.length[k]]).tolist())
        if step in seen:
            continue
        seen.add(step)
        whole = (*written, *step)
        if int(steps.end[k]) == ANSWER:
            right = planted.right(prompt, whole)
            best = max(best, 1 / (1 + np.exp(-6.0 if right else 6.0)))
        elif depth + 1 < DEPTH:
            child = jax.random.fold_in(key, k)
            best = max(best, _enumerate(prompt, child, depth + 1, whole))
    return best


def test_an_exhausted_tree_is_worth_what_enumeration_finds():
    config = SearchConfig(simulations=1 + K + K**2 + K**3, max_depth=3, backup="max")
    found = _run(letters=[A, B, C], config=config)
    assert found.closed.all()
    for i, letter in enumerate([A, B, C]):
        expected = _enumerate(letter, jax.random.key(jnp.uint32(i)))
        assert found.tree.proven[i, 0] == pytest.approx(expected, abs=1e-6)


def _path(tree, b, node):
    actions = []
    while node:
        actions.insert(0, (tree.parents[b, node], tree.actions[b, node]))
        node = tree.parents[b, node]
    return actions


def test_every_node_is_its_parents_candidate():
    found = _run()
    tree, states = found.tree, found.tree.states
    for b, letter in enumerate(LETTERS):
        for node in np.flatnonzero(tree.visits[b]):
            text = []
            for n, a in _path(tree, b, node):
                text += states.ids[b, n, a][: states.length[b, n, a]].tolist()
            assert states.total[b, node] == 2 + len(text)
            ended = bool(text) and text[-1] == END
            if node and ended:
                right = planted.right(letter, text)
                worth = 1 / (1 + np.exp(-6.0 if right else 6.0))
                assert tree.terminal[b, node]
                assert tree.rewards[b, node] == pytest.approx(worth, abs=1e-6)
            if ended or len(_path(tree, b, node)) == DEPTH:
                assert not states.length[b, node].any()  # nothing written below an end
                continue
            for k in range(K):
                said = states.ids[b, node, k][: states.length[b, node, k]].tolist()
                right = planted.right(letter, text + said)
                score = 1 / (1 + np.exp(-6.0 if right else 6.0))
                assert states.score[b, node, k] == pytest.approx(score, abs=1e-6)


def test_equal_candidates_are_one_action_with_their_share_as_prior():
    found = _run()
    states, priors = found.tree.states, found.tree.prior_logits
    for b in range(len(LETTERS)):
        said = [
            tuple(states.ids[b, 0, k][: states.length[b, 0, k]].tolist())
            for k in range(K)
        ]
        shares = np.exp(priors[b, 0]) / np.exp(priors[b, 0]).sum()
        for k in range(K):
            first = said.index(said[k]) == k
            assert states.kept[b, 0, k] == first
            assert shares[k] == pytest.approx(said.count(said[k]) / K * first, abs=1e-6)


def test_solutions_hold_what_was_written_and_tokens_add_up():
    found = _run()
    spent = tree_spent(found, scored=True)
    np.testing.assert_array_equal(spent.generated, found.tree.states.length.sum((1, 2)))
    solved = 0
    for letter, solutions in zip(LETTERS, tree_solutions(found), strict=True):
        assert solutions
        best = max(solutions, key=lambda one: one.scores[-1])
        there = any(planted.right(letter, one.ids) for one in solutions)
        assert planted.right(letter, best.ids) == there
        solved += there
        for one in solutions:
            assert one.ids[-1] == END
            assert sum(one.steps) == len(one.ids)
            right = planted.right(letter, one.ids)
            assert (one.scores[-1] > 0.5) == right
    assert solved >= 3


def test_a_tree_does_not_depend_on_its_neighbours():
    whole = _run()
    moved = _run(letters=[C, A, A, B], seeds=[2, 3, 0, 1])
    for old, new in ((2, 0), (3, 1), (0, 2), (1, 3)):
        mine = jax.tree.map(lambda x, i=old: x[i], whole.tree)
        other = jax.tree.map(lambda x, i=new: x[i], moved.tree)
        steps = mine.states._replace(lane_steps=0), other.states._replace(lane_steps=0)
        same = mine._replace(states=steps[0]), other._replace(states=steps[1])
        jax.tree.map(np.testing.assert_array_equal, *same)


@pytest.mark.nightly
def test_right_answers_decide_in_training():
    model = GuidedModel(
        planted.POLICY,
        None,
        candidates=K,
        step_tokens=WIDTH,
        max_depth=DEPTH,
        max_new_tokens=2 * DEPTH,
        outcome="gold",
    )
    gold = jnp.asarray([[letter, END] for letter in LETTERS], jnp.int32)
    found = _run(gold=gold, model=model)
    ended = 0
    for b, letter in enumerate(LETTERS):
        for node in np.flatnonzero(found.tree.visits[b])[1:]:
            (n, a), states = _path(found.tree, b, node)[-1], found.tree.states
            said = states.ids[b, n, a][: states.length[b, n, a]].tolist()
            if said[-1] == END:
                ended += 1
                assert found.tree.rewards[b, node] == (said == [letter, END])
    assert ended > 8
    with pytest.raises(UserError, match="no right answers"):
        _run(model=model)


def test_ends_with_compares_from_the_right():
    ids = jnp.asarray([[3, 4, 1], [4, 1, 0], [1, 0, 0], [3, 4, 1]])
    length = jnp.asarray([3, 2, 1, 3])
    gold = jnp.asarray([[0, 4, 1], [0, 4, 1], [0, 4, 1], [5, 4, 1]])
    count = jnp.asarray([2, 2, 2, 0])
    assert ends_with(ids, length, gold, count).tolist() == [True, True, False, False]


def test_a_reward_model_reads_on_as_it_reads_whole_texts():
    cfg = PolicyConfig(
        vocab_size=6, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_len=16
    )
    scorer, policy = reward_model(cfg, "future_success"), token_policy(cfg)
    weights = scorer.init(jax.random.key(1))
    kernel = jax.random.normal(jax.random.key(2), (16,))
    weights = with_head(weights, kernel)
    model = GuidedModel(
        policy,
        scorer,
        candidates=K,
        step_tokens=WIDTH,
        max_depth=DEPTH,
        max_new_tokens=2 * DEPTH,
        lanes=5,
    )
    params = GuidedParams(
        policy.init(jax.random.key(0)), weights, planted.ends(), Drawing()
    )
    ids, mask = planted.prompts([A, B])
    config = SearchConfig(simulations=8, max_depth=DEPTH)
    found = jax.device_get(
        _search(params, ids, mask, _keys([0, 1]), None, model=model, config=config)
    )
    texts, ends, scores = [], [], []
    for b in range(2):
        for node in np.flatnonzero(found.tree.visits[b]):
            states, text = found.tree.states, [int(ids[b, 0]), SEP]
            for n, a in _path(found.tree, b, node):
                text += states.ids[b, n, a][: states.length[b, n, a]].tolist()
            for k in np.flatnonzero(states.length[b, node]):
                said = states.ids[b, node, k][: states.length[b, node, k]].tolist()
                writes = [i for i, token in enumerate(said) if token > END]
                if writes:
                    texts.append(text + said)
                    ends.append([len(text) + writes[-1]])
                    scores.append(states.score[b, node, k])
    whole = np.zeros((len(texts), 10), np.int32)
    mask = np.zeros(whole.shape, bool)
    for i, text in enumerate(texts):
        whole[i, : len(text)], mask[i, : len(text)] = text, True
    read = score_steps(scorer, weights, whole, mask, jnp.asarray(ends))
    assert len(texts) >= 8
    np.testing.assert_allclose(read[:, 0], scores, atol=1e-5)
