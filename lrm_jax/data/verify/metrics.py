# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What tells learning from guessing: pass@k, the best constant answer, entropy."""

import collections
import math
from collections.abc import Sequence

import numpy as np


def pass_at_k(correct: np.ndarray, k: int) -> np.ndarray:
    """Return the unbiased chance that one of k samples is right, `[Q]`.

    Args:
      correct: `[Q, n]` of 0 and 1, n samples a problem.
      k: at most n.

    1 - C(n - c, k) / C(n, k), Chen et al. 2021 (2107.03374, equation 1).
    """
    n = correct.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k={k} of n={n} samples")
    right = correct.astype(bool).sum(1)
    table = [1.0 - math.comb(n - c, k) / math.comb(n, k) for c in range(n + 1)]
    return np.array(table)[right]


def constant_score(answers: Sequence[str]) -> tuple[str, float]:
    """Return the commonest gold answer and the score of always giving it.

    A policy that scores no better may have learned nothing but this answer.
    """
    if not answers:
        return "", 0.0
    counts = collections.Counter(answers)
    answer = min(counts, key=lambda text: (-counts[text], text))
    return answer, counts[answer] / len(answers)


def answer_entropy(extracted: Sequence[str]) -> float:
    """Return the entropy of the answers given, in nats; 0 when all are the same."""
    counts = np.array(list(collections.Counter(extracted).values()), np.float64)
    if counts.size == 0:
        return 0.0
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0
