# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Numbers as people write them: exact values of `1,234.50`, `\frac{3}{4}`, `50%`.

ASCII digits only: other scripts' digits are no numbers here. Nothing is evaluated
beyond a fraction, a mixed number and a power of ten, and lengths are bounded.
"""

import re
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 400
_MAX_EXPONENT = 400
_ROUNDED_FROM = 6  # a decimal with as many places may be a rounded value

_MINUS = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u2012": "-", "\ufe63": "-", "\uff0d": "-"}
)
_SPACES = re.compile(
    r"(?:\\[,;:! ]|\\q?quad(?![A-Za-z])|[\u00a0\u2009\u202f\u2007~]|\s)+"
)
DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_UNSIGNED = re.compile(rf"(?:{DECIMAL})")
_SCIENTIFIC = re.compile(
    rf"({DECIMAL})(?: ?(?:\\times|\\cdot|[x*\u00d7\u00b7]) ?10 ?\^ ?"
    r"(?:\{ ?([+-]?[0-9]{1,5}) ?\}|([+-]?[0-9]{1,5}))|[eE]([+-]?[0-9]{1,5}))"
)
_SLASH = re.compile(rf"({DECIMAL}) ?/ ?({DECIMAL})")
_FRAC = re.compile(
    rf"\\[dtc]?frac ?(?:\{{ ?(-?(?:{DECIMAL})) ?\}}|([0-9])) ?"
    rf"(?:\{{ ?(-?(?:{DECIMAL})) ?\}}|([0-9]))"
)
_MIXED = re.compile(r"([0-9]{1,100}) ?(?= |\\[dtc]?frac)(.+)", re.DOTALL)


class Number(NamedTuple):
    """An exact value and how it was written.

    Attributes:
      value: as written; `50%` is 50 with `percent`.
      percent: whether a percent sign followed.
      places: digits after the point of a decimal, 0 for everything else.
    """

    value: Fraction
    percent: bool = False
    places: int = 0


def parse_number(text: str) -> Number | None:
    r"""Return the number that the whole text writes, or None.

    Accepted: sign, thousands separators, decimals, `a/b`, `\frac`, mixed numbers,
    powers of ten, a percent sign. Units are taken off by `units.strip_units`.
    """
    if len(text) > 4 * MAX_DIGITS:
        return None
    text = _SPACES.sub(" ", text.translate(_MINUS)).replace("{,}", ",").strip()
    percent = False
    for mark in ("\\%", "%", "\\percent", "percent"):
        if text.endswith(mark):
            text, percent = text[: -len(mark)].rstrip(), True
            break
    sign = 1
    if text[:1] in ("-", "+"):
        sign, text = (-1 if text[0] == "-" else 1), text[1:].lstrip()
    found = _parse_unsigned(text)
    if found is None:
        return None
    return Number(sign * found.value, percent, found.places)


def _parse_unsigned(text: str) -> Number | None:
    if _UNSIGNED.fullmatch(text):
        return Number(_decimal(text), places=len(text.partition(".")[2]))
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = int(next(g for g in match.groups()[1:] if g is not None))
        if abs(exponent) > _MAX_EXPONENT:
            return None
        return Number(_decimal(match[1]) * Fraction(10) ** exponent)
    fraction = _parse_fraction(text)
    if fraction is not None:
        return Number(fraction)
    if match := _MIXED.fullmatch(text):
        fraction = _parse_fraction(match[2].strip())
        if fraction is not None and 0 <= fraction < 1:
            return Number(int(match[1]) + fraction)
    return None


def _parse_fraction(text: str) -> Fraction | None:
    if match := _SLASH.fullmatch(text):
        top, bottom = match[1], match[2]
    elif match := _FRAC.fullmatch(text):
        top, bottom = match[1] or match[2], match[3] or match[4]
    else:
        return None
    below = _decimal(bottom)
    return _decimal(top) / below if below else None


def _decimal(text: str) -> Fraction:
    """Exact value of a decimal (Fraction(text) refuses the separators)."""
    digits = text.replace(",", "")
    return Fraction("0" + digits if digits.startswith(".") else digits)


def equal_numbers(a: Number, b: Number) -> bool:
    """Return whether two numbers are the same; symmetric.

    `50%` is 50 and is 0.5. A decimal with six or more places is also what rounds
    to it (1/3 and 0.333333).
    """
    return any(
        _same(Number(x, places=a.places), Number(y, places=b.places))
        for x in _values(a)
        for y in _values(b)
    )


def _values(number: Number) -> tuple[Fraction, ...]:
    if number.percent:
        return (number.value, number.value / 100)
    return (number.value,)


def _same(a: Number, b: Number) -> bool:
    if a.value == b.value:
        return True
    places = max(a.places, b.places)
    if places < _ROUNDED_FROM:
        return False
    half_unit = Fraction(1, 2 * 10**places)
    return abs(a.value - b.value) <= half_unit


def parse_integer(text: str) -> int | None:
    """Return the integer of plain ASCII digits (`-` allowed, no leading zero)."""
    if len(text) <= MAX_DIGITS and re.fullmatch(r"-?(?:0|[1-9][0-9]*)", text):
        return None if text == "-0" else int(text)
    return None
