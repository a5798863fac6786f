# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Stored completions of problems, read for votes: what `lrm search --samples` takes.

A line of JSON is one of
`{prompt, completion, answer, ...}`, as runs write `samples.jsonl` (with `logps`,
`verdict`, `step`, `split`);
`{prompt, completions: [step, ...], scores: [...], answer}`, a response by its steps
(TRL's stepwise supervision; `labels` in place of `scores`);
`{prompt, completions: [text, ...], scores: [...] or [[...], ...], answer}`, a problem
with all its responses, each with a score or with one for each step.
Where they are stored, `correct` (0 or 1) and `extracted` (an answer or null) of each
response are believed; otherwise its text is read and compared with `answer`.
Flat scores tell the second from the third by whether prompts come more than once.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lrm_jax.data.jsonl import Prompt, check_prompt, read_objects
from lrm_jax.data.verify.equivalence import equal_answers
from lrm_jax.data.verify.extract import lenient_answer
from lrm_jax.types import UserError

Layout = Literal["auto", "steps", "responses"]
"""What `completions` are: the steps of a response, or responses."""

_ROUNDING = 0.01  # how far above 0 a log-probability may be
_OF_EACH = ("correct", "extracted", "tokens")  # lists, where a line has responses
_UNREAD = ("no_tag", "no_answer")  # nothing that a strict reading could judge
_PROMPTS = ("prompt", "problem", "question")


class Candidate(NamedTuple):
    """One completion.

    Attributes:
      text: of it.
      steps: it was stored by; None where it is one text.
      answer: that it gives, None for none.
      right: 1 where it solves the problem, else 0.
      logprob: mean over the tokens that the policy chose, in nats; NaN if unknown.
      score: stored of the whole; None for none.
      step_scores: stored of the steps; None for none.
      tokens: it has; None if unknown.
      line: of the file.
    """

    text: str
    steps: list[str] | None
    answer: str | None
    right: float
    logprob: float
    score: float | None
    step_scores: list[float] | None
    tokens: int | None
    line: int


class StoredProblem(NamedTuple):
    """A prompt and what was written to it, in the order of the file."""

    prompt: Prompt
    candidates: list[Candidate]


def read_stored(
    path: str | Path,
    *,
    layout: Layout = "auto",
    reading: Literal["strict", "lenient"] = "strict",
    step: int | None = None,
    split: str | None = None,
) -> list[StoredProblem]:
    """Read a file of completions; those of one step, split and prompt are a problem's.

    Args:
      path: JSONL, `.gz` too; or a run folder.
      layout: what `completions` are.
      reading: which of a stored verdict's scores counts; a strict one finds no answer
        where the tags are missing or broken.
      step: only completions written at it.
      split: only those of it.

    Raises:
      UserError: names file and line: no such file, an empty one, a line that is none of
        the forms, scores and steps of different number, a score that is no number.
    """
    file = Path(path) / "samples.jsonl" if Path(path).is_dir() else Path(path)
    rows = [
        (line, row)
        for line, row in read_objects(file, constants=True)
        if step in (None, row.get("step")) and split in (None, row.get("split"))
    ]
    if not rows:
        asked = {"step": step, "split": split}
        chosen = [f"{k} {v}" for k, v in asked.items() if v is not None]
        only = f" of {' and '.join(chosen)}" if chosen else ""
        raise UserError(f"{file}: no completions{only}")
    prompts = [_prompt(row, f"{file}, line {line}") for line, row in rows]
    keys = [
        json.dumps([row.get("step"), row.get("split"), prompt])
        for (_, row), prompt in zip(rows, prompts, strict=True)
    ]
    if layout == "auto":
        layout = "steps" if max(Counter(keys).values()) > 1 else "responses"
    found: dict[str, StoredProblem] = {}
    for (line, row), prompt, key in zip(rows, prompts, keys, strict=True):
        problem = found.setdefault(key, StoredProblem(prompt, []))
        where = f"{file}, line {line}"
        for part in _responses(row, layout, where):
            problem.candidates.append(_candidate(part, reading, line, where))
    return list(found.values())


def _prompt(row: dict[str, Any], where: str) -> Prompt:
    for name in _PROMPTS:
        if name in row:
            return check_prompt(row[name], f"{where}, {name}")
    raise UserError(f"{where}: no prompt; expected one of {', '.join(_PROMPTS)}")


def _responses(
    row: dict[str, Any], layout: Layout, where: str
) -> Iterator[dict[str, Any]]:
    """One row for each response: `text`, `steps`, `score` or `scores`, and the rest."""
    texts = row.get("completions")
    scores = row.get("labels") if row.get("scores") is None else row["scores"]
    if texts is None:
        text = row.get("completion")
        if not isinstance(text, str):
            raise UserError(f"{where}: no text in completion, no list in completions")
        yield row | {"text": text, "steps": None, "scores": scores}
        return
    if not isinstance(texts, list) or not all(isinstance(x, str) for x in texts):
        raise UserError(f"{where}: completions: expected a list of texts")
    if scores is not None and not isinstance(scores, list):
        raise UserError(f"{where}: scores: expected a list, got {scores!r}")
    by_step = layout == "steps" and not any(isinstance(x, list) for x in scores or [])
    if scores is not None and len(scores) != len(texts):
        of = "steps" if by_step else "completions"
        raise UserError(f"{where}: {len(scores)} scores of {len(texts)} {of}")
    if by_step:
        yield row | {"text": "\n".join(texts), "steps": texts, "scores": scores}
        return
    told = {name: row[name] for name in _OF_EACH if name in row}
    for name, values in told.items():
        if not isinstance(values, list) or len(values) != len(texts):
            raise UserError(
                f"{where}, {name}: expected a list of {len(texts)}, one a completion"
            )
    for i, text in enumerate(texts):
        given = None if scores is None else scores[i]
        nested = isinstance(given, list)
        yield row | {
            **{name: values[i] for name, values in told.items()},
            **{"text": text, "steps": None, "index": i + 1},
            "scores": given if nested else None,
            "score": None if nested else given,
        }


def _candidate(row: dict[str, Any], reading: str, line: int, where: str) -> Candidate:
    verdict = row.get("verdict")
    which = f"{where}, completion {row['index']}" if "index" in row else where
    if "extracted" in row:
        answer = str(row["extracted"] or "").strip() or None
        right = _right(row, answer, which)
    elif isinstance(verdict, dict):
        found = reading == "lenient" or verdict.get("status") not in _UNREAD
        answer = (found and str(verdict.get("extracted") or "").strip()) or None
        right = float(_number(verdict.get(reading, 0.0), f"{where}, verdict") >= 1)
    else:
        answer = (lenient_answer(row["text"]) or "").strip() or None
        right = _right(row, answer, which)
    score, scores = row.get("score"), row.get("scores")
    return Candidate(
        text=row["text"],
        steps=row["steps"],
        answer=answer,
        right=right,
        logprob=_mean_logprob(row, which),
        score=None if score is None else _number(score, f"{which}, score"),
        step_scores=None if scores is None else _step_scores(scores, which),
        tokens=_count(row.get("tokens"), which),
        line=line,
    )


def _right(row: dict[str, Any], answer: str | None, where: str) -> float:
    """Whether the answer means the true one; or what is stored of that."""
    if "correct" in row:
        return float(_number(row["correct"], f"{where}, correct") >= 1)
    for name in ("answer", "final_answer", "gold"):
        if isinstance(row.get(name), str | int | float):
            return float(
                answer is not None and equal_answers(str(row[name]), answer) is True
            )
    raise UserError(
        f"{where}: no true answer to compare with; expected answer (or final_answer, "
        "gold), correct, or a verdict as runs write it"
    )


def _step_scores(scores: Any, where: str) -> list[float]:
    if not isinstance(scores, list):
        raise UserError(f"{where}: scores: expected a list, got {scores!r}")
    return [_number(x, f"{where}, step {i}") for i, x in enumerate(scores, 1)]


def _number(value: Any, where: str) -> float:
    try:
        found = float(value) if isinstance(value, bool | int | float) else math.nan
    except OverflowError:
        found = math.nan
    if math.isnan(found):
        shown = "NaN" if isinstance(value, float) else json.dumps(value)[:40]
        raise UserError(f"{where}: the score is {shown}, expected a number")
    return found


def _count(tokens: Any, where: str) -> int | None:
    """Tokens, of a number or a list of them."""
    if isinstance(tokens, list):
        return len(tokens)
    if tokens is None or (type(tokens) is int and 0 <= tokens < 2**31):
        return tokens
    raise UserError(f"{where}, tokens: expected a list or a number of them")


def _mean_logprob(row: dict[str, Any], where: str) -> float:
    """Mean over tokens that the policy chose; NaN where one is unknown."""
    logps = row.get("logps") or []
    count = len(logps) if isinstance(logps, list) else -1
    forced = row.get("forced") or [False] * count
    for name, values in (("logps", logps), ("forced", forced)):
        if not isinstance(values, list) or len(values) != count:
            raise UserError(f"{where}, {name}: expected a list, one a token")
    chosen = [x for x, f in zip(logps, forced, strict=True) if not f]
    known = [x for x in chosen if type(x) in (int, float) and abs(x) < math.inf]
    if max(known, default=0) > _ROUNDING:
        raise UserError(f"{where}, logps: {max(known):.4g} is no log-probability")
    return math.fsum(known) / len(known) if known == chosen != [] else math.nan
