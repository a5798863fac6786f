# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chained arithmetic: a number and what is done to it, one step after another.

`7,+5,*2,-3=` is worked as `<think>7+5=12,12*2=24,24-3=21</think><answer>21</answer>`;
operations apply in the order they are written.
"""

import dataclasses
from typing import ClassVar

from lrm_jax.data.tasks.base import Example, MadeTask, Slips, Solved, check_noise
from lrm_jax.data.tasks.draws import Draws
from lrm_jax.data.verify.judge import judge_integer
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

Chain = tuple[int, tuple[tuple[str, int], ...]]
"""Start and (sign, operand) of each step."""


@dataclasses.dataclass(frozen=True)
class Arithmetic(MadeTask[Chain]):
    """A chain of additions, subtractions and multiplications by one digit.

    Attributes:
      terms: operations in a chain.
      largest: no right intermediate result is above it, or below 0.
      noise: chance that a written result is wrong in the worked solution, which
        goes on from what is written.
    """

    name: ClassVar[str] = "arithmetic"
    symbols: ClassVar[tuple[str, ...]] = (*"0123456789", *"+-*", "=", ",")

    terms: int = 3
    largest: int = 99
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes without a task in them."""
        if not 1 <= self.terms <= 100:
            raise UserError(f"task.terms={self.terms}: accepted are 1 to 100")
        if not 9 <= self.largest <= 10**9:
            raise UserError(f"task.largest={self.largest}: accepted are 9 to 10**9")
        check_noise(self.noise)

    def draw(self, draws: Draws) -> Chain:
        """Draw a start and steps that stay between 0 and `largest`."""
        value = start = draws.between(1, self.largest)
        steps: list[tuple[str, int]] = []
        for _ in range(self.terms):
            sign, operand = draws.choice(self._steps_from(value))
            steps.append((sign, operand))
            value = apply(value, sign, operand)
        return start, tuple(steps)

    def _steps_from(self, value: int) -> list[tuple[str, int]]:
        """Return every step allowed; multiplications as often as they can be."""
        return [
            (sign, operand)
            for sign in "+-*"
            for operand in range(2 if sign == "*" else 1, 10)
            if 0 <= apply(value, sign, operand) <= self.largest
        ]

    def canonical(self, problem: Chain) -> str:
        """Return the chain itself."""
        start, steps = problem
        return ",".join([str(start), *(f"{sign}{n}" for sign, n in steps)])

    def write(self, problem: Chain, slips: Slips) -> Solved:
        """Write every step with its result."""
        value, steps = problem
        answer, lines = value, []
        for sign, operand in steps:
            answer = apply(answer, sign, operand)
            result = apply(value, sign, operand)
            if slips.slip():
                result = slips.draws.other(0, self.largest, result)
            lines.append(f"{value}{sign}{operand}={result}")
            value = result
        return Solved(
            prompt=self.canonical(problem) + "=",
            answer=str(answer),
            thought=",".join(lines),
            final=str(value),
        )

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion by its result."""
        return judge_integer(completion, int(example.answer))


def apply(value: int, sign: str, operand: int) -> int:
    """Return the result of one step."""
    if sign == "+":
        return value + operand
    return value - operand if sign == "-" else value * operand
