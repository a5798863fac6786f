# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm eval RUN --benchmark`: reward models, trained or imported, on benchmarks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrm_jax.data.step_files import read_steps
from lrm_jax.evaluation.process_bench import Scores
from lrm_jax.evaluation.step_benchmarks import Benchmark, evaluate_prm
from lrm_jax.evaluation.step_quality import step_quality
from lrm_jax.recipes.imported_reward import ImportedReward
from lrm_jax.recipes.prm_run import RewardRun, Solution
from lrm_jax.types import UserError

TUNED = "tuned"


class _Scorer:
    """Scores of solutions; those that cannot be read are None, and counted."""

    def __init__(self, run: RewardRun | ImportedReward) -> None:
        self.run = run
        self.unreadable = 0
        self.reason = ""

    def __call__(self, solutions: Sequence[Solution]) -> list[Scores]:
        refusals = [self.run.refusal(*one) for one in solutions]
        kept = [x for x, why in zip(solutions, refusals, strict=True) if why is None]
        found = iter(self.run.score_all(kept) if kept else ())
        self.unreadable = len(solutions) - len(kept)
        self.reason = next((why for why in refusals if why is not None), "")
        return [None if why is not None else next(found).steps for why in refusals]


def evaluate_benchmark(
    run: RewardRun | ImportedReward,
    kind: Benchmark,
    path: str,
    *,
    threshold: float | str | None = None,
    limit: int = 0,
) -> dict[str, Any]:
    """Measure a reward model on the files of a benchmark.

    A solution whose steps the model's rule cannot tell apart, or that is longer than
    the model reads, counts as one that was not understood; how many there are is told.

    Args:
      run: see `registry.load`.
      kind: of benchmark.
      path: file, or folder of subsets.
      threshold: a step that scores below it is judged wrong; None for 0.5 of
        probabilities and 0 of progress; `tuned` to tune it on a part of the items.
      limit: items to use, the first ones; 0 for all.

    Returns:
      See `evaluate_prm`; and {semantics, unreadable, first_unreadable, step}.

    Raises:
      UserError: a file that is not of the benchmark, or no solution can be read.
    """
    cut = _threshold(run, threshold)
    scorer = _Scorer(run)
    report = evaluate_prm(scorer, kind, path, threshold=cut, limit=limit)
    if scorer.unreadable == report["n"] + report.get("tuned_on", 0):
        raise UserError(f"{path}: no solution can be read: {scorer.reason}")
    return report | {
        "semantics": run.semantics,
        "unreadable": scorer.unreadable,
        "first_unreadable": scorer.reason,
        "data": path,
        "step": run.step,
    }


def evaluate_labelled(run: ImportedReward, path: str) -> dict[str, Any]:
    """Measure an imported reward model on labelled steps, of any known format.

    Args:
      run: the model.
      path: see `data.step_files.read_steps`.

    Returns:
      {n, semantics, metrics, unreadable, data, step}; AUROC as `HeldOutSteps` has it,
      a label above 0.5 being right.

    Raises:
      UserError: no labelled steps, or none that can be read.
    """
    records, _ = read_steps(path)
    scorer = _Scorer(run)
    scores = scorer([(record.prompt, record.steps) for record in records])
    said, right, index = [], [], []
    for record, one in zip(records, scores, strict=True):
        for i, label in enumerate(record.labels):
            if one is not None and label is not None:
                said.append(one[i])
                right.append(label > 0.5)
                index.append(i)
    if not said:
        raise UserError(f"{path}: no labelled step can be read: {scorer.reason}")
    quality = step_quality(said, right, index)
    defined = lambda x: float(x) if np.isfinite(x) else 0.5
    cut = _threshold(run, None)
    judged = np.asarray(said) >= cut
    return {
        "n": len(records) - scorer.unreadable,
        "semantics": run.semantics,
        "metrics": {
            "prm/held_out_accuracy": float(np.mean(judged == np.asarray(right))),
            "prm/held_out_label_rate": float(np.mean(right)),
            "prm/auroc": defined(quality.auroc),
            "prm/auroc_within_index": defined(quality.within_index),
            "prm/auroc_by_index": defined(quality.by_index),
        },
        "unreadable": scorer.unreadable,
        "data": path,
        "step": run.step,
    }


def _threshold(
    run: RewardRun | ImportedReward, asked: float | str | None
) -> float | None:
    if asked == TUNED:
        return None
    if asked is None:
        return 0.0 if run.semantics == "progress" else 0.5
    try:
        return float(asked)
    except ValueError:
        raise UserError(
            f"threshold {asked!r}: expected a number, or {TUNED!r}"
        ) from None
