# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers that offer several candidates, and honest ones that only look like it."""

import functools
import gzip
import json
import random

import pytest

from lrm_jax.data.verify.offered import offers_more
from lrm_jax.data.verify.towers import is_tower
from tests.timing import quickest

MANY = [
    *(("42", answer) for answer in ["43? 42", "40? 41? 42", "42? 43", "42, 42"]),
    *(("42", answer) for answer in ["40 ... 41 ... 42", r"40 \dots 41 \dots 42"]),
    *(("42", answer) for answer in ["42,42", "42,42,42,42", "[42,42]", r"\{41,42\}"]),
    *(("42", answer) for answer in ["0=1=2=...=42", "0=1=2=...=41=42", "41; 42"]),
    *(("42", answer) for answer in ["41 42", r"41 \quad 42", "41~42", r"\$41 \$42"]),
    *(("42", answer) for answer in ["41 | 42", r"41 \\ 42", "41 & 42", r"41\to 42"]),
    *(("42", answer) for answer in ["A. 41 B. 42", "(A) 41 (B) 42", "A: 41\nB: 42"]),
    *(
        ("42", answer)
        for answer in ["$41$ $42$", "$41$, $42$", r"\boxed{41}\boxed{42}"]
    ),
    *(("42", answer) for answer in ["41 apples, 42 apples", "41 and 42", "41. 42"]),
    *(("42", answer) for answer in [r"41 \text{ no } 42", r"43\ \text{or}\ 42"]),
    *(("42", answer) for answer in [r"\neq 42", r"\ge 42", "<42", "x > 42", "!= 42"]),
    *(("42", answer) for answer in [r"\sim 42", r"\in 42", r"\not= 42", "not 42"]),
    *(("42", answer) for answer in [r"\max(41,42)", r"41 \lor 42", "41 \u2228 42"]),
    *(
        ("42", answer)
        for answer in ["41\u00b0, 42\u00b0", r"41\approx 42", "at least 42"]
    ),
    *(("42", answer) for answer in ["x = 41 x = 42", "42_{41}", '"41" "42"']),
    ("x^2", "x^2,x^2"),
    ("42", r"\{42\}\cup\{42\}"),
    (r"\{1,2\}", "1,2,1,2"),
    ("5,7", "5,7,8"),
    ("5,7", "5,5,7"),
    ("(2,3)", "(4,5),(2,3)"),
    ("[1,4]", "[0,4],[1,4]"),
    (r"x \le 4", r"x\le 5, x\le 4"),
    (r"\frac{1}{2}", r"0 ? \frac{1}{2}"),
]
ONE = [
    *(("42", answer) for answer in ["x = 42", r"2\cdot 21=42", "40+2=42", "$42$"]),
    *(("42", answer) for answer in ["42 km", r"42\text{ cm}^2", r"x\in\{42\}", "2*21"]),
    *(("42", answer) for answer in [r"x\approx 42", "f(3)=42", r"\boxed{42}", r"\$42"]),
    *(("1234567", answer) for answer in ["1,234,567", r"1{,}234{,}567"]),
    *((r"\frac{1}{2}", answer) for answer in ["0.5", "1/2", r"x=\frac12", "1:2"]),
    *(("5,7", answer) for answer in [r"x=5 \text{ or } x=7", "x=5, x=7", r"\{7,5\}"]),
    *(("(2,3)", answer) for answer in ["2,3", "(x,y)=(2,3)", "x=2,y=3"]),
    *(("[2,5]", answer) for answer in [r"2\le x\le 5", r"x\in[2,5]"]),
    ("[2,5]", r"[2,3]\cup[3,5]"),
    (r"x\ge 5", r"[5,\infty)"),
    (r"(-\infty,2)\cup(3,\infty)", r"x<2 \text{ or } x>3"),
    (r"1\pm\sqrt2", r"1+\sqrt{2}, 1-\sqrt{2}"),
    ("x^2", "y=x^2"),
    ("x^2", "f(x)=x^2"),
    ("2abc+3", "3+2bac"),
    ("|x-1|", "|1-x|"),
    ("42_8", "42_{8}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"),
    (r"\frac{3}{5}", r"\frac{x}{y}=\frac{3}{5}"),
    (r"3\frac{1}{2}", "3 1/2"),
]


@pytest.mark.parametrize(("gold", "answer"), MANY)
def test_more_than_one(gold, answer):
    assert offers_more(gold, answer)


@pytest.mark.parametrize(("gold", "answer"), ONE)
def test_one(gold, answer):
    assert not offers_more(gold, answer)


FRAMES = [
    *("{}", "x = {}", "${}$", r"\boxed{{{}}}", r"\[{}\]", "({})", r"\{{{}\}}"),
    *(r"{} \text{{ units}}", r"{}\text{{ cm}}^2", r"\text{{{}}}", "The answer is {}"),
]


@pytest.mark.parametrize(
    ("file", "column"), [("math500", "answer"), ("math_train_answers", "final_answer")]
)
def test_the_answers_of_math_are_one_in_every_frame(lrm_data, file, column):
    with gzip.open(lrm_data / "math" / f"{file}.jsonl.gz", "rt") as lines:
        golds = {json.loads(line)[column] for line in lines}
    assert len(golds) > 200
    for gold in golds:
        spaced, tight = gold.replace(",", ", "), gold.replace(" ", "")
        for answer in [spaced, tight, *(frame.format(gold) for frame in FRAMES)]:
            assert not offers_more(gold, answer), (gold, answer)
            assert not is_tower(answer), answer


_PIECES = [
    *"{}()[];,=<-1./^_x $\n|?&#@!:.'\"",
    *("23", r"\le ", r"\frac", r"\text{", r"\begin{array}", r"\end{array}", r"\\"),
    *(" and ", "or ", r"\boxed{", "1 ", "a. ", "1ab", "n't", r"\approx ", r"\pm", "x="),
    *("= 1 x", "(1,", r"\in", r"\mid ", "1)ab", "\x00", "\ud800"),
]


@pytest.mark.parametrize("piece", _PIECES)
def test_a_piece_repeated_takes_no_time(piece):
    for text in ((piece * 2000)[:2000], "1" + (piece * 1990)[:1990] + "1"):
        for pair in (("1", text), (text, "1, 2"), (text, text)):
            call = functools.partial(offers_more, *pair)
            assert quickest(call, limit=0.1) < 0.1


def test_fuzz_never_raises():
    chooser = random.Random(0)
    for _ in range(3000):
        gold, answer = (
            "".join(chooser.choices(_PIECES, k=chooser.randint(0, 30)))
            for _ in range(2)
        )
        assert offers_more(gold, answer) in (True, False)
