# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counter-based random numbers over the array namespace (numpy or jax.numpy).

Every draw is a pure function of its counters, so data order and augmentation do
not depend on worker count, batch size, device layout or on what was drawn before.
Both namespaces give the same uint32 bits; nothing here needs x64.
"""

from typing import Any, NamedTuple

import numpy as np

Xp = Any
"""An array namespace: `numpy` or `jax.numpy`."""
Words = tuple[Any, ...]
"""Counters: Python ints (any size) or integer arrays that broadcast."""

# Purposes keep streams apart; they are part of the data order and never reused.
ORDER, PUZZLE, DIGITS, ROWS, COLUMNS, TRANSPOSE, DIHEDRAL, REVEAL = range(8)

SHUFFLE_ROUNDS = 24
_GOLDEN = np.uint32(0x9E3779B9)


def split_seed(seed: int) -> tuple[int, int]:
    """Return the low and high 32 bits of a seed of up to 64 bits."""
    return seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF


def as_u32(xp: Xp, word: Any) -> Any:
    """Return a counter as uint32, wrapping Python ints of any size."""
    if isinstance(word, int | np.integer):
        return xp.asarray(np.uint32(int(word) & 0xFFFFFFFF))
    return xp.asarray(word).astype(np.uint32)


def _mix(xp: Xp, x: Any) -> Any:
    """Bijective 32-bit finalizer (two xorshift-multiply rounds, bias 0.17)."""
    # Explicit ufuncs: numpy scalars would warn on the wrap-around that is meant.
    x = xp.bitwise_xor(x, xp.right_shift(x, np.uint32(16)))
    x = xp.multiply(x, np.uint32(0x7FEB352D))
    x = xp.bitwise_xor(x, xp.right_shift(x, np.uint32(15)))
    x = xp.multiply(x, np.uint32(0x846CA68B))
    return xp.bitwise_xor(x, xp.right_shift(x, np.uint32(16)))


def _absorb(xp: Xp, state: Any, word: Any) -> Any:
    """Mix one more counter into a hash state."""
    return _mix(xp, xp.add(xp.bitwise_xor(state, as_u32(xp, word)), _GOLDEN))


def random_bits(xp: Xp, *words: Any) -> Any:
    """Return uint32 bits of the broadcast shape of the counters."""
    state = as_u32(xp, 0x243F6A88)
    for word in words:
        state = _absorb(xp, state, word)
    return _mix(xp, xp.add(state, _GOLDEN))


def stream_seeds(seed: int, purpose: int, start: int, count: int) -> np.ndarray:
    """Return 64-bit seeds start ... start + count - 1 of a stream, uint64 `[count]`."""
    index = np.arange(start, start + count, dtype=np.uint32)
    words = (*split_seed(seed), purpose, index)
    high = random_bits(np, *words, 0).astype(np.uint64)
    low = random_bits(np, *words, 1).astype(np.uint64)
    return np.bitwise_or(np.left_shift(high, np.uint64(32)), low)


def random_below(xp: Xp, n: Any, *words: Any) -> Any:
    """Return int32 in [0, n); the modulo bias is at most n / 2**32."""
    bits = random_bits(xp, *words)
    return xp.remainder(bits, as_u32(xp, n)).astype(np.int32)


def random_permutation(xp: Xp, size: int, *words: Any) -> Any:
    """Return int32 permutations `[..., size]`, one per counter `[...]`.

    Counters are scalars or share one rank. Equal hashes (one pair in 2**32) keep
    the order of their indices.
    """
    words = tuple(w if np.ndim(w) == 0 else xp.asarray(w)[..., None] for w in words)
    rank = max((np.ndim(w) for w in words), default=0) or 1
    index = xp.arange(size, dtype=np.uint32).reshape((1,) * (rank - 1) + (size,))
    keys = random_bits(xp, *words, index)
    return xp.argsort(keys, axis=-1, stable=True).astype(np.int32)


class Position(NamedTuple):
    """Where a row of a batch lies in the endless stream of epochs."""

    epoch: Any  # [B] uint32
    index: Any  # [B] uint32, in [0, n)


def stream_position(xp: Xp, step: Any, batch_size: int, n: int, lanes: Any) -> Position:
    """Return epoch and index of rows `step * batch_size + lanes`, n rows an epoch.

    The product is never formed: long multiplication modulo n keeps every number
    below 2**32, so steps up to 2**32 - 1 are exact in 32-bit arithmetic.
    """
    if not 0 < n < 2**31 or not 0 < batch_size < 2**30:
        raise ValueError(f"need 0 < n < 2**31 and 0 < B < 2**30: {n=}, {batch_size=}")
    size = np.uint32(n)
    step = as_u32(xp, step)
    whole = xp.floor_divide(step, size)
    part = xp.remainder(step, size)
    epoch = xp.multiply(whole, np.uint32(batch_size))
    quotient, rest = xp.zeros_like(part), xp.zeros_like(part)
    for bit in bin(batch_size)[2:]:
        twice = xp.add(rest, rest)
        quotient = xp.add(xp.add(quotient, quotient), xp.floor_divide(twice, size))
        rest = xp.remainder(twice, size)
        if bit == "1":
            more = xp.add(rest, part)
            quotient = xp.add(quotient, xp.floor_divide(more, size))
            rest = xp.remainder(more, size)
    flat = xp.add(rest, as_u32(xp, lanes))
    epoch = xp.add(xp.add(epoch, quotient), xp.floor_divide(flat, size))
    return Position(epoch, xp.remainder(flat, size))


def shuffle_index(xp: Xp, index: Any, n: int, *words: Any) -> Any:
    """Return where `index` lands in a random order of `range(n)`, without a table.

    Swap-or-not shuffle (Hoang, Morris, Rogaway 2012): each round pairs i with
    k - i and swaps the pair on a coin that both members share, so every round,
    and the whole, is a bijection of `range(n)`. Two indices keep their distance
    only while they swap together, so what is left of it after r rounds is 2**-r.
    """
    size = np.uint32(n)
    x = as_u32(xp, index)
    words = tuple(w if np.ndim(w) == 0 else xp.asarray(w)[..., None] for w in words)
    rank = max((np.ndim(w) for w in words), default=0) or 1
    rounds = xp.arange(SHUFFLE_ROUNDS, dtype=np.uint32)
    draws = random_bits(xp, *words, rounds.reshape((1,) * (rank - 1) + (-1,)))
    pivots = xp.remainder(draws, size)  # [..., rounds]
    for round_ in range(SHUFFLE_ROUNDS):
        k, draw = pivots[..., round_], draws[..., round_]
        partner = xp.add(k, xp.subtract(size, x))  # in [1, 2 n)
        partner = xp.where(partner >= size, xp.subtract(partner, size), partner)
        coin = _absorb(xp, draw, xp.maximum(x, partner))
        x = xp.where(xp.bitwise_and(coin, np.uint32(1)) == 1, partner, x)
    return x
