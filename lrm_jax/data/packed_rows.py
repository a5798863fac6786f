# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of packed examples for supervised fine-tuning, by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrm_jax import processes
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

    Which examples meet in a row depends on all of their lengths. Of several processes
    each measures a part of the examples, all plan alike from the lengths, and each
    reads and tokenises the examples of the rows that it is asked for.

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
        self.dropped, self._filled = 0, 0.0
        self._plan: list[list[int]] | None = None
        self._known: dict[int, Tokens] = {}
        if source.train_size:
            self._plan = self._pack_all()

    def __call__(
        self, step: int, lanes: Sequence[int] | np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return the batch of a step, or the rows `lanes` of it; see `collate`."""
        first = step * self._batch_size
        lanes = range(self._batch_size) if lanes is None else lanes
        if self._plan is None:
            rows = [self._fill(first + int(lane)) for lane in lanes]
        else:
            size = len(self._plan)
            order = shuffled(size, self._seed, ROWS, first, self._batch_size)
            rows = [[self._read(i) for i in self._plan[order[lane]]] for lane in lanes]
        return collate(rows, self._seq_len, self._source.tokenizer.pad_id)

    def describe(self) -> dict[str, Any]:
        """Return how full rows are, as JSON values."""
        if self._plan is None:
            return {"rows": "endless"}
        return {
            "rows": len(self._plan),
            "fill": round(self._filled, 4),
            "dropped": self.dropped,
        }

    def _pack_all(self) -> list[list[int]]:
        """Return the examples of each row."""
        order = self._source.order(self._seed, 0, self._source.train_size)
        lengths = processes.shared(len(order), lambda part: self._measure(order, part))
        kept = [(i, n) for i, n in zip(order, lengths, strict=True) if n]
        self.dropped = len(order) - len(kept)
        if not kept:
            raise UserError(
                f"{self._source.task.name}: no example fits sft.seq_len={self._seq_len}"
            )
        sizes = [length for _, length in kept]
        rows = [[i] for i in range(len(kept))]
        if self._pack:
            rows = first_fit(sizes, self._seq_len)
        self._filled = fill(rows, sizes, self._seq_len)
        return [[kept[i][0] for i in row] for row in rows]

    def _measure(self, order: list[int], part: range) -> list[int]:
        """Return the lengths of examples; 0 for those that are dropped."""
        found = []
        for place in part:
            index = order[place]
            tokens = self._read(index)
            found.append(len(tokens.ids) if self._fits(tokens, index) else 0)
        return found

    def _read(self, index: int) -> Tokens:
        """Return an example, which stays: every epoch comes back to it."""
        if index not in self._known:
            self._known[index] = self._source.train_tokens(index)
        return self._known[index]

    def _fill(self, row: int) -> list[Tokens]:
        """Take examples from the row's own stretch until one does not fit."""
        kept: list[Tokens] = []
        room = self._seq_len
        for attempt in range(_MOST_TRIES):
            (index,) = self._source.order(self._seed, row * _MOST_TRIES + attempt, 1)
            tokens = self._source.train_tokens(index)
            if not self._fits(tokens, index):
                self.dropped += 1
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
        return False
