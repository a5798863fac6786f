# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Values by hand; the gradients in expectation are in test_enumerated.py."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.config import KlConfig
from lrm_jax.rl.kl import kl_estimate, kl_k1, kl_k2, kl_k3, kl_loss

D = math.log(2)  # the reference gives twice the probability


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    [
        ("k1", -D, 1.0),
        ("k2", D * D / 2, -D),
        ("k3", 1 - D, -1.0),
        ("k3_straight_through", 1 - D, -D),
    ],
)
def test_by_hand(estimator, value, slope):
    # d = log r - log p; slope: of the estimate in log p
    run = lambda p: kl_estimate(estimator, p, jnp.array(-1.0 + D))
    got = jax.value_and_grad(run)(jnp.array(-1.0))
    np.testing.assert_allclose(got, [value, slope], atol=1e-6)


def test_the_named_functions_are_the_formulas():
    d = jnp.array([-1.0, 0.0, D])
    np.testing.assert_allclose(kl_k1(d), -d)
    np.testing.assert_allclose(kl_k2(d), [0.5, 0, D * D / 2], rtol=1e-6)
    np.testing.assert_allclose(kl_k3(d), [math.exp(-1), 0, 1 - D], rtol=1e-6)


def test_equal_policies_are_at_zero_exactly():
    p = jnp.array([-3.0, -0.1])
    for estimator in ("k1", "k2", "k3", "k3_straight_through"):
        np.testing.assert_array_equal(kl_estimate(estimator, p, p), [0, 0])


def test_k3_near_zero_does_not_cancel():
    # d^2 / 2 for small d, which exp(d) - 1 - d in float32 would lose
    got = kl_estimate("k3", jnp.array(0.0), jnp.array(1e-3))
    np.testing.assert_allclose(got, 5e-7, rtol=1e-3)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "k3_straight_through"])
@pytest.mark.parametrize("d", [-50.0, 50.0])
def test_far_apart_policies_stay_finite(estimator, d):
    run = lambda p: kl_estimate(estimator, p, jnp.array(-60.0 + d))
    value, grad = jax.value_and_grad(run)(jnp.array(-60.0))
    assert np.isfinite(value) and np.isfinite(grad)
    if estimator == "k3" and d < 0:
        np.testing.assert_allclose(value, 49, rtol=1e-6)  # exp(d) is nothing


def test_value_clamp_cuts_value_and_gradient():
    run = lambda p: kl_estimate("k2", p, jnp.array(9.0), value_clamp=10.0)
    value, grad = jax.value_and_grad(run)(jnp.array(0.0))
    assert (value, grad) == (10.0, 0.0)


def test_no_gradient_reaches_the_reference():
    for estimator in ("k1", "k2", "k3", "k3_straight_through"):
        run = lambda r, e=estimator: kl_estimate(e, jnp.array(-1.0), r)
        assert jax.grad(run)(jnp.array(-0.5)) == 0


def test_values_are_the_kl_on_average():
    with jax.enable_x64(True):
        p, r = jnp.array([0.7, 0.2, 0.1]), jnp.array([0.2, 0.3, 0.5])
        kl = jnp.sum(p * jnp.log(p / r))
        for estimator in ("k1", "k3"):
            mean = jnp.sum(p * kl_estimate(estimator, jnp.log(p), jnp.log(r)))
            np.testing.assert_allclose(mean, kl, rtol=1e-12)
        k2 = jnp.sum(p * kl_estimate("k2", jnp.log(p), jnp.log(r)))
        assert abs(k2 - kl) > 0.01


def test_ratio_weight():
    logps, ref, ratio = jnp.array([-1.0]), jnp.array([-1.0 + D]), jnp.array([3.0])
    plain = kl_loss(KlConfig(estimator="k3"), logps, ref, ratio)
    weighed = kl_loss(KlConfig(estimator="k3", weight="ratio"), logps, ref, ratio)
    np.testing.assert_allclose(weighed, 3 * plain)


def test_an_unknown_estimator_is_refused():
    with pytest.raises(ValueError, match="estimator='k4'"):
        kl_estimate("k4", jnp.zeros(1), jnp.zeros(1))
