# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fields of a plain CSV as spans of bytes, found by NumPy, block by block.

Plain: ASCII, nothing quoted, lines that end in LF or CR LF. The published puzzle
files are; any other goes through Python's csv module.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

_BLOCK_BYTES = 1 << 22
_COMMA, _LF, _CR, _QUOTE, _MINUS, _ZERO = b',\n\r"-0'
_DIGITS_MAX = 18  # of an int64


class Block(NamedTuple):
    """Some rows of a plain CSV.

    Attributes:
      data: uint8 `[bytes]`, whole lines.
      lines: int64 `[n]`, the number of each row's line in the file.
      starts: int64 `[n, columns]`, where each field begins in `data`.
      ends: int64 `[n, columns]`, where it ends.
      odd: bool `[n]`, rows with more or fewer fields than there are columns; all
        their text is in the first one.
    """

    data: np.ndarray
    lines: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    odd: np.ndarray

    def text(self, row: int) -> str:
        """Return a row as it is written."""
        return self.data[self.starts[row, 0] : self.ends[row, -1]].tobytes().decode()


def open_plain(path: Path) -> np.ndarray | None:
    """Return a file's bytes, mapped and not read; None where it is not plain."""
    if not path.is_file() or not path.stat().st_size:
        return None
    data = np.memmap(path, np.uint8, "r")
    for at in range(0, len(data), _BLOCK_BYTES):
        part = np.asarray(data[at : at + _BLOCK_BYTES + 1])
        if (part >= 128).any() or (part == _QUOTE).any():
            return None
        returns = np.flatnonzero(part[:_BLOCK_BYTES] == _CR)
        if (returns + 1 >= len(part)).any() or (part[returns + 1] != _LF).any():
            return None
    return data


def read_blocks(data: np.ndarray, columns: int) -> Iterator[Block]:
    """Give the rows of a plain CSV, without its header and empty lines."""
    at, line, size = 0, 1, _BLOCK_BYTES
    while at < len(data):
        part = np.array(data[at : at + size])
        ends = np.flatnonzero(part == _LF)
        if at + len(part) == len(data) and part[-1] != _LF:
            ends = np.append(ends, len(part))  # the last line, not ended
        if not len(ends):
            size *= 2  # one line longer than a block
            continue
        starts = np.append(0, ends[:-1] + 1)
        numbers = line + np.arange(len(ends))
        at, line = at + int(ends[-1]) + 1, line + len(ends)
        yield _block(part[: ends[-1]], numbers, starts, ends, columns)


def _block(
    data: np.ndarray,
    lines: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    columns: int,
) -> Block:
    """Split lines into fields."""
    ends = ends - ((ends > starts) & (data[np.maximum(ends - 1, 0)] == _CR))
    keep = (ends > starts) & (lines > 1)
    lines, starts, ends = lines[keep], starts[keep], ends[keep]
    commas = np.append(np.flatnonzero(data == _COMMA), len(data))
    first = np.searchsorted(commas, starts)
    odd = np.searchsorted(commas, ends) - first != columns - 1
    # Which commas a row with too few gets does not matter.
    index = np.minimum(first[:, None] + np.arange(columns - 1), len(commas) - 1)
    inner = commas[index]
    inner[odd] = ends[odd, None]
    return Block(
        data,
        lines,
        np.concatenate([starts[:, None], inner + 1], 1),
        np.concatenate([inner, ends[:, None]], 1),
        odd,
    )


def fixed_width(block: Block, column: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a column's bytes `[n, width]`, and which fields have that width."""
    starts = block.starts[:, column]
    fits = (block.ends[:, column] - starts == width) & ~block.odd
    if len(block.data) < width:
        return np.zeros((len(starts), width), np.uint8), fits
    windows = np.lib.stride_tricks.sliding_window_view(block.data, width)
    return windows[np.where(fits, starts, 0)], fits


def whole_numbers(block: Block, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a column's numbers int64 `[n]`, and which fields are whole numbers."""
    starts, ends = block.starts[:, column], block.ends[:, column]
    padded = np.append(block.data, np.uint8(0))
    negative = (ends > starts) & (padded[np.minimum(starts, ends)] == _MINUS)
    starts = starts + negative
    lengths = ends - starts
    good = (lengths > 0) & (lengths <= _DIGITS_MAX) & ~block.odd
    values = np.zeros(len(starts), np.int64)
    for at in range(int(lengths[good].max(initial=0))):
        inside = good & (at < lengths)
        digits = padded[np.where(inside, starts + at, 0)].astype(np.int64) - _ZERO
        good &= ~inside | ((digits >= 0) & (digits <= 9))
        values = np.where(inside, 10 * values + digits, values)
    return np.where(negative, -values, values), good
