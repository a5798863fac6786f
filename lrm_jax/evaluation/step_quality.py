# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How well scores tell right steps from wrong ones, the place in the text aside."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lrm_jax.evaluation.metrics import auroc


class StepQuality(NamedTuple):
    """Of labelled steps; NaN where one of the two classes is empty.

    Attributes:
      auroc: right against wrong steps.
      within_index: the same among steps at the same place, over all such pairs.
      by_index: what the place alone reaches: steps earlier in a text score higher.
    """

    auroc: float
    within_index: float
    by_index: float


def step_quality(scores: ArrayLike, right: ArrayLike, index: ArrayLike) -> StepQuality:
    """Measure scores of steps against labels.

    Args:
      scores: `[N]` of steps, finite.
      right: `[N]` bool.
      index: `[N]` int, the place of each in its text.
    """
    scores, right = np.asarray(scores, float), np.asarray(right, bool)
    index = np.asarray(index)
    return StepQuality(
        auroc(scores, right),
        auroc_within(scores, right, index),
        auroc(-index.astype(float), right),
    )


def auroc_within(
    scores: ArrayLike, right: ArrayLike, groups: ArrayLike | Sequence[int]
) -> float:
    """Return P(a right one scores more than a wrong one of its group), ties half.

    Groups count by their pairs; NaN where no group has both.

    Args:
      scores: `[N]`.
      right: `[N]` bool.
      groups: `[N]`.
    """
    scores, right = np.asarray(scores, float), np.asarray(right, bool)
    groups, won, pairs = np.asarray(groups), 0.0, 0
    for group in np.unique(groups):
        here = groups == group
        count = int(right[here].sum()) * int((~right[here]).sum())
        if count:
            won += count * auroc(scores[here], right[here])
            pairs += count
    return won / pairs if pairs else math.nan
