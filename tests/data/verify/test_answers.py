# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Forms and kinds of answers, and math-verify under a deadline."""

import importlib.util
import json
import time

import pytest

from lrm_jax.data.verify.answers import AnswerJudge, JudgeConfig, equal_values
from lrm_jax.data.verify.forms import INSTRUCTIONS, read_form, write_form
from lrm_jax.data.verify.math_pool import MathPool
from lrm_jax.types import UserError
from tests.data.verify.test_judge import HEDGES, OFFERS
from tests.data.verify.test_offered import MANY, ONE

needs_math = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None,
    reason="math-verify is not installed (extra math)",
)


def judge(completion, gold, form, kind):
    with AnswerJudge(JudgeConfig(form, kind)) as judged:
        verdict = judged.judge([completion], [gold])[0]
    return verdict.strict, verdict.lenient, verdict.status


@pytest.mark.parametrize("form", INSTRUCTIONS)
def test_what_is_written_in_a_form_is_read_in_it(form):
    text = write_form("so 3+4=7", "7", form)
    tagged = read_form(text, form)
    assert (tagged.answer, tagged.well_formed) == ("7", True)
    assert judge(text, "7", form, "number") == (1, 1, "right")
    assert judge(text, "8", form, "number") == (0, 0, "wrong")


@pytest.mark.parametrize(
    ("form", "completion", "result"),
    [
        ("boxed", r"so \boxed{7}", (1, 1, "right")),
        ("boxed", r"<think>hm \boxed{8}</think>so \boxed{7}.", (1, 1, "right")),
        ("boxed", r"\boxed{8} or \boxed{7}", (0, 0, "no_tag")),
        ("boxed", r"\boxed{8} no, \boxed{7}", (0, 1, "no_tag")),
        ("boxed", r"\boxed{8 \text{ or } 7}", (0, 0, "parse_error")),
        ("boxed", r"\boxed{6}\boxed{8}\boxed{7}", (0, 0, "no_tag")),
        ("boxed", r"\boxed{}", (0, 0, "no_answer")),
        ("boxed", r"\boxed{7", (0, 0, "no_tag")),
        ("boxed", "the answer is 7", (0, 1, "no_tag")),
        ("boxed", r"<think>\boxed{7}", (0, 0, "no_tag")),
        ("boxed", r"<think>x</think><think>y</think>\boxed{7}", (0, 0, "no_tag")),
        ("hashes", "x\n#### 7", (1, 1, "right")),
        ("hashes", "x\n#### 1,007", (0, 0, "wrong")),
        ("hashes", "x\n#### 7 #### 8", (0, 0, "no_tag")),
        ("hashes", "x\n#### 6\n#### 8\n#### 7", (0, 0, "no_tag")),
        ("hashes", "x 7", (0, 1, "no_tag")),
        ("bare", "<think>x</think>7", (1, 1, "right")),
        ("bare", "7.0", (1, 1, "right")),
        ("bare", "about 7", (0, 1, "parse_error")),
        ("tags", "<think>x</think><answer>7 apples</answer>", (1, 1, "right")),
        ("tags", "<think>x</think><answer>7, 8</answer>", (0, 0, "parse_error")),
    ],
)
def test_forms(form, completion, result):
    assert judge(completion, "7", form, "number") == result


def test_text_is_judged_letter_for_letter():
    assert judge("<think>x</think>New York", "New York", "bare", "text") == (
        *(1, 1, "right"),
    )
    assert judge("<think>x</think>new  york", "New York", "bare", "text") == (
        *(0, 1, "wrong"),
    )
    assert judge("York", "New York", "bare", "text") == (0, 0, "wrong")


def test_values():
    assert equal_values("1,234", "$1234.00") is True
    assert equal_values("5", "five") is None
    assert equal_values("5", "\uff15") is None
    assert equal_values("5", "6") is False
    assert equal_values("5", "5 vs 6") is None
    assert equal_values("50%", "0.5") is equal_values("50%", "50") is True
    assert equal_values("5 m", "5 km") is False
    assert equal_values("5 m", "5 metres") is equal_values("5 m", "5") is True


