# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Formats of step-labelled solutions, each to `StepRecord`s; labels stay numbers.

One row may give several records: alternatives of a step and branches of a tree are
further prefixes, in which only what no earlier record has labelled bears a label.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lrm_jax.data.jsonl import Prompt, check_prompt
from lrm_jax.types import UserError

Row = Mapping[str, Any]


class StepRecord(NamedTuple):
    """A solution, step by step.

    Attributes:
      prompt: text, or messages.
      steps: texts without separators.
      labels: of each step; None where it bears none (or another record bears it).
      source: format that it was read from.
    """

    prompt: Prompt
    steps: tuple[str, ...]
    labels: tuple[float | None, ...]
    source: str


class Excluded(Exception):
    """A row that its format says is not to be learned from; the message says why."""


class Ratings(NamedTuple):
    """What the ratings of PRM800K mean as labels; None labels nothing.

    The paper counts neutral steps as right (Lightman et al. 2023, section 2.6).
    Steps that the labellers wrote themselves have no rating.
    """

    wrong: float | None = 0.0
    neutral: float | None = 1.0
    right: float | None = 1.0
    human: float | None = None


def read_plain(row: Row) -> Iterator[StepRecord]:
    """Read `{prompt, steps, labels}`: our own, labels numbers or null."""
    yield _record(row["prompt"], row["steps"], row["labels"], "steps")


def read_trl(row: Row) -> Iterator[StepRecord]:
    """Read TRL's stepwise supervision: `{prompt, completions, labels}`.

    TRL's trainer rounds labels to whole numbers; here 0.9 stays 0.9.
    """
    yield _record(row["prompt"], row["completions"], row["labels"], "trl")


def read_math_shepherd(
    row: Row, *, tag: str = "ки", first: str = "Step 1:"
) -> Iterator[StepRecord]:
    """Read Math-Shepherd: `input` with a tag after each step, `label` with + or -.

    A tag that the label's text leaves as it is, is a word of the solution.

    Args:
      row: of the file.
      tag: after each step.
      first: how the first step begins; what is before it is the prompt.
    """
    text, signs = _text(row, "input"), _text(row, "label")
    pieces: list[str] = []
    labels: list[float] = []
    begin = at = there = 0
    while (found := text.find(tag, at)) >= 0:
        there += found - at
        if text[at:found] != signs[there - (found - at) : there]:
            raise UserError(f"input and label differ before tag {len(labels) + 1}")
        at = found + len(tag)
        if signs.startswith(tag, there):
            there += len(tag)
            continue
        sign = signs[there : there + 1]
        if sign not in ("+", "-"):
            raise UserError(f"label {len(labels) + 1} is {sign!r}: expected '+' or '-'")
        there += 1
        pieces.append(text[begin:found].strip())
        labels.append(float(sign == "+"))
        begin = at
    if text[at:] != signs[there:]:
        raise UserError(f"input and label differ after tag {len(labels)}")
    if text[begin:].strip():
        raise UserError(
            f"{len(labels)} labels and {len(labels) + 1} steps: text after the last tag"
        )
    if not pieces:
        raise UserError(f"no step separator: no tag {tag!r} has a label")
    prompt, pieces[0] = _split_first(pieces[0], first)
    yield _record(prompt, pieces, labels, "math_shepherd")


def read_chat(row: Row, *, first: str = "Step 1:") -> Iterator[StepRecord]:
    """Read RLHFlow's conversations: a turn for each step, answered + or -.

    Args:
      row: of the file; `conversations` or `messages`.
      first: how the first step begins; what is before it in its turn is the prompt.
    """
    turns = row.get("conversations", row.get("messages"))
    if not isinstance(turns, list) or not all(isinstance(t, Mapping) for t in turns):
        raise UserError("conversations: expected a list of turns")
    said = [(turn.get("role"), turn.get("content")) for turn in turns]
    if len(said) % 2 or any(
        role != ("user", "assistant")[i % 2] or not isinstance(text, str)
        for i, (role, text) in enumerate(said)
    ):
        raise UserError(
            f"{len(said) // 2} labels and {len(said) - len(said) // 2} steps: expected "
            "turns of user and assistant by turns"
        )
    steps = [str(text).strip() for _, text in said[::2]]
    signs = [str(text).strip() for _, text in said[1::2]]
    for i, sign in enumerate(signs):
        if sign not in ("+", "-"):
            raise UserError(f"label {i + 1} is {sign!r}: expected '+' or '-'")
    if not steps:
        raise UserError("conversations: no turn")
    prompt, steps[0] = _split_first(steps[0], first)
    yield _record(prompt, steps, [float(s == "+") for s in signs], "chat")


def read_prm800k(
    row: Row, *, ratings: Ratings | None = None, alternatives: bool = True
) -> Iterator[StepRecord]:
    """Read PRM800K: the way that the labellers took, then its alternatives.

    Args:
      row: of the file.
      ratings: what -1, 0 and 1 mean; None for `Ratings()`.
      alternatives: give the other completions of each step too, as further prefixes.

    Raises:
      Excluded: a question of quality control or of the labellers' screening.
    """
    for name in ("is_quality_control_question", "is_initial_screening_question"):
        if row.get(name):
            raise Excluded(name)
    ratings = ratings or Ratings()
    prompt = row["question"]["problem"]
    way: list[str] = []
    labels: list[float | None] = []
    branches: list[tuple[list[str], float]] = []
    for step in row["label"]["steps"]:
        completions = step.get("completions") or []
        chosen, human = step.get("chosen_completion"), step.get("human_completion")
        for i, one in enumerate(completions):
            label = _rating(one, ratings)
            if i != chosen and label is not None:
                branches.append(([*way, one["text"]], label))
        if chosen is not None:
            way.append(completions[chosen]["text"])
            labels.append(_rating(completions[chosen], ratings))
        elif human is not None:
            way.append(human["text"])
            labels.append(ratings.human)
        else:
            break
    if any(label is not None for label in labels):
        yield _record(prompt, way, labels, "prm800k")
    for steps, label in branches if alternatives else ():
        alone = [*[None] * (len(steps) - 1), label]
        yield _record(prompt, steps, alone, "prm800k")


