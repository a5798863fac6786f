# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Where the answer stands in a completion: tags, `\boxed`, `####`, last number.

The lenient reading takes the last of these that is there, but never chooses for
the writer: a list of candidates is no answer.
"""

import re

from lrm_jax.data.verify.numbers import DECIMAL
from lrm_jax.data.verify.tags import (
    ANSWER_CLOSE,
    ANSWER_OPEN,
    THINK_CLOSE,
    THINK_OPEN,
    after_thought,
)

_TAIL = 20_000  # characters of a text without any mark that are searched
_NUMBER = re.compile(
    rf"(?<![0-9A-Za-z_.^])[-+\u2212]?\\?\$?(?:{DECIMAL})(?![0-9])(?: ?\\?%)?"
)
_BETWEEN = re.compile(r"[\s,;|/&*.:()\[\]-]*(?:(?:or|and|to)[\s,;:]*)?")
_STATED = re.compile(
    r"answer[\s*]{0,5}(?:is|=|:)[\s*:=]{0,5}([^\n]{0,200})", re.IGNORECASE
)
_MAX_STATED = 2  # "the answer is 5. No, the answer is 6" is one change of mind


def last_boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{...}`, braces balanced, or None."""
    at = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if at < 0:
        return None
    rest = text[at:].partition("box")[2].removeprefix("ed")
    if rest[:1] == " " and rest.lstrip()[:1] != "{":
        return rest.split(maxsplit=1)[0].rstrip("$.") if rest.strip() else None
    rest = rest.lstrip()
    if rest[:1] != "{":
        return None
    return balanced(rest)


def balanced(text: str) -> str | None:
    r"""Return what stands in the braces that the text begins with, or None."""
    depth = 0
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        brace = match[0]
        if brace == "{":
            depth += 1
        elif brace == "}":
            depth -= 1
            if depth == 0:
                return text[1 : match.start()]
    return None


def boxed_answers(text: str) -> int:
    r"""Return how many boxes there are."""
    return text.count("\\boxed") + text.count("\\fbox")


def answer_tag(text: str) -> str | None:
    """Return what the only answer tag holds, or None where it is not exactly one."""
    if text.count(ANSWER_OPEN) != 1 or text.count(ANSWER_CLOSE) != 1:
        return None
    _, _, rest = text.partition(ANSWER_OPEN)
    inside, closed, _ = rest.partition(ANSWER_CLOSE)
    return inside.strip() if closed else None


def lenient_answer(completion: str) -> str | None:
    """Return the answer a well-meaning reader finds after the thought, or None.

    In this order: the answer tag, the last box, the last `####`, the last "the
    answer is ...", the last number. Several thoughts, tags or boxes are none.
    """
    if completion.count(THINK_OPEN) > 1 or completion.count(THINK_CLOSE) > 1:
        return None
    text = after_thought(completion)
    before = completion.partition(THINK_OPEN)[0] if THINK_OPEN in completion else ""
    if ANSWER_OPEN in before or ANSWER_CLOSE in before:
        return None
    if ANSWER_OPEN in text or ANSWER_CLOSE in text:
        inside = answer_tag(text)
        if inside is None:
            return None
        return last_boxed(inside) or inside
    if boxed_answers(text):
        return last_boxed(text) if boxed_answers(text) <= _MAX_STATED else None
    if "####" in text:
        if text.count("####") > _MAX_STATED:
            return None
        return text.rpartition("####")[2].strip().partition("\n")[0].strip()
    tail = text[-_TAIL:]
    stated = _STATED.findall(tail)
    if len(set(stated)) > _MAX_STATED:
        return None
    if stated:
        return _only_number(stated[-1]) or stated[-1].strip().rstrip(".")
    return last_number(tail)


def lenient_number(completion: str) -> str | None:
    """Return the number a well-meaning reader finds, or None (see `lenient_answer`)."""
    found = lenient_answer(completion)
    return None if found is None else _only_number(found)


def last_number(text: str) -> str | None:
    """Return the last number of a text, or None where it ends a list of numbers."""
    last, end = None, -1
    listed = False
    for match in _NUMBER.finditer(text[-_TAIL:]):
        between = text[-_TAIL:][end : match.start()] if last is not None else "x"
        listed = _BETWEEN.fullmatch(between) is not None
        last, end = match[0], match.end()
    return None if listed else last


def _only_number(text: str) -> str | None:
    """The number of a short answer such as `$5 each`; None where it lists several."""
    return last_number(text)
