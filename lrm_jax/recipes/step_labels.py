# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Step labels from a policy's own completions, written as JSONL for a reward model.

Rows are `{prompt, steps, labels, right}`, which `data/step_formats.py` reads. Every
label comes from completions by the policy itself: of a stronger one they would say
what that one can repair. All tokens are counted.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from lrm_jax import sharding
from lrm_jax.data.tasks.base import Example
from lrm_jax.recipes.step_labels_write import Completer
from lrm_jax.search.labels import consensus, step_label
from lrm_jax.search.labels_omega import (
    Labelled,
    OmegaConfig,
    Prefix,
    Rollout,
    omega_questions,
)
from lrm_jax.steps import tokenize_steps
from lrm_jax.training import files
from lrm_jax.types import UserError

OnProgress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class StepLabelConfig:
    """What is labelled, and how.

    Attributes:
      n: problems to train on, from the first; or of the test set.
      split: `train` or `test`.
      method: `mc` labels every step of sampled solutions; `omega` looks for first
        errors by halving wrong rollouts.
      solutions: of a problem (`mc`).
      completions: of a prefix, N.
      mode: `hard` (any is right) or `soft` (their share).
      consensus: keep rows whose labels by other N completions name the same first
        error (`mc`).
      separator: text between steps; the task's if empty.
      max_new: tokens of a solution at most; 0 for the run's.
      temperature: of the draws.
      batch: prefixes at a time; short batches are padded.
      lanes: completions at work at a time; 0 for all.
      omega: constants of `omega`.
      seed: of the draws.
    """

    n: int = 100
    split: Literal["train", "test"] = "train"
    method: Literal["mc", "omega"] = "mc"
    solutions: int = 4
    completions: int = 8
    mode: Literal["hard", "soft"] = "soft"
    consensus: bool = False
    separator: str = ""
    max_new: int = 0
    temperature: float = 1.0
    batch: int = 64
    lanes: int = 0
    omega: OmegaConfig = OmegaConfig()
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be labelled."""
        least = {"n": 1, "solutions": 1, "completions": 1, "batch": 1}
        least |= {"max_new": 0, "lanes": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"{name}={getattr(self, name)}: expected {low} or more")
        accepted = {
            "split": ("train", "test"),
            "method": ("mc", "omega"),
            "mode": ("hard", "soft"),
        }
        for name, names in accepted.items():
            if getattr(self, name) not in names:
                raise UserError(
                    f"{name}={getattr(self, name)!r}: expected {' or '.join(names)}"
                )


def label_run(
    run: Any,
    out: str,
    config: StepLabelConfig = StepLabelConfig(),
    *,
    data: str | None = None,
    progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Label steps of a policy's solutions and write them.

    Args:
      run: `recipes.token_run.TokenRun`.
      out: JSONL to write; one that is there is replaced.
      config: what is labelled.
      data: JSONL of problems; None for the run's own.
      progress: called with (what runs, prefixes done, prefixes).

    Returns:
      {rows, steps, right, tokens, read_tokens, completions, refused, disagreed, out,
      settings}: `tokens` were written, `read_tokens` are of the prompts and prefixes
      that they were written behind, each read once for all its completions.

    Raises:
      UserError: no problem, one that leaves no room to write, or no solution that
        could be cut into steps.
    """
    source = run.source if data is None else run.other_source(data)
    try:
        examples = _examples(source, config)
        with sharding.use_mesh(run.mesh):
            writer = Completer(run, source, config, progress)
            label = _by_halving if config.method == "omega" else _by_steps
            rows, counts = label(writer, examples, config)
    finally:
        source.close()
    if not rows:
        raise UserError(
            f"no step labels: of {len(examples)} problems no solution ended that could "
            f"be cut at {writer.rule.separator!r}"
        )
    with files.user_errors(f"labels {out} cannot be written"):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        files.write_atomic(files.as_path(out), text)
    return {
        "rows": len(rows),
        "steps": sum(len(row["steps"]) for row in rows),
        "right": float(np.mean([row["right"] for row in rows])),
        "tokens": writer.tokens,
        "read_tokens": writer.read_tokens,
        "completions": writer.written,
        **counts,
        "out": out,
        "settings": dataclasses.asdict(config),
    }


