# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs in a child process: compares two LaTeX answers with math-verify.

Only here: math-verify's own time limit is a signal to the main thread, so it is
turned off, and `pool.py` ends a comparison that takes too long.
"""

import logging

from math_verify import parse, verify  # pyright: ignore[reportMissingImports]

logging.disable(logging.CRITICAL)  # it logs every answer it cannot read


def equal(pair: list[str]) -> bool | None:
    """Return whether (gold, answer) are equal, None where one cannot be read."""
    gold, answer = (parse(_as_math(text), parsing_timeout=None) for text in pair)  # pyright: ignore[reportArgumentType]
    if not gold or not answer:
        return None
    return bool(verify(gold, answer, timeout_seconds=None))


def _as_math(text: str) -> str:
    """Return the text as inline math, which it must be to be found."""
    return text if "$" in text or "\\boxed" in text else f"${text}$"
