# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.models.reward import RewardModel, reward_model, with_head
from lrm_jax.prm import scorer
from lrm_jax.types import UserError

TINY = PolicyConfig(
    vocab_size=13, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=24,
    max_seq_len=64,
)  # fmt: skip
score_steps = jax.jit(scorer.score_steps, static_argnums=0)
LENGTHS, ENDS = (9, 5, 7), ([2, 5, 8], [1, 4, -1], [3, 6, -1])


def make(semantics="future_success", **changes):
    model = reward_model(dataclasses.replace(TINY, **changes), semantics)
    params = model.init(jax.random.key(0))
    draw = np.random.default_rng(3).standard_normal
    return model, with_head(params, draw(TINY.d_model).astype(np.float32), 0.25)


def texts(width=9, left=False):
    rng = np.random.default_rng(1)
    ids, mask = np.zeros((3, width), np.int32), np.zeros((3, width), bool)
    ends = np.array(ENDS, np.int32)
    for row, length in enumerate(LENGTHS):
        first = width - length if left else 0
        ids[row, first : first + length] = rng.integers(1, 13, length)
        mask[row, first : first + length] = True
        ends[row] = np.where(ends[row] < 0, -1, ends[row] + first)
    return jnp.asarray(ids), jnp.asarray(mask), jnp.asarray(ends)


def test_a_reading_is_the_head_of_the_hidden_state_at_the_token():
    model, params = make()
    ids, mask, ends = texts()
    positions = jnp.broadcast_to(jnp.arange(9), (3, 9))
    hidden = model.backbone.forward(params, ids, positions, mask).hidden
    logit = np.asarray(hidden)[0, 5] @ params["value_head"]["kernel"][:, 0] + 0.25
    scores = score_steps(model, params, ids, mask, ends)
    assert scores.dtype == jnp.float32
    np.testing.assert_allclose(scores[0, 1], 1 / (1 + np.exp(-logit)), rtol=1e-5)
    assert scores[1, 2] == 0 and scores[2, 2] == 0


def test_a_fresh_head_says_one_half():
    model = reward_model(TINY, "step_correctness")
    ids, mask, ends = texts()
    scores = score_steps(model, model.init(jax.random.key(0)), ids, mask, ends)
    np.testing.assert_array_equal(scores[0], [0.5, 0.5, 0.5])


def test_the_score_of_a_prefix_is_that_inside_the_longer_text():
    model, params = make()
    ids, mask, ends = texts()
    whole = score_steps(model, params, ids, mask, ends)
    for step, end in enumerate(ENDS[0]):
        cut = end + 1
        alone = score_steps(model, params, ids[:1, :cut], mask[:1, :cut],
                            jnp.array([[end]]))  # fmt: skip
        np.testing.assert_allclose(alone[0, 0], whole[0, step], atol=1e-5)


def test_a_later_token_changes_no_bit_of_an_earlier_score():
    model, params = make()
    ids, mask, ends = texts()
    whole = score_steps(model, params, ids, mask, ends)
    later = score_steps(model, params, ids.at[0, 6].add(-1), mask, ends)
    np.testing.assert_array_equal(later[0, :2], whole[0, :2])
    assert later[0, 2] != whole[0, 2]


def test_the_side_of_the_padding_and_packing_change_nothing():
    model, params = make()
    whole = score_steps(model, params, *texts())
    np.testing.assert_allclose(
        score_steps(model, params, *texts(width=12, left=True)), whole, atol=1e-5
    )
    ids, mask, _ = texts()
    packed = jnp.concatenate([row[m] for row, m in zip(ids, mask, strict=True)])[None]
    segments = jnp.asarray(np.repeat([1, 2, 3], LENGTHS))[None]
    ends = jnp.array([[2, 5, 8, 10, 13, 17, 20]])
    found = score_steps(
        model, params, packed, jnp.ones_like(packed), ends, segment_ids=segments
    )
    np.testing.assert_allclose(found[0], whole[np.array(ENDS) >= 0], atol=1e-5)


def test_scores_read_token_by_token_are_those_of_the_whole():
    model, params = make()
    ids, mask, _ = texts(left=True)
    positions = jnp.maximum(jnp.cumsum(mask, axis=1) - 1, 0)
    whole = model.forward(params, ids, positions, mask)
    extend = jax.jit(model.extend)
    hidden, cache = extend(
        params, ids[:, :4], positions[:, :4], mask[:, :4], model.init_cache(3, 9), 0
    )
    found = [model.read(params, hidden)]
    for i in range(4, 9):
        at = slice(i, i + 1)
        hidden, cache = extend(
            params, ids[:, at], positions[:, at], mask[:, at], cache, i
        )
        found.append(model.read(params, hidden))
    found = jnp.concatenate(found, axis=1)
    np.testing.assert_allclose(
        np.where(mask, found, 0), np.where(mask, whole, 0), atol=1e-5
    )


def test_bfloat16_activations_give_float32_scores():
    model, params = make(dtype="bfloat16")
    scores = score_steps(model, params, *texts())
    assert scores.dtype == jnp.float32
    wide = score_steps(*make(), *texts())
    np.testing.assert_allclose(scores, wide, atol=0.05)


def test_axes_are_those_of_the_parameters():
    model = reward_model(TINY, "progress")
    params = model.init(jax.random.key(0))
    axes = jax.tree.map(len, model.axes, is_leaf=lambda x: isinstance(x, tuple))
    assert axes == jax.tree.map(jnp.ndim, params)
    assert model.axes["value_head"]["kernel"] == ("embed", None)


def test_a_policy_without_a_head_is_refused():
    with pytest.raises(UserError, match="value_head=false"):
        RewardModel(token_policy(TINY))
