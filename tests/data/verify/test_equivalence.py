# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether two answers mean the same: a golden table, symmetry, fuzz and time."""

import functools
import json
import random

import pytest

from lrm_jax.data.verify.equivalence import equal_answers
from lrm_jax.data.verify.extract import last_boxed
from tests.timing import quickest

SAME = [
    # integers and their spellings
    ("5", "5"),
    ("5", "+5"),
    ("5", "5."),
    ("5", "5.0"),
    ("5", "$5$"),
    ("5", "$$5$$"),
    ("5", r"\(5\)"),
    ("5", r"\[5\]"),
    ("5", " 5 \n"),
    ("5", "**5**"),
    ("5", "(5)"),
    ("5", r"\text{5}"),
    ("5", r"\textbf{5}"),
    ("5", r"\mathbf{5}"),
    ("0", "-0"),
    ("0", "0.000"),
    ("007", "7"),
    ("-3", "\u22123"),
    ("-3", "\u20133"),
    ("-3", "$-3$"),
    ("-3", "- 3"),
    ("10000000000000000000000001", "10,000,000,000,000,000,000,000,001"),
    # thousands
    ("1234", "1,234"),
    ("1234567", "1,234,567"),
    ("1234567", r"1{,}234{,}567"),
    ("1234567", r"1,\!234,\!567"),
    ("1234567", r"1,\! 234,\! 567"),
    ("1,234.50", "1234.5"),
    ("14916", r"\boxed{14{,}916}"),
    # decimals
    (".5", "0.5"),
    ("0.5", "0.50"),
    ("-.25", "-0.25"),
    ("3.14", "3.140"),
    ("1e3", "1000"),
    ("1.5e-3", "0.0015"),
    ("2E5", "200000"),
    (r"1.2\times 10^3", "1200"),
    (r"1.2 \times 10^{3}", "1200"),
    (r"1.2\cdot10^{-2}", "0.012"),
    ("1.2 x 10^3", "1200"),
    ("1.2 \u00d7 10^3", "1200"),
    ("0.333333", r"\frac13"),
    ("0.666667", "2/3"),
    # fractions
    (r"\frac{1}{2}", "1/2"),
    (r"\frac{1}{2}", "0.5"),
    (r"\frac{1}{2}", ".5"),
    (r"\frac{1}{2}", r"\dfrac{1}{2}"),
    (r"\frac{1}{2}", r"\tfrac{1}{2}"),
    (r"\frac{1}{2}", r"\cfrac{1}{2}"),
    (r"\frac{1}{2}", r"\frac12"),
    (r"\frac{1}{2}", r"\frac 12"),
    (r"\frac{1}{2}", r"\frac1{2}"),
    (r"\frac{1}{2}", r"\frac{1}2"),
    (r"\frac{1}{2}", r"\frac{2}{4}"),
    (r"\frac{1}{2}", "2/4"),
    (r"-\frac{1}{2}", r"\frac{-1}{2}"),
    (r"-\frac{1}{2}", r"\frac{1}{-2}"),
    (r"-\frac{1}{2}", "-1/2"),
    (r"-\frac{1}{2}", "-0.5"),
    (r"\frac{6}{3}", "2"),
    (r"1\frac{1}{2}", "1.5"),
    (r"1 \frac{1}{2}", r"\frac{3}{2}"),
    ("1 1/2", "3/2"),
    (r"-2\frac{1}{4}", "-2.25"),
    (r"\frac{1,000}{3}", "1000/3"),
    (r"\frac{\sqrt{3}}{2}", r"\frac{\sqrt3}{2}"),
    (r"\frac{\sqrt{3}}{2}", r"\sqrt{3}/2"),
    (r"\frac{a}{b}", "a/b"),
    (r"\frac{x+1}{2}", "(x+1)/2"),
    (r"\frac{\pi}{3}", r"\pi/3"),
    (r"\frac{\pi}{3}", "\u03c0/3"),
    # percent
    ("50%", r"50\%"),
    ("50%", "50 %"),
    ("50%", "50"),
    ("50%", "0.5"),
    ("50%", r"\frac12"),
    ("12.5%", r"12.5 \%"),
    ("28 percent", "28%"),
    ("$28$ %", "28%"),
    # money and units
    ("$5", "5"),
    (r"\$5", "5"),
    (r"\$5.00", "5"),
    ("$1,250", "1250"),
    ("5 dollars", "5"),
    ("5 dollars", "5 dollar"),
    ("5", "5 apples"),
    ("5", r"5\text{ cm}"),
    ("5", r"5 \text{ cm}"),
    ("5", r"5\,\text{cm}"),
    ("5", r"5\ \mathrm{cm}"),
    ("5 cm", "5 centimeters"),
    ("5 km", "5 kilometres"),
    ("5 m", "5 meters"),
    ("12 hours", "12 h"),
    ("6 inches", "6 in"),
    (r"25 \text{ square feet}", "25 square feet"),
    (r"16\text{ cm}^2", "16"),
    (r"\frac{1}{2}\text{ mile}", "0.5 miles"),
    (r"90^\circ", "90"),
    (r"90^{\circ}", "90"),
    (r"90^\circ", "90\u00b0"),
    (r"90^\circ", "90 degrees"),
    ("3 apples.", "3"),
    ("\u20ac12", "12"),
    # boxes and left sides
    (r"\boxed{5}", "5"),
    (r"\boxed{\frac{1}{2}}", "1/2"),
    (r"\boxed{\boxed{5}}", "5"),
    (r"\fbox{7}", "7"),
    ("x=5", "5"),
    ("x = 5", "5"),
    ("$x=5$", "5"),
    ("x_1=5", "5"),
    ("f(x)=2x", "2x"),
    (r"x\in[0,1]", "[0,1]"),
    ("(x,y)=(1,2)", "(1,2)"),
    (r"\angle ABC = 60", "60"),
    ("5=x", "x=5"),
    ("y=2x+1", "y = 2x + 1"),
    ("x=1/2", r"x=\frac12"),
    # roots, powers, signs of multiplication
    (r"\sqrt{2}", r"\sqrt2"),
    (r"2\sqrt{3}", r"2 \sqrt 3"),
    (r"2\sqrt{3}", r"2\cdot\sqrt{3}"),
    (r"2\sqrt{3}", r"2*\sqrt{3}"),
    (r"2\pi", "2\u03c0"),
    (r"2\pi", r"2 \cdot \pi"),
    (r"2\pi r", r"2 \pi  r"),
    ("x^2", "x^{2}"),
    ("x^2", "x\u00b2"),
    ("x^{10}", "x^{ 10 }"),
    ("2516_8", "2516_{8}"),
    (r"\infty", "\u221e"),
    (r"-\infty", "-\u221e"),
    ("3x", r"3 \times x"),
    (r"\pm 3", "\u00b13"),
    (r"\pm 3", "3, -3"),
    (r"1\pm 2", r"1 \pm 2"),
    # pairs, tuples, intervals
    ("(1,2)", "(1, 2)"),
    ("(1,2)", r"\left(1,2\right)"),
    ("(1,2)", "( 1.0 , 2 )"),
    (r"(\frac12, 3)", "(0.5,3)"),
    ("(1,2,3)", r"\left( 1, 2, 3 \right)"),
    ("[0,1)", "[0, 1)"),
    ("[0,1)", r"\left[0,1\right)"),
    (r"(-\infty, 2]", "(-\u221e,2]"),
    (r"(-\infty,1)\cup(2,3)", r"(-\infty, 1) \cup (2, 3)"),
    (r"(-\infty,1)\cup(2,3)", r"(2,3)\cup(-\infty,1)"),
    (r"(1,2)\cup(3,4)", "(1,2) \u222a (3,4)"),
    ("x>5", r"(5,\infty)"),
    (r"x \ge 5", r"[5,\infty)"),
    ("x<5", r"(-\infty,5)"),
    (r"1\le x<2", "[1,2)"),
    (r"-2 < x < 3", "(-2,3)"),
    (r"x \leq 5", r"x \le 5"),
    (r"x \leq 5", "x <= 5"),
    (r"x \leq 5", "x \u2264 5"),
    (r"x \leq 5", r"5 \geq x"),
    ("x<5", "5>x"),
    (r"x \neq 3", "x != 3"),
    (r"x \neq 3", r"3 \ne x"),
    (r"x \gt 5", "x > 5"),
    # sets and lists
    ("1,2", "2,1"),
    ("1, 2, 3", "3, 1, 2"),
    ("1,2", r"\{1,2\}"),
    (r"\{1,2\}", r"\{2, 1\}"),
    (r"\{1,2\}", r"\left\{ 1, 2 \right\}"),
    (r"\{1,2\}", r"\lbrace 1,2 \rbrace"),
    ("1 and 2", "1, 2"),
    ("1 or 2", "2, 1"),
    (r"1 \text{ and } 2", "1,2"),
    ("1; 2", "1, 2"),
    ("x=1, x=2", "x=2, x=1"),
    ("(1,2),(3,4)", "(3,4), (1,2)"),
    ("(1,2) and (3,4)", "(1,2),(3,4)"),
    (r"\frac12, 3", "3, 0.5"),
    (r"\emptyset", "\u2205"),
    (r"\emptyset", r"\varnothing"),
    # matrices
    (
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
    ),
    (
        r"\begin{pmatrix} 1/2 \\ 3 \end{pmatrix}",
        r"\begin{pmatrix} \frac12 \\ 3 \end{pmatrix}",
    ),
    (
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
        r"\begin{bmatrix} 1 \\ 2 \\ \end{bmatrix}",
    ),
    # choices and words
    ("(A)", "A"),
    (r"\text{(A)}", "A"),
    (r"\textbf{(B)}", "(B)"),
    ("C.", "C"),
    ("Evelyn", r"\text{Evelyn}"),
    ("evelyn", "Evelyn"),
    ("Monday", "monday."),
    (r"\text{odd}", "odd"),
    ("yes", "Yes"),
]

