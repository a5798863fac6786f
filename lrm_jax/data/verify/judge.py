# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a completion to a verdict: take apart, read, compare; never raises."""

from collections.abc import Callable
from typing import Literal

from lrm_jax.data.verify.equivalence import equal_answers
from lrm_jax.data.verify.extract import lenient_number
from lrm_jax.data.verify.normal import has_foreign_digits
from lrm_jax.data.verify.numbers import parse_integer
from lrm_jax.data.verify.tags import Tagged, split_tags
from lrm_jax.data.verify.verdict import Status, Verdict

MAX_ANSWER = 2_000  # characters; a longer answer is not read
_SHOWN = 200

Check = Callable[[str], bool | None]
"""Whether an answer is right; None where it cannot be read."""


def judge(
    completion: str,
    check: Check,
    find_lenient: Callable[[str], str | None],
    check_lenient: Check | None = None,
) -> Verdict:
    """Judge a completion in the form of `tags.split_tags`.

    Args:
      completion: the whole text, with its tags.
      check: of the answer between the tags, for the strict score.
      find_lenient: finds an answer anywhere, or None.
      check_lenient: of that answer; `check` where not given.
    """
    tagged = split_tags(completion)
    outcome = _bounded(check, tagged.answer) if tagged.answer else None
    found = tagged.answer or find_lenient(completion) or ""
    lenient = outcome is True
    if outcome is None and found:  # what was read strictly is settled
        lenient = _bounded(check_lenient or check, found) is True
    return as_verdict(tagged, outcome, lenient, found)


def as_verdict(
    tagged: Tagged,
    outcome: bool | None | Literal["timeout", "crash"],
    lenient: bool,
    found: str,
) -> Verdict:
    """Put a verdict together.

    Args:
      tagged: the completion, taken apart.
      outcome: whether the answer in it, or else the one found, is right.
      lenient: whether the answer found is right.
      found: that answer.
    """
    if tagged.answer is None:
        status: Status = "no_tag"
    elif not tagged.answer:
        status = "no_answer"
    elif isinstance(outcome, str):
        status = outcome
    else:
        status = "parse_error" if outcome is None else "right" if outcome else "wrong"
    parts = {
        "format": float(tagged.well_formed),
        "thought": float(bool(tagged.thought.strip())),
    }
    strict = float(status == "right")
    return Verdict(strict, float(lenient), status, found[:_SHOWN], parts)


def _bounded(check: Check, answer: str) -> bool | None:
    return check(answer) if len(answer) <= MAX_ANSWER else None


def judge_integer(completion: str, answer: int) -> Verdict:
    """Judge against an integer: strict wants its digits, lenient any spelling."""

    def check(text: str) -> bool | None:
        value = parse_integer(text)
        return None if value is None else value == answer

    def check_lenient(text: str) -> bool | None:
        if equal_answers(str(answer), text) or has_foreign_digits(text):
            return not has_foreign_digits(text)
        found = lenient_number(text)
        return found is not None and equal_answers(str(answer), found)

    return judge(completion, check, lenient_number, check_lenient)
