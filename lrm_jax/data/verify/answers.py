# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Verdicts against a written answer: number, rules, mathematics or text."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from lrm_jax.data.verify.equivalence import equal_answers
from lrm_jax.data.verify.extract import lenient_answer, lenient_number
from lrm_jax.data.verify.forms import Form, read_form
from lrm_jax.data.verify.judge import MAX_ANSWER, as_verdict
from lrm_jax.data.verify.math_pool import Answered, MathPool
from lrm_jax.data.verify.normal import has_foreign_digits, normalise
from lrm_jax.data.verify.numbers import equal_numbers, parse_number
from lrm_jax.data.verify.tags import after_thought
from lrm_jax.data.verify.verdict import Verdict

Kind = Literal["number", "rules", "math", "text"]


@dataclasses.dataclass(frozen=True)
class JudgeConfig:
    r"""How answers are found and compared.

    Attributes:
      form: where the answer is asked for: `tags` (<answer>), `boxed` (\boxed),
        `hashes` (####), or `bare` (all that follows the thought).
      kind: `number` by value (`50%` is 50 and is 0.5; two units must agree where
        both answers have one), the lenient score also in a sentence or calculation;
        `rules` also lists, intervals, LaTeX spellings;
        `math` further by math-verify (extra `math`); `text` letter for letter, the
        lenient score but for case and spaces.
      deadline_s: seconds for one comparison of `math`.
      workers: processes of `math`.
    """

    form: Form = "tags"
    kind: Kind = "number"
    deadline_s: float = 5.0
    workers: int = 2


class AnswerJudge:
    """Judges completions against gold answers; a context manager."""

    def __init__(self, cfg: JudgeConfig) -> None:
        """Take how answers are compared.

        Raises:
          UserError: `math` without math-verify.
        """
        self.cfg = cfg
        self._pool = None
        if cfg.kind == "math":
            self._pool = MathPool(deadline_s=cfg.deadline_s, workers=cfg.workers)

    def judge(self, completions: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """Return one verdict a completion; never raises for what they hold."""
        read = [read_form(text, self.cfg.form) for text in completions]
        found = [
            tagged.answer or self._find(text) or ""
            for tagged, text in zip(read, completions, strict=True)
        ]
        pairs = [
            (gold, text)
            for gold, text in zip(golds, found, strict=True)
            if text and len(text) <= MAX_ANSWER
        ]
        results = iter(self._compare(pairs))
        verdicts = []
        for tagged, gold, text in zip(read, golds, found, strict=True):
            same: Answered = None
            if text and len(text) <= MAX_ANSWER:
                same = next(results)
            lenient = same is True
            if self.cfg.kind == "text":
                lenient = _folded(text) == _folded(gold) and bool(text)
            if self.cfg.kind == "number" and same is None and tagged.answer:
                lenient = _number_in(gold, text)
            verdicts.append(as_verdict(tagged, same, lenient, text))
        return verdicts

    def _find(self, completion: str) -> str | None:
        """Return the answer of a completion in another form."""
        if self.cfg.kind == "number":
            return lenient_number(completion)
        if self.cfg.kind == "text":
            return lenient_answer(completion) or after_thought(completion).strip()
        return lenient_answer(completion)

    def _compare(self, pairs: list[tuple[str, str]]) -> list[Answered]:
        if self._pool is not None:
            return self._pool.equal(pairs)
        if self.cfg.kind == "rules":
            return [equal_answers(gold, text) for gold, text in pairs]
        if self.cfg.kind == "text":
            return [gold.strip() == text for gold, text in pairs]
        return [equal_values(gold, text) for gold, text in pairs]

    def close(self) -> None:
        """End the processes of `math`."""
        if self._pool is not None:
            self._pool.close()

    def __enter__(self) -> "AnswerJudge":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def equal_values(gold: str, text: str) -> bool | None:
    """Return whether two numbers are the same, None where one is no number.

    `50%` is 50 and is 0.5, so that either way to write the gold is met. Units count
    only where both have one: `5` is `5 km`, but `5 m` is not.
    """
    if has_foreign_digits(gold) or has_foreign_digits(text):
        return None
    first, second = normalise(gold), normalise(text)
    a, b = parse_number(first.text), parse_number(second.text)
    if a is None or b is None:
        return None
    if first.unit and second.unit and first.unit != second.unit:
        return False
    return equal_numbers(a, b)


def _number_in(gold: str, text: str) -> bool:
    """Whether the number that an answer in words comes to is the gold one."""
    if len(text) > MAX_ANSWER or has_foreign_digits(text):
        return False
    found = lenient_number(text)
    return found is not None and equal_values(gold, found) is True


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
