# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.losses import (
    IGNORE_LABEL,
    LossConfig,
    binary_cross_entropy,
    log_stablemax,
    make_token_loss,
    softmax_cross_entropy,
    stablemax_cross_entropy,
)
from lrm_jax.types import UserError


def test_stablemax_by_hand():
    # s(1) = 2, s(0) = 1, s(-1) = 1/2: sum 3.5
    log_probs = log_stablemax(jnp.array([1.0, 0.0, -1.0]))
    np.testing.assert_allclose(np.exp(log_probs), [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)


def test_stablemax_gradient_by_hand():
    # L = log 3.5 - log s(x0); s'(1) = 1, s'(0) = 1, s'(-1) = 1/4
    grad = jax.grad(lambda x: -log_stablemax(x)[0])(jnp.array([1.0, 0.0, -1.0]))
    np.testing.assert_allclose(grad, [1 / 3.5 - 1 / 2, 1 / 3.5, 0.25 / 3.5], rtol=1e-6)


def _grid():
    exponents = np.linspace(-4, 4, 33)
    values = np.concatenate([[0.0, 1.0, -1.0], 10.0**exponents, -(10.0**exponents)])
    return values.astype(np.float32)


@pytest.mark.parametrize("loss", [stablemax_cross_entropy, softmax_cross_entropy])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_no_nan_gradient_on_a_grid_of_logits(loss, dtype):
    grid = _grid()
    first, second = (g.ravel() for g in np.meshgrid(grid, grid))
    logits = jnp.asarray(np.stack([first, second, np.ones_like(first)], -1), dtype)
    for label in range(3):
        labels = jnp.full(logits.shape[:1], label)
        grads = jax.grad(lambda x, y=labels: loss(x, y).sum())(logits)
        assert bool(jnp.all(jnp.isfinite(grads)))
        assert bool(jnp.all(jnp.isfinite(loss(logits, labels))))


def test_stablemax_equals_float64_formula():
    x = np.random.default_rng(0).normal(size=(64, 11)) * 10
    s = np.where(x < 0, 1 / (1 - x), x + 1)
    expected = np.log(s / s.sum(-1, keepdims=True))
    got = log_stablemax(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=2e-6)


def test_ignored_labels_cost_nothing_and_get_no_gradient():
    logits = jnp.array([[2.0, -1.0], [3.0, 0.5]])
    labels = jnp.array([IGNORE_LABEL, 1])
    nats = softmax_cross_entropy(logits, labels)
    assert nats[0] == 0
    np.testing.assert_allclose(nats[1], np.log1p(np.exp(2.5)), rtol=1e-6)
    grads = jax.grad(lambda x: softmax_cross_entropy(x, labels).sum())(logits)
    assert bool(jnp.all(grads[0] == 0))
    everything = jnp.full((2,), IGNORE_LABEL)
    assert stablemax_cross_entropy(logits, everything).sum() == 0


def test_label_smoothing_by_hand():
    logits, labels = jnp.array([0.0, 0.0, 0.0, 0.0]), jnp.array(2)
    nats = softmax_cross_entropy(logits, labels, label_smoothing=0.2)
    np.testing.assert_allclose(nats, np.log(4), rtol=1e-6)
    skewed = softmax_cross_entropy(
        jnp.log(jnp.array([0.5, 0.25, 0.25])), jnp.array(0), label_smoothing=0.3
    )
    expected = -(0.7 * np.log(0.5) + 0.3 * np.mean(np.log([0.5, 0.25, 0.25])))
    np.testing.assert_allclose(skewed, expected, rtol=1e-6)


def test_binary_cross_entropy_by_hand_and_far_out():
    got = binary_cross_entropy(jnp.array([0.0, 2.0, -2.0]), jnp.array([1.0, 1.0, 0.25]))
    p = 1 / (1 + np.exp(2.0))
    expected = [np.log(2), -np.log(1 - p), -(0.25 * np.log(p) + 0.75 * np.log(1 - p))]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    far = jax.grad(lambda x: binary_cross_entropy(x, jnp.array(1.0)))
    assert far(-1e4) == -1.0 and far(1e4) == 0.0


def test_losses_keep_float64_and_widen_bfloat16():
    narrow = stablemax_cross_entropy(jnp.ones((2, 3), jnp.bfloat16), jnp.zeros(2, int))
    assert narrow.dtype == jnp.float32
    with jax.enable_x64():
        wide = stablemax_cross_entropy(jnp.ones((2, 3), jnp.float64), jnp.zeros(2, int))
        assert wide.dtype == jnp.float64


def test_rank_is_checked():
    with pytest.raises(AssertionError):
        stablemax_cross_entropy(jnp.ones((2, 3, 4)), jnp.zeros((3,), int))


def test_unknown_loss_is_refused_in_one_line():
    with pytest.raises(UserError, match="loss.kind='stable'.*stablemax"):
        make_token_loss(LossConfig(kind="stable"))
