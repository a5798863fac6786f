# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Values of written expressions of whole numbers: a small parser, no `eval`.

sum = product (("+" | "-") product)*
product = atom (("*" | "/") atom)*
atom = digits | "(" sum ")"
"""

import re
from fractions import Fraction
from typing import NamedTuple

MAX_LENGTH = 400
_MAX_DEPTH = 40
_TOKEN = re.compile(r" *([0-9]{1,18}|[-+*/()])")


class Expression(NamedTuple):
    """A parsed expression.

    Attributes:
      value: exact, None where it divides by zero.
      numbers: the numbers it is made of, as written from left to right.
    """

    value: Fraction | None
    numbers: tuple[int, ...]


def parse_expression(text: str) -> Expression | None:
    """Return the expression that the whole text is, or None."""
    tokens: list[str] = []
    at, text = 0, text.rstrip(" ")
    if len(text) > MAX_LENGTH:
        return None
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        tokens.append(match[1])
        at = match.end()
    reader = _Reader(tokens)
    try:
        value = reader.sum(0)
    except _NoExpression:
        return None
    return (
        Expression(value, tuple(reader.numbers)) if reader.at == len(tokens) else None
    )


class _NoExpression(Exception):
    """The tokens are no expression."""


class _Reader:
    """Recursive descent over tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0
        self.numbers: list[int] = []

    def next_in(self, signs: str) -> str:
        """Return the next token and step over it, if it is one of the signs."""
        if self.at < len(self.tokens) and self.tokens[self.at] in tuple(signs):
            self.at += 1
            return self.tokens[self.at - 1]
        return ""

    def sum(self, depth: int) -> Fraction | None:
        """Read a sum."""
        value = self.product(depth)
        while sign := self.next_in("+-"):
            other = self.product(depth)
            if value is not None and other is not None:
                value = value + other if sign == "+" else value - other
            else:
                value = None
        return value

    def product(self, depth: int) -> Fraction | None:
        """Read a product."""
        value = self.atom(depth)
        while sign := self.next_in("*/"):
            other = self.atom(depth)
            if value is None or other is None or (sign == "/" and other == 0):
                value = None
            else:
                value = value * other if sign == "*" else value / other
        return value

    def atom(self, depth: int) -> Fraction | None:
        """Read a number or what stands in parentheses."""
        if depth > _MAX_DEPTH:
            raise _NoExpression
        if self.next_in("("):
            value = self.sum(depth + 1)
            if not self.next_in(")"):
                raise _NoExpression
            return value
        token = self.tokens[self.at] if self.at < len(self.tokens) else ""
        if not token.isdigit() or (token[0] == "0" and len(token) > 1):
            raise _NoExpression
        self.at += 1
        self.numbers.append(int(token))
        return Fraction(int(token))
