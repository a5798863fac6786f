# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The seam of the text tasks, and how the made-up ones keep their splits apart.

An example is a pure function of (seed, index, split). The split a problem belongs
to is a hash of its canonical form and of nothing else, so no seed, noise level or
order can bring a test problem, or one equal to it, into training.
"""

import abc
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

from lrm_jax.data.tasks.draws import Draws, hash_words
from lrm_jax.data.tokenizer import SymbolTokenizer, Tokenizer
from lrm_jax.data.verify.tags import TAGS, worked
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

Split = Literal["train", "test"]
Message = dict[str, str]
P = TypeVar("P")

TEST_SHARE = 0.2  # of a made-up task's problems
_TRIES = 2_000


class Example(NamedTuple):
    """A problem.

    Attributes:
      prompt: text, or messages with `role` and `content`.
      answer: what the verifier compares with.
      solution: a whole worked completion, tags and all; "" where there is none.
      columns: what else the verifier or a reward function may need.
    """

    prompt: str | list[Message]
    answer: str
    solution: str
    columns: dict[str, Any]


class TextTask(Protocol):
    """Problems with answers that a program can check."""

    @property
    def name(self) -> str:
        """Short name, for messages and reports."""
        ...

    def example(self, seed: int, index: int, split: Split) -> Example:
        """Return one problem; a pure function of its arguments."""
        ...

    def size(self, split: Split) -> int:
        """Return the number of problems, or 0 where they are made as asked for."""
        ...

    def tokenizer(self) -> Tokenizer | None:
        """Return the task's own vocabulary, or None where it has none."""
        ...

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion; never raises."""
        ...

    def verify_batch(
        self, completions: list[str], examples: list[Example]
    ) -> list[Verdict]:
        """Judge many; the same verdicts in the same order."""
        ...


class Solved(NamedTuple):
    """A problem written out by a `MadeTask`."""

    prompt: str
    answer: str
    thought: str
    final: str  # what the thought arrives at; the answer, if no step is wrong
    columns: dict[str, Any] = {}


class MadeTask(abc.ABC, Generic[P]):
    """A task that makes its problems: the base of the frozen dataclasses beside it.

    Subclasses give `name`, `symbols`, `draw`, `canonical`, `write` and `verify`.
    """

    name: ClassVar[str]
    symbols: ClassVar[tuple[str, ...]]  # without the tags
    noise: float  # chance that a written step of the worked solution is wrong

    @abc.abstractmethod
    def draw(self, draws: Draws) -> P:
        """Draw a problem."""

    @abc.abstractmethod
    def canonical(self, problem: P) -> str:
        """Return one text for all problems that count as the same."""

    @abc.abstractmethod
    def write(self, problem: P, slips: "Slips") -> Solved:
        """Write the problem and its solution; `slips` says which steps are wrong."""

    @abc.abstractmethod
    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion."""

    def split_of(self, problem: P) -> Split:
        """Return the split a problem belongs to."""
        bits = hash_words("split", self.name, self.canonical(problem))
        return "test" if bits < TEST_SHARE * 2**64 else "train"

    def example(self, seed: int, index: int, split: Split) -> Example:
        """Return one problem; a pure function of its arguments."""
        if split not in ("train", "test"):
            raise UserError(f"split {split!r}: accepted are train and test")
        for attempt in range(_TRIES):
            problem = self.draw(Draws(self.name, seed, index, attempt))
            if self.split_of(problem) == split:
                slips = Slips(self.noise, Draws(self.name, "slips", seed, index, split))
                return _as_example(self.write(problem, slips))
        raise UserError(
            f"task {self.name}: no problem of the {split} split in {_TRIES} draws; "
            "its problems are too few, make them larger"
        )

    def size(self, split: Split) -> int:
        """Return 0: problems are made as asked for."""
        del split
        return 0

    def tokenizer(self) -> Tokenizer | None:
        """Return the task's own vocabulary."""
        return SymbolTokenizer(self.vocabulary())

    def vocabulary(self) -> tuple[str, ...]:
        """Return every symbol of prompts and completions: the tags, then the task's."""
        return (*TAGS, *self.symbols)

    def verify_batch(
        self, completions: list[str], examples: list[Example]
    ) -> list[Verdict]:
        """Judge many."""
        return [self.verify(c, e) for c, e in zip(completions, examples, strict=True)]


class Slips:
    """Which written steps go wrong, and draws for what is written instead."""

    def __init__(self, noise: float, draws: Draws) -> None:
        """Take the chance that a step is wrong and a stream of draws."""
        self.noise, self.draws = noise, draws

    def slip(self) -> bool:
        """Return whether the step written now is wrong."""
        return self.noise > 0 and self.draws.chance(self.noise)


def _as_example(solved: Solved) -> Example:
    solution = worked(solved.thought, solved.final)
    return Example(solved.prompt, solved.answer, solution, dict(solved.columns))


def check_noise(noise: float) -> None:
    """Refuse a share of wrong steps that is no share."""
    if not 0.0 <= noise <= 1.0:
        raise UserError(f"task.noise={noise}: accepted are 0 to 1")


def distinct_examples(
    task: TextTask, seed: int, split: Split, count: int
) -> list[Example]:
    """Return examples with different prompts, in the order of their index.

    Raises:
      UserError: there are not so many.
    """
    size = task.size(split)
    if size:
        if count > size:
            raise UserError(f"task {task.name}: {count} of {size} {split} problems")
        return [task.example(seed, i, split) for i in range(count)]
    kept: dict[str, Example] = {}
    for index in range(50 * count + 1_000):
        if len(kept) == count:
            break
        example = task.example(seed, index, split)
        kept.setdefault(str(example.prompt), example)
    if len(kept) < count:
        raise UserError(
            f"task {task.name}: only {len(kept)} of {count} different {split} problems "
            "found; ask for fewer or make the problems larger"
        )
    return list(kept.values())
