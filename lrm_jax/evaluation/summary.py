# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From what one pass saw to a report: budgets, depth curve, halting, calibration.

NumPy on the host; a report is JSON-ready, with null where a number is undefined.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lrm_jax.evaluation import metrics
from lrm_jax.reasoning.budget import ResolvedBudget


class DepthPass(NamedTuple):
    """What one pass saw of each problem after each step (NumPy).

    Attributes:
      exact: `[N, T]` bool, by the judge.
      cells_right: `[N, T]` int32.
      cells: `[N]` int32, labelled cells.
      halt: `[N, T]` float32 halting logit.
      done: `[N, T]` bool, the recipe's own rule.
      extra: name -> `[N, T]` bool, by the extra judges.
    """

    exact: np.ndarray
    cells_right: np.ndarray
    cells: np.ndarray
    halt: np.ndarray
    done: np.ndarray
    extra: dict[str, np.ndarray]


class Evaluation(NamedTuple):
    """A report for people and JSON, and what paired comparisons need.

    Attributes:
      report: JSON-ready {n, results, depth_curve, halting_histogram, calibration}.
      correct: budget -> `[N]` bool, in problem order.
      steps: budget -> `[N]` int32 steps spent.
    """

    report: dict[str, Any]
    correct: dict[str, np.ndarray]
    steps: dict[str, np.ndarray]


def summarise(seen: DepthPass, budgets: Mapping[str, ResolvedBudget]) -> Evaluation:
    """Work out every budget, the depth curve and the calibration of the halt head."""
    n = seen.exact.shape[0]
    rows = np.arange(n)
    results, correct, steps = [], {}, {}
    for spelling, budget in budgets.items():
        steps[spelling], halted = stop_steps(seen, budget)
        at = (rows, steps[spelling] - 1)
        correct[spelling] = seen.exact[at]
        result = result_row(
            spelling,
            correct[spelling],
            seen.cells_right[at],
            seen.cells,
            steps[spelling],
            halted,
        )
        result["max_steps"] = budget.max_steps
        for name, verdict in seen.extra.items():
            result[f"{name}_accuracy"] = float(verdict[at].mean())
        results.append(result)
    first, fired = stop_steps(seen, ResolvedBudget(seen.halt.shape[1], "halt"))
    histogram = np.bincount(first[fired], minlength=seen.halt.shape[1] + 1)[1:]
    report = {
        "n": n,
        "results": results,
        "depth_curve": _depth_curve(seen),
        "halting_histogram": histogram.tolist(),
        "never_halted": int(n - fired.sum()),
        "calibration": calibration(seen.halt, seen.exact),
    }
    return Evaluation(report, correct, steps)


def stop_steps(
    seen: DepthPass, budget: ResolvedBudget
) -> tuple[np.ndarray, np.ndarray]:
    """Return `[N]` the step at which `budget` ends, and `[N]` whether it was halted."""
    fires = {"halt": seen.halt > 0, "rule": seen.done, None: np.zeros_like(seen.done)}
    fired = fires[budget.early_stop][:, : budget.max_steps]
    halted = fired.any(1)
    steps = np.where(halted, fired.argmax(1) + 1, budget.max_steps)
    return steps.astype(np.int32), halted


def result_row(
    spelling: str,
    correct: np.ndarray,
    right: np.ndarray,
    cells: np.ndarray,
    steps: np.ndarray,
    halted: np.ndarray,
) -> dict[str, Any]:
    """Return one budget's line of a report from per-problem arrays `[N]`."""
    n_correct = int(correct.sum())
    return {
        "budget": spelling,
        "exact_accuracy": n_correct / len(correct),
        "ci95": list(metrics.wilson_interval(n_correct, len(correct))),
        "correct": n_correct,
        "token_accuracy": _token_accuracy(right, cells),
        "mean_steps": float(steps.mean()),
        "halted": float(halted.mean()),
    }


def calibration(halt: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """Compare sigmoid(halt) with exactness over all problems and steps.

    The halting head is trained to say whether the answer is right *now*, so every
    (problem, step) pair counts once.
    """
    if np.isnan(halt).any():  # a diverged head has no calibration
        return {"auroc": None, "ece": None, "bins": []}
    probability = sigmoid(halt)
    bins = metrics.reliability_bins(probability, exact)
    return {
        "auroc": json_number(metrics.auroc(halt, exact)),
        "ece": json_number(metrics.ece(probability, exact)),
        "bins": [
            {
                "low": float(bins.edges[i]),
                "high": float(bins.edges[i + 1]),
                "n": int(bins.counts[i]),
                "confidence": json_number(bins.confidence[i]),
                "accuracy": json_number(bins.accuracy[i]),
            }
            for i in range(len(bins.counts))
        ],
    }


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) in float64 without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits, np.float64)))


def json_number(value: float) -> float | None:
    """Return a float that JSON can hold: NaN and infinities become None."""
    return float(value) if math.isfinite(value) else None


def _token_accuracy(right: np.ndarray, cells: np.ndarray) -> float | None:
    """Mean over labelled problems of the share of cells that are right."""
    labelled = cells > 0
    if not labelled.any():
        return None
    return float((right[labelled] / cells[labelled]).mean())


def _depth_curve(seen: DepthPass) -> list[dict[str, Any]]:
    """Return one entry per depth 1 .. T."""
    n, depths = seen.exact.shape
    curve = []
    for t in range(depths):
        n_correct = int(seen.exact[:, t].sum())
        entry = {
            "steps": t + 1,
            "exact_accuracy": n_correct / n,
            "ci95": list(metrics.wilson_interval(n_correct, n)),
            "token_accuracy": _token_accuracy(seen.cells_right[:, t], seen.cells),
            "mean_halt_prob": json_number(sigmoid(seen.halt[:, t]).mean()),
            "auroc": calibration(seen.halt[:, t], seen.exact[:, t])["auroc"],
        }
        for name, verdict in seen.extra.items():
            entry[f"{name}_accuracy"] = float(verdict[:, t].mean())
        curve.append(entry)
    return curve