@pytest.mark.parametrize(
    ("inside", "lenient"),
    [
        ("The total is 42 dollars", 1),
        (r"\boxed{42}", 1),
        ("= 42", 1),
        ("x = 42", 1),
        ("40 + 2 = 42", 1),
        ("40 + 2 = 41", 0),
        ("40 or 42", 0),
        ("40, 41, 42", 0),
        ("not 42", 0),
        ("40 vs 42", 0),
    ],
)
def test_a_number_in_words_is_right_leniently_only(inside, lenient):
    text = f"<think>x</think><answer>{inside}</answer>"
    assert judge(text, "42", "tags", "number") == (0, lenient, "parse_error")


def test_units_count_where_the_answer_is_found_leniently():
    assert judge("The answer is 5 km.", "5 m", "tags", "number") == (0, 0, "no_tag")
    assert judge("The answer is 5 m.", "5 m", "tags", "number") == (0, 1, "no_tag")
    for unit, right in (("km", 0), ("metres", 1), ("m", 1), ("steps", 1)):
        text = f"So the whole way to school was 5 {unit} long, he said."
        assert judge(text, "5 m", "tags", "number") == (0, right, "no_tag")
        assert judge(text, "5", "tags", "number") == (0, 1, "no_tag")


def test_gsm8k_cases_of_another_library(lrm_data):
    path = lrm_data / "math_equivalence" / "text_verifier_cases.jsonl"
    cases = [json.loads(x) for x in path.read_text().split("\n") if x]
    cases = [case for case in cases if case["verifier"] == "GSM8KVerifier"]
    assert cases
    for case in cases:
        _, lenient, _ = judge(case["prediction"], case["label"], "tags", "number")
        assert lenient == case["expected_score"], case


@needs_math
def test_math_verify_settles_what_the_rules_do_not():
    cases = [
        (r"2\sqrt{3}", r"\sqrt{12}", True),
        (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}", True),
        ("x^2+2x+1", "(x+1)^2", True),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
        ("5", "5", True),
        ("5", "6", False),
        (r"2\sqrt{3}", r"3\sqrt{2}", False),
    ]
    with MathPool(deadline_s=20.0) as pool:
        assert pool.equal([case[:2] for case in cases]) == [c[2] for c in cases]
    text = r"so \boxed{\sqrt{12}}"
    assert judge(text, r"2\sqrt{3}", "boxed", "math") == (1, 1, "right")
    assert judge(text, r"2\sqrt{3}", "boxed", "rules") == (0, 0, "wrong")


# Other than math-verify's own tests: a chain of equalities that do not hold, an
# entry twice, no answer found in prose (the completion is taken apart before), and
# what math-verify reads only with other settings.
REFUSED = [
    "$x = 5+5+1 = 7 =11$",
    r"$x = 5+5+1 = 1/3 \approx 11$",
    r"$x=1/3\approx1.3$",
    "$z = 3+3 = 2$",
    r"$\boxed{(3, 37, 3, 13), (3, 17, 3, 7), (3, 3, 2, 3), (3,17,3,7), "
    "(17,3,3,7), (37,3,3,13)}$",
    "so the number is 10 which is 1,000.99m\u00b2",
    *("1000,99", "1.22", "$f(y)$", r"$-2 \\le x \\le 7$"),
    r"$1 + \frac{1}{\mathrm{e}}$",  # is not 1 - 1/e
    r"$\begin{pmatrix}0.33\\0.2 \end{pmatrix}$",
]


@needs_math
def test_math_verify_agrees_with_its_own_cases(lrm_data):
    path = lrm_data / "math_equivalence" / "math_verify_cases.jsonl"
    cases = [json.loads(x) for x in path.read_text().split("\n") if x]
    cases = [case for case in cases if len(case["pred"]) <= 100]  # no prose
    with MathPool(deadline_s=20.0) as pool:
        found = pool.equal([(case["gold"], case["pred"]) for case in cases])
    missed = [
        case["pred"]
        for same, case in zip(found, cases, strict=True)
        if case["expected"] and same is not True and len(case["gold"]) <= 200
    ]
    wrong = [
        case["pred"]
        for same, case in zip(found, cases, strict=True)
        if same is True and not case["expected"]
    ]
    assert len(cases) >= 150
    assert set(missed) <= set(REFUSED)
    assert all(pred.startswith("Answer ") for pred in wrong)  # found all the same


