# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.dynamic_sampling import (
    add_groups,
    empty_buffer,
    groups_with_signal,
    groups_with_spread,
    take_groups,
)


def test_all_right_and_all_wrong_have_no_signal():
    accuracy = jnp.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 0, 0.5]])
    np.testing.assert_array_equal(
        groups_with_signal(accuracy), [False, False, True, True]
    )


def test_partial_scores_that_are_equal_have_no_signal():
    np.testing.assert_array_equal(groups_with_signal(jnp.array([[0.5, 0.5]])), [False])


def test_a_length_penalty_does_not_make_signal():
    accuracy = jnp.array([[1.0, 1.0], [0.0, 1.0]])
    shaped = accuracy - jnp.array([[0.0, 0.3], [0.0, 0.0]])
    np.testing.assert_array_equal(groups_with_signal(accuracy), [False, True])
    np.testing.assert_array_equal(groups_with_spread(shaped, atol=1e-6), [True, True])


def test_a_curriculum_s_bounds():
    accuracy = jnp.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]])
    got = groups_with_signal(accuracy, low=0.25, high=0.75)
    np.testing.assert_array_equal(got, [False, True, False])


def _groups(first, n):
    """Groups named by a number: ids [n, 2, 3] and a score [n]."""
    numbers = jnp.arange(first, first + n, dtype=jnp.int32)
    ids = jnp.broadcast_to(numbers[:, None, None], (n, 2, 3))
    return {"ids": ids, "number": numbers}


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_the_buffer_is_a_queue_that_loses_and_repeats_nothing(wrap):
    add, take = wrap(add_groups), wrap(lambda b: take_groups(b, 3))
    buffer = empty_buffer(jax.tree.map(lambda x: x[0], _groups(0, 1)), slots=5)
    rng = np.random.default_rng(0)
    kept, taken = [], []
    for round_ in range(20):
        keep = rng.random(3) < 0.6
        kept += [3 * round_ + i for i in range(3) if keep[i]]
        buffer = add(buffer, _groups(3 * round_, 3), jnp.array(keep))
        if buffer.filled >= 3:
            groups, valid, buffer = take(buffer)
            assert valid.all()
            np.testing.assert_array_equal(groups["ids"][:, 1, 2], groups["number"])
            taken += groups["number"].tolist()
    rest = buffer.groups["number"][: int(buffer.filled)].tolist()
    assert taken + rest == kept
    assert buffer.dropped == 0


def test_a_short_buffer_says_which_are_filled():
    buffer = empty_buffer({"number": jnp.zeros((), jnp.int32)}, slots=5)
    buffer = add_groups(
        buffer, {"number": jnp.array([7, 8, 9])}, jnp.array([False, True, False])
    )
    groups, valid, buffer = take_groups(buffer, 3)
    np.testing.assert_array_equal(valid, [True, False, False])
    assert groups["number"][0] == 8 and buffer.filled == 0


def test_a_full_buffer_drops_the_newest_and_counts_them():
    buffer = empty_buffer({"number": jnp.zeros((), jnp.int32)}, slots=4)
    for first in (0, 3):
        numbers = {"number": jnp.arange(first, first + 3)}
        buffer = add_groups(buffer, numbers, jnp.ones(3, bool))
    np.testing.assert_array_equal(buffer.groups["number"], [0, 1, 2, 3])
    assert (int(buffer.filled), int(buffer.dropped)) == (4, 2)
