# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Countdown and the Game of 24 as a tree: two numbers become one until one is left.

Values are exact fractions, pairs of int32 that need no reducing: of k numbers up to
n, numerators and denominators stay within 2^(k-1) n^k. `M` nodes, `C` numbers.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from lrm_jax.search.tree import Expansion, NodeView
from lrm_jax.types import Array, Key, Params, UserError

SIGNS = ("a+b", "a-b", "b-a", "a*b", "a/b", "b/a")
"""What may be done with two numbers; `a` stands before `b`."""
_MAX_INT = 2**31 - 1


class Numbers(NamedTuple):
    """A state, or a problem's rows: the numbers that are left.

    Attributes:
      num: `[..., C]` int32 numerators.
      den: `[..., C]` int32 denominators, 0 where the number is used up.
      target: `[...]` int32.
    """

    num: Array
    den: Array
    target: Array


@dataclasses.dataclass(frozen=True)
class Countdown:
    """Make the target of all numbers; action (pair of places, sign).

    The reward is 1 on the step that leaves the target alone, else 0; values are 0
    and priors uniform, as nothing is known before.

    Attributes:
      count: numbers of a problem.
      largest: of them.
    """

    count: int = 4
    largest: int = 13

    def __post_init__(self) -> None:
        """Refuse numbers whose fractions could leave int32."""
        if self.count < 2 or self.largest < 1:
            raise UserError(
                f"count={self.count}, largest={self.largest}: at least 2 and 1"
            )
        bound = 2 ** (self.count - 1) * self.largest**self.count
        if bound > _MAX_INT:
            raise UserError(
                f"count={self.count}, largest={self.largest}: fractions reach {bound}, "
                f"more than int32 holds ({_MAX_INT}); take fewer or smaller numbers"
            )

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Places of two numbers, in the order of actions."""
        return list(itertools.combinations(range(self.count), 2))

    @property
    def num_actions(self) -> int:
        """Actions: sign changes fastest."""
        return len(self.pairs) * len(SIGNS)

    def problem(
        self, numbers: Sequence[Sequence[int]], targets: Sequence[int]
    ) -> Numbers:
        """Return a batch of problems, `[B, C]`.

        Raises:
          UserError: a row of another length, or a number out of bounds.
        """
        for row, found in enumerate(numbers):
            if len(found) != self.count:
                raise UserError(
                    f"row {row}: {len(found)} numbers, expected {self.count}"
                )
            for number in found:
                if not 1 <= number <= self.largest:
                    raise UserError(
                        f"row {row}: {number} is not in 1 .. {self.largest} (largest)"
                    )
        if len(targets) != len(numbers):
            raise UserError(f"{len(targets)} targets of {len(numbers)} rows")
        num = jnp.array(numbers, jnp.int32)
        return Numbers(num, jnp.ones_like(num), jnp.array(targets, jnp.int32))

    def root(
        self, params: Params, problem: Numbers, keys: Key
    ) -> tuple[Expansion, Numbers]:
        """Return the roots; see `TreeModel`."""
        del params, keys
        state = Numbers(*(jnp.asarray(x, jnp.int32) for x in problem))
        chex.assert_shape(state.num, (None, self.count))
        said = self._expansion(state)
        return said._replace(reward=jnp.zeros_like(said.reward)), state

    def step(
        self, params: Params, view: NodeView[Numbers], action: Array, keys: Key
    ) -> tuple[Expansion, Numbers]:
        """Return the nodes that actions lead to; see `TreeModel`."""
        del params, keys
        state = view.state()
        places = jnp.array(self.pairs, jnp.int32)[action // len(SIGNS)]  # [M, 2]
        num = jnp.take_along_axis(state.num, places, axis=1)
        den = jnp.take_along_axis(state.den, places, axis=1)
        num, den = _combined(num, den, action % len(SIGNS))
        rows = jnp.arange(len(action))
        first, second = places[:, 0], places[:, 1]
        state = Numbers(
            state.num.at[rows, first].set(num).at[rows, second].set(0),
            state.den.at[rows, first].set(den).at[rows, second].set(0),
            state.target,
        )
        return self._expansion(state), state

    def _expansion(self, state: Numbers) -> Expansion:
        left = state.den != 0  # [M, C]
        terminal = left.sum(1, dtype=jnp.int32) <= 1
        # Of the one number left; the others are 0 of 0.
        num, den = state.num.sum(1), state.den.sum(1)
        safe = jnp.where(terminal, jnp.maximum(den, 1), 1)
        made = (num % safe == 0) & (num // safe == state.target)
        zero = jnp.zeros(terminal.shape, jnp.float32)
        valid = self._valid(state)
        return Expansion(
            reward=jnp.where(terminal & made, 1.0, zero),
            discount=zero + 1,
            prior_logits=jnp.zeros(valid.shape, jnp.float32),
            valid=valid,
            value=zero,
            terminal=terminal,
        )

    def _valid(self, state: Numbers) -> Array:
        """`[M, A]`: both numbers are there, and nothing is divided by 0."""
        first, second = np.array(self.pairs).T
        both = (state.den[:, first] != 0) & (state.den[:, second] != 0)  # [M, pairs]
        by_second = both & (state.num[:, second] != 0)
        by_first = both & (state.num[:, first] != 0)
        valid = jnp.stack([both, both, both, both, by_second, by_first], axis=-1)
        return valid.reshape(len(valid), -1)

    def text(self, state: Numbers, action: int) -> str:
        """Return a step in writing, `7+9=16`, of one node's state (host)."""
        places = self.pairs[action // len(SIGNS)]
        num, den = np.asarray(state.num), np.asarray(state.den)
        a, b = (Fraction(int(num[p]), int(den[p])) for p in places)
        sign = SIGNS[action % len(SIGNS)]
        made = dict(_results(a, b))[sign]
        a, b = (b, a) if sign[0] == "b" else (a, b)
        return f"{_written(a)}{sign[1]}{_written(b)}={made}"


def exact_value(
    numbers: Sequence[Fraction | int],
    target: int,
    policy: Literal["best", "uniform"] = "best",
) -> float:
    """Return the value of a state by enumeration in rational arithmetic (host).

    Args:
      numbers: that are left.
      target: to be made of them.
      policy: `best` play (1 or 0), or steps `uniform` over the valid actions (the
        chance of success that Monte Carlo labels estimate).
    """
    return _value(tuple(sorted(map(Fraction, numbers))), Fraction(target), policy)


@functools.lru_cache(maxsize=1 << 18)
def _value(numbers: tuple[Fraction, ...], target: Fraction, policy: str) -> float:
    if len(numbers) == 1:
        return float(numbers[0] == target)
    values = []
    for rest in _successors(numbers):
        values.append(_value(rest, target, policy))
        if policy == "best" and values[-1] == 1:
            return 1.0
    return max(values) if policy == "best" else sum(values) / len(values)


def _successors(numbers: tuple[Fraction, ...]) -> Iterator[tuple[Fraction, ...]]:
    for i, j in itertools.combinations(range(len(numbers)), 2):
        rest = [x for k, x in enumerate(numbers) if k not in (i, j)]
        for _, made in _results(numbers[i], numbers[j]):
            yield tuple(sorted([*rest, made]))


def _results(a: Fraction, b: Fraction) -> Iterator[tuple[str, Fraction]]:
    """What two numbers can make, by sign."""
    yield from (("a+b", a + b), ("a-b", a - b), ("b-a", b - a), ("a*b", a * b))
    if b:
        yield "a/b", a / b
    if a:
        yield "b/a", b / a


def _written(value: Fraction) -> str:
    """A number of a step; in parentheses unless it is whole and 0 or more."""
    whole = value.denominator == 1 and value >= 0
    return str(value) if whole else f"({value})"


def _combined(num: Array, den: Array, sign: Array) -> tuple[Array, Array]:
    """Fractions `[M]` of pairs `[M, 2]`; denominators stay positive."""
    (a, b), (p, q) = num.T, den.T
    tops = [a * q + b * p, a * q - b * p, b * p - a * q, a * b, a * q, b * p]
    bottoms = [p * q] * 4 + [b * p, a * q]
    index = sign[None]
    top = jnp.take_along_axis(jnp.stack(tops), index, axis=0)[0]
    bottom = jnp.take_along_axis(jnp.stack(bottoms), index, axis=0)[0]
    flip = jnp.sign(bottom)
    return jnp.where(flip < 0, -top, top), jnp.abs(bottom)
