# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.config import ReferenceConfig
from lrm_jax.rl.kl import kl_estimate
from lrm_jax.rl.reference import update_reference


def _params(step):
    return {"w": jnp.full(3, float(step)), "n": jnp.array([step])}


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_reset_every_three_steps(wrap):
    cfg = ReferenceConfig(kind="reset", every=3)
    update = wrap(lambda ref, params, step: update_reference(cfg, ref, params, step))
    reference, seen = _params(0), []
    for step in range(1, 8):
        reference = update(reference, _params(step), step)
        seen.append(float(reference["w"][0]))
    assert seen == [0, 0, 3, 3, 3, 6, 6]


def test_after_a_reset_the_kl_is_zero_exactly():
    cfg = ReferenceConfig(kind="reset", every=1)
    params = {"w": jnp.array([-0.3, -1.7])}
    reference = update_reference(cfg, {"w": jnp.zeros(2)}, params, 1)
    for estimator in ("k1", "k2", "k3"):
        kl = kl_estimate(estimator, params["w"], reference["w"])
        np.testing.assert_array_equal(kl, [0, 0])


def test_ema_by_hand():
    cfg = ReferenceConfig(kind="ema", every=2, decay=0.75)
    reference = {"w": jnp.array([4.0])}
    reference = update_reference(cfg, reference, {"w": jnp.array([8.0])}, 1)
    np.testing.assert_allclose(reference["w"], [4])
    reference = update_reference(cfg, reference, {"w": jnp.array([8.0])}, 2)
    np.testing.assert_allclose(reference["w"], [5])


def test_ema_mixes_low_precision_in_float32():
    cfg = ReferenceConfig(kind="ema", decay=0.5)
    old = {"w": jnp.array([1.0], jnp.bfloat16)}
    new = update_reference(cfg, old, {"w": jnp.array([1.0078125], jnp.bfloat16)}, 1)
    assert new["w"].dtype == jnp.bfloat16


def test_fixed_is_the_same_object():
    reference = _params(0)
    same = update_reference(ReferenceConfig(), reference, _params(1), 1)
    assert same is reference
