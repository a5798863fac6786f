# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What several answers to a question say: pass@k, guessing, spread.

Sampled pass@1, greedy accuracy, pass@k and the best constant answer belong together:
only side by side do they tell learning from sharpening and from guessing.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np


def pass_at_k(right: np.ndarray, k: int) -> float:
    """Return the chance that one of k completions is right, averaged over prompts.

    1 - C(n - c, k) / C(n, k) of n completions with c right ones: unbiased (Chen et
    al. 2021, arXiv 2107.03374, eq. 1).

    Args:
      right: `[Q, n]` of 0 and 1.
      k: at most n.
    """
    n = right.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"{k=}: there are {n} completions of each prompt")
    wrong = n - np.sum(right > 0, axis=1)
    missed = [math.comb(int(w), k) / math.comb(n, k) for w in wrong]
    return 1.0 - float(np.mean(missed))


def best_constant(answers: Sequence[str]) -> float:
    """Return the accuracy of giving the most frequent true answer every time."""
    if not answers:
        return 0.0
    return Counter(answers).most_common(1)[0][1] / len(answers)


def answer_entropy(answers: Sequence[str]) -> float:
    """Return the entropy of the histogram of answers, in nats; 0 if all are equal."""
    total = len(answers)
    shares = [count / total for count in Counter(answers).values()]
    return sum(-p * math.log(p) for p in shares) + 0.0
