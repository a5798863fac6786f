# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Addition with carries, the columns written out from the right.

`47+85=` is worked as `<think>7+5=12,4+8+1=13</think>`, then the answer
`<answer>132</answer>`. Each step adds two digits and the carry of the step before;
the answer is the last sum followed by the last digits of the others, backwards.
"""

import dataclasses
from typing import ClassVar

from lrm_jax.data.tasks.base import Example, MadeTask, Slips, Solved, check_noise
from lrm_jax.data.tasks.draws import Draws
from lrm_jax.data.verify.judge import judge_integer
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Addition(MadeTask[Pair]):
    """Two numbers to add.

    Attributes:
      min_digits: of each number; no leading zeros.
      max_digits: of each number.
      noise: chance that a column's sum is wrong in the worked solution; what
        follows, and the answer, go on from what is written.
    """

    name: ClassVar[str] = "addition"
    symbols: ClassVar[tuple[str, ...]] = (*"0123456789", "+", "=", ",")

    min_digits: int = 2
    max_digits: int = 3
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        if not 1 <= self.min_digits <= self.max_digits <= 100:
            raise UserError(
                f"task.min_digits={self.min_digits}, task.max_digits="
                f"{self.max_digits}: accepted are 1 <= min <= max <= 100"
            )
        check_noise(self.noise)

    def draw(self, draws: Draws) -> Pair:
        """Draw two numbers; every length is as likely."""
        return self._number(draws), self._number(draws)

    def _number(self, draws: Draws) -> int:
        digits = draws.between(self.min_digits, self.max_digits)
        low = 10 ** (digits - 1) if digits > 1 else 0
        return draws.between(low, 10**digits - 1)

    def canonical(self, problem: Pair) -> str:
        """Return the sum with the smaller number first."""
        return "{}+{}".format(*sorted(problem))

    def write(self, problem: Pair, slips: Slips) -> Solved:
        """Write the columns from the right, each with the carry into it."""
        first, second = problem
        steps: list[str] = []
        total, carry, place = "", 0, 1
        columns = max(len(str(first)), len(str(second)))
        for column in range(columns):
            p, q = first // place % 10, second // place % 10
            value = p + q + carry
            if slips.slip():
                value = slips.draws.other(0, 19, value)
            carried = f"+{carry}" if column else ""
            steps.append(f"{p}+{q}{carried}={value}")
            last = column == columns - 1
            total = (str(value) if last else str(value % 10)) + total
            carry, place = value // 10, place * 10
        return Solved(
            prompt=f"{first}+{second}=",
            answer=str(first + second),
            thought=",".join(steps),
            final=total.lstrip("0") or "0",
        )

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion by its sum."""
        return judge_integer(completion, int(example.answer))
