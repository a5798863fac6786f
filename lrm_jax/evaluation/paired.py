# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two arms over the same seeds: Student's t interval of the paired difference.

Whether a method wins is decided over seeds, each with the same problems for both
arms (Miller 2024, arXiv 2411.00640, section 4). NumPy on the host.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lrm_jax.evaluation.metrics import Interval


class SeedDifference(NamedTuple):
    """What arm `b` has above arm `a`.

    Attributes:
      difference: mean over seeds.
      ci95: Student's t interval of it, seeds - 1 degrees of freedom.
      per_seed: `[S]`.
    """

    difference: float
    ci95: Interval
    per_seed: np.ndarray

    @property
    def excludes_zero(self) -> bool:
        """Whether the arms differ: zero lies outside the interval."""
        return not self.ci95.low <= 0 <= self.ci95.high


def seed_difference(a: ArrayLike, b: ArrayLike) -> SeedDifference:
    """Compare two arms seed by seed.

    Args:
      a: `[S]` accuracies, or `[S, n]` scores of the same n problems in one order. With
        the scores of problems in the place of seeds it is their paired interval.
      b: the same of the other arm.

    Raises:
      ValueError: the shapes differ, there are fewer than two seeds, or a value is
        not finite (named).
    """
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if left.shape != right.shape or left.ndim not in (1, 2):
        raise ValueError(
            f"seed_difference: shapes {left.shape} and {right.shape} do not pair"
        )
    if left.shape[0] < 2 or left.size == 0:
        raise ValueError(f"seed_difference: shape {left.shape}; needs two seeds")
    for name, values in (("a", left), ("b", right)):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            at = tuple(map(int, bad[0]))
            raise ValueError(f"seed_difference: {name}{list(at)} is {values[at]}")
    rest = tuple(range(1, left.ndim))
    per_seed = (right - left).mean(rest) if rest else right - left
    mean = float(per_seed.mean())
    seeds = len(per_seed)
    half = t_quantile(seeds - 1) * float(per_seed.std(ddof=1)) / math.sqrt(seeds)
    return SeedDifference(mean, Interval(mean - half, mean + half), per_seed)


def t_quantile(degrees: int, level: float = 0.95) -> float:
    """Return t with P(|T| <= t) = level, T of Student's distribution.

    By bisection; 0.95 of 4 degrees: 2.776.
    """
    if degrees < 1 or not 0 < level < 1:
        raise ValueError(f"t_quantile: {degrees=}, {level=}")
    low, high = 0.0, math.pi / 2  # angles: t = sqrt(degrees) tan(angle)
    for _ in range(80):
        middle = (low + high) / 2
        if _within(middle, degrees) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _within(angle: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) tan(angle)): Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    cos, sin = math.cos(angle), math.sin(angle)
    odd = degrees % 2
    term = cos if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= cos * cos * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sin * total) if odd else sin * total
