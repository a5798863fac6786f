# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Verdicts on whole completions: the form, the lenient reading, and those who cheat."""

import functools
import random

import pytest

from lrm_jax.data.verify.extract import last_number, lenient_answer, lenient_number
from lrm_jax.data.verify.judge import judge_integer
from lrm_jax.data.verify.tags import TAGS, after_thought, open_thought, split_tags
from tests.timing import quickest

RIGHT = "<think>7+5=12</think><answer>132</answer>"


@pytest.mark.parametrize(
    ("completion", "strict", "lenient", "status"),
    [
        (RIGHT, 1, 1, "right"),
        ("<think>x</think>\n<answer> 132\n</answer>\n", 1, 1, "right"),
        ("<think></think><answer>132</answer>", 1, 1, "right"),
        ("<think>x</think><answer>131</answer>", 0, 0, "wrong"),
        ("<think>x</think><answer>132.0</answer>", 0, 1, "parse_error"),
        ("<think>x</think><answer>$132</answer>", 0, 1, "parse_error"),
        ("<think>x</think><answer>0132</answer>", 0, 1, "parse_error"),
        ("<think>x</think><answer></answer>", 0, 0, "no_answer"),
        ("<think>x</think><answer> \n</answer>", 0, 0, "no_answer"),
        ("<think>x</think>132", 0, 1, "no_tag"),
        ("<answer>132</answer>", 0, 1, "no_tag"),
        ("so <think>x</think><answer>132</answer>", 0, 1, "no_tag"),
        (RIGHT + " I hope", 0, 1, "no_tag"),
        ("<think>132", 0, 0, "no_tag"),
        ("<answer>132</answer><think>x</think>", 0, 0, "no_tag"),
        ("The answer is 132.", 0, 1, "no_tag"),
        ("The answer is 131. No, the answer is 132.", 0, 1, "no_tag"),
        ("**Answer: 132**", 0, 1, "no_tag"),
        ("47 + 85 = 132", 0, 1, "no_tag"),
        ("#### 132", 0, 1, "no_tag"),
        (r"so \boxed{132}", 0, 1, "no_tag"),
        ("132", 0, 1, "no_tag"),
        ("", 0, 0, "no_tag"),
    ],
)
def test_verdicts(completion, strict, lenient, status):
    verdict = judge_integer(completion, 132)
    assert (verdict.strict, verdict.lenient, verdict.status) == (
        strict,
        lenient,
        status,
    )


CHEATS = [
    "132 " * 100,
    "132, 132, 132",
    "<think>x</think>" + "<answer>132</answer>" * 5,
    RIGHT * 3,
    "<think>x</think><answer>131</answer><answer>132</answer>",
    "<think>x</think><answer>132</answer><answer>131</answer>",
    "<think>x</think><answer>" + " ".join(map(str, range(100, 200))) + "</answer>",
    "<think>x</think><answer>" + ",".join(map(str, range(100, 133))) + "</answer>",
    "<think>x</think><answer>131 or 132</answer>",
    "<think>x</think><answer>132 132</answer>",
    "<think>x</think><answer>131|132</answer>",
    "<think>x</think><answer>any of 131 and 132</answer>",
    "<think>x</think><answer>(A) 131 (B) 132</answer>",
    " ".join(map(str, range(100, 133))),
    "\n".join(map(str, range(100, 133))),
    ". ".join(f"The answer is {n}" for n in range(100, 133)),
    "".join(rf"\boxed{{{n}}}" for n in range(130, 133)),
    "\n".join(f"#### {n}" for n in range(130, 133)),
    "<think>x</think><answer><answer>132</answer></answer>",
    "<think><think>x</think></think><answer>132</answer><answer></answer>",
    "<think>x</think><answer><think>y</think>132</answer><answer>1</answer>",
    "<answer><think>x</think>132</answer",
    "<think><answer>132</answer></think>",
    "<think>x<answer>132</answer>",
    "<think>x</think><answer>\u0661\u0663\u0662</answer>",
    "<think>x</think><answer>\uff11\uff13\uff12</answer>",
    "<think>x</think><answer>1\u0663\u0662</answer>",
    "<think>x</think><answer>{}</answer>".replace("{}", "{" * 100_000),
    "<think>x</think><answer>9^{9^{9^9}}</answer>",
    "<think>x</think><answer>100+32</answer>",
    "<think>x</think><answer>__import__('os').getpid()</answer>",
    "<think>x</think><answer>0x84</answer>",
    "<think>x</think><answer>1_3_2</answer>",
    "<think>x</think><answer>the sum</answer>",
    "<think>x</think><answer>right</answer>",
    "<think>x</think><answer>\x00132\x00133</answer>",
    "<THINK>x</THINK><ANSWER>131</ANSWER>",
]


@pytest.mark.parametrize("completion", CHEATS, ids=range(len(CHEATS)))
def test_cheats_score_nothing(completion):
    verdict = judge_integer(completion, 132)
    assert quickest(lambda: judge_integer(completion, 132), limit=0.05) < 0.05
    assert (verdict.strict, verdict.lenient) == (0, 0), verdict


