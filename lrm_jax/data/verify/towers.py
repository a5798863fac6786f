# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Powers and factorials that no honest answer has: they cost a whole deadline.

Found by their spelling, nothing is evaluated. `2^{10}` and `3^{2^3}` are no towers.
"""

import re

_MAX_EXPONENT = 20_000
_MAX_FACTORIAL = 1_000
_MAX_TOGETHER = 1_000_000  # the exponents of powers of powers, multiplied
_MAX_DEPTH = 2
_MANY = 10**9

_EXPONENT = re.compile(r"(?:\^|\*\*)\s*(?:\{|\()?\s*")
_NUMBER = re.compile(r"[0-9]+")
_POWER = re.compile(r"(?<![0-9])([0-9]+)\s*(?:\^|\*\*)\s*[{(]?\s*([0-9]+)\s*[})]?")
_FACTORIAL = re.compile(r"(?<![0-9])([0-9]+)\s*!(?![=])")
_ITERATED = re.compile(r"!\s*[)}\]]*\s*!")
_POWER_OF_POWER = re.compile(r"(?:[)}\]]|\\right\))\s*(?:\^|\*\*)")
_CHOOSE = re.compile(r"\\[dt]?binom\s*\{[^{}]*[0-9]{5}|[0-9][eE]\+?[0-9]{4}")


def is_tower(text: str) -> bool:
    """Return whether a value in the text is absurdly large to work out."""
    if _ITERATED.search(text) or _CHOOSE.search(text):
        return True
    if any(_size(number) > _MAX_FACTORIAL for number in _FACTORIAL.findall(text)):
        return True
    together, found = 1, _exponents(text)
    for exponent in found:
        depth = 1 + exponent.count("^") + exponent.count("**")
        size = _size_of(exponent)
        if depth > _MAX_DEPTH or size > _MAX_EXPONENT or "!" in exponent:
            return True
        together *= max(1, size)
    return together > _MAX_TOGETHER and bool(_POWER_OF_POWER.search(text))


def _exponents(text: str) -> list[str]:
    """Return what stands in every exponent that is in no other one."""
    found, at = [], 0
    while match := _EXPONENT.search(text, at):
        start = match.start() + (2 if match[0].startswith("**") else 1)
        at = _end(text, start)
        found.append(text[start:at])
    return found


def _end(text: str, start: int) -> int:
    """Return where an exponent ends: its bracket's, or after a chain of powers."""
    at, depth = start, 0
    while at < len(text):
        mark = text[at]
        depth += (mark in "{(") - (mark in "})")
        if depth < 0:
            return at
        at += 1
        rest = text[at : at + 8].lstrip()
        if depth == 0 and not mark.isspace() and not rest.startswith(("^", "**")):
            number = mark.isdigit() and text[at : at + 1].isdigit()
            if mark not in "^*-+" and not number:
                return at
    return at


def _size_of(exponent: str) -> int:
    """Return at least how large the whole numbers of an exponent make it."""
    exponent = _POWER.sub(lambda m: str(_power(m[1], m[2])), exponent)
    size = 1
    for number in _NUMBER.findall(exponent):
        size = min(_MANY, size * max(1, _size(number)))
    return size


def _power(base: str, exponent: str) -> int:
    small = _size(base) < _MAX_EXPONENT and _size(exponent) < 64
    return min(_MANY, _size(base) ** _size(exponent)) if small else _MANY


def _size(number: str) -> int:
    return int(number) if len(number) < 10 else _MANY
