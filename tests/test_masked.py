# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import masked

X = jnp.asarray([[1.0, 2.0, 6.0], [4.0, 5.0, 7.0]])
MASK = jnp.asarray([[True, False, True], [False, False, False]])


def test_mean_var_and_count_by_hand():
    np.testing.assert_allclose(masked.masked_mean(X, MASK, -1), [3.5, 0.0])
    np.testing.assert_allclose(masked.masked_var(X, MASK, -1), [6.25, 0.0])
    np.testing.assert_allclose(masked.masked_var(X, MASK, -1, ddof=1), [12.5, 0.0])
    np.testing.assert_allclose(masked.masked_count(X, MASK, -1), [2.0, 1.0])
    assert masked.masked_sum(X, MASK) == 7.0


def test_mask_broadcasts_and_counts_every_kept_entry():
    column = jnp.asarray([[True], [False]])
    assert masked.masked_mean(X, column) == 3.0


def test_whiten_by_hand():
    got = masked.masked_whiten(X, MASK, -1, eps=0.0 + 1e-12)
    np.testing.assert_allclose(got, [[-1, 0, 1], [0, 0, 0]], atol=1e-6)


def test_softmax_by_hand_and_empty_rows():
    logits = jnp.log(jnp.asarray([[1.0, 100.0, 3.0], [4.0, 5.0, 7.0]]))
    got = masked.masked_softmax(logits, MASK)
    np.testing.assert_allclose(got, [[0.25, 0, 0.75], [0, 0, 0]], rtol=1e-6)
    logs = masked.masked_log_softmax(logits, MASK)
    np.testing.assert_allclose(logs[0, ::2], np.log([0.25, 0.75]), rtol=1e-6)
    assert np.all(np.isfinite(logs))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "fn",
    [
        masked.masked_mean,
        masked.masked_var,
        masked.masked_whiten,
        lambda x, m: masked.masked_softmax(x, m),
        lambda x, m: masked.masked_log_softmax(x, m),
    ],
)
def test_masked_entries_reach_neither_value_nor_gradient(fn, bad):
    spoilt = jnp.where(MASK, X, bad)
    keep = lambda x: jnp.sum(jnp.where(jnp.broadcast_to(MASK, x.shape), x, 0))
    total = lambda x: keep(jnp.sin(jnp.broadcast_to(fn(x, MASK), x.shape)))
    np.testing.assert_array_equal(total(spoilt), total(jnp.where(MASK, X, 0)))
    grad = jax.grad(total)(spoilt)
    assert np.all(np.isfinite(grad))
    np.testing.assert_array_equal(np.where(MASK, 0, grad), 0)


def test_huge_logits_stay_finite():
    logits = jnp.asarray([1e30, -1e30, 1e4])
    got = masked.masked_softmax(logits, jnp.asarray([False, True, True]))
    np.testing.assert_array_equal(got, [0, 0, 1])


def test_bfloat16_is_summed_in_float32():
    x = jnp.full((1024,), 1.0, jnp.bfloat16)
    got = masked.masked_sum(x, jnp.ones(1024, bool))
    assert got == 1024 and got.dtype == jnp.float32
