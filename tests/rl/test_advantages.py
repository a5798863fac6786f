# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl import advantages as adv

REWARDS = np.array([[1, 0, 0, 0], [2, 4, 6, 8]], np.float32)
OPTIONS = {"ddof": 0, "eps": 0.0, "equal_atol": 1e-6}


def test_centred_by_hand():
    got = adv.group_centred(REWARDS, equal_atol=1e-6)
    want = [[0.75, -0.25, -0.25, -0.25], [-3, -1, 1, 3]]
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_std_by_hand():
    # sigma^2 = 3/16 and 5 (population), 1/4 and 20/3 (ddof 1)
    centred = np.array([[0.75, -0.25, -0.25, -0.25], [-3, -1, 1, 3]])
    got = adv.group_std(REWARDS, **OPTIONS)
    np.testing.assert_allclose(got, centred / np.sqrt([[3 / 16], [5]]), rtol=1e-6)
    got = adv.group_std(REWARDS, **{**OPTIONS, "ddof": 1})
    np.testing.assert_allclose(got, centred / np.sqrt([[1 / 4], [20 / 3]]), rtol=1e-6)
    got = adv.group_std(REWARDS, **{**OPTIONS, "eps": 0.5})
    want = centred / (np.sqrt([[3 / 16], [5]]) + 0.5)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_leave_one_out_by_hand():
    got = adv.leave_one_out(REWARDS, equal_atol=1e-6)
    want = [
        [1, -1 / 3, -1 / 3, -1 / 3],
        [2 - 18 / 3, 4 - 16 / 3, 6 - 14 / 3, 8 - 12 / 3],
    ]
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_batch_std_by_hand():
    # The squares of both groups: (3/4 + 20) / 8, or / 7
    centred = np.array([[0.75, -0.25, -0.25, -0.25], [-3, -1, 1, 3]])
    for ddof in (0, 1):
        got = adv.batch_std(REWARDS, **{**OPTIONS, "ddof": ddof})
        np.testing.assert_allclose(
            got, centred / np.sqrt(20.75 / (8 - ddof)), rtol=1e-6
        )
    one = adv.batch_std(REWARDS, **OPTIONS, groups=jnp.array([False, True]))
    np.testing.assert_allclose(one, centred / np.sqrt(5), rtol=1e-6)


KINDS = {
    "centred": lambda r: adv.group_centred(r, equal_atol=1e-6),
    "std": lambda r: adv.group_std(r, **OPTIONS),
    "std1": lambda r: adv.group_std(r, **{**OPTIONS, "ddof": 1}),
    "leave_one_out": lambda r: adv.leave_one_out(r, equal_atol=1e-6),
    "batch": lambda r: adv.batch_std(r, **OPTIONS),
    "batch1": lambda r: adv.batch_std(r, **{**OPTIONS, "ddof": 1}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("x64", [False, True])
def test_equal_rewards_give_exactly_zero(kind, x64):
    # .1 + .2 is not .3 in floats.
    rewards = np.array([[0.1 + 0.2, 0.3, 0.3], [1 / 3, 1 / 3, 1 / 3]])
    with jax.enable_x64(x64):
        got = KINDS[kind](jnp.asarray(rewards))
        np.testing.assert_array_equal(got, np.zeros((2, 3)))


@pytest.mark.parametrize("kind", KINDS)
def test_groups_of_one_give_zero(kind):
    got = KINDS[kind](np.array([[1.0], [0.0], [5.0]], np.float32))
    np.testing.assert_array_equal(got, np.zeros((3, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_sums_of_groups_are_zero_and_shifts_change_nothing(kind):
    rewards = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    got = KINDS[kind](rewards)
    np.testing.assert_allclose(got.sum(axis=1), np.zeros(5), atol=1e-5)
    np.testing.assert_allclose(KINDS[kind](rewards + 2), got, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_jit_agrees_and_float64_stays(kind):
    rewards = np.random.default_rng(0).normal(size=(5, 6))
    with jax.enable_x64(True):
        eager, jitted = KINDS[kind](rewards), jax.jit(KINDS[kind])(rewards)
        assert eager.dtype == jnp.float64
        np.testing.assert_allclose(jitted, eager, rtol=1e-13)


def test_two_completions_give_one_sign_each():
    got = adv.group_std(np.array([[0.0, 1.0], [0.3, 0.2]], np.float32), **OPTIONS)
    np.testing.assert_allclose(got, [[-1, 1], [1, -1]], rtol=1e-6)


MASK = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], bool)


def test_rewards_to_go_by_hand():
    penalties = np.array([[-1, -2, -4], [-3, np.nan, np.inf], [np.nan] * 3])
    got = adv.rewards_to_go(jnp.array([10.0, 20.0, 30.0]), jnp.array(penalties), MASK)
    np.testing.assert_array_equal(got, [[3, 4, 6], [17, 0, 0], [0, 0, 0]])


def test_tokens_are_normalised_over_the_batch():
    # 3, 4, 6 and 17: mean 7.5, squares 20.25 + 12.25 + 2.25 + 90.25 = 125
    advantages = jnp.array([[3.0, 4, 6], [17, np.nan, 9], [9, 9, 9]])
    for ddof in (0, 1):
        got = adv.normalise_tokens(advantages, MASK, ddof=ddof, eps=0.0)
        want = np.array([[-4.5, -3.5, -1.5], [9.5, 0, 0], [0, 0, 0]])
        np.testing.assert_allclose(got, want / np.sqrt(125 / (4 - ddof)), rtol=1e-6)


def test_equal_tokens_normalise_to_zero():
    mask = np.ones((50, 40), bool)
    got = adv.normalise_tokens(jnp.full((50, 40), 0.1), mask, ddof=0, eps=1e-8)
    np.testing.assert_array_equal(got, np.zeros((50, 40)))


def test_no_tokens_at_all_stay_finite():
    none = np.zeros((3, 3), bool)
    garbage = jnp.full((3, 3), jnp.nan)
    for got in (
        adv.normalise_tokens(garbage, none, ddof=1, eps=1e-8),
        adv.whiten_tokens(garbage, none),
        adv.to_tokens(jnp.ones(3), none),
        adv.rewards_to_go(jnp.ones(3), garbage, none),
    ):
        np.testing.assert_array_equal(got, np.zeros((3, 3)))


def test_whitened_tokens_have_mean_zero_and_variance_one():
    rng = np.random.default_rng(0)
    mask = rng.random((6, 7)) < 0.6
    got = np.asarray(adv.whiten_tokens(jnp.array(rng.normal(3, 2, (6, 7))), mask))
    np.testing.assert_allclose(got[mask].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(got[mask].var(), 1, rtol=1e-5)
    np.testing.assert_array_equal(got[~mask], 0)
