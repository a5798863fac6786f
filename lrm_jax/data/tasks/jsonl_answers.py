# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The user's own JSONL of prompts and answers, judged as GSM8K or MATH are."""

from typing import Any

from lrm_jax.data.jsonl import Row
from lrm_jax.data.jsonl_task import JsonlFiles, JsonlTask
from lrm_jax.data.tasks.base import Example
from lrm_jax.data.tasks.files import FileTask
from lrm_jax.data.verify.answers import JudgeConfig, Kind
from lrm_jax.data.verify.forms import Form
from lrm_jax.types import UserError

_HELD_OUT = 256


def jsonl(
    path: str = "",
    test_path: str = "",
    test_size: int = 0,
    form: Form = "tags",
    kind: Kind = "rules",
) -> FileTask:
    """Read rows of `prompt`, `answer` and further columns, which are passed through.

    Args:
      path: to train on.
      test_path: to test on; empty holds out some of `path`.
      test_size: rows of the test split; 0 for all of `test_path`, or 256.
      form: where the prompts ask for the answer.
      kind: how answers are compared.

    Raises:
      UserError: a file or line cannot be used.
    """
    if not path:
        raise UserError("task.path is empty; task.name='jsonl' needs a file")
    size = test_size or (0 if test_path else _HELD_OUT)
    rows = JsonlTask(JsonlFiles(path, test_path, 0, size, needs="answer")).rows
    train, test = ([_example(r) for r in rows[s]] for s in ("train", "test"))
    return FileTask(path, train, test, JudgeConfig(form, kind))


def _example(row: Row) -> Example:
    prompt: Any = row.prompt
    return Example(prompt, row.answer, row.solution, row.columns)
