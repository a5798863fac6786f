# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files of step-labelled solutions, read as a stream; what is refused is counted."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lrm_jax.data.jsonl import read_objects
from lrm_jax.data.step_formats import (
    FORMATS,
    Excluded,
    Ratings,
    Row,
    StepRecord,
    guess_format,
    read_chat,
    read_math_shepherd,
    read_prm800k,
)
from lrm_jax.types import UserError, first_of


@dataclasses.dataclass(frozen=True)
class StepFileConfig:
    """How files of labelled steps are read.

    Attributes:
      format: one of `step_formats.FORMATS`; empty to tell from the first row.
      tag: after each step of Math-Shepherd.
      first_step: how the first step begins where one text holds prompt and steps
        (Math-Shepherd, chat).
      neutral: label of PRM800K's rating 0; below 0 for none.
      human: label of steps that PRM800K's labellers wrote; below 0 for none.
      alternatives: read PRM800K's alternatives of a step as further prefixes.
    """

    format: str = ""
    tag: str = "ки"
    first_step: str = "Step 1:"
    neutral: float = 1.0
    human: float = -1.0
    alternatives: bool = True

    def __post_init__(self) -> None:
        """Refuse a format that is not known."""
        if self.format and self.format not in FORMATS:
            raise UserError(
                f"format={self.format!r}: expected one of {', '.join(FORMATS)}, or "
                "nothing to tell from the first row"
            )

    def reader(self, name: str) -> Callable[[Row], Iterator[StepRecord]]:
        """Return what reads a row of a format."""
        if name == "math_shepherd":
            return functools.partial(
                read_math_shepherd, tag=self.tag, first=self.first_step
            )
        if name == "chat":
            return functools.partial(read_chat, first=self.first_step)
        if name == "prm800k":
            neutral, human = (
                None if value < 0 else value for value in (self.neutral, self.human)
            )
            return functools.partial(
                read_prm800k,
                ratings=Ratings(neutral=neutral, human=human),
                alternatives=self.alternatives,
            )
        return FORMATS[name]


@dataclasses.dataclass
class StepCounts:
    """What reading has come to, so far.

    Attributes:
      rows: of the file.
      records: made of them.
      labels: of them.
      excluded: rows that the format itself sets aside, by why.
      refused: rows that cannot be used.
      bad: {line, reason} of the first `keep` of these.
      keep: how many are named.
    """

    rows: int = 0
    records: int = 0
    labels: int = 0
    excluded: Counter[str] = dataclasses.field(default_factory=Counter)
    refused: int = 0
    bad: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    keep: int = 20


def stream_steps(
    path: str | Path,
    cfg: StepFileConfig | None = None,
    counts: StepCounts | None = None,
) -> Iterator[StepRecord]:
    """Yield the records of a JSONL file, `.gz` too, one row in memory at a time.

    Args:
      path: the file.
      cfg: how it is read.
      counts: to be counted in. Without them a row that cannot be used is an error.

    Raises:
      UserError: no such file, a row that is no JSON object, no known format, or a row
        that cannot be used (labels and steps of different number, for one) where
        nobody counts.
    """
    cfg = cfg or StepFileConfig()
    read = None
    for line, row in read_objects(path):
        if read is None:
            try:
                read = cfg.reader(cfg.format or guess_format(row))
            except UserError as error:
                raise UserError(f"{path}, line {line}: {error}") from error
        yield from _records(read, row, line, str(path), counts)


def read_steps(
    path: str | Path, cfg: StepFileConfig | None = None
) -> tuple[list[StepRecord], StepCounts]:
    """Return all records of a file and what was counted.

    Raises:
      UserError: see `stream_steps`; or nothing can be used, with the first reasons.
    """
    counts = StepCounts()
    records = list(stream_steps(path, cfg, counts))
    if not records:
        reasons = [f"line {one['line']}: {one['reason']}" for one in counts.bad]
        raise UserError(
            f"{path}: no labelled steps in {counts.rows} rows"
            + (f": {first_of(reasons, '; ', limit=3)}" if reasons else "")
        )
    return records, counts


def _records(
    read: Callable[[Row], Iterable[StepRecord]],
    row: Row,
    line: int,
    path: str,
    counts: StepCounts | None,
) -> list[StepRecord]:
    """Return the records of a row, and count them."""
    counted = counts or StepCounts()
    counted.rows += 1
    try:
        found = list(read(row))
    except Excluded as why:
        counted.excluded[str(why)] += 1
        return []
    except (UserError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = str(error)
        if not isinstance(error, UserError):  # a shape that the format does not have
            reason = f"not a row of this format: {type(error).__name__}: {error}"
        if counts is None:
            raise UserError(f"{path}, line {line}: {reason}") from error
        counts.refused += 1
        if len(counts.bad) < counts.keep:
            counts.bad.append({"line": line, "reason": reason})
        return []
    counted.records += len(found)
    counted.labels += sum(x is not None for one in found for x in one.labels)
    return found
