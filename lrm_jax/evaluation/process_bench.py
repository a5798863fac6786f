# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""First-error benchmarks of step judges, by ProcessBench's definition.

ProcessBench (arXiv 2412.06559): of an item the first step that is judged wrong, or
none, is compared with the first that is. F1 is the harmonic mean of the accuracy on
items with an error and on items without, and a mean over the subsets. The definition
is applied to BIG-Bench Mistake too, and its first half to MR-GSM8K, under their own
names: neither is a ProcessBench score.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lrm_jax.data.jsonl import Prompt, read_objects
from lrm_jax.evaluation.step_quality import step_quality
from lrm_jax.types import UserError

Kind = Literal["process_bench", "big_bench_mistake", "mr_gsm8k"]
Scores = Sequence[float] | None
"""Of the steps of a solution, rising with how right they are; None: unparsable."""
ScoreFn = Callable[[Sequence[tuple[Prompt, Sequence[str]]]], Sequence[Scores]]

TITLES: dict[Kind, str] = {
    "process_bench": "ProcessBench F1",
    "big_bench_mistake": "first-error F1 on BIG-Bench Mistake",
    "mr_gsm8k": "first-error accuracy on MR-GSM8K",
}
_SUFFIXES = (".jsonl", ".jsonl.gz", ".json")


class FirstErrorItem(NamedTuple):
    """A solution, and where it goes wrong.

    Attributes:
      prompt: the problem.
      steps: of the solution.
      label: index of the first wrong step, from 0; -1 for none.
      subset: that it belongs to.
    """

    prompt: str
    steps: tuple[str, ...]
    label: int
    subset: str


def load_first_errors(path: str | Path, kind: Kind) -> list[FirstErrorItem]:
    """Read the files of a benchmark, JSONL (`.gz` too) or a JSON list.

    Args:
      path: a file, or a folder whose files are subsets.
      kind: whose columns they have.

    Raises:
      UserError: no file, no item, or an item that lacks a column or whose label is
        no step of it.
    """
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.endswith(_SUFFIXES))
    items = [
        _item(row, kind, file.name.split(".")[0], f"{file}, item {number}")
        for file in files
        for number, row in enumerate(_rows(file), 1)
    ]
    if not items:
        raise UserError(f"{path}: no items of {kind}")
    return items


def first_wrong(scores: Scores, threshold: float) -> int | None:
    """Return the first step that scores below a threshold; -1 for none.

    None for an unparsable answer, which is counted as wrong whatever the label.
    """
    if scores is None:
        return None
    below = np.flatnonzero(np.asarray(scores, float) < threshold)
    return int(below[0]) if len(below) else -1


def first_error_metrics(
    labels: Sequence[int], predicted: Sequence[int | None]
) -> dict[str, Any]:
    """Return {n, n_error, acc_error, acc_correct, f1, unparsable} of a subset.

    `f1 = 2 e c / (e + c)`, and 0 where e + c is 0. An accuracy over no item is None,
    and so is the F1 then.

    Args:
      labels: index of the first wrong step; -1 for none.
      predicted: the same; None where nothing could be read.
    """
    right = [a == b for a, b in zip(labels, predicted, strict=True)]
    wrong = [r for r, label in zip(right, labels, strict=True) if label != -1]
    fine = [r for r, label in zip(right, labels, strict=True) if label == -1]
    e, c = (float(np.mean(x)) if x else None for x in (wrong, fine))
    f1 = None
    if e is not None and c is not None:
        f1 = 2 * e * c / (e + c) if e + c else 0.0
    return {
        "n": len(right),
        "n_error": len(wrong),
        "acc_error": e,
        "acc_correct": c,
        "f1": f1,
        "unparsable": sum(p is None for p in predicted),
    }


