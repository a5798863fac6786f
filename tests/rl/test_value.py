# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.value import value_losses


@pytest.mark.parametrize(
    ("value", "old", "target", "loss", "slope", "clipped"),
    [
        (1.0, 1.0, 2.0, 0.5, -1.0, False),
        (1.1, 1.0, 2.0, 0.405, -0.9, False),
        # Moved .5 towards the target, .2 are allowed: (1.2 - 2)^2 / 2, no gradient
        (1.5, 1.0, 2.0, 0.32, 0.0, True),
        # Moved away: the plain loss is larger
        (0.5, 1.0, 2.0, 1.125, -1.5, False),
    ],
)
def test_by_hand(value, old, target, loss, slope, clipped):
    def run(v):
        losses, where = value_losses(v, jnp.array(old), jnp.array(target), clip=0.2)
        return losses, where

    (got, where), grad = jax.value_and_grad(run, has_aux=True)(jnp.array(value))
    np.testing.assert_allclose([got, grad], [loss, slope], atol=1e-6)
    assert bool(where) == clipped


def test_without_clip_it_is_half_the_squared_error():
    got, where = value_losses(jnp.ones(2), jnp.zeros(2), jnp.array([3.0, 1]), clip=0)
    np.testing.assert_allclose(got, [2, 0])
    assert not where.any()


def test_targets_and_old_values_get_no_gradient():
    run = lambda o, r: jnp.sum(value_losses(jnp.ones(2), o, r, clip=0.2)[0])
    for argnum in (0, 1):
        grad = jax.grad(run, argnum)(jnp.zeros(2), jnp.full(2, 3.0))
        np.testing.assert_array_equal(grad, [0, 0])
