# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The distribution sampled from, by hand and by brute force; the draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import sharding
from lrm_jax.reasoning.sampling import (
    existing_logits,
    first_argmax,
    position_keys,
    sample,
    sampling_params,
    sequence_keys,
    tempered,
    truncated,
)
from lrm_jax.types import UserError


def _distribution(logits, params):
    scores = truncated(
        tempered(existing_logits(logits, logits.shape[1]), params), params
    )
    return np.asarray(jax.nn.softmax(scores))


def _brute(logits, temperature, top_k, top_p, min_p):
    """One row, by sorting and walking down."""
    p = np.exp(np.float64(logits) / temperature)
    p /= p.sum()
    order = np.argsort(-p)
    kept = list(order[: top_k or len(p)])
    inside = p[kept] / p[kept].sum()
    if top_p < 1:
        before = np.cumsum(inside) - inside
        kept = [k for k, b in zip(kept, before, strict=True) if b < top_p]
    kept = [k for k in kept if p[k] >= min_p * p.max()]
    out = np.zeros_like(p)
    out[kept] = p[kept] / p[kept].sum()
    return out


def test_truncation_by_hand():
    # Probabilities 0.5, 0.25, 0.15, 0.1.
    logits = jnp.log(jnp.array([[0.25, 0.5, 0.1, 0.15]] * 5))
    params = sampling_params(
        5,
        max_new=1,
        top_k=[0, 2, 0, 0, 3],
        top_p=[1.0, 1.0, 0.7, 1.0, 0.6],
        min_p=[0.0, 0.0, 0.0, 0.25, 0.0],
    )
    expected = [
        [0.25, 0.5, 0.1, 0.15],
        [1 / 3, 2 / 3, 0, 0],  # the two best
        [1 / 3, 2 / 3, 0, 0],  # 0.5 < 0.7 <= 0.75
        [0.25 / 0.9, 0.5 / 0.9, 0, 0.15 / 0.9],  # at least 0.125
        [1 / 3, 2 / 3, 0, 0],  # of three (0.556 < 0.6 <= 0.833): two
    ]
    np.testing.assert_allclose(_distribution(logits, params), expected, atol=1e-6)


def test_truncation_equals_brute_force():
    rng = np.random.default_rng(0)
    rows = 64
    logits = rng.normal(size=(rows, 23)) * 2
    options = {
        "temperature": rng.uniform(0.3, 2, rows),
        "top_k": rng.choice([0, 1, 3, 10, 30], rows),
        "top_p": rng.choice([1.0, 0.2, 0.6, 0.95], rows),
        "min_p": rng.choice([0.0, 0.05, 0.3, 1.0], rows),
    }
    found = _distribution(
        jnp.asarray(logits, jnp.float32),
        sampling_params(rows, max_new=1, **{k: v.tolist() for k, v in options.items()}),
    )
    for i in range(rows):
        brute = _brute(logits[i], *(value[i] for value in options.values()))
        np.testing.assert_allclose(found[i], brute, atol=2e-6)


