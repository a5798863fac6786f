# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What reads a run's log while it grows and has something to say about it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Notice(NamedTuple):
    """A line for a person.

    Attributes:
      name: short, the same for the same cause.
      text: what was seen and what helps.
    """

    name: str
    text: str


class Watch(Protocol):
    """Sees every record of `metrics.jsonl`, those of before a restart first.

    What it says must follow from the records alone: then a resumed run says what
    the run that was never stopped says.
    """

    def see(self, record: Mapping[str, Any]) -> Sequence[Notice]:
        """Take note of a record; return what is to be said now."""
        ...
