# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.overlong import judge_truncated, overlong_penalty


def test_dapo_s_numbers():
    # L = 20,480, C = 4,096: up to 16,384 nothing; half way -.5; from L on -1
    lengths = jnp.array([1, 16_384, 18_432, 20_480, 30_000])
    got = overlong_penalty(lengths, max_tokens=20_480, buffer_tokens=4_096)
    np.testing.assert_allclose(got, [0, 0, -0.5, -1, -1], atol=1e-6)
    got = overlong_penalty(lengths, max_tokens=20_480, buffer_tokens=4_096, scale=2)
    np.testing.assert_allclose(got, [0, 0, -1, -2, -2], atol=1e-6)


def test_no_buffer_is_no_penalty():
    got = overlong_penalty(jnp.array([1, 99]), max_tokens=10, buffer_tokens=0)
    np.testing.assert_array_equal(got, [0, 0])


REWARDS = jnp.array([1.0, 0.5])
MASK = jnp.array([[True, False], [True, True]])
TRUNCATED = jnp.array([False, True])


@pytest.mark.parametrize(
    ("policy", "rewards", "tokens"),
    [
        ("mask", [1, 0.5], [1, 0]),
        ("penalise", [1, -1], [1, 2]),
        ("keep", [1, 0.5], [1, 2]),
    ],
)
def test_truncated_completions(policy, rewards, tokens):
    got = judge_truncated(policy, REWARDS, MASK, TRUNCATED, truncated_reward=-1.0)
    np.testing.assert_array_equal(got.rewards, rewards)
    np.testing.assert_array_equal(got.mask.sum(axis=1), tokens)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="policy='drop'"):
        judge_truncated("drop", REWARDS, MASK, TRUNCATED, truncated_reward=0.0)
