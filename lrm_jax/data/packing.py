# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sequence packing: several examples in a row of static length, none sees another.

First fit (Johnson 1973): each example goes to the first row that has room. NumPy
only; which examples meet in a row is a function of their order alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Tokens(NamedTuple):
    """One example as ids.

    Attributes:
      ids: prompt and completion.
      start: index of the first token that is learned; those before are the prompt.
    """

    ids: Sequence[int]
    start: int


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the examples of each row, by first fit in the given order.

    Args:
      lengths: tokens of each example, at most `capacity`.
      capacity: tokens of a row.

    Returns:
      Rows of indices into `lengths`; every index occurs once.
    """
    leaves = 1
    while leaves < max(1, len(lengths)):
        leaves *= 2
    # Binary tree over rows: each node knows the largest room below it. Rows that
    # are not open yet have all of their room.
    room = np.full(2 * leaves, capacity, np.int64)
    rows: list[list[int]] = []
    for index, length in enumerate(lengths):
        if not 0 < length <= capacity:
            raise ValueError(f"length {length} does not fit a row of {capacity}")
        node = 1
        while node < leaves:
            node = 2 * node if room[2 * node] >= length else 2 * node + 1
        row = node - leaves
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        room[node] -= length
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return rows


def collate(
    rows: Sequence[Sequence[Tokens]], seq_len: int, pad_id: int
) -> dict[str, np.ndarray]:
    """Return the arrays of a batch, `[B, T]` each.

    Args:
      rows: the examples of each row, which fit it.
      seq_len: T.
      pad_id: fills the rest of a row.

    Returns:
      `ids` int32; `positions` int32, from 0 in every example; `segment_ids` int32,
      1, 2, ... in a row and 0 in padding; `targets` int32, the token that follows
      in the same example; `loss_mask` bool, true where that token is learned: never
      at a prompt's token but its last, nor in padding.
    """
    shape = (len(rows), seq_len)
    ids = np.full(shape, pad_id, np.int32)
    targets = np.full(shape, pad_id, np.int32)
    positions, segment_ids = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    loss_mask = np.zeros(shape, bool)
    for b, row in enumerate(rows):
        at = 0
        for number, (tokens, start) in enumerate(row, 1):
            end = at + len(tokens)
            if end > seq_len:
                raise ValueError(f"row {b} holds more than {seq_len} tokens")
            ids[b, at:end] = tokens
            targets[b, at : end - 1] = tokens[1:]
            positions[b, at:end] = np.arange(end - at)
            segment_ids[b, at:end] = number
            # The first token of an example is never a target: nothing precedes it.
            loss_mask[b, at + max(start, 1) - 1 : end - 1] = True
            at = end
    return {
        "ids": ids,
        "positions": positions,
        "segment_ids": segment_ids,
        "targets": targets,
        "loss_mask": loss_mask,
    }


def fill(rows: Sequence[Sequence[int]], lengths: Sequence[int], seq_len: int) -> float:
    """Return the share of tokens in rows of `seq_len` that are no padding."""
    used = sum(lengths[i] for row in rows for i in row)
    return used / (len(rows) * seq_len) if rows else 0.0
