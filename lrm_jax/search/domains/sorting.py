# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sorting by swaps as a tree: fewest swaps are best.

`M` nodes, `C` places.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from lrm_jax.search.tree import Expansion, NodeView
from lrm_jax.types import Array, Key, Params, UserError


class Row(NamedTuple):
    """A state.

    Attributes:
      items: `[..., C]` int32, a permutation of 0 .. C - 1.
      left: `[...]` int32, swaps that may still be made.
    """

    items: Array
    left: Array


@dataclasses.dataclass(frozen=True)
class Sorting:
    """Swap two places at a time until the row is in order.

    The reward is 1 on the swap that does it, so that a row d swaps away is worth
    discount^(d - 1), where so many are left, and else 0.

    Attributes:
      length: places.
      swaps: that may be made at most.
      adjacent: only neighbours may be swapped.
      discount: of a swap, in (0, 1].
    """

    length: int = 5
    swaps: int = 8
    adjacent: bool = False
    discount: float = 0.9

    def __post_init__(self) -> None:
        """Refuse rows that cannot be out of order, and discounts that are none."""
        if self.length < 2 or self.swaps < 1 or not 0 < self.discount <= 1:
            raise UserError(
                f"length={self.length}, swaps={self.swaps}, discount={self.discount}: "
                "at least 2 and 1, and in (0, 1]"
            )

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The two places of each action."""
        pairs = itertools.combinations(range(self.length), 2)
        return [(i, j) for i, j in pairs if j == i + 1 or not self.adjacent]

    @property
    def num_actions(self) -> int:
        """Actions."""
        return len(self.pairs)

    def root(self, params: Params, problem: Array, keys: Key) -> tuple[Expansion, Row]:
        """Return the roots of rows `[B, C]`; see `TreeModel`."""
        del params, keys
        items = jnp.asarray(problem, jnp.int32)
        chex.assert_shape(items, (None, self.length))
        left = jnp.full(len(items), self.swaps, jnp.int32)
        said = self._expansion(Row(items, left))
        return said._replace(reward=jnp.zeros_like(said.reward)), Row(items, left)

    def step(
        self, params: Params, view: NodeView[Row], action: Array, keys: Key
    ) -> tuple[Expansion, Row]:
        """Return the rows after a swap; see `TreeModel`."""
        del params, keys
        state = view.state()
        places = jnp.array(self.pairs, jnp.int32)[action]  # [M, 2]
        moved = jnp.take_along_axis(state.items, places, axis=1)
        rows = jnp.arange(len(action))[:, None]
        items = state.items.at[rows, places].set(moved[:, ::-1])
        state = Row(items, state.left - 1)
        return self._expansion(state), state

    def _expansion(self, state: Row) -> Expansion:
        done = (state.items == jnp.arange(self.length)[None]).all(1)
        terminal = done | (state.left <= 0)
        zero = jnp.zeros(terminal.shape, jnp.float32)
        shape = (len(terminal), self.num_actions)
        return Expansion(
            reward=jnp.where(done, 1.0, zero),
            discount=zero + self.discount,
            prior_logits=jnp.zeros(shape, jnp.float32),
            valid=jnp.broadcast_to(~terminal[:, None], shape),
            value=zero,
            terminal=terminal,
        )

    def exact_value(self, items: Sequence[int], left: int | None = None) -> float:
        """Return the value of a row under best play, from `fewest_swaps` (host).

        Args:
          items: the row.
          left: swaps that may still be made; by default all.
        """
        need = fewest_swaps(items, adjacent=self.adjacent)
        left = self.swaps if left is None else left
        return self.discount ** (need - 1) if 0 < need <= left else 0.0


def fewest_swaps(items: Sequence[int], *, adjacent: bool = False) -> int:
    """Return how many swaps put a permutation in order.

    Of any two places: places less cycles. Of neighbours: the inversions.
    """
    row = np.asarray(items)
    if adjacent:
        return int(np.triu(row[:, None] > row[None], 1).sum())
    seen: set[int] = set()
    cycles = 0
    for start in range(len(row)):
        cycles += start not in seen
        place = start
        while place not in seen:
            seen.add(place)
            place = int(row[place])
    return len(row) - cycles
