# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Countdown: make the target from the numbers; any right expression counts.

`2,7,9:32=` is worked as `<think>7+9=16,16*2=32</think><answer>(7+9)*2</answer>`. A
wrong step claims its result for another sign, and the answer has that sign too.
"""

import collections
import dataclasses
import re
from typing import ClassVar, Literal, NamedTuple

from lrm_jax.data.tasks.base import Example, MadeTask, Slips, Solved, check_noise
from lrm_jax.data.tasks.draws import Draws
from lrm_jax.data.verify.expression import parse_expression
from lrm_jax.data.verify.extract import answer_tag, last_boxed
from lrm_jax.data.verify.judge import judge
from lrm_jax.data.verify.tags import ANSWER_OPEN, after_thought
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

_SIGNS = "+-*/"
_STATED = re.compile(r"answer[\s*]{0,5}(?:is|=|:)[\s*:=]{0,5}([^\n]{0,400})", re.I)
_SPELLINGS = (
    *(("\u00d7", "*"), ("\u00f7", "/"), ("\u2212", "-"), ("\u00b7", "*")),
    *((r"\times", "*"), (r"\cdot", "*"), (r"\div", "/"), ("[", "("), ("]", ")")),
    *((r"\left", ""), (r"\right", ""), ("$", ""), ("*" * 2, "")),
)


class Goal(NamedTuple):
    """Numbers, and how the draw combined them."""

    numbers: tuple[int, ...]
    target: int
    moves: tuple[tuple[int, str, int], ...]  # places in the list of open values, sign


@dataclasses.dataclass(frozen=True)
class Countdown(MadeTask[Goal]):
    """Numbers to be combined.

    Attributes:
      count: how many numbers.
      largest: of the numbers, which are 1 or more.
      target_below: targets are from 1 to one less.
      signs: of the problems made; answers may use all four.
      use: `all` numbers exactly once each, or `some` at most once each.
      noise: chance that a step of the worked solution is wrong.
    """

    name: ClassVar[str] = "countdown"
    symbols: ClassVar[tuple[str, ...]] = (*"0123456789", *_SIGNS, *"()=,:")

    count: int = 3
    largest: int = 9
    target_below: int = 100
    signs: str = "+-*"
    use: Literal["all", "some"] = "all"
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes without a task in them."""
        if not 2 <= self.count <= 8:
            raise UserError(f"task.count={self.count}: accepted are 2 to 8")
        if not (1 <= self.largest and 2 <= self.target_below):
            raise UserError(
                f"task.largest={self.largest}, task.target_below={self.target_below}: "
                "must be at least 1 and 2"
            )
        if not self.signs or set(self.signs) - set(_SIGNS):
            raise UserError(f"task.signs={self.signs!r}: accepted are some of +-*/")
        if self.use not in ("all", "some"):
            raise UserError(f"task.use={self.use!r}: accepted are all and some")
        check_noise(self.noise)

    def draw(self, draws: Draws) -> Goal:
        """Draw numbers and combine them; again, where the result is no target."""
        while True:
            numbers = [draws.between(1, self.largest) for _ in range(self.count)]
            values, moves = list(numbers), []
            while len(values) > 1:
                i = draws.below(len(values))
                j = draws.other(0, len(values) - 1, i)
                allowed = [s for s in self.signs if combine(values[i], s, values[j])]
                if not allowed:
                    break
                sign = draws.choice(allowed)
                moves.append((i, sign, j))
                values = _merged(values, i, j, combine(values[i], sign, values[j]))
            if len(values) == 1 and values[0] < self.target_below:
                return Goal(tuple(numbers), values[0], tuple(moves))

    def canonical(self, problem: Goal) -> str:
        """Return the numbers in order, and the target."""
        return f"{sorted(problem.numbers)}:{problem.target}"

    def write(self, problem: Goal, slips: Slips) -> Solved:
        """Write the steps that the problem was made by."""
        values = list(problem.numbers)
        texts = [(str(n), 3) for n in values]  # expression, how tightly it binds
        lines: list[str] = []
        for i, sign, j in problem.moves:
            result = combine(values[i], sign, values[j])
            shown = sign
            if slips.slip():
                wrong = [
                    s for s in _SIGNS if combine(values[i], s, values[j]) != result
                ]
                shown = slips.draws.choice(wrong)
            lines.append(f"{values[i]}{shown}{values[j]}={result}")
            texts = _merged(texts, i, j, _written(texts[i], shown, texts[j]))
            values = _merged(values, i, j, result)
        numbers = ",".join(map(str, problem.numbers))
        return Solved(
            prompt=f"{numbers}:{problem.target}=",
            answer=str(problem.target),
            thought=",".join(lines),
            final=texts[0][0],
            columns={"numbers": list(problem.numbers), "target": problem.target},
        )

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge the expression of one completion."""
        numbers = [int(n) for n in example.columns["numbers"]]
        target = int(example.columns["target"])

        def check(text: str) -> bool | None:
            return reaches(text, numbers, target, self.use)

        def check_lenient(text: str) -> bool | None:
            return check(_plain(text))

        return judge(completion, check, _find_lenient, check_lenient)


def reaches(
    text: str, numbers: list[int], target: int, use: Literal["all", "some"]
) -> bool | None:
    """Return whether an expression makes the target, None where it is none."""
    expression = parse_expression(text)
    if expression is None:
        return None
    used, given = collections.Counter(expression.numbers), collections.Counter(numbers)
    allowed = used == given if use == "all" else used <= given
    return allowed and expression.value == target


def combine(a: int, sign: str, b: int) -> int:
    """Return the result of a step, 0 where it is not a whole number above 0."""
    if sign == "+":
        return a + b
    if sign == "*":
        return a * b
    if sign == "-":
        return max(0, a - b)
    return a // b if b and a % b == 0 else 0


def _merged(items: list, i: int, j: int, item: object) -> list:
    """Return the list without two items, the new one at its end."""
    return [x for k, x in enumerate(items) if k not in (i, j)] + [item]


def _written(a: tuple[str, int], sign: str, b: tuple[str, int]) -> tuple[str, int]:
    """Join two expressions with the parentheses they need."""
    binds = 2 if sign in "*/" else 1
    left = a[0] if a[1] >= binds else f"({a[0]})"
    tight = binds + (sign in "-/")
    right = b[0] if b[1] >= tight else f"({b[0]})"
    return f"{left}{sign}{right}", binds


def _find_lenient(completion: str) -> str | None:
    """Return the tag's, the box's, the stated or the last line's expression."""
    text = after_thought(completion)
    if ANSWER_OPEN in text:
        return answer_tag(text)
    boxed = last_boxed(text)
    if boxed:
        return boxed
    stated = _STATED.findall(text[-20_000:])
    if stated:
        return stated[-1]
    lines = text[-20_000:].strip().splitlines()
    return lines[-1] if lines else None


def _plain(text: str) -> str:
    """Fold other spellings, and take `= target` off the end."""
    for spelling, plain in _SPELLINGS:
        text = text.replace(spelling, plain)
    return text.partition("=")[0].strip(" .\n\t")