@pytest.mark.parametrize("rows", [16, 6])  # that a mesh's axes divide, and not
def test_truncation_of_split_rows_has_the_same_bits(rows):
    logits = jax.random.normal(jax.random.key(0), (rows, 64))
    choices = {"top_k": [0, 5], "top_p": [1.0, 0.7], "min_p": [0.1, 0.0]}
    many = {name: values * (rows // 2) for name, values in choices.items()}
    params = sampling_params(rows, max_new=1, **many)
    cut = jax.jit(truncated)
    expected = np.asarray(cut(logits, params))
    mesh = sharding.make_mesh(sharding.MeshConfig(2, 1, 4))
    spec = sharding.partition_spec(("batch", "vocab"), mesh)
    split = jax.device_put(logits, jax.NamedSharding(mesh, spec))
    with sharding.use_mesh(mesh):
        np.testing.assert_array_equal(cut(split, params), expected)


def test_logps_are_of_what_was_drawn_from():
    logits = jax.random.normal(jax.random.key(0), (40, 17))
    params = sampling_params(40, max_new=1, temperature=0.5, top_p=0.8)
    keys = sequence_keys(jax.random.key(1), jnp.arange(40))
    drawn = sample(logits, params, keys, vocab_size=17)
    probs = _distribution(logits, params)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(
        np.exp(drawn.logps), probs[np.arange(40), drawn.ids], atol=1e-6
    )


def test_greedy_takes_the_best_and_says_its_own_log_prob():
    logits = jnp.array([[1.0, 3.0, 3.0, -1.0], [0.0, -2.0, 5.0, 9.0]])
    params = sampling_params(2, max_new=1, temperature=0.0, top_k=1)
    keys = sequence_keys(jax.random.key(1), jnp.arange(2))
    drawn = sample(logits, params, keys, vocab_size=3)
    assert drawn.ids.tolist() == [1, 2]
    expected = jax.nn.log_softmax(logits[:, :3])[jnp.arange(2), drawn.ids]
    np.testing.assert_allclose(drawn.logps, expected, atol=1e-6)


def test_frequencies_are_the_probabilities():
    rows = 20_000
    logits = jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4, 0.9]))
    params = sampling_params(rows, max_new=1)
    keys = sequence_keys(jax.random.key(2), jnp.arange(rows))
    drawn = sample(jnp.tile(logits, (rows, 1)), params, keys, vocab_size=4)
    share = np.bincount(drawn.ids, minlength=5) / rows
    # Five standard errors of the largest share: 5 sqrt(0.24 / 20000).
    np.testing.assert_allclose(share, [0.1, 0.2, 0.3, 0.4, 0.0], atol=0.0174)


def test_draws_follow_the_sequence_not_the_row():
    logits = jnp.tile(jax.random.normal(jax.random.key(0), (1, 101)), (8, 1))
    params = sampling_params(8, max_new=1)

    def draw(ids, positions, width):
        keys = sequence_keys(jax.random.key(5), jnp.asarray(ids))
        keys = position_keys(keys, jnp.asarray(positions))
        padded = jnp.pad(logits, ((0, 0), (0, width - 101)))
        return np.asarray(sample(padded, params, keys, vocab_size=101).ids)

    ids, positions = np.arange(8), np.array([3, 3, 4, 5, 3, 9, 9, 1])
    straight = draw(ids, positions, 101)
    np.testing.assert_array_equal(draw(ids[::-1], positions[::-1], 101), straight[::-1])
    # Rows of padding behind the vocabulary move nothing either.
    np.testing.assert_array_equal(draw(ids, positions, 128), straight)
    assert len(set(straight.tolist())) > 2


def test_banned_ids_are_never_drawn_unless_all_are():
    logits = jnp.zeros((2, 3))
    banned = jnp.array([[True, False, True], [True, True, True]])
    params = sampling_params(2, max_new=1)
    for seed in range(8):
        keys = sequence_keys(jax.random.key(seed), jnp.arange(2))
        drawn = sample(logits, params, keys, vocab_size=3, banned=banned)
        assert drawn.ids[0] == 1 and drawn.logps[0] == 0
        np.testing.assert_allclose(drawn.logps[1], np.log(1 / 3), atol=1e-6)


def test_first_argmax_takes_the_first_and_stays_in_range():
    x = jnp.array([[1.0, 7.0, 7.0], [jnp.nan] * 3, [-jnp.inf] * 3])
    assert first_argmax(x).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"temperature": -0.5}, "temperature -0.5"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"min_p": 2.0}, "min_p 2.0"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_k": [1, 2, 3]}, "3 values"),
    ],
)
def test_wrong_parameters_are_refused(options, says):
    with pytest.raises(UserError, match=says):
        sampling_params(2, max_new=4, **options)
