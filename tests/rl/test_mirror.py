# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lrm_jax.rl.mirror import (
    log_partition,
    mirror_loss,
    mirror_optimum,
    sampled_log_partition,
)
from lrm_jax.rl.policy_losses import kimi_loss
from tests.rl.tabular import Tabular

TABLE = Tabular(vocab=3, length=2)
REWARDS = np.array([0.3, 0.0, 1.0, 0.5, 0.0, 1.0, 0.2])


@pytest.fixture(autouse=True)
def _x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def _converge(theta, log_z, tau, steps=1500):
    """Minimise the expectation over the old policy of the squared surrogate."""
    old, chance = TABLE.logps(theta), TABLE.probs(theta)

    def loss(theta):
        args = (TABLE.logps(theta), old, jnp.asarray(REWARDS), log_z, TABLE.mask)
        return jnp.sum(chance * mirror_loss(*args, tau=tau)) / tau**2

    tx = optax.adam(optax.cosine_decay_schedule(0.1, steps))

    @jax.jit
    def run(theta):
        def step(carry, _):
            theta, state = carry
            updates, state = tx.update(jax.grad(loss)(theta), state)
            return (optax.apply_updates(theta, updates), state), None

        return jax.lax.scan(step, (theta, tx.init(theta)), None, steps)[0][0]

    return run(theta)


def _total_variation(log_p, log_q):
    return float(jnp.sum(jnp.abs(jnp.exp(log_p) - jnp.exp(log_q))) / 2)


def _sequence(theta):
    return jnp.sum(TABLE.logps(theta), axis=1)


@pytest.mark.parametrize("tau", [0.2, 1.0])
def test_the_fixed_point_with_the_exact_partition_is_the_optimum(tau):
    theta = TABLE.init(0)
    old = _sequence(theta)
    optimum = mirror_optimum(old, jnp.asarray(REWARDS), tau)
    np.testing.assert_allclose(jnp.sum(jnp.exp(optimum)), 1, rtol=1e-12)
    assert _total_variation(old, optimum) > 0.05
    log_z = log_partition(old, jnp.asarray(REWARDS), tau)
    found = _sequence(_converge(theta, log_z, tau))
    assert _total_variation(found, optimum) < 1e-3


def test_the_optimum_maximises_reward_less_tau_kl():
    theta, tau = TABLE.init(0), 0.5
    old = _sequence(theta)

    def value(log_p):
        kl = jnp.sum(jnp.exp(log_p) * (log_p - old))
        return jnp.sum(jnp.exp(log_p) * REWARDS) - tau * kl

    best = value(mirror_optimum(old, jnp.asarray(REWARDS), tau))
    np.testing.assert_allclose(
        best, tau * log_partition(old, jnp.asarray(REWARDS), tau), rtol=1e-12
    )
    for seed in range(1, 6):
        assert value(_sequence(TABLE.init(seed))) < best


def test_the_mean_in_its_place_is_biased_and_less_so_for_large_tau():
    theta = TABLE.init(0)
    old = _sequence(theta)
    mean = jnp.sum(jnp.exp(old) * REWARDS)
    bias = {}
    for tau in (0.2, 2.0):
        found = _sequence(_converge(theta, mean / tau, tau))
        optimum = mirror_optimum(old, jnp.asarray(REWARDS), tau)
        bias[tau] = _total_variation(found, optimum)
        # Jensen: the mean over tau is below log Z.
        assert mean / tau < log_partition(old, jnp.asarray(REWARDS), tau)
    assert bias[0.2] > 0.01
    assert bias[2.0] < bias[0.2] / 5


def test_training_s_loss_is_the_surrogate_s_gradient_over_two_tau():
    theta, old_theta, tau = TABLE.init(1), TABLE.init(2), 0.3
    old, mask = TABLE.logps(old_theta), jnp.asarray(TABLE.mask)
    weights = jnp.arange(1.0, 8.0)
    baseline = 0.37

    def surrogate(theta):
        rows = mirror_loss(
            *(TABLE.logps(theta), old, jnp.asarray(REWARDS), baseline / tau, mask),
            tau=tau,
        )
        return jnp.sum(weights * rows) / (2 * tau)

    def trained(theta):
        logps = TABLE.logps(theta)
        advantages = jnp.broadcast_to((REWARDS - baseline)[:, None], mask.shape)
        losses = kimi_loss(logps, logps - old, advantages, mask, tau=tau)
        return jnp.sum(weights[:, None] * jnp.where(mask, losses, 0))

    np.testing.assert_allclose(
        jax.grad(trained)(theta), jax.grad(surrogate)(theta), rtol=1e-10
    )


def test_a_sampled_partition_by_hand():
    got = sampled_log_partition(jnp.array([[0.0, 1.0], [2.0, 2.0]]), 0.5)
    want = [[np.log((1 + np.exp(2)) / 2)], [4]]
    np.testing.assert_allclose(got, want, rtol=1e-12)
