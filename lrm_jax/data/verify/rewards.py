# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Completions to rewards: the verifier, the form, length, language, the user's own."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lrm_jax.data.tasks.base import Example, Message, TextTask
from lrm_jax.data.tasks.files import FileTask
from lrm_jax.data.verify import length
from lrm_jax.data.verify.language import language_score
from lrm_jax.data.verify.reward_config import LengthConfig, RewardConfig
from lrm_jax.data.verify.tags import open_thought
from lrm_jax.data.verify.user_reward import UserReward
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

FREE = -1  # a thinking budget without a bound


class RewardResult(NamedTuple):
    """Rewards of B completions.

    Attributes:
      total: `[B]` float32, the weighted sum.
      parts: `[B]` float32 each, unweighted.
      strict: `[B]` float32, whether the completion is right and in the asked form.
      lenient: `[B]` float32, whether a right answer can be found in it.
      status: the verifier's word on each.
      extracted: the answers it read.
      errors: how many rows got 0 because the user's function failed.
    """

    total: np.ndarray
    parts: dict[str, np.ndarray]
    strict: np.ndarray
    lenient: np.ndarray
    status: list[str]
    extracted: list[str]
    errors: int


@dataclasses.dataclass(frozen=True)
class _Rows:
    """What the parts are computed from, `[B]` each."""

    completions: list[str]
    verdicts: list[Verdict]
    correct: np.ndarray
    lengths: np.ndarray
    budgets: np.ndarray
    ended: np.ndarray
    group_size: int