def tune_threshold(labels: Sequence[int], scores: Sequence[Scores]) -> float:
    """Return the threshold of the best F1 (accuracy, where no item or all are wrong).

    Of equally good ones the middle of the longest run of candidates; candidates lie
    between neighbouring scores.
    """
    seen = sorted({float(x) for one in scores if one is not None for x in one})
    cuts = [(a + b) / 2 for a, b in zip(seen, seen[1:], strict=False)]
    cuts = cuts[:: max(1, len(cuts) // 512)] or [0.5]
    found = []
    for cut in cuts:
        measured = first_error_metrics(labels, [first_wrong(s, cut) for s in scores])
        found.append(_headline(measured))
    best = [cut for cut, value in zip(cuts, found, strict=True) if value == max(found)]
    return best[len(best) // 2]


def evaluate_first_errors(
    score_fn: ScoreFn,
    items: Sequence[FirstErrorItem],
    kind: Kind,
    *,
    threshold: float | None = 0.5,
    tune_share: float = 0.2,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a judge.

    Args:
      score_fn: scores of the steps of solutions, or None for one.
      items: of `load_first_errors`.
      kind: of benchmark.
      threshold: a step below it is judged wrong; None to tune it on a part of the
        items that is then left out of the result.
      tune_share: that part of each subset.
      seed: of the part.

    Returns:
      {benchmark, title, n, threshold, tuned_on, subsets, f1 or acc_error,
      step_auroc}; the headline is the mean over subsets. `step_auroc` is of the steps
      up to and including the first wrong one.

    Raises:
      UserError: scores and steps of different number.
    """
    scores = list(score_fn([(item.prompt, item.steps) for item in items]))
    _check(items, scores)
    tuned = np.zeros(len(items), bool)
    if threshold is None:
        tuned = _part(items, tune_share, seed)
        which = np.flatnonzero(tuned).tolist()
        labels = [items[i].label for i in which]
        threshold = tune_threshold(labels, [scores[i] for i in which])
    subsets: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(item.subset for item in items):
        here = [i for i, x in enumerate(items) if x.subset == name and not tuned[i]]
        predicted = [first_wrong(scores[i], threshold) for i in here]
        subsets[name] = first_error_metrics([items[i].label for i in here], predicted)
    headline = "acc_error" if kind == "mr_gsm8k" else "f1"
    values = [s[headline] for s in subsets.values() if s[headline] is not None]
    kept = np.flatnonzero(~tuned).tolist()
    return {
        "benchmark": kind,
        "title": TITLES[kind],
        "n": len(kept),
        "threshold": float(threshold),
        "tuned_on": int(tuned.sum()),
        "subsets": subsets,
        headline: float(np.mean(values)) if values else None,
        "step_auroc": _auroc([items[i] for i in kept], [scores[i] for i in kept]),
    }


def _headline(measured: dict[str, Any]) -> float:
    for name in ("f1", "acc_error", "acc_correct"):
        if measured[name] is not None:
            return measured[name]
    return 0.0


def _check(items: Sequence[FirstErrorItem], scores: Sequence[Scores]) -> None:
    if len(scores) != len(items):
        raise UserError(f"{len(scores)} answers to {len(items)} items")
    for number, (item, one) in enumerate(zip(items, scores, strict=True), 1):
        if one is not None and len(one) != len(item.steps):
            raise UserError(
                f"item {number}: {len(one)} scores of {len(item.steps)} steps"
            )


def _part(items: Sequence[FirstErrorItem], share: float, seed: int) -> np.ndarray:
    """Return which items a threshold is tuned on: a share of each subset."""
    if not 0 < share < 1:
        raise UserError(f"tune_share={share}: expected a share between 0 and 1")
    chosen = np.zeros(len(items), bool)
    for name in dict.fromkeys(item.subset for item in items):
        here = np.asarray([i for i, item in enumerate(items) if item.subset == name])
        order = np.random.default_rng([seed, len(here)]).permutation(here)
        chosen[order[: max(1, round(share * len(here)))]] = True
    if chosen.all():
        raise UserError(f"tune_share={share}: nothing of {len(items)} items is left")
    return chosen


def _auroc(
    items: Sequence[FirstErrorItem], scores: Sequence[Scores]
) -> dict[str, float | None]:
    said, right, index = [], [], []
    for item, one in zip(items, scores, strict=True):
        upto = len(item.steps) if item.label < 0 else item.label + 1
        for i, score in enumerate((one or ())[:upto]):
            said.append(score)
            right.append(i != item.label)
            index.append(i)
    found = step_quality(said, right, index)._asdict()
    return {name: x if np.isfinite(x) else None for name, x in found.items()}


def _rows(file: Path) -> list[dict[str, Any]]:
    if file.name.endswith(".json"):
        try:
            rows = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{file}: no such file") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: not valid JSON: {error}") from error
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return rows
        raise UserError(f"{file}: expected a list of objects")
    return [row for _, row in read_objects(file)]


def _item(row: dict[str, Any], kind: Kind, subset: str, where: str) -> FirstErrorItem:
    columns = {
        "process_bench": ("problem", "steps", "label"),
        "big_bench_mistake": ("input", "steps", "mistake_index"),
        "mr_gsm8k": (
            "question",
            "model_output_steps",
            "model_output_solution_first_error_step",
        ),
    }[kind]
    missing = [name for name in columns if name not in row]
    if missing:
        raise UserError(f"{where}: no column {missing[0]!r}; is it {kind}?")
    prompt, steps, label = (row[name] for name in columns)
    if kind == "big_bench_mistake" and label is None:
        label = -1
    if kind == "mr_gsm8k" and isinstance(label, int):
        label -= 1  # steps are counted from 1 there
    if not isinstance(steps, list) or not steps:
        raise UserError(f"{where}: {columns[1]}: expected a list of steps")
    if type(label) is not int or not -1 <= label < len(steps):
        raise UserError(
            f"{where}: {columns[2]}={row[columns[2]]!r} is no step of {len(steps)}"
        )
    return FirstErrorItem(str(prompt), tuple(map(str, steps)), label, subset)
