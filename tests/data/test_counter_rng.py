# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counter-based random numbers: same bits on both namespaces, sane statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data import counter_rng as rng


def test_bits_are_equal_on_numpy_and_jax_jitted():
    lanes = np.arange(1000, dtype=np.int32)
    host = rng.random_bits(np, *rng.split_seed(2**40 + 17), 5, lanes)
    bits = jax.jit(lambda s, x: rng.random_bits(jnp, *rng.split_seed(2**40 + 17), s, x))
    device = bits(5, lanes)
    assert host.dtype == np.uint32
    np.testing.assert_array_equal(host, np.asarray(device))


def test_bits_by_hand():
    """One word, worked with Python integers of unlimited size."""

    def mix(x):
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ (x >> 16)

    golden = 0x9E3779B9
    h = mix(((0x243F6A88 ^ 7) + golden) % 2**32)
    assert int(rng.random_bits(np, 7)) == mix((h + golden) % 2**32)


def test_scalar_counters_do_not_warn():
    assert rng.random_bits(np, 2**63, -1, np.int64(-5)).shape == ()


def test_bits_are_uniform_and_uncorrelated():
    x = rng.random_bits(np, 1, np.arange(200_000))
    ones = ((x[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(0)
    assert np.abs(ones - 0.5).max() < 0.006  # 5 sigma
    u = x / 2.0**32
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.012
    other = rng.random_bits(np, 2, np.arange(200_000)) / 2.0**32
    assert abs(np.corrcoef(u, other)[0, 1]) < 0.012


def test_permutations_are_permutations_and_uniform():
    p = rng.random_permutation(np, 4, 3, np.arange(24_000))
    np.testing.assert_array_equal(np.sort(p, -1), np.tile(np.arange(4), (24_000, 1)))
    counts = np.unique(p @ np.array([64, 16, 4, 1]), return_counts=True)[1]
    assert len(counts) == 24 and np.abs(counts - 1000).max() < 170
    q = rng.random_permutation(jnp, 4, 3, jnp.arange(24_000))
    np.testing.assert_array_equal(p, np.asarray(q))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 31, 64, 100, 1000, 1001])
def test_shuffle_is_a_bijection(n):
    for epoch in range(3):
        order = rng.shuffle_index(np, np.arange(n), n, 9, epoch)
        np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_shuffle_differs_by_epoch_and_seed_and_matches_jax():
    x = np.arange(257)
    a = rng.shuffle_index(np, x, 257, 1, np.uint32(0))
    b = rng.shuffle_index(np, x, 257, 1, np.uint32(1))
    c = rng.shuffle_index(np, x, 257, 2, np.uint32(0))
    # A random order has about one fixed point against another.
    assert (a == b).sum() < 10 and (a == c).sum() < 10
    jit = jax.jit(lambda x, e: rng.shuffle_index(jnp, x, 257, 1, e))
    np.testing.assert_array_equal(b, np.asarray(jit(x, 1)))


def test_shuffle_statistics():
    """Positions are uniform, neighbours separate, all 3! orders occur equally."""
    n, epochs = 12, 6000
    e = np.repeat(np.arange(epochs), n)
    order = rng.shuffle_index(np, np.tile(np.arange(n), epochs), n, 4, e)
    order = order.reshape(epochs, n)
    table = np.stack([(order == k).mean(0) for k in range(n)])
    assert np.abs(table - 1 / n).max() < 0.02
    orders = np.argsort(order[:, :3], -1) @ np.array([9, 3, 1])
    counts = np.unique(orders, return_counts=True)[1]
    assert len(counts) == 6 and np.abs(counts - epochs / 6).max() < 150


@pytest.mark.parametrize(
    ("step", "batch", "n"),
    [(0, 8, 3), (5, 8, 3), (123_456, 768, 1000), (2**31 + 7, 2304, 3_831_994)],
)
def test_stream_position_equals_big_integers(step, batch, n):
    lanes = np.arange(batch)
    got = rng.stream_position(np, step, batch, n, lanes)
    jit = jax.jit(lambda s, x: rng.stream_position(jnp, s, batch, n, x))
    device = jit(np.uint32(step), lanes)
    for lane in (0, 1, batch // 2, batch - 1):
        epoch, index = divmod(step * batch + lane, n)
        assert int(got.epoch[lane]) == epoch % 2**32
        assert int(got.index[lane]) == index
    np.testing.assert_array_equal(got.epoch, np.asarray(device.epoch))
    np.testing.assert_array_equal(got.index, np.asarray(device.index))
