# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tasks whose problems are read: what GSM8K, MATH, SVAMP and JSONL files share."""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from lrm_jax.data.tasks.base import Example, Split
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.data.verify.answers import AnswerJudge, JudgeConfig
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.types import UserError

_LETTERS = re.compile(r"[\W_]+")


class FileTask:
    """Problems from files, judged by their written answer; a context manager.

    Attributes:
      name: of the task.
      rows: of each split.
    """

    def __init__(
        self,
        name: str,
        train: Sequence[Example],
        test: Sequence[Example],
        judge: JudgeConfig,
    ) -> None:
        """Take the problems; those of the test split leave the training split.

        Prompts that differ in spaces, case and punctuation only count as equal.

        Raises:
          UserError: a split is empty, or the judge needs what is not installed.
        """
        self.name = name
        held_out = {letters_of(example) for example in test}
        self.rows: dict[Split, list[Example]] = {
            "train": [row for row in train if letters_of(row) not in held_out],
            "test": list(test),
        }
        for split, rows in self.rows.items():
            if not rows:
                raise UserError(f"task {name}: no problems in the {split} split")
        self._judge = AnswerJudge(judge)

    def example(self, seed: int, index: int, split: Split) -> Example:
        """Return row `index` of a split; the seed has no say."""
        del seed
        return self.rows[split][index]

    def size(self, split: Split) -> int:
        """Return the number of rows."""
        return len(self.rows[split])

    def tokenizer(self) -> Tokenizer | None:
        """Return None: these texts need a real vocabulary."""
        return None

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion."""
        return self.verify_batch([completion], [example])[0]

    def verify_batch(
        self, completions: list[str], examples: list[Example]
    ) -> list[Verdict]:
        """Judge many, side by side where processes do it."""
        return self._judge.judge(completions, [e.answer for e in examples])

    def set_deadline(self, deadline_s: float) -> None:
        """Give every comparison that runs in a process of its own so many seconds."""
        self.close()
        self._judge = AnswerJudge(
            dataclasses.replace(self._judge.cfg, deadline_s=deadline_s)
        )

    def close(self) -> None:
        """End the judge's processes."""
        self._judge.close()

    def __enter__(self) -> "FileTask":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def letters_of(example: Example) -> str:
    """Return a prompt's letters and digits: what makes two prompts the same."""
    prompt = example.prompt
    if not isinstance(prompt, str):
        prompt = " ".join(message["content"] for message in prompt)
    return _LETTERS.sub("", prompt.casefold())


def find_file(path: str, folder: str, names: Sequence[str]) -> Path:
    """Return the first of the files that exists.

    Args:
      path: folder given by the user; empty is `folder` under LRM_DATA.
      folder: name of the data set.
      names: file names, the preferred one first.

    Raises:
      UserError: none is there.
    """
    root = Path(path) if path else None
    if root is None:
        data = os.environ.get("LRM_DATA")
        if not data:
            raise UserError(
                f"task.path is empty and LRM_DATA is not set: give the folder of "
                f"{folder}, which has {names[0]}"
            )
        root = Path(data) / folder
    for name in names:
        if (root / name).is_file():
            return root / name
    raise UserError(f"task.path={str(root)!r}: none of {', '.join(names)} is there")


def check_columns(row: dict, names: Sequence[str], where: str) -> None:
    """Refuse a row without the columns of its data set.

    Raises:
      UserError: names the first column that is missing or no text.
    """
    for name in names:
        if not isinstance(row.get(name), str):
            raise UserError(f"{where}: column {name!r} is missing or no text")