DIFFERENT = [
    ("5", "6"),
    ("5", "-5"),
    ("5", "50"),
    ("5", "5.1"),
    ("5", "55"),
    ("5", "five and a half"),
    ("12", "1,2"),
    ("1234", "1,2,3,4"),
    ("1234", "1, 234"),
    ("1234", "1.234"),
    ("12", "21"),
    ("0.5", "0.05"),
    ("0.33", r"\frac13"),
    ("0.333334", r"\frac13"),
    ("0.3333", "0.3334"),
    ("1e3", "1e4"),
    (r"1.2\times 10^3", "12000"),
    (r"\frac{1}{2}", r"\frac{2}{1}"),
    (r"\frac{1}{2}", "12"),
    (r"\frac{1}{2}", "1,2"),
    (r"1\frac{1}{2}", r"\frac{11}{2}"),
    (r"1\frac{1}{2}", "0.5"),
    ("50%", "5"),
    ("50%", "5000"),
    ("50%", "0.05"),
    ("5 cm", "5 km"),
    ("5 hours", "5 minutes"),
    ("5 cm", "6 cm"),
    (r"16\text{ cm}^2", r"16 \text{ cm}"),
    ("x=5", "x=6"),
    ("x=5", "y=5"),
    ("x=5", "6"),
    ("5", r"\not= 5"),
    ("5", r"x \not= 5"),
    ("5", "x is not = 5"),
    ("5", "x < y = 5"),
    ("2x+y=3", "3"),
    (r"\sqrt{2}", r"\sqrt{3}"),
    (r"\sqrt{2}", "2"),
    (r"2\sqrt{3}", r"3\sqrt{2}"),
    (r"2\sqrt{3}", r"\sqrt{3}"),
    ("x^2", "x^3"),
    ("x^2", "x2"),
    ("2^3", "23"),
    ("x_1", "x_2"),
    ("x", "X"),
    (r"\pi", "3.14"),
    (r"\infty", r"-\infty"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "[1,2]"),
    ("(1,2)", "(1,2]"),
    ("(1,2)", "(1,2,3)"),
    ("(1,2)", r"\{1,2\}"),
    ("[0,1)", "(0,1]"),
    ("1,2", "1"),
    ("1,2", "1,2,3"),
    ("1,2", "1,1"),
    ("1,1,2", "1,2,2"),
    (r"\{1,2\}", r"\{1,3\}"),
    (r"(-\infty,1)\cup(2,3)", r"(-\infty,1)\cup(2,4)"),
    (r"(-\infty,1)\cup(2,3)", r"(-\infty,1)"),
    (r"(-\infty,1)\cup(2,3)", r"(-\infty,1)\cap(2,3)"),
    (r"x\le 5", "x<5"),
    (r"x\le 5", r"x\ge 5"),
    ("x<5", "5<x"),
    ("x>5", r"[5,\infty)"),
    ("x>5", r"(-\infty,5)"),
    (r"\pm 3", "3"),
    (
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}",
    ),
    (
        r"\begin{pmatrix} 1 & 2 \end{pmatrix}",
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}",
    ),
    ("A", "B"),
    ("(A)", "(B)"),
    ("A", "ABCD"),
    ("A", "A, B, C, D"),
    ("Evelyn", "Evelyns"),
    ("yes", "no"),
    ("odd", "even"),
    ("5", "x"),
    ("5", r"\text{none}"),
    ("5", "5 5"),
    ("5", "5, 5"),
    ("5", "5 or 6"),
    ("55", "5 5"),
    ("132", "131, 132, 133"),
    ("47+85", "132"),
    ("2^{10}", "1024"),
]

