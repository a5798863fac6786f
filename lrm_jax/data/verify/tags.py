# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The form of a completion: `<think>...</think><answer>...</answer>`."""

from typing import NamedTuple

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
TAGS = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)
_SPACE = " \t\r\n"


class Tagged(NamedTuple):
    """A completion taken apart.

    Attributes:
      thought: what stands between the think tags; "" where they are missing.
      answer: what stands between the answer tags, or None where the form is broken.
      well_formed: every tag once, in order, nothing but white space around them.
    """

    thought: str
    answer: str | None
    well_formed: bool


def split_tags(text: str) -> Tagged:
    """Take a completion apart; one tag too many, missing or nested breaks the form."""
    places = [text.find(tag) for tag in TAGS]
    once = all(text.count(tag) == 1 for tag in TAGS)
    thought = text_of_thought(text)
    if not once or places != sorted(places):
        return Tagged(thought, None, False)
    ends = [place + len(tag) for place, tag in zip(places, TAGS, strict=True)]
    around = text[: places[0]] + text[ends[1] : places[2]] + text[ends[3] :]
    if around.strip(_SPACE):
        return Tagged(thought, None, False)
    return Tagged(thought, text[ends[2] : places[3]].strip(_SPACE), True)


def text_of_thought(text: str) -> str:
    """Return what stands between the first think tags (or after an open one)."""
    _, opened, rest = text.partition(THINK_OPEN)
    return rest.partition(THINK_CLOSE)[0] if opened else ""


def after_thought(text: str) -> str:
    """Return what follows the thought; "" where it was never closed."""
    head, closed, rest = text.rpartition(THINK_CLOSE)
    if closed:
        return rest
    return "" if THINK_OPEN in text else text


def open_thought(prompt: str) -> str:
    """Return the start of the completion that already stands in the prompt.

    Chat templates may end with `<think>`, or with an empty thought; the verifier
    then sees the completion with it in front.
    """
    at = prompt.rfind(THINK_OPEN)
    if at < 0:
        return ""
    inside = prompt[at + len(THINK_OPEN) :].strip(_SPACE)
    return prompt[at:].strip(_SPACE) if inside in ("", THINK_CLOSE) else ""


def worked(thought: str, answer: str) -> str:
    """Return the completion with this thought and answer."""
    return f"{THINK_OPEN}{thought}{THINK_CLOSE}{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"
