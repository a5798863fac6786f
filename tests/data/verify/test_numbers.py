# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers as people write them: values by hand, refusals, bounds."""

from fractions import Fraction

import pytest

from lrm_jax.data.verify.numbers import (
    Number,
    equal_numbers,
    parse_integer,
    parse_number,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-12", -12),
        ("\u221212", -12),
        ("+3", 3),
        ("1,234,567.25", Fraction(123456725, 100)),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"\dfrac34", Fraction(3, 4)),
        (r"-\frac{3}{-4}", Fraction(3, 4)),
        (r"2\frac{3}{4}", Fraction(11, 4)),
        ("2 3/4", Fraction(11, 4)),
        ("-2 3/4", Fraction(-11, 4)),
        ("1e-2", Fraction(1, 100)),
        (r"5\times 10^{3}", 5000),
    ],
)
def test_values(text, value):
    number = parse_number(text)
    assert number is not None
    assert number.value == value and not number.percent


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-", "x", "1,2", "12,34", "1,2345", "1.2.3", "1/0", "1 2", "--1"),
        *("9" * 2000, "1e99999", "9^9", r"9^{9^{9^9}}", "\uff11", "\u0661", "1_000"),
        *("0x10", "inf", "nan", r"\frac{1}{0}", r"\frac{1}", "1/2/3", "2 5/3"),
    ],
)
def test_what_is_no_number(text):
    assert parse_number(text) is None


def test_percent_is_the_number_and_the_hundredth():
    percent, half = parse_number("50%"), parse_number("0.5")
    fifty, other = parse_number("50"), parse_number(r"5\%")
    assert percent == Number(Fraction(50), True, 0)
    assert percent and half and fifty and other
    assert equal_numbers(percent, half) and equal_numbers(half, percent)
    assert equal_numbers(percent, fifty) and not equal_numbers(percent, other)
    assert not equal_numbers(fifty, half)


def test_rounding_counts_from_six_places():
    def equal(a: str, b: str) -> bool:
        x, y = parse_number(a), parse_number(b)
        assert x and y
        assert equal_numbers(x, y) == equal_numbers(y, x)
        return equal_numbers(x, y)

    assert equal("0.333333", "1/3")
    assert not equal("0.33333", "1/3")
    assert not equal("0.333334", "1/3")
    assert not equal("10000001", "10000002")


def test_strict_integers():
    assert parse_integer("0") == 0 and parse_integer("-12") == -12
    for text in (
        "",
        "-0",
        "007",
        "1.0",
        "+1",
        "1,000",
        " 1",
        "\uff11",
        "9" * 500,
        "1e3",
    ):
        assert parse_integer(text) is None
