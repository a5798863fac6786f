# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Where the answer stands in a completion: tags, `\boxed`, `####`, last number.

The lenient reading takes the last of these that is there, but never chooses for
the writer: a list of candidates is no answer.
"""

import itertools
import re

from lrm_jax.data.verify.normal import has_foreign_digits, is_unit, normalise
from lrm_jax.data.verify.numbers import DECIMAL, parse_number
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
_SHORT = 200  # characters of an answer that may be one number with its unit
_UNIT = re.compile(
    r" {0,3}((?:(?:square|cubic|sq|cu)\.? )?([A-Za-z]{1,12})(?:\^?[23])?"
    r"(?: per [a-z]{1,12}|/[a-z]{1,12})?)(?![A-Za-z0-9])"
)
_WORD = re.compile(r"\\?[^\W\d_]+(?:['\u2019]t\b)?")
_EQUALS = re.compile(r"[=\u2248]|\\approx")
_OFFERS = frozenset(
    "or and to vs versus maybe perhaps possibly probably either alternatively else "
    "otherwise could might may guess option candidate choice answer try".split()
)
_FILLS = frozenset("i it its is be also the a an then if as well nor but".split())
_JOINS = (_OFFERS - {"answer"}) | frozenset(
    "then next also as well first second third last".split()
)
_EITHER = frozenset("or vs versus maybe perhaps possibly alternatively".split())
_FEW = 4  # words between two numbers of which one may be meant: "40 km or 42 km"
_DENIED = re.compile(
    r"(?:\bnot|n['\u2019]t|\bnever|\bexcept|\b(?:other|rather) than|\binstead of"
    r"|\u2260|!=|\\neq?)\s{0,5}(?:(?:equal|to|be|exactly|really|the|answer|is)\s{1,5})"
    r"{0,4}[\s$*:{(]{0,5}\Z",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    r"\b(?:no|wait|actually|sorry|correct(?:ion|ed|ing)?|mistake|wrong|instead|rather"
    r"|recheck\w*|hmm)\b",
    re.IGNORECASE,
)
_CASE = re.compile(r"\bif\b[^.0-9\n]{1,40}\bthen\s{0,3}\Z", re.IGNORECASE)
_HEDGED = re.compile(
    r"(?i:\bunless\b)|\b(?i:candidate|option|choice|guess)\s{1,3}\(?[A-HJ-Z]\b"
    r"|(?i:\b(?:second|third)\s{1,3}(?:candidate|option|choice|guess)\b)"
)
_LABEL = re.compile(r"^[A-Za-z][:).]", re.MULTILINE)
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
        return _boxed(inside) if inside and boxed_answers(inside) else inside
    if boxed_answers(text):
        return _boxed(text)
    if "####" in text:
        return _hashed(text)
    return _stated(text[-_TAIL:])


def _boxed(text: str) -> str | None:
    """The last box; None where another one says otherwise and is not taken back."""
    if boxed_answers(text) > _MAX_STATED:
        return None
    at = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    first, last = last_boxed(text[:at]), last_boxed(text)
    if boxed_answers(text) > 1 and first != last and not _CORRECTED.search(text[:at]):
        return None
    return last


def _hashed(text: str) -> str | None:
    """What follows the last `####`; None as in `_boxed`."""
    _, *found = text.split("####")
    firsts = [part.strip().partition("\n")[0].strip() for part in found]
    if len(found) > _MAX_STATED:
        return None
    if len(set(firsts)) > 1 and not _CORRECTED.search(found[0]):
        return None
    return firsts[-1]


def _stated(text: str) -> str | None:
    """What "the answer is" or a last line `A:` names, else the last number."""
    stated = [part.strip().rstrip(".") for part in _STATED.findall(text)]
    if len(set(stated)) > _MAX_STATED:
        return None
    if len(set(stated)) > 1 and not _CORRECTED.search(text):
        return None
    if stated:
        return _only_number(stated[-1]) or (
            stated[-1] if not _NUMBER.search(stated[-1]) else None
        )
    line = text.rstrip().rpartition("\n")[2].strip()
    if line.startswith("A:") and len(_LABEL.findall(text)) == 1:
        return _only_number(line[2:].strip())
    return last_number(text)


def lenient_number(completion: str) -> str | None:
    """Return the number a well-meaning reader finds, or None (see `lenient_answer`)."""
    found = lenient_answer(completion)
    return None if found is None else _only_number(found)


def last_number(text: str) -> str | None:
    """Return the last number of a text, or None where it is one of several offered.

    None too where it is denied ("not 42"). The last step of a calculation
    (`12 + 30 = 42`) and the last number of prose are no offers. A known unit behind
    it comes along.
    """
    text = text[-_TAIL:]
    found = list(_NUMBER.finditer(text))
    if not found:
        return None
    last = found[-1]
    if _DENIED.search(text[max(0, last.start() - 80) : last.start()]):
        return None
    between = [
        text[one.end() : two.start()] for one, two in itertools.pairwise(found[-3:])
    ]
    read = last[0] + _unit_of(text[last.end() :])
    if not between:
        return read
    repeated = len(between) > 1 and between[0] == between[1]
    if repeated and between[0].strip() not in ("", "="):
        return None
    same = found[-2][0].strip() == last[0].strip() and between[-1] == ">>"
    if same:
        return read
    if _HEDGED.search(between[-1]) or _cases(text, found[-2], between[-1]):
        return None
    listed = _offers(between[-1]) or _same_words(between[-1], text[last.end() :])
    return None if listed else read


def _cases(text: str, first: re.Match[str], between: str) -> bool:
    """Whether two numbers are two cases: `if odd then 41, if even then 42`."""
    before = text[max(0, first.start() - 60) : first.start()]
    return bool(_CASE.search(between) and _CASE.search(before))


def _unit_of(after: str) -> str:
    """The unit that follows a number, with a space; "" where no known one does."""
    match = _UNIT.match(after[:_SHORT])
    return f" {match[1]}" if match and is_unit(match[2]) else ""


def _same_words(between: str, after: str) -> bool:
    """Whether each of two numbers has the same words behind it: `4 km in all, 5 km`."""
    if _EQUALS.search(between):
        return False
    said = [_plain_word(word) for word in _WORD.findall(between)]
    words = [word for word in said if len(word) > 1 and word not in _JOINS]
    then = [_plain_word(word) for word in _WORD.findall(after[:_SHORT])]
    return 0 < len(words) <= _FEW and words == then[: len(words)]


def _plain_word(word: str) -> str:
    """Without case and number."""
    folded = word.lower()
    return folded.removesuffix("s") if len(folded) > 3 else folded


def _offers(between: str) -> bool:
    """Whether what stands between two numbers makes them a choice or a list."""
    if _EQUALS.search(between):
        return False
    words = [word.lower() for word in _WORD.findall(between)]
    said = [word for word in words if word[0] != "\\" and len(word) > 1]
    if not said:
        return True  # marks, option letters, commands
    if _EITHER.intersection(said) and len(said) <= _FEW:
        return True
    return not _OFFERS.isdisjoint(said) and _OFFERS.union(_FILLS).issuperset(said)


def _only_number(text: str) -> str | None:
    """The number of a short answer such as `$5 each`; None where it lists several."""
    if len(text) <= _SHORT and not has_foreign_digits(text):
        if parse_number(normalise(text).text) is not None:
            return text.strip().rstrip(".")
    return last_number(text)