UNREADABLE = [
    ("5", ""),
    ("5", "   "),
    ("5", "\uff15"),  # full-width digit
    ("5", "\u0665"),  # Arabic-Indic digit
    ("12", "1\u0968"),  # Devanagari digit
    ("5", "5" * 5000),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_the_same(first, second):
    assert equal_answers(first, second) is True
    assert equal_answers(second, first) is True


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different(first, second):
    assert equal_answers(first, second) is False
    assert equal_answers(second, first) is False


@pytest.mark.parametrize(("first", "second"), UNREADABLE)
def test_unreadable(first, second):
    assert equal_answers(first, second) is None
    assert equal_answers(second, first) is None


def test_the_table_is_large_enough_and_every_answer_is_itself():
    table = SAME + DIFFERENT
    assert len(table) >= 200 and len(set(table)) == len(table)
    for text in {text for pair in table for text in pair}:
        assert equal_answers(text, text) is True


def test_no_other_pair_of_the_table_is_the_same_by_accident():
    """Of answers the table calls the same as 5, none is the same as 6."""
    fives = [second for first, second in SAME if first == "5"]
    assert len(fives) > 10
    assert not any(equal_answers("6", five) for five in fives)


def test_math_verify_cases_are_never_called_the_same_wrongly(lrm_data):
    path = lrm_data / "math_equivalence" / "math_verify_cases.jsonl"
    cases = [json.loads(line) for line in path.read_text().split("\n") if line]
    found = wrong = 0
    for case in cases:
        gold = last_boxed(case["gold"]) or case["gold"]
        pred = last_boxed(case["pred"]) or case["pred"]
        outcome = equal_answers(gold, pred)
        assert outcome == equal_answers(pred, gold)
        found += bool(outcome) and case["expected"]
        wrong += bool(outcome) and not case["expected"]
    # Many of the others need algebra, or the answer found in a sentence.
    assert len(cases) >= 200
    assert wrong == 0 and found >= 95


_PIECES = [
    *("{", "}", "(", ")", "[", "]", r"\{", r"\}", ",", ";", "=", "<", r"\le ", "-"),
    *(
        "1",
        "23",
        ".",
        "%",
        "/",
        "^",
        "_",
        "x",
        "pi",
        " ",
        "$",
        "\n",
        "\u2212",
        "\uff13",
    ),
    *(r"\frac", r"\sqrt", r"\text{cm}", r"\pm", r"\cup", r"\boxed", r"\left", "\\"),
    *(r"\begin{pmatrix}", r"\end{pmatrix}", "&", r"\\", " and ", "|", "\x00", "\ud800"),
]


def test_fuzz_never_raises_is_symmetric_and_fast():
    chooser = random.Random(0)
    slowest = 0.0
    for _ in range(4000):
        texts = [
            "".join(chooser.choices(_PIECES, k=chooser.randint(0, 30)))
            for _ in range(2)
        ]
        if chooser.random() < 0.3:
            texts[1] = texts[0].replace(" ", "")
        outcome = equal_answers(texts[0], texts[1])
        took = quickest(lambda pair=texts: equal_answers(*pair), limit=0.05)
        slowest = max(slowest, took)
        assert outcome == equal_answers(texts[1], texts[0]), texts
    assert slowest < 0.05


@pytest.mark.parametrize("piece", _PIECES)
def test_a_piece_repeated_takes_no_time(piece):
    for other in ("1", "x" * 1_999, "1," * 999 + "1"):
        for text in (
            piece * (1_990 // len(piece)),
            piece * 150 + "1",
            "1" + piece * 150,
        ):
            call = functools.partial(equal_answers, text, other)
            assert quickest(call, limit=0.05) < 0.05


@pytest.mark.parametrize(("levels", "width"), [(2, 20), (3, 7), (4, 4), (8, 2)])
def test_sets_of_sets_in_another_order_take_no_time(levels, width):
    def nest(level: int, first: int, turn: int) -> str:
        if level == 0:
            return str(first)
        size = width ** (level - 1)
        parts = [nest(level - 1, first + i * size, turn) for i in range(width)]
        return r"\{" + ",".join(parts[::turn]) + r"\}"

    texts = nest(levels, 0, 1)[:2000], nest(levels, 0, -1)[:2000]
    assert quickest(lambda: equal_answers(*texts), limit=0.05) < 0.05


def test_braces_and_towers_are_safe():
    deep = "{" * 100_000 + "5" + "}" * 100_000
    for text in (deep, r"\boxed" + deep, "9^{9^{9^9}}", "{" * 100_000, "5" * 100_000):
        assert not equal_answers("5", text)
        call = lambda text=text: (equal_answers("5", text), last_boxed(text))
        assert quickest(call, limit=0.05) < 0.05
    assert last_boxed(r"\boxed" + deep) == deep[1:-1]
    assert last_boxed(r"\boxed" + "{" * 100_000) is None
