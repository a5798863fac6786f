# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.models.mtp import ahead, has_ahead
from lrm_jax.models.policy import positions_of, token_policy
from lrm_jax.models.policy_config import PolicyConfig

CFG = PolicyConfig(
    vocab_size=11, d_model=16, n_layers=1, n_heads=2, d_ff=24, mtp_layers=2
)


def run(params, ids, mask, segments=None):
    policy = token_policy(CFG)
    positions = positions_of(mask)

    @jax.jit
    def both(params, ids):
        hidden = policy.forward(params, ids, positions, mask, segments).hidden
        return policy.predict_ahead(params, hidden, ids, positions, mask, segments)

    return both(params, ids)


def test_moves_and_masks_by_hand():
    ids = jnp.array([[1, 2, 3, 4]])
    assert ahead(ids, 1).tolist() == [[2, 3, 4, 0]]
    assert ahead(ids, 5).tolist() == [[0, 0, 0, 0]]
    mask = jnp.array([[False, True, True, True]])
    assert has_ahead(mask, 1).tolist() == [[False, True, True, False]]
    segments = jnp.array([[0, 0, 0, 1]])
    assert has_ahead(mask, 1, segments).tolist() == [[False, True, False, False]]


def test_blocks_predict_two_and_three_tokens_on():
    params = jax.jit(token_policy(CFG).init)(jax.random.key(0))
    ids = jnp.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 0, 0]])
    mask = jnp.array([[True] * 6, [True] * 4 + [False] * 2])
    first, second = run(params, ids, mask)
    assert first.targets[0].tolist() == [4, 1, 5, 9, 0, 0]
    assert second.targets[1].tolist() == [3, 0, 0, 0, 0, 0]
    assert first.mask.sum(axis=1).tolist() == [4, 2]
    assert second.mask.sum(axis=1).tolist() == [3, 1]
    axes = token_policy(CFG).axes
    ranks = jax.tree.map(len, axes, is_leaf=lambda x: isinstance(x, tuple))
    assert ranks == jax.tree.map(jnp.ndim, params)


def test_no_block_sees_what_it_predicts():
    params = jax.jit(token_policy(CFG).init)(jax.random.key(0))
    ids = jnp.array([[3, 1, 4, 1, 5, 9]])
    mask = jnp.ones((1, 6), bool)
    before = run(params, ids, mask)
    changed = run(params, ids.at[0, 4].set(7), mask)
    for k, (a, b) in enumerate(zip(before, changed, strict=True), 1):
        same = np.all(np.asarray(a.hidden == b.hidden), axis=-1)[0]
        # Block k at i reads tokens up to i + k: token 4 shows from i = 4 - k on.
        assert same[: 4 - k].all() and not same[4 - k], k


def test_packed_segments_equal_separate_sequences():
    params = jax.jit(token_policy(CFG).init)(jax.random.key(0))
    ids = jnp.array([[3, 1, 4, 1, 5, 9, 2]])
    mask = jnp.ones((1, 7), bool)
    segments = jnp.array([[0, 0, 0, 0, 1, 1, 1]])
    policy = token_policy(dataclasses.replace(CFG))
    positions = jnp.array([[0, 1, 2, 3, 0, 1, 2]])
    hidden = policy.forward(params, ids, positions, mask, segments).hidden
    packed = policy.predict_ahead(params, hidden, ids, positions, mask, segments)
    alone = run(params, ids[:, 4:], mask[:, 4:])
    for a, b in zip(packed, alone, strict=True):
        np.testing.assert_array_equal(a.mask[:, 4:], b.mask)
        where = np.asarray(b.mask)
        got = np.asarray(a.hidden[:, 4:])[where]
        np.testing.assert_allclose(got, np.asarray(b.hidden)[where], atol=1e-5)
