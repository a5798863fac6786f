# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.gae import (
    actor_critic_estimates,
    at_last_token,
    gae,
    length_adaptive_lambda,
)

# One completion of three tokens and one of one; reward at the end.
MASK = np.array([[1, 1, 1], [1, 0, 0]], bool)
REWARDS = np.array([[0, 0, 1], [2, 0, 0]], np.float32)
VALUES = np.array([[0.5, 0.25, 0.75], [1, 0, 0]], np.float32)
END = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("gamma", "lambda_", "want"),
    [
        # deltas -.25, .5, .25; A3 = .25, A2 = .5 + .25, A1 = -.25 + .75
        (1.0, 1.0, [0.5, 0.75, 0.25]),
        # A2 = .5 + .125, A1 = -.25 + .3125
        (1.0, 0.5, [0.0625, 0.625, 0.25]),
        # deltas -.375, .125, .25; decay .25: A2 = .1875, A1 = -.328125
        (0.5, 0.5, [-0.328125, 0.1875, 0.25]),
        (1.0, 0.0, [-0.25, 0.5, 0.25]),
    ],
)
def test_against_a_table_by_hand(gamma, lambda_, want):
    got = gae(REWARDS, VALUES, MASK, END, gamma=gamma, lambda_=lambda_)
    np.testing.assert_allclose(got[0], want, atol=1e-7)
    np.testing.assert_allclose(got[1], [1, 0, 0], atol=1e-7)


def test_one_and_one_are_return_minus_value():
    rng = np.random.default_rng(0)
    mask = np.arange(9)[None, :] < rng.integers(1, 10, (5, 1))
    values = jnp.array(rng.normal(size=(5, 9)))
    rewards = at_last_token(jnp.arange(5.0), mask)
    got = actor_critic_estimates(
        rewards,
        values,
        mask,
        jnp.zeros(5),
        gamma=1.0,
        actor_lambda=1.0,
        critic_lambda=1.0,
    )
    returns = np.arange(5.0)[:, None]
    np.testing.assert_allclose(
        got.advantages, np.where(mask, returns - values, 0), atol=1e-6
    )
    np.testing.assert_allclose(got.returns, np.where(mask, returns, 0), atol=1e-6)


def test_lambdas_of_actor_and_critic_are_apart():
    got = actor_critic_estimates(
        REWARDS, VALUES, MASK, END, gamma=1.0, actor_lambda=0.5, critic_lambda=1.0
    )
    np.testing.assert_allclose(got.advantages[0], [0.0625, 0.625, 0.25], atol=1e-7)
    np.testing.assert_allclose(got.returns, [[1, 1, 1], [2, 0, 0]], atol=1e-7)


def test_a_lambda_a_row():
    lambdas = jnp.array([0.5, 1.0])
    got = gae(REWARDS, VALUES, MASK, END, gamma=1.0, lambda_=lambdas)
    np.testing.assert_allclose(got[0], [0.0625, 0.625, 0.25], atol=1e-7)


def test_bootstrap_is_the_value_after_the_last_token():
    last = jnp.array([4.0, 0.0])
    got = gae(REWARDS, VALUES, MASK, last, gamma=1.0, lambda_=0.0)
    np.testing.assert_allclose(got[0], [-0.25, 0.5, 4.25], atol=1e-7)


def test_forced_tokens_are_stepped_over():
    # The same three tokens with a forced one between the second and the third.
    mask = np.array([[1, 1, 0, 1]], bool)
    rewards = np.array([[0, 0, np.nan, 1]], np.float32)
    values = np.array([[0.5, 0.25, np.inf, 0.75]], np.float32)
    got = gae(rewards, values, mask, jnp.zeros(1), gamma=1.0, lambda_=0.5)
    np.testing.assert_allclose(got[0], [0.0625, 0.625, 0, 0.25], atol=1e-7)


def test_garbage_in_the_padding_changes_nothing():
    dirty_rewards = np.where(MASK, REWARDS, np.nan)
    dirty_values = np.where(MASK, VALUES, np.inf)
    options = {"gamma": 0.9, "actor_lambda": 0.7, "critic_lambda": 0.8}
    clean = actor_critic_estimates(REWARDS, VALUES, MASK, END, **options)
    dirty = actor_critic_estimates(dirty_rewards, dirty_values, MASK, END, **options)
    for one, two in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(one, two)


def test_rows_without_tokens_are_zero():
    none = np.zeros((2, 3), bool)
    got = gae(REWARDS, VALUES, none, jnp.ones(2), gamma=1.0, lambda_=1.0)
    np.testing.assert_array_equal(got, np.zeros((2, 3)))
    np.testing.assert_array_equal(at_last_token(jnp.ones(2), none), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("length", "want"),
    [(1, 0.0), (10, 0.0), (20, 0.0), (40, 0.5), (100, 0.8), (10_000, 0.998)],
)
def test_length_adaptive_lambda(length, want):
    got = length_adaptive_lambda(jnp.array([length]), 0.05)
    np.testing.assert_allclose(got, [want], atol=1e-6)


def test_against_the_sum_it_is_defined_by():
    rng = np.random.default_rng(1)
    rewards, values = rng.normal(size=(2, 1, 6))
    gamma, lambda_ = 0.9, 0.8
    after = np.append(values[0, 1:], 0.3)
    deltas = rewards[0] + gamma * after - values[0]
    want = [
        sum((gamma * lambda_) ** (j - t) * deltas[j] for j in range(t, 6))
        for t in range(6)
    ]
    with jax.enable_x64(True):
        arguments = (rewards, values, np.ones((1, 6), bool), jnp.array([0.3]))
        run = lambda *a: gae(*a, gamma=gamma, lambda_=lambda_)
        np.testing.assert_allclose(run(*arguments)[0], want, rtol=1e-12)
        np.testing.assert_allclose(jax.jit(run)(*arguments)[0], want, rtol=1e-12)
