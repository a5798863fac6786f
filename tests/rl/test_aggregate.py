# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.aggregate import aggregate, denominator, row_weights

MODES = {
    "token_mean",
    "seq_mean_token_mean",
    "seq_mean_token_sum",
    "constant",
    "group_token_mean",
}
# Three rows of 4, 1 and 2 tokens, whose losses add up to 10, 5 and 13.
LOSSES = np.array([[1, 2, 3, 4], [5, 0, 0, 0], [6, 7, 0, 0]], np.float32)
MASK = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]], bool)


def _run(mode, losses=LOSSES, mask=MASK, group_size=1, empty_rows="count"):
    rows = row_weights(
        mode, mask, group_size=group_size, max_length=8, empty_rows=empty_rows
    )
    return aggregate(losses, mask, rows.weights, denominator(rows.counts))


BY_HAND = {
    "token_mean": 28 / 7,
    "seq_mean_token_mean": (10 / 4 + 5 + 13 / 2) / 3,
    "seq_mean_token_sum": 28 / 3,
    "constant": 28 / 3 / 8,
    "group_token_mean": (10 / 4 + 5 + 13 / 2) / 3,
}
# Each token's part of the mean, row by row.
GRADIENTS = {
    "token_mean": [1 / 7, 1 / 7, 1 / 7],
    "seq_mean_token_mean": [1 / 12, 1 / 3, 1 / 6],
    "seq_mean_token_sum": [1 / 3, 1 / 3, 1 / 3],
    "constant": [1 / 24, 1 / 24, 1 / 24],
    "group_token_mean": [1 / 12, 1 / 3, 1 / 6],
}


@pytest.mark.parametrize("mode", sorted(MODES))
def test_a_ragged_batch_by_hand(mode):
    value, grad = jax.value_and_grad(lambda x: _run(mode, x))(LOSSES)
    np.testing.assert_allclose(value, BY_HAND[mode], rtol=1e-6)
    want = np.array(GRADIENTS[mode])[:, None] * MASK
    np.testing.assert_allclose(grad, want, atol=1e-7)


def test_groups_by_hand():
    # Two groups of two rows: (10 + 5) / 5 tokens and (13 + 0) / 2.
    losses = np.vstack([LOSSES, np.full((1, 4), 9, np.float32)])
    mask = np.vstack([MASK, np.zeros((1, 4), bool)])
    value, grad = jax.value_and_grad(
        lambda x: _run("group_token_mean", x, mask, group_size=2)
    )(losses)
    np.testing.assert_allclose(value, (15 / 5 + 13 / 2) / 2, rtol=1e-6)
    want = np.array([1 / 10, 1 / 10, 1 / 4, 0])[:, None] * mask
    np.testing.assert_allclose(grad, want, atol=1e-7)


@pytest.mark.parametrize(
    ("mode", "count", "skip"),
    [
        ("seq_mean_token_mean", 9 / 4, 9 / 2),
        ("seq_mean_token_sum", 18 / 4, 18 / 2),
        ("constant", 18 / 4 / 8, 18 / 2 / 8),
        ("group_token_mean", 18 / 3 / 2, 18 / 3),
        ("token_mean", 18 / 3, 18 / 3),
    ],
)
def test_rows_without_tokens_count_or_do_not(mode, count, skip):
    losses = np.array([[5, 9], [6, 7], [9, 9], [9, 9]], np.float32)
    mask = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], bool)
    for empty_rows, want in (("count", count), ("skip", skip)):
        if mode == "seq_mean_token_mean":
            want = want * (5 + 13 / 2) / 9
        got = _run(mode, losses, mask, 2, empty_rows)
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("empty_rows", ["count", "skip"])
def test_nothing_at_all_is_zero(mode, empty_rows):
    mask = np.zeros((4, 3), bool)
    garbage = np.full((4, 3), np.nan, np.float32)
    value, grad = jax.value_and_grad(lambda x: _run(mode, x, mask, 2, empty_rows))(
        garbage
    )
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


def test_equal_lengths_make_token_mean_and_sequence_mean_equal():
    losses = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    mask = np.ones((4, 3), bool)
    one = _run("token_mean", losses, mask, 2)
    for mode in ("seq_mean_token_mean", "group_token_mean"):
        np.testing.assert_allclose(_run(mode, losses, mask, 2), one, rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "ratio"),
    [
        ("token_mean", 10.0),
        ("seq_mean_token_mean", 1.0),
        ("seq_mean_token_sum", 10.0),
        ("constant", 10.0),
        ("group_token_mean", 10.0),
    ],
)
def test_length_bias(mode, ratio):
    # Two completions of 2 and 20 tokens with the same advantage: what the longer
    # one weighs in the gradient beside the shorter one.
    mask = np.arange(20)[None, :] < np.array([[2], [20]])
    rows = row_weights(mode, mask, group_size=2, max_length=20, empty_rows="count")
    losses = np.ones((2, 20), np.float32)
    grad = jax.grad(
        lambda x: aggregate(x, mask, rows.weights, denominator(rows.counts))
    )
    sums = np.abs(grad(losses)).sum(axis=1)
    np.testing.assert_allclose(sums[1] / sums[0], ratio, rtol=1e-6)


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_parts_add_up(mode, parts):
    rng = np.random.default_rng(1)
    losses = rng.normal(size=(12, 5)).astype(np.float32)
    mask = np.arange(5)[None, :] < rng.integers(0, 6, (12, 1))
    rows = row_weights(mode, mask, group_size=3, max_length=5, empty_rows="count")
    total = denominator(rows.counts)
    whole = aggregate(losses, mask, rows.weights, total)
    shares = [
        aggregate(losses[i], mask[i], rows.weights[i], total)
        for i in np.split(np.arange(12), parts)
    ]
    np.testing.assert_allclose(sum(shares), whole, atol=1e-6)


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match="aggregation='mean'"):
        _run("mean")


def test_float64_flows_through():
    with jax.enable_x64(True):
        value = _run("token_mean", jnp.asarray(LOSSES, jnp.float64))
        assert value.dtype == jnp.float64
