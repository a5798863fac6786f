# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Letter counting with written reasoning: a running count behind every letter.

`abcabd:a=` is worked as `<think>a1b1c1a2b2d2</think><answer>2</answer>`: how often
has the asked letter been seen up to here.
"""

import dataclasses
from typing import ClassVar

from lrm_jax.data.tasks.base import Example, MadeTask, Slips, Solved, check_noise
from lrm_jax.data.tasks.draws import Draws
from lrm_jax.data.verify.judge import judge_integer
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

_ALPHABET = "abcdefghij"


@dataclasses.dataclass(frozen=True)
class Counting(MadeTask[tuple[str, str]]):
    """How often a letter occurs in a word of random letters.

    Attributes:
      letters: size of the alphabet, 2 to 10.
      length: letters of a word.
      noise: chance that a letter is wrongly counted, or wrongly not counted, in
        the worked solution; the count goes on from what is written.
    """

    name: ClassVar[str] = "counting"
    symbols: ClassVar[tuple[str, ...]] = (*"0123456789", *_ALPHABET, ":", "=")

    letters: int = 4
    length: int = 6
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes without a task in them."""
        if not 2 <= self.letters <= len(_ALPHABET):
            raise UserError(f"task.letters={self.letters}: accepted are 2 to 10")
        if not 1 <= self.length <= 1_000:
            raise UserError(f"task.length={self.length}: accepted are 1 to 1000")
        check_noise(self.noise)

    def draw(self, draws: Draws) -> tuple[str, str]:
        """Draw a word and a letter of the alphabet (perhaps not in it)."""
        alphabet = _ALPHABET[: self.letters]
        word = "".join(draws.choice(alphabet) for _ in range(self.length))
        return word, draws.choice(alphabet)

    def canonical(self, problem: tuple[str, str]) -> str:
        """Return the word: both letters asked of one word share its split."""
        return problem[0]

    def write(self, problem: tuple[str, str], slips: Slips) -> Solved:
        """Write every letter with the count so far."""
        word, asked = problem
        thought, count = "", 0
        for letter in word:
            count += (letter == asked) != slips.slip()
            thought += f"{letter}{count}"
        return Solved(f"{word}:{asked}=", str(word.count(asked)), thought, str(count))

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion by its count."""
        return judge_integer(completion, int(example.answer))