def _examples(source: Any, config: StepLabelConfig) -> list[Example]:
    if config.split == "test":
        return source.test[: config.n]
    most = source.train_size or config.n
    return [source.train_example(i) for i in range(min(config.n, most))]


def _by_steps(
    writer: Completer, examples: Sequence[Example], config: StepLabelConfig
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Label every step of sampled solutions by completions from it."""
    empty = [((), example, i) for i, example in enumerate(examples)]
    sampled = writer(empty, config.solutions, "solutions")
    rows, refused = [], 0
    for i, rollouts in enumerate(sampled):
        for rollout in rollouts:
            texts = writer.texts(rollout.steps)
            if not rollout.steps or not _cuts(writer, examples[i], rollout, texts):
                refused += 1
                continue
            rows.append((i, rollout, texts))
    labels = [_labels(writer, rows, examples, config, 0)]
    kept, disagreed = list(range(len(rows))), 0
    if config.consensus and rows:
        labels.append(_labels(writer, rows, examples, config, 1))
        agreement = consensus(*labels)
        kept, disagreed = agreement.kept, len(agreement.dropped)
    found = [
        {
            "prompt": examples[rows[r][0]].prompt,
            "steps": rows[r][2],
            "labels": labels[0][r],
            "right": rows[r][1].right,
        }
        for r in kept
    ]
    return found, {"refused": refused, "disagreed": disagreed}


def _labels(
    writer: Completer,
    rows: Sequence[tuple[int, Rollout, list[str]]],
    examples: Sequence[Example],
    config: StepLabelConfig,
    turn: int,
) -> list[list[float]]:
    """Return the labels of each row's steps; the last is the solution's verdict."""
    prefixes = [
        (rollout.steps[:step], examples[i], i)
        for i, rollout, _ in rows
        for step in range(1, len(rollout.steps))
    ]
    done = iter(writer(prefixes, config.completions, f"completions {turn + 1}"))
    found = []
    for _, rollout, _ in rows:
        labels = [
            step_label([float(r.right) for r in next(done)], config.mode)
            for _ in rollout.steps[1:]
        ]
        found.append([*labels, float(rollout.right)])
    return found


def _cuts(
    writer: Completer, example: Example, rollout: Rollout, texts: Sequence[str]
) -> bool:
    """Whether the texts of the steps are written with the very same tokens."""
    try:
        found = tokenize_steps(
            writer.tokenizer.encode, writer.encode(example), texts, writer.rule
        )
    except UserError:
        return False
    said = [token for step in rollout.steps for token in step]
    return found.ids[found.start :] == writer.without_end(said)


def _by_halving(
    writer: Completer, examples: Sequence[Example], config: StepLabelConfig
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Look for first errors in rollouts, all problems' questions at once."""
    searches = {i: omega_questions(config.omega) for i in range(len(examples))}
    asked: dict[int, Prefix] = {i: next(one) for i, one in searches.items()}
    found: dict[int, list[Labelled]] = {}
    turn = 0
    while asked:
        turn += 1
        order = list(asked)
        prefixes = [(asked[i], examples[i], i) for i in order]
        done = writer(prefixes, config.completions, f"questions {turn}")
        for i, rollouts in zip(order, done, strict=True):
            try:
                asked[i] = searches[i].send(rollouts)
            except StopIteration as over:
                found[i] = over.value
                del asked[i]
    rows, refused = [], 0
    for i in sorted(found):
        values = {one.steps: one.value for one in found[i]}
        for steps, value in values.items():
            rollout = Rollout(steps, value > 0)
            texts = writer.texts(steps)
            if not _cuts(writer, examples[i], rollout, texts):
                refused += 1
                continue
            known = [values.get(steps[: n + 1]) for n in range(len(steps))]
            labels = [
                None if v is None else step_label([v], config.mode) for v in known
            ]
            row = {"prompt": examples[i].prompt, "steps": texts, "labels": labels}
            rows.append({**row, "right": value > 0})
    return rows, {"refused": refused, "disagreed": 0}
