# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.training.accumulate import accumulate
from lrm_jax.types import UserError

LANES = 12


def lane_grads(params, lanes):
    """Sum over lanes of a noisy lane loss over the global batch, and new carry."""

    def loss_fn(params):
        noise = jax.vmap(lambda k: jax.random.normal(k, (3,)))(lanes["keys"])
        hidden = jnp.tanh(lanes["x"] @ params["w"] + noise + lanes["carry"])
        per_lane = jnp.mean(jnp.square(hidden), -1)
        return jnp.sum(per_lane) / LANES, (hidden, per_lane)

    (loss, (hidden, per_lane)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
        params
    )
    metrics = {"loss/total": (loss, jnp.asarray(1.0 / LANES) * per_lane.shape[0])}
    return (grads, metrics), hidden


@pytest.mark.parametrize("n", [1, 2, 3, 6, 12])
def test_micro_batches_add_up_to_one_big_batch(n):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(LANES, 4)), jnp.float32)
    carry = jnp.asarray(rng.normal(size=(LANES, 3)), jnp.float32)
    keys = lambda: jax.random.split(jax.random.key(0), LANES)
    lanes = lambda: {"x": x, "carry": carry, "keys": keys()}
    params = {"w": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)}
    fn = lambda part: lane_grads(params, part)
    whole = jax.jit(lambda: fn(lanes()))()
    parts = jax.jit(lambda: accumulate(fn, lanes(), n))()
    chex.assert_trees_all_close(parts, whole, rtol=2e-6, atol=2e-7)


def test_lanes_come_back_in_their_places():
    x = jnp.arange(LANES)
    total, same = accumulate(lambda part: (jnp.sum(part), part * 10), x, 4)
    assert int(total) == 66
    np.testing.assert_array_equal(same, np.arange(LANES) * 10)


def test_indivisible_batch_is_refused():
    with pytest.raises(UserError, match="grad_accum is 5.*12"):
        accumulate(lambda part: (jnp.sum(part), part), jnp.arange(LANES), 5)
