# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""GSM8K (2110.14168): grade-school word problems, judged by their number."""

import re

from lrm_jax.data.jsonl import read_objects
from lrm_jax.data.tasks.base import Example
from lrm_jax.data.tasks.files import FileTask, check_columns, find_file
from lrm_jax.data.verify.answers import JudgeConfig, Kind
from lrm_jax.data.verify.forms import INSTRUCTIONS, Form, write_form
from lrm_jax.types import UserError

_CALCULATOR = re.compile(r"<<[^<>\n]*>>")


def gsm8k(path: str = "", form: Form = "tags", kind: Kind = "number") -> FileTask:
    """Read GSM8K.

    Args:
      path: folder of `train.jsonl` and `test.jsonl` (`.gz` too) in OpenAI's format;
        empty is `gsm8k` under LRM_DATA.
      form: where the answer is asked for.
      kind: how answers are compared.

    Raises:
      UserError: a file or line cannot be used.
    """
    train, test = (_read(path, split, form) for split in ("train", "test"))
    return FileTask("gsm8k", train, test, JudgeConfig(form, kind))


def _read(path: str, split: str, form: Form) -> list[Example]:
    file = find_file(path, "gsm8k", [f"{split}.jsonl.gz", f"{split}.jsonl"])
    examples = []
    for line, row in read_objects(file):
        check_columns(row, ("question", "answer"), f"{file}, line {line}")
        thought, marks, answer = row["answer"].rpartition("####")
        if not marks:
            raise UserError(f"{file}, line {line}: the answer has no '####'")
        answer = answer.strip().replace(",", "")
        thought = _CALCULATOR.sub("", thought).strip()
        examples.append(
            Example(
                prompt=row["question"] + INSTRUCTIONS[form],
                answer=answer,
                solution=write_form(thought, answer, form),
                columns={},
            )
        )
    return examples
