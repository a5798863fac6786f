# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a policy's problems come from: a task, or JSONL files, behind one face.

Which examples a step sees is a function of (seed, step) alone. A task that makes
its problems has no end; a file is gone through in a new random order every epoch.
"""

import dataclasses
import functools
import hashlib
import string
from functools import cached_property
from typing import Any, Literal

import numpy as np

from lrm_jax.data import counter_rng as rng
from lrm_jax.data.chat import PromptEncoder
from lrm_jax.data.jsonl import Columns
from lrm_jax.data.jsonl_task import JsonlFiles, JsonlTask
from lrm_jax.data.packing import Tokens
from lrm_jax.data.tasks.base import Example, Split, TextTask, distinct_examples
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.data.verify.tags import open_thought
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

EXAMPLES = 32
"""Purpose of `counter_rng` that orders examples, apart from those of puzzles."""


@dataclasses.dataclass(frozen=True)
class TextDataConfig:
    """Files of prompts and answers, and how prompts and completions are written.

    Attributes:
      path: JSONL to train on (`.gz` too), where there is no task.
      test_path: JSONL to test on; empty holds out `test_size` rows of `path`.
      train_size: examples to train on; 0 for all there are.
      test_size: held-out examples; 0 for all of `test_path`.
      seed: of made-up problems and of what is held out.
      prompt_column: name of the prompts in the files.
      answer_column: name of the answers.
      solution_column: name of the worked solutions.
      completion: what is learned, with `{solution}`, `{answer}` and further
        columns by name; empty for the solution, or the answer where there is none.
      system: system message of every text prompt (chat templates only).
      raw: leave the tokenizer's chat template out.
      enable_thinking: handed to the chat template.
      too_long: what becomes of an example that does not fit a row: `refuse` or
        `drop`.
    """

    path: str = ""
    test_path: str = ""
    train_size: int = 0
    test_size: int = 256
    seed: int = 0
    prompt_column: str = "prompt"
    answer_column: str = "answer"
    solution_column: str = "solution"
    completion: str = ""
    system: str = ""
    raw: bool = False
    enable_thinking: bool = True
    too_long: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        for name in ("train_size", "test_size"):
            if getattr(self, name) < 0:
                raise UserError(
                    f"data.{name}={getattr(self, name)}: expected 0 or more"
                )
        try:
            list(string.Formatter().parse(self.completion))
        except ValueError as error:
            raise UserError(f"data.completion={self.completion!r}: {error}") from error

    @property
    def columns(self) -> Columns:
        """Names of the columns."""
        return Columns(self.prompt_column, self.answer_column, self.solution_column)


class TextSource:
    """Examples as text and as tokens.

    Attributes:
      cfg: how they are read and written.
      task: what makes or holds them.
      tokenizer: text to ids.
      encode: prompts to ids.
    """

    def __init__(
        self, cfg: TextDataConfig, task: TextTask, tokenizer: Tokenizer
    ) -> None:
        """Bind a task (see `task_or_files`) to a tokenizer."""
        self.cfg, self.task, self.tokenizer = cfg, task, tokenizer
        self.encode = PromptEncoder(
            tokenizer,
            raw=cfg.raw,
            system=cfg.system,
            enable_thinking=cfg.enable_thinking,
        )

    @property
    def train_size(self) -> int:
        """Examples to train on; 0 where there is no end."""
        there = self.task.size("train")
        return min(there, self.cfg.train_size or there) or self.cfg.train_size

    @cached_property
    def test(self) -> list[Example]:
        """The held-out examples."""
        size, there = self.cfg.test_size, self.task.size("test")
        size = min(size or there, there) if there else size
        return distinct_examples(self.task, self.cfg.seed, "test", size)

    def train_example(self, index: int) -> Example:
        """Return an example to train on; with an end, below `train_size`."""
        return self.task.example(self.cfg.seed, index, "train")

    def order(self, seed: int, first: int, count: int) -> list[int]:
        """Return which examples stand at `first ... first + count - 1` of the stream.

        The stream of a run; a new random order of all examples every epoch, or the
        made-up problems one after another.
        """
        size = self.train_size
        if not size:
            start = first_index(seed)
            return [start + first + i for i in range(count)]
        return shuffled(size, seed, EXAMPLES, first, count)

    def completion(self, example: Example) -> str:
        """Return what is learned of an example.

        Raises:
          UserError: it has nothing to learn, or lacks a column that is asked for.
        """
        if not self.cfg.completion:
            text = example.solution or example.answer
            if not text:
                raise UserError(f"{self.task.name}: an example without an answer")
            return text
        named = {
            **example.columns,
            self.cfg.answer_column: example.answer,
            self.cfg.solution_column: example.solution,
            "answer": example.answer,
            "solution": example.solution,
        }
        try:
            return self.cfg.completion.format_map(named)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise UserError(
                f"data.completion={self.cfg.completion!r}: {error} is no column; "
                f"there are: {', '.join(named)}"
            ) from error

    def tokens(self, example: Example) -> Tokens:
        """Return prompt, completion and end as ids.

        Raises:
          UserError: it cannot be encoded.
        """
        prompt = self.encode(example.prompt)
        completion = self.tokenizer.encode(self.completion(example))
        ids = [*prompt, *completion, self.tokenizer.eos_ids[0]]
        return Tokens(ids, len(prompt))

    def train_tokens(self, index: int) -> Tokens:
        """Return a training example as ids; what is wrong names its place."""
        try:
            return self.tokens(self.train_example(index))
        except UserError as error:
            raise UserError(f"{self.where(index)}: {error}") from error

    def where(self, index: int, split: Split = "train") -> str:
        """Return the place of an example, for messages."""
        if isinstance(self.task, JsonlTask):
            return self.task.where(index, split)
        return f"task {self.task.name}, {split} example {index}"

    def judge(self, completions: list[str], examples: list[Example]) -> list[Verdict]:
        """Judge completions; a thought that the prompt opens belongs to them."""
        whole = [
            open_thought(self.encode.text(example.prompt)) + text
            for text, example in zip(completions, examples, strict=True)
        ]
        return self.task.verify_batch(whole, examples)

    def close(self) -> None:
        """End the processes that judge, where a task has them."""
        close = getattr(self.task, "close", None)
        if close is not None:
            close()

    def fingerprint(self) -> str:
        """Return a hash of what is trained on: equal for equal data."""
        digest = hashlib.sha256()
        size = self.train_size
        whole = range(self.task.size("train") and size)
        for index in whole or range(8):
            digest.update(repr(self.train_example(index)).encode())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return what the data are, as JSON values."""
        return {
            "task": self.task.name,
            "train": self.train_size or "endless",
            "test": len(self.test),
            "vocab_size": self.tokenizer.vocab_size,
        }


