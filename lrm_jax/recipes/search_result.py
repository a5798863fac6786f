# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `lrm search` says of a method at a budget: accuracy against compute.

One row for latent search, token search and the rescoring of stored samples.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lrm_jax.evaluation.metrics import Interval, wilson_interval

HEADER = ("method", "budget", "unit", "accuracy", "ci95 low", "ci95 high", "tokens")
HEADER += ("flops", "time_s")
_OWN_KEYS = ("method", "budget", "unit", "n", "accuracy", "ci95", "tokens", "flops")
_OWN_KEYS += ("time_s",)


@dataclasses.dataclass(frozen=True, eq=False)
class MethodResult:
    """One method at one budget over a set of problems.

    Attributes:
      method: its name (`majority`, `beam`, `latent_mcts`, ...).
      budget: spelled as a `ThinkingBudget`.
      unit: what the budget counts: candidates, simulations, segments.
      scores: `[n]`, of each problem, in one order for all methods: 1 where it is
        solved, or the chance that it is (ties, subsets drawn at random).
      tokens: generated for a problem, the mean; None where nothing counted them.
      flops: of a problem, all models included, the mean; None where unknown.
      time_s: of all problems by the clock, without compilation; None where unknown.
      extra: further JSON keys of the row.
    """

    method: str
    budget: int | str
    unit: str
    scores: np.ndarray
    tokens: float | None = None
    flops: float | None = None
    time_s: float | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take a row of scores in [0, 1] and extra keys that are not its own."""
        scores = np.asarray(self.scores, np.float64)
        object.__setattr__(self, "scores", scores)
        if scores.ndim != 1 or scores.size == 0:
            raise ValueError(f"{self.method}: scores {scores.shape}, expected [n]")
        bad = np.flatnonzero(~((scores >= 0) & (scores <= 1)))
        if bad.size:
            raise ValueError(
                f"{self.method}: score {scores[bad[0]]} of problem {bad[0]} is not in "
                "[0, 1]"
            )
        taken = sorted(set(self.extra) & set(_OWN_KEYS))
        if taken:
            raise ValueError(f"{self.method}: extra keys {taken} are the row's own")

    @property
    def n(self) -> int:
        """Problems."""
        return len(self.scores)

    @property
    def accuracy(self) -> float:
        """Share of the problems that are solved."""
        return float(self.scores.mean())

    @property
    def ci95(self) -> Interval:
        """Wilson's interval over problems; wider than needed where scores are chances.

        A chance has less variance than the coin it stands for.
        """
        return wilson_interval(math.fsum(self.scores), self.n)

    def to_json(self) -> dict[str, Any]:
        """Return the row of `results`."""
        return {
            "method": self.method,
            "budget": self.budget,
            "unit": self.unit,
            "n": self.n,
            "accuracy": self.accuracy,
            "ci95": list(self.ci95),
            "tokens": self.tokens,
            "flops": self.flops,
            "time_s": self.time_s,
            **self.extra,
        }


def results_json(results: Sequence[MethodResult]) -> dict[str, Any]:
    """Return `{n, results}`; all results are of the same problems.

    Raises:
      ValueError: there are none, or they differ in the number of problems.
    """
    counts = {result.n for result in results}
    if len(counts) != 1:
        raise ValueError(f"results of {sorted(counts)} problems: expected one number")
    return {"n": counts.pop(), "results": [result.to_json() for result in results]}


def results_table(
    results: Sequence[MethodResult],
) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Return header and rows as `cli.common.table` prints them."""
    rows = []
    for result in results:
        row = result.to_json()
        measured = (row[key] for key in ("tokens", "flops", "time_s"))
        rows.append(
            [*(row[key] for key in HEADER[:4]), *row["ci95"], *measured],
        )
    return HEADER, rows