def read_math_aps(row: Row) -> Iterator[StepRecord]:
    """Read OmegaPRM's prefixes: `reasoning_steps` of `solution_prefix`, `mc_value`.

    A prefix continues the longest other one that it begins with; the question alone
    is no step.
    """
    values = {
        str(one["solution_prefix"]): _number(one["mc_value"], "mc_value")
        for one in row["reasoning_steps"]
    }
    question = _text(row, "question")
    texts = sorted(values, key=len)
    above: dict[str, str] = {}
    for i, text in enumerate(texts):
        if not text.startswith(question):
            raise UserError("a solution_prefix does not begin with its question")
        before = [other for other in texts[:i] if text.startswith(other)]
        above[text] = before[-1] if before else question
    leaves = [text for text in texts if text not in above.values()]
    told: set[str] = set()
    for leaf in leaves:
        way = []
        while leaf != question:
            way.append(leaf)
            leaf = above[leaf]
        steps, labels = [], []
        for text in reversed(way):
            steps.append(text[len(above[text]) :].strip())
            labels.append(None if text in told else values[text])
            told.add(text)
        if steps:
            yield _record(question, steps, labels, "math_aps")


def read_math_aps_tree(row: Row) -> Iterator[StepRecord]:
    """Read OmegaPRM's trees: nodes of `text`, `mc_value`, `children`; no root step."""
    told: set[int] = set()
    question = _text(row, "question")
    waiting = [(child, []) for child in row["reasoning_steps"].get("children") or []]
    while waiting:
        node, way = waiting.pop(0)
        way = [*way, node]
        children = node.get("children") or []
        waiting = [(child, way) for child in children] + waiting
        if children:
            continue
        labels = [
            None if id(one) in told else _number(one["mc_value"], "mc_value")
            for one in way
        ]
        told |= {id(one) for one in way}
        steps = [str(one["text"]).strip() for one in way]
        yield _record(question, steps, labels, "math_aps_tree")


FORMATS: dict[str, Callable[[Row], Iterator[StepRecord]]] = {
    "steps": read_plain,
    "trl": read_trl,
    "math_shepherd": read_math_shepherd,
    "prm800k": read_prm800k,
    "chat": read_chat,
    "math_aps": read_math_aps,
    "math_aps_tree": read_math_aps_tree,
}


def guess_format(row: Row) -> str:
    """Return the format that a row is of.

    Raises:
      UserError: it is none of them.
    """
    if "labels" in row and ("steps" in row or "completions" in row):
        return "steps" if "steps" in row else "trl"
    if isinstance(row.get("label"), str) and "input" in row:
        return "math_shepherd"
    if isinstance(row.get("label"), Mapping) and "question" in row:
        return "prm800k"
    if "conversations" in row or "messages" in row:
        return "chat"
    if "reasoning_steps" in row:
        tree = isinstance(row["reasoning_steps"], Mapping)
        return "math_aps_tree" if tree else "math_aps"
    raise UserError(
        f"columns {', '.join(map(repr, row)) or 'none'} are of no format with labelled "
        f"steps; known are {', '.join(FORMATS)}"
    )


def _record(prompt: Any, steps: Any, labels: Any, source: str) -> StepRecord:
    for name, value in (("steps", steps), ("labels", labels)):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UserError(f"{name}: expected a list")
    if len(steps) != len(labels):
        raise UserError(f"{len(labels)} labels and {len(steps)} steps")
    for i, step in enumerate(steps):
        if not isinstance(step, str) or not step.strip():
            raise UserError(f"step {i + 1} of {len(steps)} is empty or no text")
    numbers = [
        None if label is None else _number(label, f"label {i + 1}")
        for i, label in enumerate(labels)
    ]
    if all(number is None for number in numbers):
        raise UserError(f"{len(steps)} steps and no label")
    return StepRecord(
        check_prompt(prompt, "prompt"), tuple(steps), tuple(numbers), source
    )


def _number(value: Any, what: str) -> float:
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise UserError(f"{what} is {value!r}: expected a finite number, true or false")
    return float(value)


def _rating(completion: Row, ratings: Ratings) -> float | None:
    rating = completion.get("rating")
    if rating is None or completion.get("flagged"):
        return None
    if rating not in (-1, 0, 1):
        raise UserError(f"rating {rating!r}: expected -1, 0 or 1")
    return ratings[int(rating) + 1]


def _split_first(text: str, first: str) -> tuple[str, str]:
    """Split the first piece into the prompt and the first step."""
    at = text.rfind(first)
    if at < 1 or not text[:at].strip():
        raise UserError(f"no {first!r} after the prompt: where does step 1 begin?")
    return text[:at].strip(), text[at:]


def _text(row: Row, name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise UserError(f"{name}: expected text")
    return value
