# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Easier puzzles first: show some open cells at the start, fewer as steps go by.

Every row draws how large a share of its cells is shown, uniform between 0 and a
bound that falls linearly with the step. Integer arithmetic throughout, so that
host and device agree to the bit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lrm_jax.data import counter_rng as rng
from lrm_jax.types import UserError

_ONE = 1 << 16  # the unit of shares
_MAX_STEPS = _ONE - 1  # the product of a share and a step count fits 32 bits


@dataclass(frozen=True)
class Reveal:
    """Extra givens at the start of training.

    Attributes:
      share: the largest share of cells shown at step 0.
      steps: steps after which nothing is shown; 0 for no curriculum.
    """

    share: float
    steps: int

    def __post_init__(self) -> None:
        """Refuse what would overflow or show nothing by mistake."""
        if not 0 <= self.share <= 1:
            raise UserError(f"data.reveal is {self.share}; accepted are 0 to 1")
        if not 0 <= self.steps <= _MAX_STEPS:
            raise UserError(
                f"data.reveal_steps is {self.steps}; accepted are 0 to {_MAX_STEPS}"
            )
        if (self.share > 0) != (self.steps > 0):
            raise UserError(
                "data.reveal and data.reveal_steps go together: both 0 or both more"
            )

    def __call__(
        self, xp: rng.Xp, inputs: Any, labels: Any, step: Any, *words: Any
    ) -> Any:
        """Return inputs `[B, S]` with some cells taken from `labels`.

        Args:
          xp: `numpy` or `jax.numpy`.
          inputs: `[B, S]` tokens.
          labels: `[B, S]` tokens; negative ones are never shown.
          step: which step, a Python int or a traced integer.
          *words: counters of a row, `[B]` or scalars.
        """
        if not self.steps:
            return inputs
        step = xp.minimum(rng.as_u32(xp, step), np.uint32(self.steps))
        left = xp.subtract(np.uint32(self.steps), step)
        share = np.uint32(round(self.share * _ONE))
        bound = xp.floor_divide(xp.multiply(share, left), np.uint32(self.steps))
        row = xp.right_shift(rng.random_bits(xp, *words, 0), np.uint32(16))
        shown = xp.right_shift(xp.multiply(bound, row), np.uint32(16))  # [B]
        cell = xp.arange(inputs.shape[1], dtype=np.uint32)[None]
        words = tuple(w if np.ndim(w) == 0 else w[:, None] for w in words)
        draw = rng.random_bits(xp, *words, 1, cell)  # [B, S]
        hit = xp.right_shift(draw, np.uint32(16)) < shown[:, None]
        return xp.where(hit & (labels >= 0), labels.astype(inputs.dtype), inputs)