OFFERS = [
    "maybe 40 maybe 41 maybe 42",
    "candidates: a) 40 b) 41 c) 42",
    "A) 40\nB) 41\nC) 42",
    "A: 40\nB: 41\nC: 42",
    "40 vs 42",
    "40 vs. 42",
    "40 km or 42 km",
    "40 dollars, 42 dollars",
    "42 dollars, 42 dollars",
    "40 dollars and 42 dollars",
    "40 dollars 41 dollars 42 dollars",
    "40 dollars each, 42 dollars each",
    "1 dollar\n42 dollars",
    "first 40 dollars, second 42 dollars",
    "maybe 40 square feet, maybe 42 square feet",
    "It could be 40 or it could be 42",
    "41 \u2192 42",
    "41 -> 42",
    "1! 2! 42!",
    "40? 42?",
    "try 40, try 41, try 42",
    "x = 40 x = 41 x = 42",
    "The answer is not 42",
    "The answer is 40 or 42",
    "The answer is 40 or the answer is 42",
    "The answer is 41.\nThe answer is 42.",
    "The answer isn't 42",
    "It cannot be 41 and it can't be 42",
    r"\boxed{41 \text{ or } 42}",
    r"\boxed{41}\boxed{42}",
    r"\boxed{41} or \boxed{42}",
    "#### 41\n#### 42",
]


HEDGES = [
    "If odd then 41, if even then 42",
    "The total is 41 unless it is 42",
    "First guess is 40. Second guess is 41. Third guess is 42.",
    "Candidate A gives 41 apples. Candidate B gives 42 apples.",
]


@pytest.mark.parametrize("completion", OFFERS + HEDGES)
def test_offered_numbers_are_no_answer(completion):
    tagged = f"<think>x</think><answer>{completion}</answer>"
    for text in (completion, tagged):
        verdict = judge_integer(text, 42)
        assert (verdict.strict, verdict.lenient) == (0, 0), verdict


@pytest.mark.parametrize(
    "completion",
    [
        "12 + 30 = 42",
        "The sum of 30 and 12 is 42",
        "30 apples and 12 pears, so 42 in all.",
        "5 * 6 = 30\n30 or so, then 30 + 12 = 42\nThe answer is 42.",
        "He has 1, 2 or 3.\n1 + 2 = 3\n3 * 14 = 42\nA: 42",
        "6*7=<<6*7=42>>42",
        "It is not 41 but 42",
        r"\boxed{41}. Wait, that is wrong: \boxed{42}",
        r"6 \cdot 7 = \boxed{42}",
        "x = 42",
        "The total is 42 dollars",
        "30 dollars and 12 dollars is 42 dollars",
        "30 dollars plus 12 dollars makes 42 dollars",
        "Tom has 30 apples, Ann has 42 apples",
        "He had 40 dollars. Now he has 42 dollars.",
        "He has 21 apples. If he doubles them, then he has 42 apples.",
        "He had 40 apples, but I guess I saw that a friend gave him some: 42",
        "If he has 40 apples and gets 2 more then 42 are his.",
    ],
)
def test_worked_answers_are_read(completion):
    tagged = f"<think>x</think><answer>{completion}</answer>"
    for text in (completion, tagged):
        verdict = judge_integer(text, 42)
        assert (verdict.strict, verdict.lenient) == (0, 1), verdict


def test_tags_apart():
    tagged = split_tags("<think>a</think><answer> b </answer>")
    assert tagged == ("a", "b", True)
    assert split_tags("<think>a</think>").thought == "a"
    assert split_tags("<think>a").thought == "a"
    assert split_tags("nothing") == ("", None, False)
    assert after_thought("<think>a</think>b</think>c") == "c"
    assert (after_thought("<think>a"), after_thought("b")) == ("", "b")


def test_what_a_prompt_already_holds_of_the_completion():
    assert open_thought("Q<think>") == "<think>"
    assert open_thought("Q\n<think>\n") == "<think>"
    assert open_thought("Q<think>\n\n</think>\n\n") == "<think>\n\n</think>"
    assert open_thought("Q") == open_thought("use <think> tags. Q") == ""
    assert open_thought("like <think>x</think>, Q") == ""


def test_lenient_readings():
    assert lenient_number("It costs $1,234.50.") == "$1,234.50"
    assert lenient_number("about -3 degrees") == "-3 degrees"
    assert lenient_number("They walk 5 miles per hour at most") == "5 miles per hour"
    assert lenient_number("The room has 12 square feet in all") == "12 square feet"
    assert lenient_number("There are 5 in the box and 3 in this one") == "3"
    assert lenient_number("He eats 5 apples a day") == "5"
    assert lenient_number("3-5") is None  # a range
    assert lenient_number("so 50% of them") == "50%"
    assert last_number("1, 2 and 3") is None
    assert last_number("1 + 2 = 3") == "3"
    assert last_number("x2y v3") is None
    assert lenient_answer("<think>5</think>The answer is **blue**") == "blue**"
    assert lenient_answer(r"<answer>\boxed{7}</answer>") == "7"


_PIECES = [
    *TAGS,
    *("132", "1", " ", "\n", ",", "answer is ", "####", r"\boxed{", "}", "{", "$", "-"),
    *("or", "\u0661", "\x00", "\ud800", "<", ">", "</", "*", ".", "x", "="),
]


def test_fuzz_never_raises():
    chooser = random.Random(0)
    for _ in range(4000):
        text = "".join(chooser.choices(_PIECES, k=chooser.randint(0, 25)))
        verdict = judge_integer(text, 132)
        assert verdict.strict in (0, 1) and verdict.lenient >= verdict.strict
        assert (verdict.strict == 1) == (verdict.status == "right")


@pytest.mark.parametrize("piece", _PIECES)
def test_a_piece_repeated_takes_no_time(piece):
    for text in (
        piece * 30_000,
        RIGHT[:-9] + piece * 30_000,
        "answer" + piece * 30_000,
    ):
        call = functools.partial(judge_integer, text, 132)
        assert quickest(call, limit=0.05) < 0.05
