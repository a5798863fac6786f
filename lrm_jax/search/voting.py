# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Votes over the answers of one problem's candidates: exact, on the host.

Answers fall into classes, numbered in an order of the answers themselves, so that
no result depends on the order of the candidates. A candidate without an answer is
of no class (-1) and has no vote. Array forms: `vote_arrays.py`. `N` candidates.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lrm_jax.types import UserError

NO_CLASS = -1
"""The class of a candidate that has no answer."""


class Vote(NamedTuple):
    """What a method hands out.

    Attributes:
      winner: the class by the rule for ties: of the tied ones the lowest; -1 where
        nobody answered.
      share: `[N]`, the chance that a candidate is the one handed out where ties are
        broken at random, and a class hands out any of its members. They sum to 1,
        or are all 0 where nobody answered.
    """

    winner: int
    share: np.ndarray

    def expected(self, right: ArrayLike) -> float:
        """Return the expected score, of each candidate's own `[N]`."""
        return math.fsum(self.share * np.asarray(right, np.float64))


def classes(
    answers: Sequence[str | None],
    equivalent: Callable[[str, str], bool | None],
    *,
    symmetric: bool = False,
) -> list[int]:
    """Return the class of each answer; two of a class mean the same.

    Answers that a chain of equivalent ones joins are of one class, even where the
    chain's ends are not held for equivalent (the transitive closure), and one
    direction is enough (`equivalent` may be asymmetric). Classes are numbered by
    their first answers: shorter ones first, then by the alphabet.

    Args:
      answers: of the candidates; None where there is none.
      equivalent: whether two spellings mean the same; None counts as no.
      symmetric: it says the same either way, so that one call is enough.

    Returns:
      `[N]` numbers from 0; -1 where there is no answer.
    """
    distinct = sorted({a for a in answers if a is not None}, key=lambda a: (len(a), a))
    root = list(range(len(distinct)))

    def find(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    for i, j in itertools.combinations(range(len(distinct)), 2):
        first, second = find(i), find(j)
        if first == second:
            continue
        a, b = distinct[i], distinct[j]
        if equivalent(a, b) or (not symmetric and equivalent(b, a)):
            root[max(first, second)] = min(first, second)
    firsts = sorted({find(i) for i in range(len(distinct))})
    number = {a: firsts.index(find(i)) for i, a in enumerate(distinct)}
    return [NO_CLASS if a is None else number[a] for a in answers]


def majority(class_ids: Sequence[int]) -> Vote:
    """Vote with one voice a candidate: the largest class wins (arXiv 2203.11171)."""
    return weighted(class_ids, [1.0] * len(class_ids))


def weighted(class_ids: Sequence[int], weights: Sequence[float]) -> Vote:
    """Vote with weights: argmax_a sum_{i: a_i = a} w_i (arXiv 2206.02336, eq. 2).

    Sums are rounded once (`math.fsum`), so that their order does not matter.

    Raises:
      UserError: a weight is negative, infinite or NaN; the counts differ.
    """
    weights = check_scores(class_ids, weights)
    bad = [i for i, w in enumerate(weights) if not 0 <= w < math.inf]
    if bad:
        raise UserError(
            f"candidate {bad[0]}: weight {weights[bad[0]]}; a vote's weights must be "
            "finite and 0 or more"
        )
    totals = {
        k: math.fsum(w for w, c in zip(weights, class_ids, strict=True) if c == k)
        for k in set(class_ids) - {NO_CLASS}
    }
    most = max(totals.values(), default=0.0)
    tied = [k for k, total in totals.items() if total == most]
    share = np.zeros(len(class_ids))
    for k in tied:
        members = np.array([c == k for c in class_ids])
        share[members] = 1 / (len(tied) * members.sum())
    return Vote(min(tied, default=NO_CLASS), share)


def best_of(class_ids: Sequence[int], scores: Sequence[float]) -> Vote:
    """Take the candidate of the highest score, whether it has an answer or not.

    Of tied candidates the rule takes the lowest class, one without an answer last.
    A score of -inf (no step to score) never wins.

    Raises:
      UserError: a score is NaN; the counts differ.
    """
    values = np.asarray(check_scores(class_ids, scores))
    tied = (values == values.max(initial=-math.inf)) & (values > -math.inf)
    share = tied / max(1, tied.sum())
    found = [c for c, t in zip(class_ids, tied, strict=True) if t and c != NO_CLASS]
    return Vote(min(found, default=NO_CLASS), share)


def check_scores(
    class_ids: Sequence[int], scores: Sequence[float], *, where: str = "scores"
) -> list[float]:
    """Return the scores as floats.

    Raises:
      UserError: there are more or fewer than candidates, or one is NaN.
    """
    if len(scores) != len(class_ids):
        raise UserError(f"{where}: {len(scores)} of {len(class_ids)} candidates")
    bad = [i for i, score in enumerate(scores) if math.isnan(score)]
    if bad:
        raise UserError(f"{where}: the score of candidate {bad[0]} is NaN")
    return [float(score) for score in scores]
