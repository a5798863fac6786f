# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the score of a step means, and what follows from it.

How scores of steps become one score of a solution is a consequence of what they
were trained on, not a free choice: Qwen, "The Lessons of Developing Process Reward
Models" (arXiv 2501.07301), section 3.2, for judged steps and Monte Carlo labels.
"""

from typing import Literal, get_args

import jax

from lrm_jax.types import Array, UserError, at_least_float32
from lrm_jax.types import Semantics as Semantics

__all__ = [
    "Aggregation",
    "Semantics",
    "check_semantics",
    "default_aggregation",
    "score",
]

Aggregation = Literal["min", "product", "last", "mean", "sum"]

_DEFAULT: dict[Semantics, Aggregation] = {
    # A solution is as good as its steps are all right (people's and judges' labels).
    "step_correctness": "product",
    # The last step has seen the most of how it goes (Monte Carlo labels).
    "future_success": "last",
    # Advantages add up to the whole way's (PAV, arXiv 2410.08146).
    "progress": "sum",
    # Scores are of the running sum, of which the last is the whole (PRIME).
    "implicit": "last",
}


def check_semantics(value: str, where: str) -> Semantics:
    """Return the value as what it is.

    Args:
      value: as read.
      where: it was read, for messages.

    Raises:
      UserError: there is no such meaning.
    """
    for known in get_args(Semantics):
        if value == known:
            return known
    names = ", ".join(get_args(Semantics))
    raise UserError(f"{where}={value!r}: expected one of {names}")


def default_aggregation(semantics: Semantics) -> Aggregation:
    """Return how the scores of steps make the score of a solution."""
    return _DEFAULT[semantics]


def score(semantics: Semantics, logit: Array) -> Array:
    """Return the score that a reading stands for, float32 at least, elementwise.

    A probability, but for `progress`, which is a difference of two of them and is
    read as it is.
    """
    wide = at_least_float32(logit)
    return wide if semantics == "progress" else jax.nn.sigmoid(wide)
