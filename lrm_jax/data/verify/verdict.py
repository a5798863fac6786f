# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a verifier says about one completion."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Status = Literal[
    "right", "wrong", "no_tag", "no_answer", "parse_error", "timeout", "crash"
]


class Verdict(NamedTuple):
    """Scores of one completion, and why.

    Attributes:
      strict: 1.0 where the whole completion has the asked form and is right.
      lenient: 1.0 where an answer that can be found in it is right.
      status: of the strict reading; `no_tag` the form is missing or broken,
        `no_answer` nothing was answered, `parse_error` the answer cannot be read,
        `timeout` and `crash` the verifier did not finish.
      extracted: the answer that was judged, cut to 200 characters.
      parts: further scores: `format` (tags right), `thought` (one was written).
    """

    strict: float
    lenient: float
    status: Status
    extracted: str
    parts: Mapping[str, float]
