# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
from collections import defaultdict

import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.search.latent_pass import Trajectories
from lrm_jax.search.latent_select import RULES, is_right, oracle, select

B, K, T = 40, 6, 5


def logit(p):
    return float(np.log(p / (1 - p)))


def seen_of(halt, group, done=None, residual=None, right=None):
    """One problem, `[K]` or `[K, T]` each."""
    halt = np.atleast_2d(np.asarray(halt, np.float32).T).T
    shape = halt.shape

    def full(x, dtype, default):
        if x is None:
            return jnp.full((1, *shape), default, dtype)
        x = np.atleast_2d(np.asarray(x, dtype).T).T
        return jnp.asarray(np.broadcast_to(x, shape))[None]

    return Trajectories(
        jnp.asarray(halt)[None],
        full(residual, np.float32, 0),
        full(done, bool, False),
        full(group, np.int32, 0),
        full(right, bool, False),
    )


def chosen(rule, seen, width=None, depth=None, **how):
    width = width or seen.halt.shape[1]
    depth = depth or seen.halt.shape[2]
    found = select(rule, seen, width, depth, **how)
    return int(found.trajectory[0]), int(found.segment[0]), int(found.spent[0])


def test_best_q_takes_the_highest_and_the_first_of_equals():
    assert chosen("best_q", seen_of([0.1, 0.7, 0.7], [0, 1, 2])) == (1, 0, 3)
    assert chosen("best_q", seen_of([0.1, 0.7, 0.9], [0, 1, 2]), width=2) == (1, 0, 2)


def test_the_vote_goes_by_count_then_mean_q_as_trms_evaluator():
    # Two votes of mean 0.4 beat one vote of 0.99.
    q = [logit(p) for p in (0.99, 0.3, 0.5)]
    assert chosen("mode", seen_of(q, [0, 1, 1]))[0] == 1
    # At equal counts the mean q decides: 0.45 over 0.4.
    q = [logit(p) for p in (0.3, 0.5, 0.1, 0.8)]
    assert chosen("mode", seen_of(q, [0, 0, 2, 2]))[0] == 2
    # At equal counts and equal means, the earlier answer.
    assert chosen("mode", seen_of([0.0, 0.0], [0, 1]))[0] == 0


def test_the_weighted_vote_sums_q():
    q = [logit(p) for p in (0.99, 0.3, 0.5)]
    assert chosen("weighted", seen_of(q, [0, 1, 1]))[0] == 0  # 0.99 over 0.8
    q = [logit(p) for p in (0.7, 0.3, 0.5)]
    assert chosen("weighted", seen_of(q, [0, 1, 1]))[0] == 1  # 0.8 over 0.7


def test_the_residual_is_a_mean_over_the_last_segments():
    moved = [[9, 9, 1, 1, 1], [0, 0, 2, 2, 0]]
    seen = seen_of(np.zeros((2, 5)), [0, 1], residual=moved)
    assert chosen("residual", seen)[0] == 0  # 3 of the last three over 4
    assert chosen("residual", seen, window=1)[0] == 1
    assert chosen("residual", seen, depth=2)[0] == 1  # two there are, both read


def test_the_first_to_halt_ends_the_search():
    halt = [[0.1, 0.2, 9.0], [0.3, 5.0, 0.0], [0.2, 6.0, 0.0]]
    done = [[0, 0, 1], [0, 1, 1], [0, 1, 0]]
    seen = seen_of(halt, [0, 1, 2], done=done)
    assert chosen("first_halt", seen) == (2, 1, 6)  # of two at once, the higher q
    assert chosen("first_halt", seen, width=2) == (1, 1, 4)
    assert chosen("first_halt", seen, width=1) == (0, 2, 3)
    assert chosen("first_halt", seen, depth=1) == (1, 0, 3)  # none halts: best q


def brute(rule, seen, b, width, depth, window=3):
    """A loop over trajectories, written apart."""
    q = [float(x) for x in seen.halt[b, :width, depth - 1]]
    p = [1 / (1 + np.exp(-x)) for x in q]
    groups = defaultdict(list)
    for k in range(width):
        groups[int(seen.group[b, k, depth - 1])].append(k)
    if rule == "best_q":
        return max(range(width), key=lambda k: (q[k], -k)), depth - 1
    if rule == "mode":
        rank = lambda g: (len(groups[g]), np.mean([p[k] for k in groups[g]]), -g)
        return groups[max(groups, key=rank)][0], depth - 1
    if rule == "weighted":
        rank = lambda g: (sum(p[k] for k in groups[g]), -g)
        return groups[max(groups, key=rank)][0], depth - 1
    if rule == "residual":
        late = np.asarray(seen.residual[b, :width, max(depth - window, 0) : depth])
        return int(np.argmin(late.sum(-1))), depth - 1
    for t in range(depth):
        halted = [k for k in range(width) if seen.done[b, k, t]]
        if halted:
            return max(halted, key=lambda k: (float(seen.halt[b, k, t]), -k)), t
    return brute("best_q", seen, b, width, depth)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 3, (B, K, T))
    group = np.argmax(ids[:, :, None] == ids[:, None], axis=2)
    return Trajectories(
        jnp.asarray(rng.normal(size=(B, K, T)).astype(np.float32)),
        jnp.asarray(rng.random((B, K, T)).astype(np.float32)),
        jnp.asarray(rng.random((B, K, T)) < 0.1),
        jnp.asarray(group.astype(np.int32)),
        jnp.asarray(ids == 2),
    )


@pytest.mark.parametrize("rule", RULES)
def test_every_depth_and_width_against_a_loop(drawn, rule):
    for width in (1, 2, 4, K):
        for depth in (1, 2, T):
            found = select(rule, drawn, width, depth)
            expected = [brute(rule, drawn, b, width, depth) for b in range(B)]
            got = [tuple(pair) for pair in np.stack(found[:2], axis=1).tolist()]
            assert got == expected, (width, depth)
            right = [bool(drawn.right[b, k, t]) for b, (k, t) in enumerate(expected)]
            assert np.asarray(is_right(drawn, found)).tolist() == right
            any_right = np.asarray(drawn.right[:, :width, depth - 1]).any(1)
            np.testing.assert_array_equal(oracle(drawn, width, depth), any_right)
            assert (np.asarray(right) <= any_right).all() or rule == "first_halt"
