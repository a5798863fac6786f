# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The unrolled generator gives the very bits of `jax.random`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.reasoning import threefry


def test_the_published_vectors():
    # Known answers of the authors' own code (Random123, threefry2x32, 20 rounds).
    full = np.uint32(0xFFFFFFFF)
    for key, counter, expected in (
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((full, full), (full, full), (0x1CB996FC, 0xBB002BE7)),
        (
            (0x13198A2E, 0x03707344),
            (0x243F6A88, 0x85A308D3),
            (0xC4923A9C, 0x483DF7A0),
        ),
    ):
        words = lambda pair: tuple(jnp.uint32(x) for x in pair)
        found = threefry.threefry(words(key), *words(counter))
        assert [int(x) for x in found] == list(expected)


def _keys(impl, count):
    root = jax.random.key(3, impl=impl)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(root, jnp.arange(count))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_folds_in_as_jax_random_does(impl):
    numbers = jnp.array([0, 1, 77, 2**31 - 1, 5])
    folded = threefry.fold_in(_keys(impl, 5), numbers)
    expected = jax.vmap(jax.random.fold_in)(_keys(impl, 5), numbers)
    assert jax.random.key_impl(folded) == jax.random.key_impl(expected)
    np.testing.assert_array_equal(
        jax.random.key_data(folded), jax.random.key_data(expected)
    )


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("count", [1, 33])
def test_draws_as_jax_random_does(impl, count):
    found = threefry.gumbel(_keys(impl, 5), count)
    draw = lambda key: jax.random.gumbel(key, (count,), jnp.float32)
    # The bits are equal; logarithms may round differently inside another loop.
    np.testing.assert_allclose(
        found, jax.vmap(draw)(_keys(impl, 5)), rtol=1e-6, atol=1e-6
    )
    assert found.dtype == jnp.float32
