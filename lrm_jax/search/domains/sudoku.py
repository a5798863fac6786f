# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sudoku by step as a tree: one cell a step, which a rule picks; actions are digits.

`M` nodes, `C` cells, `A` digits. Grids hold digits, 0 for an open cell (the published
token ids less 1).
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from lrm_jax.search.tree import Expansion, NodeView
from lrm_jax.types import Array, Key, Params, UserError

_BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}


class Board(NamedTuple):
    """A state.

    Attributes:
      digits: `[..., C]` int32, 0 for an open cell.
      cell: `[...]` int32, which is filled next; C where the grid ends.
    """

    digits: Array
    cell: Array


@dataclasses.dataclass(frozen=True)
class SudokuSteps:
    """Fill cell by cell; 1 for a whole grid without conflict, else 0.

    Attributes:
      side: 4, 6 or 9.
      rule: which cell is next: the one with `fewest` digits that no peer has (of
        equals the first), or the `first` open one.
      actions: `conflict_free`, digits that no peer has (a cell without one ends the
        game), or `all` digits (a conflict does).
    """

    side: int = 4
    rule: Literal["fewest", "first"] = "fewest"
    actions: Literal["conflict_free", "all"] = "conflict_free"

    def __post_init__(self) -> None:
        """Refuse what is none of the choices."""
        for name, value, accepted in (
            ("side", self.side, tuple(_BOXES)),
            ("rule", self.rule, ("fewest", "first")),
            ("actions", self.actions, ("conflict_free", "all")),
        ):
            if value not in accepted:
                raise UserError(f"{name}={value!r}: accepted are {accepted}")

    @property
    def num_actions(self) -> int:
        """Action a sets digit a + 1."""
        return self.side

    def root(
        self, params: Params, problem: Array, keys: Key
    ) -> tuple[Expansion, Board]:
        """Return the roots of puzzles `[B, C]`; see `TreeModel`."""
        del params, keys
        digits = jnp.asarray(problem, jnp.int32)
        chex.assert_shape(digits, (None, self.side**2))
        said, state = self._made(digits)
        return said._replace(reward=jnp.zeros_like(said.reward)), state

    def step(
        self, params: Params, view: NodeView[Board], action: Array, keys: Key
    ) -> tuple[Expansion, Board]:
        """Return the grids with one more cell filled; see `TreeModel`."""
        del params, keys
        before = view.state()
        cells = jnp.arange(self.side**2, dtype=jnp.int32)
        here = cells[None] == before.cell[:, None]
        filled = action[:, None].astype(jnp.int32) + 1
        return self._made(jnp.where(here, filled, before.digits))

    def _made(self, digits: Array) -> tuple[Expansion, Board]:
        free = _free(digits, self.side)  # [M, C, A] no peer has the digit
        open_cell = digits == 0
        held = jnp.maximum(digits - 1, 0)[:, :, None]
        alone = jnp.take_along_axis(free, held, axis=2)[:, :, 0]
        conflict = (~open_cell & ~alone).any(1)
        full = ~open_cell.any(1)
        cell = self._next(open_cell, free)
        at = jnp.minimum(cell, self.side**2 - 1)[:, None, None]
        valid = jnp.take_along_axis(free, at, axis=1)[:, 0]  # [M, A]
        if self.actions == "all":
            valid = jnp.ones_like(valid)
        ends = full | conflict | ~valid.any(1)
        zero = jnp.zeros(full.shape, jnp.float32)
        said = Expansion(
            reward=jnp.where(full & ~conflict, 1.0, zero),
            discount=zero + 1,
            prior_logits=jnp.zeros(valid.shape, jnp.float32),
            valid=valid & ~ends[:, None],
            value=zero,
            terminal=ends,
        )
        return said, Board(digits, jnp.where(ends, self.side**2, cell))

    def _next(self, open_cell: Array, free: Array) -> Array:
        """`[M]` the cell to fill, by the rule; any where all are filled."""
        if self.rule == "first":
            return open_cell.argmax(1).astype(jnp.int32)
        count = free.sum(2, dtype=jnp.int32)
        waiting = jnp.where(open_cell, count, self.side + 1)
        return waiting.argmin(1).astype(jnp.int32)

    def exact_value(self, digits: np.ndarray) -> float:
        """Return 1 where the grid can be finished, else 0, by backtracking (host).

        Args:
          digits: `[C]`, 0 for an open cell.
        """
        grid = np.array(digits, np.int64)
        return float(_conflict_free(grid, self.side) and _fill(grid, self.side))


@functools.cache
def _peers(side: int) -> np.ndarray:
    """`[C, C]` bool, cells that share a row, a column or a box."""
    rows, cols = np.divmod(np.arange(side**2), side)
    box_rows, box_cols = _BOXES[side]
    box = rows // box_rows * side + cols // box_cols
    same = [x[:, None] == x[None] for x in (rows, cols, box)]
    return (same[0] | same[1] | same[2]) & ~np.eye(side**2, dtype=bool)


def _free(digits: Array, side: int) -> Array:
    """`[M, C, A]` bool, digits that no peer of a cell has."""
    has = digits[:, :, None] == jnp.arange(1, side + 1)[None, None]  # [M, C, A]
    peers = jnp.asarray(_peers(side), jnp.int32)
    return jnp.einsum("cp,mpa->mca", peers, has.astype(jnp.int32)) == 0


def _conflict_free(grid: np.ndarray, side: int) -> bool:
    same = (grid[:, None] == grid[None]) & (grid[:, None] > 0)
    return not (same & _peers(side)).any()


def _fill(grid: np.ndarray, side: int) -> bool:
    """Whether the grid, free of conflicts, can be finished; fills it as it tries."""
    open_cells = np.flatnonzero(grid == 0)
    if not len(open_cells):
        return True
    taken = [set(grid[_peers(side)[cell]]) for cell in open_cells]
    place = int(np.argmax([len(digits) for digits in taken]))
    cell = open_cells[place]
    for digit in range(1, side + 1):
        if digit not in taken[place]:
            grid[cell] = digit
            if _fill(grid, side):
                return True
    grid[cell] = 0
    return False