@pytest.mark.parametrize(
    "kind", ["number", "rules", "text", pytest.param("math", marks=needs_math)]
)
def test_offers_score_nothing_in_any_kind(kind):
    texts = [
        frame.format(offer)
        for offer in [*OFFERS, *HEDGES]
        for frame in (
            *("{}", "<think>x</think>{}", "<think>x</think><answer>{}</answer>"),
            *(r"<think>x</think>\boxed{{{}}}", "<think>x</think>#### {}"),
        )
    ]
    for form in INSTRUCTIONS:
        with AnswerJudge(JudgeConfig(form, kind, deadline_s=20.0)) as judged:
            verdicts = judged.judge(texts, ["42"] * len(texts))
        for text, verdict in zip(texts, verdicts, strict=True):
            assert (verdict.strict, verdict.lenient) == (0, 0), (form, text)


@needs_math
def test_lists_and_relations_are_no_answers_of_mathematics():
    pairs = [*MANY, *UNEQUAL_CHAINS, *UNKNOWN, *ONE, *FURTHER_ONE]
    right = len(MANY + UNEQUAL_CHAINS + UNKNOWN)
    with AnswerJudge(JudgeConfig("tags", "math", deadline_s=20.0)) as judged:
        verdicts = judged.judge(
            [f"<think>x</think><answer>{answer}</answer>" for _, answer in pairs],
            [gold for gold, _ in pairs],
        )
    for at, (pair, verdict) in enumerate(zip(pairs, verdicts, strict=True)):
        assert verdict.strict == verdict.lenient == (at >= right), (pair, verdict)


UNEQUAL_CHAINS = [
    ("42", "x=41=42"),
    ("42", "1=2=42"),
    (r"\sqrt{2}", r"1=\sqrt{2}"),
    ("42", r"\binom{41}{1}=42"),
    ("x^2", "x^3=x^2"),
]
UNKNOWN = [  # two numbers in what cannot be read as a whole
    ("42", r"41 \foo 42"),
    ("42", r"$41 \foo 42$"),
    ("42", "41^{} 42"),
    ("42", r"\color{red}41 42"),
]
FURTHER_ONE = [
    ("42", r"x=\frac{84}{2}=42"),
    ("3", r"\log_2 8 = \log_2 4 + 1 = 3"),
    ("10", r"\binom{5}{2}=10"),
    ("x^2+2x+1", "x^2+2x+1=(x+1)^2"),
]


@needs_math
def test_towers_and_braces_are_not_worked_out():
    deep = "{" * 100_000 + "5" + "}" * 100_000
    with AnswerJudge(JudgeConfig("boxed", "math", deadline_s=5.0)) as judged:
        judged.judge([r"\boxed{\sqrt{12}}"], [r"2\sqrt{3}"])  # its processes started
        start = time.monotonic()
        towers = [rf"\boxed{{9^{{9^{{9^{n}}}}}}}" for n in range(10, 30)]
        verdicts = judged.judge(
            [*towers, rf"\boxed{{{deep}}}", r"\boxed{\sqrt{20}}", r"\boxed{3^{2^3}}"],
            [*["5"] * len(towers), "5", r"2\sqrt{5}", "6561"],
        )
        took = time.monotonic() - start
    assert {v.status for v in verdicts[:-2]} == {"parse_error"}
    assert [v.status for v in verdicts[-2:]] == ["right", "right"]
    assert [v.strict for v in verdicts] == [0] * (len(towers) + 1) + [1, 1]
    assert took < 10  # twenty deadlines of two processes would be 50


def test_without_math_verify_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'lrm-jax\[math\]'"):
        AnswerJudge(JudgeConfig(kind="math"))
