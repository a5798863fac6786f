# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""PRMBench (arXiv 2501.03124): every step of a solution judged, in nine classes.

`PRMScore = (F1 + F1_neg) / 2` over all steps of valid items, where F1 takes right
steps as positive and F1_neg wrong ones. Labels count steps from 1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lrm_jax.data.jsonl import read_objects
from lrm_jax.evaluation.process_bench import ScoreFn, Scores
from lrm_jax.types import UserError

INVERTED = ("redundency", "circular")
"""Classes (as spelt there) of which a judge may say how redundant a step is."""


class LabelledItem(NamedTuple):
    """A solution with every step labelled.

    Attributes:
      prompt: the problem.
      steps: of the solution.
      wrong: indices of wrong steps, from 0.
      kind: class of its errors.
    """

    prompt: str
    steps: tuple[str, ...]
    wrong: frozenset[int]
    kind: str


def load_prm_bench(path: str | Path) -> list[LabelledItem]:
    """Read PRMBench as JSONL, `.gz` too.

    Its own columns (`modified_question`, `modified_process`) or those of our copy
    (`question`, `steps`).

    Raises:
      UserError: a column is missing, or an error step is no step of its solution.
    """
    items = [_item(row, f"{path}, line {line}") for line, row in read_objects(path)]
    if not items:
        raise UserError(f"{path}: no items")
    return items


def evaluate_prm_bench(
    score_fn: ScoreFn,
    items: Sequence[LabelledItem],
    *,
    threshold: float = 0.5,
    redundancy: bool = False,
) -> dict[str, Any]:
    """Measure a judge.

    Args:
      score_fn: scores of the steps of solutions, rising with how right they are, or
        None for one that could not be judged: it lowers the validity rate and is left
        out of the rest, as in the published code.
      items: of `load_prm_bench`.
      threshold: a step below it is judged wrong.
      redundancy: in the classes `INVERTED` scores say how redundant a step is, as
        some judges answer: their polarity is inverted, and a step *above* the
        threshold is judged wrong.

    Returns:
      {benchmark, title, n, steps, threshold, validity, prm_score, f1, f1_neg,
      first_error_acc, classes: {name: the same}}. A score is None where its F1_neg
      has nothing to be of (no wrong step and none judged wrong).

    Raises:
      UserError: scores and steps of different number.
    """
    scores = list(score_fn([(item.prompt, item.steps) for item in items]))
    if len(scores) != len(items):
        raise UserError(f"{len(scores)} answers to {len(items)} items")
    pairs = [
        (item, _says_right(x, item, threshold, redundancy and item.kind in INVERTED))
        for item, x in zip(items, scores, strict=True)
    ]
    classes = {
        name: _measure([pair for pair in pairs if pair[0].kind == name])
        for name in dict.fromkeys(item.kind for item in items)
    }
    return {
        "benchmark": "prmbench",
        "title": "PRMBench PRMScore",
        "threshold": threshold,
        **_measure(pairs),
        "classes": classes,
    }


def _says_right(
    scores: Scores, item: LabelledItem, threshold: float, inverted: bool
) -> np.ndarray | None:
    """Return which steps are judged right, `[S]` bool."""
    if scores is None:
        return None
    if len(scores) != len(item.steps):
        raise UserError(f"{len(scores)} scores of {len(item.steps)} steps")
    values = np.asarray(scores, float)
    return values <= threshold if inverted else values >= threshold


def _measure(pairs: list[tuple[LabelledItem, np.ndarray | None]]) -> dict[str, Any]:
    """Pool the steps of items and what was said of them."""
    right, said, first = [], [], []
    for item, one in pairs:
        if one is None:
            continue
        right += [i not in item.wrong for i in range(len(item.steps))]
        said += one.tolist()
        if item.wrong:
            first.append(not one[min(item.wrong)])
    is_right, says_right = np.asarray(right, bool), np.asarray(said, bool)
    f1 = _f1(is_right, says_right)
    f1_neg = _f1(~is_right, ~says_right)
    valid = sum(one is not None for _, one in pairs)
    return {
        "n": len(pairs),
        "steps": len(right),
        "validity": valid / len(pairs) if pairs else None,
        "prm_score": None if f1 is None or f1_neg is None else (f1 + f1_neg) / 2,
        "f1": f1,
        "f1_neg": f1_neg,
        "first_error_acc": float(np.mean(first)) if first else None,
    }


def _f1(is_one: np.ndarray, says_one: np.ndarray) -> float | None:
    """`2 TP / (2 TP + FP + FN)`; None where all three are 0."""
    hits = int((is_one & says_one).sum())
    total = int(is_one.sum()) + int(says_one.sum())
    return 2 * hits / total if total else None


def _item(row: dict[str, Any], where: str) -> LabelledItem:
    names = ("modified_question", "modified_process")
    names = names if names[1] in row else ("question", "steps")
    for name in (*names, "error_steps", "classification"):
        if name not in row:
            raise UserError(f"{where}: no column {name!r}; is it PRMBench?")
    steps, errors = row[names[1]], row["error_steps"]
    if not isinstance(steps, list) or not steps:
        raise UserError(f"{where}: {names[1]}: expected a list of steps")
    if not isinstance(errors, list) or not all(
        type(i) is int and 1 <= i <= len(steps) for i in errors
    ):
        raise UserError(
            f"{where}: error_steps={errors!r}: expected numbers from 1 to {len(steps)}"
        )
    return LabelledItem(
        str(row[names[0]]),
        tuple(map(str, steps)),
        frozenset(i - 1 for i in errors),
        str(row["classification"]),
    )