@functools.cache
def first_index(seed: int) -> int:
    """Return where a run's stream of made-up problems begins."""
    return int(rng.stream_seeds(seed, EXAMPLES, 0, 1)[0] % (1 << 40))


def shuffled(size: int, seed: int, purpose: int, first: int, count: int) -> list[int]:
    """Return what stands at `first ... first + count - 1` of shuffled epochs.

    Args:
      size: of an epoch.
      seed: of the run.
      purpose: keeps streams apart.
      first: place in the endless stream.
      count: how many.
    """
    found: list[int] = []
    while len(found) < count:
        epoch, start = divmod(first + len(found), size)
        places = np.arange(
            start, min(size, start + count - len(found)), dtype=np.uint32
        )
        words = (*rng.split_seed(seed), purpose, *rng.split_seed(epoch))
        found += rng.shuffle_index(np, places, size, *words).tolist()
    return found


def task_or_files(
    cfg: TextDataConfig,
    task: TextTask | None,
    *,
    needs: str = "completion",
    judge: TextTask | None = None,
) -> TextTask:
    """Return the task that is given, or the files as one.

    Args:
      cfg: names the files.
      task: or a task.
      needs: what rows of files must have; see `read_jsonl`.
      judge: a task whose verifier judges what is said to the files' prompts.

    Raises:
      UserError: neither is named, or both are.
    """
    if task is not None and cfg.path:
        raise UserError(
            f"data.path={cfg.path!r} and task {task.name!r}: give one of them "
            "(task=none for the file)"
        )
    if task is not None:
        return task
    if not cfg.path:
        raise UserError("data.path is empty and there is no task: name one of them")
    return JsonlTask(
        JsonlFiles(
            path=cfg.path,
            test_path=cfg.test_path,
            train_size=cfg.train_size,
            test_size=cfg.test_size,
            seed=cfg.seed,
            columns=cfg.columns,
            needs=needs,
        ),
        judge,
    )
