# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""MATH (2103.03874): competition problems; MATH-500 (2305.20050) is the test split."""

from lrm_jax.data.jsonl import read_objects
from lrm_jax.data.tasks.base import Example
from lrm_jax.data.tasks.files import FileTask, check_columns, find_file
from lrm_jax.data.verify.answers import JudgeConfig, Kind
from lrm_jax.data.verify.forms import INSTRUCTIONS, Form, write_form


def math(path: str = "", form: Form = "boxed", kind: Kind = "math") -> FileTask:
    """Read MATH.

    Args:
      path: folder of `math500.jsonl` (problem, answer, solution, subject, level)
        and `math_train_answers.jsonl` (problem, final_answer), `.gz` too; empty is
        `math` under LRM_DATA.
      form: where the answer is asked for.
      kind: how answers are compared.

    Raises:
      UserError: a file or line cannot be used, or math-verify is not installed.
    """
    train = _read(path, "math_train_answers", "final_answer", form)
    test = _read(path, "math500", "answer", form)
    return FileTask("math", train, test, JudgeConfig(form, kind))


def _read(path: str, name: str, column: str, form: Form) -> list[Example]:
    file = find_file(path, "math", [f"{name}.jsonl.gz", f"{name}.jsonl"])
    examples = []
    for line, row in read_objects(file):
        check_columns(row, ("problem", column), f"{file}, line {line}")
        answer = row[column].strip()
        if not answer:  # two rows of the published training file
            continue
        worked = row.get("solution") or ""
        examples.append(
            Example(
                prompt=row["problem"] + INSTRUCTIONS[form],
                answer=answer,
                solution=_solution(worked, answer, form),
                columns={n: row.get(n, "") for n in ("subject", "level")},
            )
        )
    return examples


def _solution(worked: str, answer: str, form: Form) -> str:
    """Return the published solution; its only box is the mark of the boxed form."""
    if not worked or (form == "boxed" and worked.count("\\boxed") == 1):
        return worked
    return write_form(worked.replace("\\boxed", ""), answer, form)
