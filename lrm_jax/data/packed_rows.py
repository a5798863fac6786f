# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of packed examples for supervised fine-tuning, by step."""

from typing import Any

import numpy as np

from lrm_jax.data.packing import Tokens, collate, fill, first_fit
from lrm_jax.data.text_source import TextSource, shuffled
from lrm_jax.types import UserError

ROWS = 33
"""Purpose of `counter_rng` that orders rows."""

_MOST_TRIES = 1000


class PackedRows:
    """Batches of packed (or single) examples, a pure function of (seed, step).

    Examples with an end are packed once and their rows shuffled every epoch; of an
    endless task every row takes the next examples of its own stretch that fit.

    Attributes:
      dropped: examples too long for a row, so far.
    """

    def __init__(
        self,
        source: TextSource,
        *,
        seq_len: int,
        batch_size: int,
        pack: bool,
        seed: int,
    ) -> None:
        """Plan the rows.

        Args:
          source: of the examples.
          seq_len: tokens of a row.
          batch_size: rows of a step.
          pack: several examples in a row.
          seed: of the order.

        Raises:
          UserError: an example does not fit a row, or none does.
        """
        self._source, self._seq_len = source, seq_len
        self._batch_size, self._pack, self._seed = batch_size, pack, seed
        self.dropped = 0
        self._plan: list[list[Tokens]] | None = None
        if source.train_size:
            self._plan = self._pack_all()

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        """Return the batch of a step; see `collate`."""
        first = step * self._batch_size
        if self._plan is None:
            rows = [self._fill(first + lane) for lane in range(self._batch_size)]
        else:
            size = len(self._plan)
            order = shuffled(size, self._seed, ROWS, first, self._batch_size)
            rows = [self._plan[i] for i in order]
        return collate(rows, self._seq_len, self._source.tokenizer.pad_id)

    def describe(self) -> dict[str, Any]:
        """Return how full rows are, as JSON values."""
        if self._plan is None:
            return {"rows": "endless"}
        used = [sum(len(t.ids) for t in row) for row in self._plan]
        share = fill([[i] for i in range(len(used))], used, self._seq_len)
        return {
            "rows": len(self._plan),
            "fill": round(share, 4),
            "dropped": self.dropped,
        }

    def _pack_all(self) -> list[list[Tokens]]:
        found = []
        for index in self._source.order(self._seed, 0, self._source.train_size):
            tokens = self._source.train_tokens(index)
            if self._fits(tokens, index):
                found.append(tokens)
        if not found:
            raise UserError(
                f"{self._source.task.name}: no example fits sft.seq_len={self._seq_len}"
            )
        if not self._pack:
            return [[tokens] for tokens in found]
        rows = first_fit([len(tokens.ids) for tokens in found], self._seq_len)
        return [[found[i] for i in row] for row in rows]

    def _fill(self, row: int) -> list[Tokens]:
        """Take examples from the row's own stretch until one does not fit."""
        kept: list[Tokens] = []
        room = self._seq_len
        for attempt in range(_MOST_TRIES):
            (index,) = self._source.order(self._seed, row * _MOST_TRIES + attempt, 1)
            tokens = self._source.train_tokens(index)
            if not self._fits(tokens, index):
                continue
            if len(tokens.ids) > room:
                break
            kept.append(tokens)
            room -= len(tokens.ids)
            if not self._pack:
                break
        if not kept:
            raise UserError(
                f"{self._source.task.name}: no example fits sft.seq_len={self._seq_len}"
            )
        return kept

    def _fits(self, tokens: Tokens, index: int) -> bool:
        if len(tokens.ids) <= self._seq_len:
            return True
        if self._source.cfg.too_long == "refuse":
            raise UserError(
                f"{self._source.where(index)}: {len(tokens.ids)} tokens, more than "
                f"sft.seq_len={self._seq_len}; raise it, or set data.too_long=drop"
            )
        self.dropped += 1
        return False
