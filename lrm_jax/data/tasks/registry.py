# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text tasks by name, built from a config."""

import dataclasses
import importlib
from typing import Any

from lrm_jax.config import resolve
from lrm_jax.data.tasks.base import TextTask
from lrm_jax.types import UserError

TASKS = {
    "addition": "lrm_jax.data.tasks.addition:Addition",
    "counting": "lrm_jax.data.tasks.counting:Counting",
}


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """Which problems, and how large; 0 and "" stand for the task's own default.

    Attributes:
      name: one of `TASKS`, or `package.module:name` of something that takes this
        config and returns a `TextTask`.
      path: file or folder of the tasks that are read; empty is under LRM_DATA.
      noise: chance that a written step of a worked solution is wrong.
      min_digits: of a number (addition).
      max_digits: of a number (addition).
      letters: size of the alphabet (counting).
      length: letters of a word (counting).
    """

    name: str = "addition"
    path: str = ""
    noise: float = 0.0
    min_digits: int = 0
    max_digits: int = 0
    letters: int = 0
    length: int = 0


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
    known = {field.name for field in dataclasses.fields(task)}
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
