# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Absurd powers and factorials are told from those of real answers."""

import pytest

from lrm_jax.data.verify.towers import is_tower
from tests.timing import quickest


@pytest.mark.parametrize(
    "text",
    [
        *("9^{9^{9^9}}", "9^{9^{9^{123}}}", "9^9^9", "9**9**9**9", "9^{9^9}", "9^{9!}"),
        *("(9^{999})^{9999}", "9^{99999999}", "10^{9*9999}", r"9^{\frac{99999}{1}}"),
        *("1000000000!", "(9!)!", "9!!", "1e999999999", r"\sum_{n=1}^{10^9} n"),
        r"\frac{9^{9^{9^9}}}{9^{9^{9^9}}}",
    ],
)
def test_towers(text):
    assert is_tower(text)
    assert is_tower(f"x + {text}")


@pytest.mark.parametrize(
    "text",
    [
        *("2^{10}", "3^{2^3}", "2^{5^2}", "2^{2021}", "x^2", "e^{x^2}", "e^{i\\pi/3}"),
        *("5!", "1000!", "n!", "a != b", "1.5e-3", r"3 \cdot 10^8", r"90^\circ", ""),
        *("(x+1)^{10}(x^2+3)^{12}", "x^2+y^2+z^{100}", r"\binom{10}{3}", "1,234,567"),
        r"10^{\frac{-5+\sqrt{13}}{6}}",
    ],
)
def test_no_towers(text):
    assert not is_tower(text)


@pytest.mark.parametrize(
    "piece", ["^", "^{", "{", "}", "!", "9", "^9", "**", " ", "9^"]
)
def test_a_piece_repeated_takes_no_time(piece):
    text = (piece * 2000)[:2000]
    assert quickest(lambda: is_tower(text), limit=0.05) < 0.05
