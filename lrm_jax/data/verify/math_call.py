# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs in a child process: compares two LaTeX answers with math-verify.

Only here: math-verify's own time limit is a signal to the main thread, so it is
turned off, and `pool.py` ends a comparison that takes too long.
"""

import logging
import re
from typing import Any

from math_verify import (  # pyright: ignore[reportMissingImports]
    LatexExtractionConfig,
    parse,
    verify,
)
from sympy import And, Eq, FiniteSet, Rel  # pyright: ignore[reportMissingImports]
from sympy.core.function import AppliedUndef  # pyright: ignore[reportMissingImports]

logging.disable(logging.CRITICAL)  # it logs every answer it cannot read

_NUMBER = re.compile(r"[0-9][0-9.,]*")


def equal(pair: list[str]) -> bool | None:
    """Return whether (gold, answer) are equal, None where one cannot be read."""
    gold, answer = parse(_as_math(pair[0]), parsing_timeout=None), _read(pair[1])  # pyright: ignore[reportArgumentType]
    if not gold or not answer:
        return None
    if not verify(gold, answer, timeout_seconds=None):
        return False
    return not any(_differ(sides) for sides in _chains(answer[0], gold[0]))


def _read(text: str) -> list[Any]:
    """Parse an answer; only in one with a single number that number is searched."""
    if len(_NUMBER.findall(text)) > 1:
        only_latex = [LatexExtractionConfig()]
        return parse(_as_math(text), only_latex, parsing_timeout=None)  # pyright: ignore[reportArgumentType]
    return parse(_as_math(text), parsing_timeout=None)  # pyright: ignore[reportArgumentType]


def _chains(answer: Any, gold: Any) -> list[list[Any]]:
    """Return, for each `a = b = c`, what in it may be meant as the value.

    A side with a symbol that the gold has not is a name, and so is `f(x)`.
    """
    chains = []
    known = set()
    if not isinstance(gold, str) and not gold.has(Rel):
        known = gold.free_symbols
    for one in answer.args if isinstance(answer, FiniteSet) else [answer]:
        links = one.args if isinstance(one, And) else [one]
        sides = [x for link in links if isinstance(link, Eq) for x in link.args]
        values = [x for x in sides if x.free_symbols <= known]
        chains.append([x for x in values if not x.has(AppliedUndef)])
    return chains


def _differ(sides: list[Any]) -> bool:
    return any(
        side != sides[0] and not verify([sides[0]], [side], timeout_seconds=None)
        for side in sides[1:]
    )


def _as_math(text: str) -> str:
    """Return the text as inline math, which it must be to be found."""
    return text if "$" in text or "\\boxed" in text else f"${text}$"
