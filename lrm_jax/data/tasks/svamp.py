# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""SVAMP (2103.07191): short word problems with one operation, judged by number."""

from typing import Any

from lrm_jax.data.jsonl import read_objects
from lrm_jax.data.tasks.base import TEST_SHARE, Example
from lrm_jax.data.tasks.draws import hash_words
from lrm_jax.data.tasks.files import FileTask, find_file, letters_of
from lrm_jax.data.verify.answers import JudgeConfig, Kind
from lrm_jax.data.verify.forms import INSTRUCTIONS, Form
from lrm_jax.types import UserError


def svamp(path: str = "", form: Form = "tags", kind: Kind = "number") -> FileTask:
    """Read SVAMP; a fifth of its problems, by a hash of their letters, is the test.

    Args:
      path: folder of `svamp.jsonl` (`.gz` too); empty is `svamp` under LRM_DATA.
      form: where the answer is asked for.
      kind: how answers are compared.

    Raises:
      UserError: a file or line cannot be used.
    """
    file = find_file(path, "svamp", ["svamp.jsonl", "svamp.jsonl.gz"])
    rows = [
        _example(row, form, f"{file}, line {line}") for line, row in read_objects(file)
    ]
    held_out = [hash_words("svamp", letters_of(r)) < TEST_SHARE * 2**64 for r in rows]
    train = [row for row, out in zip(rows, held_out, strict=True) if not out]
    test = [row for row, out in zip(rows, held_out, strict=True) if out]
    return FileTask("svamp", train, test, JudgeConfig(form, kind))


def _example(row: dict[str, Any], form: Form, where: str) -> Example:
    value = row.get("Answer")
    if not (isinstance(row.get("Body"), str) and isinstance(row.get("Question"), str)):
        raise UserError(f"{where}: columns 'Body' and 'Question' must be text")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: column 'Answer' is no number")
    body = row["Body"].strip()
    body += "" if body.endswith((".", ",", "?", "!")) else "."
    prompt = f"{body} {row['Question'].strip()}{INSTRUCTIONS[form]}"
    return Example(prompt, f"{value:.12g}", "", {"equation": row.get("Equation", "")})
