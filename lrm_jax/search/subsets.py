# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What votes and best-of-n would come to with n of the N candidates there are.

The expectation over all subsets of n, drawn without replacement, ties at random
included: one set of samples gives every point of a curve. Majority and best-of-n
have closed forms; a weighted vote is averaged over subsets that are drawn.
"""

import functools
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lrm_jax.search.voting import NO_CLASS, check_scores, weighted
from lrm_jax.types import UserError

MAX_CANDIDATES = 1_000
"""Binomial coefficients of more leave the range of float64."""
MAX_SUBSETS = 256
"""Subsets that a weighted vote is averaged over, at most."""


class Expected(NamedTuple):
    """An expected score, and how it was found.

    Attributes:
      score: in the range of the candidates' own.
      subsets: that were drawn and averaged; 0 where the value is exact.
    """

    score: float
    subsets: int


def best_of_curve(
    class_ids: Sequence[int], scores: Sequence[float], right: ArrayLike
) -> np.ndarray:
    """Return the expected score of best-of-n for n = 1 .. N, `[N]`, exact.

    With L candidates below a score and T at it, the best of n has that score with
    chance (C(L + T, n) - C(L, n)) / C(N, n), and is any of the T.

    Args:
      class_ids: `[N]`, see `voting.classes`.
      scores: `[N]`; -inf never wins.
      right: `[N]`, what each candidate is worth.
    """
    values = np.asarray(check_scores(class_ids, scores))
    worth, total = np.asarray(right, np.float64), len(values)
    curve = np.zeros(total)
    for value in np.unique(values[values > -math.inf]):
        tied = values == value
        below = int((values < value).sum())
        upto = below + int(tied.sum())
        mean = math.fsum(worth[tied]) / tied.sum()
        for n in range(1, total + 1):
            ways = math.comb(upto, n) - math.comb(below, n)
            curve[n - 1] += ways / math.comb(total, n) * mean
    return curve


def majority_curve(class_ids: Sequence[int], right: ArrayLike) -> np.ndarray:
    """Return the expected score of a majority vote for n = 1 .. N, `[N]`.

    Exact to rounding: subsets are counted by a generating function. Of the subsets
    in which the winner has m votes, x counts candidates and y the classes tied with
    it: prod_j (sum_{i<m} C(c_j, i) x^i + y C(c_j, m) x^m), c_j members of class j.

    Raises:
      UserError: more than 1,000 candidates.
    """
    total = len(class_ids)
    if total > MAX_CANDIDATES:
        raise UserError(
            f"{total} candidates of a problem: an exact majority vote of subsets takes "
            f"{MAX_CANDIDATES} at most"
        )
    sizes = Counter(c for c in class_ids if c != NO_CLASS)
    worth = np.asarray(right, np.float64)
    members = np.asarray(class_ids)
    mean = {k: math.fsum(worth[members == k]) / size for k, size in sizes.items()}
    ordered = sorted(sizes.values())
    curve = np.zeros(total)
    for size in sorted(set(ordered)):
        # Classes of one size win alike.
        summed = math.fsum(mean[k] for k in sizes if sizes[k] == size)
        curve += summed * _wins(size, ordered, total)
    return curve


def _wins(size: int, sizes: list[int], total: int) -> np.ndarray:
    """Chance `[N]` that one class of a size wins among n candidates, n = 1 .. N."""
    others = list(sizes)
    others.remove(size)
    chance = np.zeros(total + 1)
    for votes in range(1, size + 1):
        rivals = [c for c in others if c >= votes]
        # Whoever cannot reach so many votes may be drawn in any number.
        ways = _binomials(total - size - sum(rivals), total)[None]  # [ties + 1, n]
        for c in rivals:
            row = _binomials(c, total)
            fewer = _times(ways, row[:votes])
            equal = np.zeros_like(ways)
            equal[:, votes:] = ways[:, : total + 1 - votes] * row[votes]
            ways = np.pad(fewer, ((0, 1), (0, 0))) + np.pad(equal, ((1, 0), (0, 0)))
        won = (ways / np.arange(1, len(ways) + 1)[:, None]).sum(0)
        drawn = _binomials(size, total)[votes]
        chance[votes:] += drawn * won[: total + 1 - votes]
    return chance[1:] / _binomials(total, total)[1:]


def _times(ways: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply polynomials, one a row, by another; terms above the degree drop."""
    width = ways.shape[1]
    return np.stack([np.convolve(row, factor)[:width] for row in ways])


@functools.lru_cache(maxsize=4096)
def _binomials(count: int, total: int) -> np.ndarray:
    """C(count, i) / 2^count for i = 0 .. total: products of all classes sum to 1."""
    row = [math.comb(count, i) / 2**count for i in range(total + 1)]
    return np.array(row)


def weighted_mean(
    class_ids: Sequence[int],
    weights: Sequence[float],
    right: ArrayLike,
    n: int,
    *,
    seed: int = 0,
) -> Expected:
    """Return the expected score of a weighted vote of n candidates.

    All subsets are averaged where they are 256 or fewer, else 256 that are drawn.
    Candidates are put in an order of their own first, so that theirs in the file
    does not matter.

    Args:
      class_ids: `[N]`, see `voting.classes`.
      weights: `[N]`, 0 or more.
      right: `[N]`, what each candidate is worth.
      n: candidates of a vote, 1 to N.
      seed: of the draws.
    """
    total = len(class_ids)
    if not 1 <= n <= total:
        raise ValueError(f"weighted_mean: {n=} of {total} candidates")
    rows = sorted(zip(class_ids, weights, np.asarray(right, np.float64), strict=True))
    if math.comb(total, n) <= MAX_SUBSETS:
        chosen = list(itertools.combinations(range(total), n))
        drawn = 0
    else:
        rng = np.random.default_rng([seed, total, n])
        chosen = [rng.permutation(total)[:n] for _ in range(MAX_SUBSETS)]
        drawn = MAX_SUBSETS
    scores = []
    for subset in chosen:
        ids, values, worth = zip(*(rows[i] for i in subset), strict=True)
        scores.append(weighted(ids, values).expected(worth))
    return Expected(math.fsum(scores) / len(scores), drawn)
