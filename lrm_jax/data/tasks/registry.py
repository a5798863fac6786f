# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text tasks by name, built from a config."""

import dataclasses
import importlib
import inspect
from typing import Any, Literal

from lrm_jax.config import resolve
from lrm_jax.data.tasks.base import TextTask
from lrm_jax.types import UserError

TASKS = {
    "addition": "lrm_jax.data.tasks.addition:Addition",
    "arithmetic": "lrm_jax.data.tasks.arithmetic:Arithmetic",
    "counting": "lrm_jax.data.tasks.counting:Counting",
    "countdown": "lrm_jax.data.tasks.countdown:Countdown",
    "sudoku": "lrm_jax.data.tasks.sudoku_text:SudokuText",
    "maze": "lrm_jax.data.tasks.maze_text:MazeText",
    "gsm8k": "lrm_jax.data.tasks.gsm8k:gsm8k",
    "math": "lrm_jax.data.tasks.math_task:math",
    "svamp": "lrm_jax.data.tasks.svamp:svamp",
    "jsonl": "lrm_jax.data.tasks.jsonl_answers:jsonl",
}


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """Which problems, and how large; 0 and "" stand for the task's own default.

    Attributes:
      name: one of `TASKS`, or `package.module:name` of something that takes this
        config and returns a `TextTask`.
      path: file (jsonl) or folder of the tasks that are read; empty is the task's
        folder under LRM_DATA.
      test_path: file to test on (jsonl).
      test_size: rows to test on (jsonl).
      form: where answers are asked for: `tags`, `boxed`, `hashes`, `bare`.
      kind: how answers are compared: `number`, `rules`, `math`, `text`.
      noise: chance that a written step of a worked solution is wrong.
      min_digits: of a number (addition).
      max_digits: of a number (addition).
      letters: size of the alphabet (counting).
      length: letters of a word (counting).
      terms: operations in a chain (arithmetic).
      largest: result of a step (arithmetic) or number (countdown).
      count: numbers (countdown).
      target_below: targets are smaller (countdown).
      signs: that problems are made with, some of +-*/ (countdown).
      use: `all` numbers once, or `some` at most once (countdown).
      side: cells in a row (sudoku, maze).
    """

    name: str = "addition"
    path: str = ""
    test_path: str = ""
    test_size: int = 0
    form: Literal["", "tags", "boxed", "hashes", "bare"] = ""
    kind: Literal["", "number", "rules", "math", "text"] = ""
    noise: float = 0.0
    min_digits: int = 0
    max_digits: int = 0
    letters: int = 0
    length: int = 0
    terms: int = 0
    largest: int = 0
    count: int = 0
    target_below: int = 0
    signs: str = ""
    use: Literal["", "all", "some"] = ""
    side: int = 0


def make_task(cfg: TaskConfig) -> TextTask:
    """Return the task of a config.

    Raises:
      UserError: an unknown name, or a setting that the task does not have.
    """
    if ":" in cfg.name:
        return resolve(cfg.name, "task.name")(cfg)
    if cfg.name not in TASKS:
        raise UserError(
            f"task.name={cfg.name!r}: accepted are {', '.join(TASKS)} and "
            "package.module:name"
        )
    module, _, name = TASKS[cfg.name].partition(":")
    task = getattr(importlib.import_module(module), name)
    known = inspect.signature(task).parameters
    given: dict[str, Any] = {}
    for field in dataclasses.fields(TaskConfig):
        value = getattr(cfg, field.name)
        if field.name == "name" or not value:
            continue
        if field.name not in known:
            raise UserError(
                f"task.{field.name}={value!r} has no meaning with task.name="
                f"{cfg.name!r}; it has {', '.join(sorted(known))}"
            )
        given[field.name] = value
    return task(**given)
