# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Statistics of an evaluation, on the host in float64 (NumPy only)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class MeanSe(NamedTuple):
    """A mean over seeds; `se` is None where one value gives no spread."""

    mean: float
    se: float | None
    n: int


class PairedDifference(NamedTuple):
    """Accuracy of `b` minus that of `a` on the same problems.

    Attributes:
      difference: in [-1, 1].
      ci95: normal interval from the discordant pairs.
      only_a: problems that only `a` got right.
      only_b: problems that only `b` got right.
    """

    difference: float
    ci95: Interval
    only_a: int
    only_b: int


class ReliabilityBins(NamedTuple):
    """Equal-width bins of a predicted probability; empty bins hold NaN means.

    Attributes:
      edges: `[bins + 1]`.
      counts: `[bins]` number of predictions.
      confidence: `[bins]` their mean.
      accuracy: `[bins]` the share of them that came true.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def wilson_interval(successes: float, n: int, z: float = Z95) -> Interval:
    """Return Wilson's score interval of a proportion; all of [0, 1] when n = 0.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)  [Wilson 1927]
    """
    if not 0 <= successes <= n:
        raise ValueError(f"wilson_interval: {successes} successes of {n}")
    if n == 0:
        return Interval(0.0, 1.0)
    p = successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    # At the ends the bound is exact in the algebra, not in floating point.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high)


def mean_and_se(values: Sequence[float]) -> MeanSe:
    """Return mean and standard error, with the sample variance (n - 1)."""
    data = np.asarray(values, np.float64)
    if data.size == 0:
        raise ValueError("mean_and_se: no values")
    se = float(data.std(ddof=1) / math.sqrt(data.size)) if data.size > 1 else None
    return MeanSe(float(data.mean()), se, int(data.size))


def paired_difference(a: ArrayLike, b: ArrayLike) -> PairedDifference:
    """Compare two runs problem by problem; `a`, `b` are bools `[n]` in one order."""
    left, right = np.asarray(a, bool), np.asarray(b, bool)
    if left.shape != right.shape or left.ndim != 1 or left.size == 0:
        raise ValueError(
            f"paired_difference: shapes {left.shape} and {right.shape} do not pair"
        )
    n = left.size
    only_a = int((left & ~right).sum())
    only_b = int((right & ~left).sum())
    difference = (only_b - only_a) / n
    variance = ((only_a + only_b) / n - difference**2) / n
    half = Z95 * math.sqrt(max(0.0, variance))
    ci95 = Interval(difference - half, difference + half)
    return PairedDifference(difference, ci95, only_a, only_b)


def auroc(scores: ArrayLike, outcomes: ArrayLike) -> float:
    """Return the area under the ROC curve: P(s⁺ > s⁻) + ½ P(s⁺ = s⁻).

    Exact by the Mann-Whitney rank statistic with mid-ranks for ties; NaN where one
    of the two classes is empty.
    """
    score = np.asarray(scores, np.float64).ravel()
    positive = np.asarray(outcomes, bool).ravel()
    if score.shape != positive.shape:
        raise ValueError(f"auroc: {score.size} scores, {positive.size} outcomes")
    if np.isnan(score).any():
        raise ValueError("auroc: a score is NaN")
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return math.nan
    _, group, counts = np.unique(score, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    mid_rank = last_rank - (counts - 1) / 2  # ranks from 1
    rank_sum = mid_rank[group][positive].sum()
    u = rank_sum - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


def reliability_bins(
    probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 15
) -> ReliabilityBins:
    """Sort predictions into equal-width bins (lo, hi], the first one closed."""
    prob = np.asarray(probabilities, np.float64).ravel()
    outcome = np.asarray(outcomes, np.float64).ravel()
    if prob.shape != outcome.shape:
        raise ValueError(f"reliability: {prob.size} values, {outcome.size} outcomes")
    if not ((prob >= 0) & (prob <= 1)).all():
        raise ValueError("reliability: probabilities must lie in [0, 1]")
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, prob, side="left") - 1, 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    total = np.maximum(counts, 1)
    confidence = np.bincount(which, weights=prob, minlength=bins) / total
    accuracy = np.bincount(which, weights=outcome, minlength=bins) / total
    confidence[counts == 0] = math.nan
    accuracy[counts == 0] = math.nan
    return ReliabilityBins(edges, counts, confidence, accuracy)


def ece(probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 15) -> float:
    """Return the expected calibration error: Σ_b n_b/n |acc_b - conf_b|."""
    table = reliability_bins(probabilities, outcomes, bins=bins)
    full = table.counts > 0
    if not full.any():
        return math.nan
    gap = np.abs(table.accuracy[full] - table.confidence[full])
    return float((table.counts[full] * gap).sum() / table.counts.sum())
