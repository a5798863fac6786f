# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.training.atan2 import atan2_right


def test_equals_the_library_over_sixty_decades():
    rng = np.random.default_rng(0)
    shape = 200_000
    y = 10.0 ** rng.uniform(-30, 30, shape) * rng.choice([-1, 1], shape)
    x = y.__abs__() * 10.0 ** rng.uniform(-8, 8, shape)
    y32, x32 = y.astype(np.float32), x.astype(np.float32)
    want = np.arctan2(y32.astype(np.float64), x32.astype(np.float64))
    got = np.asarray(jax.jit(atan2_right)(y32, x32), np.float64)
    np.testing.assert_allclose(got, want, rtol=4e-7)


def test_corners_by_hand():
    y = jnp.array([0.0, -0.0, 0.0, 1.0, -1.0, 1.0, -2.0, 3e37])
    x = jnp.array([0.0, 0.0, 5.0, 0.0, 0.0, 1.0, 2.0, 3e37])
    half = np.pi / 2
    want = [0, 0, 0, half, -half, half / 2, -half / 2, half / 2]
    got = atan2_right(y, x)
    np.testing.assert_allclose(got, want, rtol=3e-7)
    assert np.signbit(got[1]) and not np.signbit(got[0])


def test_float64_is_exact():
    with jax.enable_x64(True):
        y, x = jnp.array([1e-200, -3.0]), jnp.array([2e-200, 0.5])
        np.testing.assert_array_equal(atan2_right(y, x), jnp.arctan2(y, x))
