# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random draws of the task makers: plain integers, the same on every machine."""

import hashlib
from collections.abc import MutableSequence, Sequence
from typing import TypeVar

T = TypeVar("T")
_MASK = (1 << 64) - 1


def hash_words(*words: int | str) -> int:
    """Return 64 bits that depend on every word."""
    text = "\x1f".join(f"{type(word).__name__}:{word}" for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class Draws:
    """A stream of draws that depends on the words given, and on nothing else.

    SplitMix64 (Steele, Lea, Flood 2014): a counter through a finalizer.
    """

    def __init__(self, *words: int | str) -> None:
        """Start the stream of these words (seed, purpose, index ...)."""
        self._state = hash_words(*words)

    def bits(self) -> int:
        """Draw 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """Draw from 0 ... n - 1; n may be any size."""
        words = n.bit_length() // 64 + 2
        value = 0
        for _ in range(words):
            value = (value << 64) | self.bits()
        return (value * n) >> (64 * words)

    def between(self, low: int, high: int) -> int:
        """Draw from low ... high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, probability: float) -> bool:
        """Draw true with this probability."""
        return (self.bits() >> 11) * 2.0**-53 < probability

    def choice(self, items: Sequence[T]) -> T:
        """Draw one of the items."""
        return items[self.below(len(items))]

    def other(self, low: int, high: int, than: int) -> int:
        """Draw from low ... high, but not `than` (which lies among them or not)."""
        inside = low <= than <= high
        value = self.between(low, high - inside)
        return value + (inside and value >= than)

    def shuffle(self, items: MutableSequence[T]) -> None:
        """Bring a list into random order."""
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
