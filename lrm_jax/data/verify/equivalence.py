# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether two written answers mean the same: exact rules, no evaluation.

Numbers by value; lists, tuples, intervals, sets and matrices entry by entry; all
else by its one spelling. Symmetric, never raises, bounded in time.
"""

import re

from lrm_jax.data.verify.extract import balanced
from lrm_jax.data.verify.normal import has_foreign_digits, normalise
from lrm_jax.data.verify.numbers import equal_numbers, parse_number

MAX_LENGTH = 2_000
_EFFORT = 2_500  # comparisons; each split of an answer shares them out
_MAX_BOXES = 3  # one in the other

_OPENING = ("(", "[", r"\{", "{", r"\langle")
_CLOSING = (")", "]", r"\}", "}", r"\rangle")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[][(){},;/]", re.DOTALL)
_MATRIX = re.compile(
    r"\\begin\{([pbBvV]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL
)
_LEFT_SIDE = re.compile(r"((?:[^0-9=]|_[0-9])+)(?:=|\\in(?![A-Za-z]))([^=]+)")
_DENIES = re.compile(r"[<>!?~]|\\(?:not|lnot|neg|le|ge|ne|sim)(?![A-Za-z])|not\Z")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_RELATION = re.compile(r"=|<|>|\\(?:le|ge|ne)(?![A-Za-z])")
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
_CHOICE = re.compile(r"\(?([A-Z])\)?\.?")
_WORDS = re.compile(r"[A-Za-z][A-Za-z'-]+")


def equal_answers(first: str, second: str) -> bool | None:
    """Return whether two answers mean the same, None where one cannot be read."""
    for text in (first, second):
        if not text.strip() or len(text) > MAX_LENGTH or has_foreign_digits(text):
            return None
    first, second = _unboxed(first), _unboxed(second)
    if first == second:
        return True
    a, b = normalise(first), normalise(second)
    if a.unit and b.unit and a.unit != b.unit:
        return False
    return bool(a.text and b.text) and _equal(a.text, b.text, _EFFORT)


def _unboxed(text: str) -> str:
    r"""Take off `\boxed` where it holds the whole answer."""
    text = text.strip()
    for _ in range(_MAX_BOXES):
        match = _BOX.match(text)
        inner = balanced(text[match.end() :]) if match else None
        if match is None or inner is None or text[match.end() + len(inner) + 2 :]:
            break
        text = inner.strip()
    return text


def _equal(a: str, b: str, effort: int) -> bool:
    """Compare two spellings without spaces."""
    if a == b:
        return True
    left, right = parse_number(a), parse_number(b)
    if left and right:
        return equal_numbers(left, right)
    if _WORDS.fullmatch(a) and _WORDS.fullmatch(b):
        return a.casefold() == b.casefold()
    choices = _CHOICE.fullmatch(a), _CHOICE.fullmatch(b)
    if choices[0] and choices[1]:
        return choices[0][1] == choices[1][1]
    if effort < 1:
        return False
    for simpler in (_without_left_sides, _as_intervals, _without_parentheses):
        changed = simpler(a, b)
        if changed != (a, b):
            return _equal(*changed, effort // 2)
    return _equal_parts(a, b, effort) or _plain(a) == _plain(b)


def _equal_parts(a: str, b: str, effort: int) -> bool:
    """Compare matrices, relations, lists and brackets entry by entry."""
    cells = _cells(a), _cells(b)
    if cells[0] and cells[1]:
        return _in_order(*cells, effort)
    sides = _sides(a), _sides(b)
    if sides[0] and sides[1]:
        return any(
            one[1] == sides[1][1] and _in_order(one[::2], sides[1][::2], effort)
            for one in (sides[0], _turned(sides[0]))
        )
    members = _members(a), _members(b)
    if members[0] and members[1]:
        return _any_order(*members, effort)
    inside_a, inside_b = inside_of(a), inside_of(b)
    if inside_a and inside_b:
        same_brackets = inside_a[:2] == inside_b[:2]
        return same_brackets and _in_order(inside_a[2], inside_b[2], effort)
    return _equal_fractions(a, b, effort)


def _cells(text: str) -> list[str]:
    """Return a matrix's entries, with its rows' ends; [] for anything else."""
    match = _MATRIX.fullmatch(text)
    if not match:
        return []
    rows = match[2].removesuffix(r"\\").split(r"\\")
    return [cell for row in rows for cell in [*row.split("&"), "|"]]


def _sides(text: str) -> list[str]:
    """Return left side, sign and right side of one equation or inequality."""
    found = _RELATION.findall(text)
    if len(found) != 1:
        return []
    left, sign, right = text.partition(found[0])
    return [left, sign, right.strip()]


def _turned(sides: list[str]) -> list[str]:
    """Return the same relation read from the right."""
    left, sign, right = sides
    return [right, _FLIPPED.get(sign, sign), left]


def _members(text: str) -> list[str]:
    r"""Return what has no order: of `1, 2`, `\{1, 2\}`, `A \cup B`, `\pm 1`."""
    union = split_top(text, (r"\cup",))
    if len(union) > 1:
        return union
    bare = split_top(text, (",", ";"))
    if len(bare) > 1:
        return bare
    inside = inside_of(text)
    if inside and inside[0] in ("{", r"\{"):
        return inside[2]
    if text.count(r"\pm") == 1:
        return [text.replace(r"\pm", sign).removeprefix("+") for sign in "+-"]
    return []


def _equal_fractions(a: str, b: str, effort: int) -> bool:
    r"""Compare `\frac{p}{q}` with `p/q`."""
    first, second = _over(a), _over(b)
    return bool(first and second) and _in_order(first, second, effort)


def _over(text: str) -> list[str]:
    """Return numerator (with the sign) and denominator; [] if it is no fraction."""
    sign, body = ("-", text[1:]) if text.startswith("-") else ("", text)
    match = re.fullmatch(r"\\frac\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}\{(.*)\}", body)
    if match and _closed(match[2]):
        return [sign + match[1], match[2]]
    parts = split_top(body, ("/",))
    if len(parts) == 2 and all(parts):
        return [sign + _bare(parts[0]), _bare(parts[1])]
    return []


def _bare(text: str) -> str:
    """Take one pair of parentheses off."""
    found = inside_of(text)
    return text[1:-1] if found and found[0] == "(" and len(found[2]) == 1 else text


def _without_parentheses(a: str, b: str) -> tuple[str, str]:
    return _bare(a), _bare(b)


def _without_left_sides(a: str, b: str) -> tuple[str, str]:
    r"""Take `x=` or `x\in` off where only one of the two has it."""
    in_a, in_b = _named(a), _named(b)
    if in_a and not in_b and not _RELATION.search(b):
        return in_a[2].strip(), b
    if in_b and not in_a and not _RELATION.search(a):
        return a, in_b[2].strip()
    return a, b


def _named(text: str) -> re.Match[str] | None:
    """Match `x=5`, where what is left of the sign only names the value."""
    match = _LEFT_SIDE.fullmatch(text)
    return None if match and _DENIES.search(match[1]) else match


def _as_intervals(a: str, b: str) -> tuple[str, str]:
    """Write an inequality as an interval where the other one is an interval."""
    kinds = [(_RELATION.search(t) is None) and t[:1] in ("(", "[") for t in (a, b)]
    if kinds[0] == kinds[1]:
        return a, b
    return (a, _interval(b)) if kinds[0] else (_interval(a), b)


def _interval(text: str) -> str:
    r"""Return `(5,\infty)` of `x>5` and `[1,2)` of `1\le x<2`."""
    signs = _RELATION.findall(text)
    sides = _RELATION.split(text)
    if len(signs) == 2 and all(sign in ("<", r"\le") for sign in signs):
        opening = "(" if signs[0] == "<" else "["
        return f"{opening}{sides[0]},{sides[2]}{')' if signs[1] == '<' else ']'}"
    if len(signs) == 1 and signs[0] in _FLIPPED and not any(map(str.isdigit, sides[0])):
        open_end, end = signs[0] in "<>", sides[1]
        if signs[0] in ("<", r"\le"):
            return rf"(-\infty,{end}{')' if open_end else ']'}"
        return rf"{'(' if open_end else '['}{end},\infty)"
    return text


def _in_order(a: list[str], b: list[str], effort: int) -> bool:
    share = effort // max(2, len(a))
    return len(a) == len(b) and all(
        _equal(x, y, share) for x, y in zip(a, b, strict=True)
    )


def _any_order(a: list[str], b: list[str], effort: int) -> bool:
    """Whether entries can be paired (greedily: equality is nearly transitive)."""
    if len(a) != len(b):
        return False
    pairs = max(2, len(a) * len(a))
    if pairs > effort:
        return sorted(a) == sorted(b)
    rest, share = list(b), effort // pairs
    for x in a:
        match = next((y for y in rest if _equal(x, y, share)), None)
        if match is None:
            return False
        rest.remove(match)
    return True


def split_top(text: str, marks: tuple[str, ...]) -> list[str]:
    """Split at marks that stand outside all brackets; [text] where none does."""
    parts, start, depth = [], 0, 0
    if not any(mark in text for mark in marks):
        return [text]
    for found in _TOKEN.finditer(text):
        token = found[0]
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth < 0:
            return [text]
        if depth == 0 and token in marks:
            parts.append(text[start : found.start()])
            start = found.end()
    return [*parts, text[start:]]


def inside_of(text: str) -> tuple[str, str, list[str]] | None:
    """Return brackets and entries of a text that is one bracketed list."""
    for opening in _OPENING:
        for closing in _CLOSING:
            if text.startswith(opening) and text.endswith(closing):
                body = text[len(opening) : len(text) - len(closing)]
                if body and _closed(body):
                    return opening, closing, split_top(body, (",", ";"))
    return None


def _closed(body: str) -> bool:
    """Whether every bracket in the text is closed in it, none before it opens."""
    depth = 0
    for found in _TOKEN.finditer(body):
        depth += (found[0] in _OPENING) - (found[0] in _CLOSING)
        if depth < 0:
            return False
    return depth == 0


def _plain(text: str) -> str:
    r"""Drop signs of multiplication: `2\cdot x`, `2*x` and `2x`."""
    text = re.sub(
        r"(?<=[0-9A-Za-z)}])(?:\\cdot|\\times|\*) ?(?=[A-Za-z\\({])", "", text
    )
    return re.sub(r"\^\{([^{}])\}", r"^\1", text)
