# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""JSONL files of prompts and answers as a task."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from lrm_jax.data.jsonl import Columns, Row, read_jsonl
from lrm_jax.data.tasks.base import Example, Split, TextTask
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.data.verify.tags import after_thought, split_tags
from lrm_jax.data.verify.verdict import Status, Verdict
from lrm_jax.types import UserError


class JsonlFiles(NamedTuple):
    """Which rows of which files.

    Attributes:
      path: to train on.
      test_path: to test on; empty holds out `test_size` rows of `path`.
      train_size: rows to train on; 0 for all.
      test_size: rows to test on; 0 for all of `test_path`.
      seed: of what is held out.
      columns: names of the columns.
      needs: see `read_jsonl`.
    """

    path: str
    test_path: str = ""
    train_size: int = 0
    test_size: int = 256
    seed: int = 0
    columns: Columns = Columns()
    needs: str = "completion"


class JsonlTask:
    """Files as a task, judged by the text of the answer or as another task is.

    Attributes:
      name: of the training file.
      rows: of each split.
    """

    def __init__(self, files: JsonlFiles, judge: TextTask | None = None) -> None:
        """Read the files.

        Args:
          files: which rows of which files.
          judge: a task whose verifier judges; None compares text.

        Raises:
          UserError: a file or a line cannot be used, or nothing is left to train on.
        """
        self.name = files.path
        self._judge = judge
        self._paths: dict[Split, str] = {
            "train": files.path,
            "test": files.test_path or files.path,
        }
        rows = read_jsonl(files.path, files.columns, needs=files.needs)
        if files.test_path:
            test = read_jsonl(files.test_path, files.columns, needs=files.needs)
            test = test[: files.test_size or None]
        else:
            rows, test = hold_out(rows, files.test_size, files.seed)
        rows = rows[: files.train_size or None]
        if not rows:
            raise UserError(
                f"data.test_size={files.test_size}: nothing of {files.path} is left to "
                "train on"
            )
        self.rows: dict[Split, list[Row]] = {"train": rows, "test": test}

    def example(self, seed: int, index: int, split: Split) -> Example:
        """Return a row; the seed has no say."""
        del seed
        row = self.rows[split][index]
        prompt: Any = row.prompt
        return Example(prompt, row.answer, row.solution, row.columns)

    def where(self, index: int, split: Split) -> str:
        """Return file and line of a row, for messages."""
        return f"{self._paths[split]}, line {self.rows[split][index].line}"

    def size(self, split: Split) -> int:
        """Return the number of rows."""
        return len(self.rows[split])

    def tokenizer(self) -> Tokenizer | None:
        """Return None."""
        return None

    def verify(self, completion: str, example: Example) -> Verdict:
        """Judge one completion."""
        return self.verify_batch([completion], [example])[0]

    def verify_batch(
        self, completions: list[str], examples: list[Example]
    ) -> list[Verdict]:
        """Judge many."""
        if self._judge is not None:
            return self._judge.verify_batch(completions, examples)
        pairs = zip(completions, examples, strict=True)
        return [judge_text(text, example.answer) for text, example in pairs]


def hold_out(rows: Sequence[Row], count: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows into (train, test); equal prompts never end up on both sides.

    Which prompts are held out depends on their text and the seed, not on the order
    of the file.
    """

    def place(row: Row) -> str:
        text = json.dumps([seed, row.prompt], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    places = [place(row) for row in rows]
    chosen = set(sorted(set(places))[:count])
    test = [r for r, p in zip(rows, places, strict=True) if p in chosen][:count]
    train = [r for r, p in zip(rows, places, strict=True) if p not in chosen]
    return train, test


def judge_text(completion: str, answer: str) -> Verdict:
    """Judge a completion by the text of its answer.

    The answer is what stands in answer tags, or, without tags, what follows the
    thought. Strict wants it letter for letter, lenient but for case and spaces.
    """
    tagged = split_tags(completion)
    said = tagged.answer
    if said is None:
        said = after_thought(completion).strip()
    right = bool(said) and said == answer.strip()
    plain = lambda text: " ".join(text.split()).casefold()
    lenient = right or (bool(said) and plain(said) == plain(answer))
    status: Status = "right" if right else "wrong" if said else "no_answer"
    parts = {
        "format": float(tagged.well_formed),
        "thought": float(bool(tagged.thought.strip())),
    }
    return Verdict(float(right), float(lenient), status, said[:200], parts)