class Rewarder:
    """Scores batches of completions of one task; a context manager.

    Closing it ends the processes of a user's function (the task's are the task's).
    """

    def __init__(self, cfg: RewardConfig, task: TextTask) -> None:
        """Take what is rewarded and the task that verifies.

        Raises:
          UserError: the user's function cannot be imported.
        """
        self.cfg, self.task = cfg, task
        if isinstance(task, FileTask):
            task.set_deadline(cfg.verify_deadline_s)
        self._user = None
        if cfg.user:
            self._user = UserReward(cfg.user, cfg.user_deadline_s)

    def score(
        self,
        prompts: Sequence[str | list[Message]],
        completions: Sequence[str],
        answers: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
        token_lengths: Sequence[int] | np.ndarray,
        thinking_tokens: Sequence[int] | np.ndarray,
        truncated: Sequence[bool] | np.ndarray,
        *,
        budgets: Sequence[int] | np.ndarray | None = None,
        prefixes: Sequence[str] | None = None,
        group_size: int = 1,
        step: int = 0,
    ) -> RewardResult:
        """Score B completions, group after group.

        Args:
          prompts: as the task gave them.
          completions: text after the prompt, without padding and end tokens.
          answers: of the examples.
          columns: of the examples, each of B entries.
          token_lengths: tokens of each completion, the end token included.
          thinking_tokens: tokens of each thought.
          truncated: whether the completion was cut off at its limit.
          budgets: thinking tokens each row was allowed, -1 for any number.
          prefixes: what of the completion already stands at the prompt's end, where
            a chat template put it there; found in prompts that are text.
          group_size: completions of one prompt, G.
          step: of training, for weights that warm up.

        Raises:
          RewardError: the user's function failed and `on_error` is `stop`.
        """
        count = len(completions)
        if count % group_size:
            raise ValueError(f"{count} completions in groups of {group_size}")
        full = _with_prefixes(prompts, completions, prefixes)
        examples = _as_examples(prompts, answers, columns)
        verdicts = self.task.verify_batch(full, examples)
        counted = {"completion": token_lengths, "thought": thinking_tokens}
        rows = _Rows(
            completions=full,
            verdicts=verdicts,
            correct=np.array([getattr(v, self.cfg.reading) for v in verdicts]),
            lengths=np.asarray(counted[self.cfg.length.counts], np.float64),
            budgets=np.full(count, FREE) if budgets is None else np.asarray(budgets),
            ended=1.0 - np.asarray(truncated, np.float64),
            group_size=group_size,
        )
        parts, weights = self._parts(rows, step)
        errors = 0
        if self._user is not None:
            user = self._user.score(
                prompts, completions, answers, columns, self.cfg.on_error
            )
            parts["user"], weights["user"] = user.rewards, self.cfg.user_weight
            errors = user.errors
        return self._result(verdicts, parts, weights, errors)

    def _result(
        self,
        verdicts: list[Verdict],
        parts: dict[str, np.ndarray],
        weights: dict[str, float],
        errors: int,
    ) -> RewardResult:
        """Add the parts up."""
        total = np.zeros(len(verdicts))
        for name, part in parts.items():
            total = total + weights[name] * part
        if self.cfg.gate == "format":
            total = np.where(parts["format"] > 0, total, 0.0)
        return RewardResult(
            total=total.astype(np.float32),
            parts={name: part.astype(np.float32) for name, part in parts.items()},
            strict=np.array([v.strict for v in verdicts], np.float32),
            lenient=np.array([v.lenient for v in verdicts], np.float32),
            status=[v.status for v in verdicts],
            extracted=[v.extracted for v in verdicts],
            errors=errors,
        )

    def _parts(
        self, rows: _Rows, step: int
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return the parts of our own, unweighted, and their weights."""
        cfg = self.cfg
        form = format_score(rows.verdicts, rows.budgets)
        parts = {"accuracy": rows.correct, "format": form}
        weights = {"accuracy": cfg.accuracy, "format": cfg.format}
        if cfg.partial:
            read = [float(v.status == "wrong") for v in rows.verdicts]
            parts["partial"] = np.array(read) * (1 - rows.correct)
            weights["partial"] = cfg.partial
        per_text: dict[str, tuple[float, Callable[[str], float]]] = {
            "language": (
                cfg.language,
                lambda text: language_score(text, cfg.language_code),
            ),
            "repetition": (cfg.repetition, length.repetition),
        }
        for name, (weight, function) in per_text.items():
            if weight:
                parts[name] = np.array([function(c) for c in rows.completions])
                weights[name] = weight
        warm = (
            min(1.0, step / cfg.length.warmup_steps) if cfg.length.warmup_steps else 1
        )
        for name, (weight, part) in length_parts(cfg.length, rows, form).items():
            parts[name], weights[name] = part, warm * weight
        return parts, weights

    def close(self) -> None:
        """End the processes of the user's function."""
        if self._user is not None:
            self._user.close()

    def __enter__(self) -> "Rewarder":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def _as_examples(
    prompts: Sequence[str | list[Message]],
    answers: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
) -> list[Example]:
    """Rows as the task's `verify_batch` takes them."""
    return [
        Example(prompt, answer, "", {name: v[i] for name, v in columns.items()})
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    ]


def _with_prefixes(
    prompts: Sequence[str | list[Message]],
    completions: Sequence[str],
    prefixes: Sequence[str] | None,
) -> list[str]:
    """Return completions with what of them already stands in the prompts."""
    if prefixes is None:
        prefixes = [open_thought(p) if isinstance(p, str) else "" for p in prompts]
    return [p + c for p, c in zip(prefixes, completions, strict=True)]


def format_score(verdicts: Sequence[Verdict], budgets: np.ndarray) -> np.ndarray:
    """Return 1 where the form is right, `[B]`.

    An empty thought is the wrong form, unless the row's budget was 0.
    """
    form = np.array([v.parts.get("format", 0.0) for v in verdicts], np.float64)
    written = np.array([v.parts.get("thought", 1.0) for v in verdicts]) > 0
    return form * (written | (budgets == 0))


def length_parts(
    cfg: LengthConfig, rows: _Rows, thought_ok: np.ndarray
) -> dict[str, tuple[float, np.ndarray]]:
    """Return weight and values `[B]` of the length rule's parts."""
    lengths, correct = rows.lengths, rows.correct
    grouped = (-1, rows.group_size)
    if cfg.rule == "none":
        return {}
    if cfg.rule == "kimi":
        part = length.kimi_length(lengths.reshape(grouped), correct.reshape(grouped))
    elif cfg.rule == "cosine":
        part = length.cosine_length(
            lengths,
            correct,
            rows.ended,
            thought_ok,
            max_length=cfg.max_length,
            right_from=cfg.right_from,
            wrong_until=cfg.wrong_until,
        )
    elif cfg.rule == "adactrl":
        return _adactrl_parts(cfg, rows)
    else:
        targets = np.where(rows.budgets >= 0, rows.budgets, cfg.target)
        if not ((rows.budgets >= 0).all() or cfg.target):
            raise UserError(
                f"reward.length.rule={cfg.rule}: a row has no thinking budget and "
                "reward.length.target is 0; set one of the two"
            )
        if cfg.rule == "l1_exact":
            part = length.l1_exact(lengths, targets, cfg.alpha)
        else:
            part = length.l1_max(lengths, targets, correct, cfg.alpha, cfg.delta)
    return {"length": (cfg.weight, part.reshape(-1))}


def _adactrl_parts(
    cfg: LengthConfig, rows: _Rows
) -> dict[str, tuple[float, np.ndarray]]:
    grouped = (-1, rows.group_size)
    tags = np.array([length.difficulty_tag(c) for c in rows.completions], object)
    tags = tags.reshape(grouped)
    easy = length.adactrl_labels(rows.correct.reshape(grouped), cfg.easy_above)
    lengths = length.adactrl_length(rows.lengths.reshape(grouped), tags, easy)
    calibration = length.adactrl_calibration(tags, easy)
    return {
        "length": (cfg.weight, lengths.reshape(-1)),
        "calibration": (cfg.calibration, calibration.reshape(-1)),
    }
