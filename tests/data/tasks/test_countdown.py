# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Countdown: the parser, who may use what, spellings, and those who cheat."""

import gzip
import json
import random
import re
from fractions import Fraction

import pytest

from lrm_jax.data.tasks.base import Example
from lrm_jax.data.tasks.countdown import Countdown, combine, reaches
from lrm_jax.data.verify.expression import parse_expression
from lrm_jax.types import UserError
from tests.timing import quickest


@pytest.mark.parametrize(
    ("text", "value", "numbers"),
    [
        ("7", 7, (7,)),
        ("1+2*3", 7, (1, 2, 3)),
        ("(1+2)*3", 9, (1, 2, 3)),
        ("8-3-2", 3, (8, 3, 2)),
        ("8/4/2", 1, (8, 4, 2)),
        ("1/3", Fraction(1, 3), (1, 3)),
        ("3*(5-(2-1))", 12, (3, 5, 2, 1)),
        (" ( 10 - 4 ) * ( 5 - 1 ) ", 24, (10, 4, 5, 1)),
        ("1/(2-2)", None, (1, 2, 2)),
        ("1+1/0", None, (1, 1, 0)),
    ],
)
def test_expressions(text, value, numbers):
    assert parse_expression(text) == (value, numbers)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "+", "1+", "*1", "(1", "1)", "()", "1 2", "1++2", "-1", "2**3"),
        *("2^3", "07", "1.5", "1,2", "x", "1=1", "0x1", "1e3", "1_0", "f(1)", "1//2"),
        *("\uff11+1", "\u0661", "(" * 300 + "1" + ")" * 300, "1+" * 300 + "1", "[1]"),
        *("__import__('os')", "9" * 30, "1\n+2", "(1)(2)", "1(2)"),
    ],
)
def test_no_expressions(text):
    assert parse_expression(text) is None
    assert quickest(lambda: parse_expression(text), limit=0.05) < 0.05


def test_random_expressions_have_pythons_value():
    chooser = random.Random(0)

    def write(depth: int) -> str:
        if depth == 0 or chooser.random() < 0.2:
            return str(chooser.randint(0, 99))
        left, right = write(depth - 1), write(depth - 1)
        text = f"{left}{chooser.choice('+-*/')}{right}"
        return f"({text})" if chooser.random() < 0.5 else text

    for _ in range(500):
        text = write(4)
        found = parse_expression(text)
        assert found is not None
        exact = re.sub(r"(\d+)", r"Fraction(\1)", text)
        try:
            assert found.value == eval(exact)
        except ZeroDivisionError:
            assert found.value is None


EXAMPLE = Example("2,7,9:32=", "32", "", {"numbers": [2, 7, 9], "target": 32})


@pytest.mark.parametrize(
    ("answer", "strict", "lenient", "status"),
    [
        ("(7+9)*2", 1, 1, "right"),
        ("2*(9+7)", 1, 1, "right"),
        ("2*9+2*7", 0, 0, "wrong"),
        ("(7+9)*2=32", 0, 1, "parse_error"),
        (r"(7+9) \times 2", 0, 1, "parse_error"),
        ("(7+9)\u00d72", 0, 1, "parse_error"),
        ("[7+9]*2", 0, 1, "parse_error"),
        ("32", 0, 0, "wrong"),
        ("16*2", 0, 0, "wrong"),
        ("9*2+7*2", 0, 0, "wrong"),
        ("(7+9)*2, 7+9*2", 0, 0, "parse_error"),
        ("(7+9)*2 (7+9)*2", 0, 0, "parse_error"),
        ("(7+9)*2+0", 0, 0, "wrong"),
        ("(7+9)*2*1", 0, 0, "wrong"),
        ("7+9", 0, 0, "wrong"),
        ("32=(7+9)*2", 0, 0, "parse_error"),
        ("(\uff17+9)*2", 0, 0, "parse_error"),
        ("", 0, 0, "no_answer"),
        ("(" * 100_000, 0, 0, "parse_error"),
        ("9**9**9**9", 0, 0, "parse_error"),
    ],
)
def test_answers(answer, strict, lenient, status):
    completion = f"<think>x</think><answer>{answer}</answer>"
    verdict = Countdown().verify(completion, EXAMPLE)
    verify = lambda: Countdown().verify(completion, EXAMPLE)
    assert quickest(verify, limit=0.05) < 0.05
    assert (verdict.strict, verdict.lenient, verdict.status) == (
        strict,
        lenient,
        status,
    )


def test_lenient_places():
    task = Countdown()
    for text in (
        "The answer is (7+9)*2.",
        "first 7+9=16\nAnswer: (7 + 9) * 2 = 32",
        r"so \boxed{(7+9) \cdot 2}",
        "7+9=16\n(7+9)*2=32\n",
    ):
        verdict = task.verify(text, EXAMPLE)
        assert (verdict.strict, verdict.lenient) == (0, 1), text
    assert task.verify("7+9*2=32", EXAMPLE).lenient == 0


def test_all_or_some_numbers():
    assert reaches("7+9", [2, 7, 9], 16, "all") is False
    assert reaches("7+9", [2, 7, 9], 16, "some") is True
    assert reaches("7+7+2", [2, 7, 9], 16, "some") is False
    assert reaches("7+7+2", [2, 7, 7], 16, "all") is True
    assert reaches("1/3*9", [1, 3, 9], 3, "all") is True


def test_steps_stay_whole_and_above_zero():
    assert [combine(6, s, 3) for s in "+-*/"] == [9, 3, 18, 2]
    assert [combine(3, s, 6) for s in "-/"] == [0, 0]
    assert combine(7, "/", 2) == combine(7, "/", 0) == 0


def test_a_wrong_step_makes_a_wrong_answer_about_as_often():
    task = Countdown(4, noise=0.2)
    count, right = 2000, 0
    for index in range(count):
        example = task.example(0, index, "train")
        right += task.verify(example.solution, example).strict
    # 0.8**3, and the few where two wrong signs happen to reach the target.
    assert 0.8**3 - 0.03 < right / count < 0.8**3 + 0.05


def test_bad_sizes_are_refused():
    for given, message in {
        ("count", 1): "task.count=1",
        ("target_below", 1): "task.target_below=1",
        ("signs", "+%"): "task.signs='\\+%'",
        ("use", "most"): "task.use='most'",
    }.items():
        with pytest.raises(UserError, match=message):
            Countdown(**{given[0]: given[1]})


def test_logged_rewards_of_game_of_24_are_reproduced(lrm_data):
    path = lrm_data / "countdown" / "game24_gpt4_cot_samples.jsonl.gz"
    rows = [json.loads(x) for x in gzip.decompress(path.read_bytes()).split(b"\n") if x]
    agree = total = 0
    for row in rows:
        for output, reward in zip(row["outputs"], row["rewards"], strict=True):
            line = output.strip().split("\n")[-1].lower().replace("answer: ", "")
            found = reaches(line.split("=")[0].strip(), row["numbers"], 24, "all")
            agree += bool(found) == bool(reward)
            total += 1
    assert total == 9000 and agree == total
