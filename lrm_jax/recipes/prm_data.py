# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labelled steps of a run's files: what is trained on and what is held out."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lrm_jax import processes
from lrm_jax.data.chat import PromptEncoder
from lrm_jax.data.step_files import StepCounts, read_steps
from lrm_jax.data.step_formats import StepRecord
from lrm_jax.data.step_rows import StepRowConfig, StepRows
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.recipes.policy_build import tokenizer_of
from lrm_jax.recipes.prm_config import PrmRunConfig
from lrm_jax.types import UserError


class StepSource:
    """Rows to train on and held-out rows, of the same tokenizer and rule.

    Attributes:
      tokenizer: of the run.
      encode: prompts to ids.
      train: rows to train on.
      held_out: rows to evaluate on.
    """

    def __init__(self, config: PrmRunConfig) -> None:
        """Read and tokenise the files.

        Raises:
          UserError: no file, a label that is no probability, no row, nothing to hold
            out.
        """
        data = config.data
        if not data.path:
            raise UserError(
                "data.path is empty: name a JSONL of labelled steps (prompt, steps, "
                "labels; lrm_jax/data/step_formats.py has the others)"
            )
        self.tokenizer: Tokenizer = tokenizer_of(config)
        self.encode = PromptEncoder(
            self.tokenizer,
            raw=data.raw,
            system=data.system,
            enable_thinking=data.enable_thinking,
        )
        train, self._counts = _read(data.path, config)
        if data.test_path:
            test = _read(data.test_path, config)[0][: data.test_size or None]
        else:
            train, test = split(train, data.test_size, data.seed, data.path)
        train = train[: data.train_size or None]
        self.train = self._rows(train, config)
        self.held_out = self._rows(test, config)

    def fingerprint(self) -> str:
        """Return a hash of what is trained on."""
        return self.train.fingerprint()

    def describe(self) -> dict[str, Any]:
        """Return what the data are, as JSON values."""
        return {
            **self.train.describe(),
            "refused": self._counts.refused,
            "test": len(self.held_out),
            "vocab_size": self.tokenizer.vocab_size,
        }

    def _rows(self, records: list[StepRecord], config: PrmRunConfig) -> StepRows:
        prm = config.prm
        shape = StepRowConfig(
            rule=prm.steps,
            seq_len=prm.seq_len,
            max_steps=prm.max_steps,
            after_error="keep",  # the loss says what it does not learn
            bad_steps=prm.bad_steps,
        )
        return StepRows(
            records,
            self.tokenizer,
            shape,
            batch_size=config.train.batch_size,
            seed=config.seed,
            encode_prompt=self.encode,
        )


def _read(path: str, config: PrmRunConfig) -> tuple[list[StepRecord], StepCounts]:
    """Read a file; rows that cannot be used are counted, and said once."""
    if not Path(path).is_file():
        raise UserError(f"data.path={path!r}: no such file")
    records, counts = read_steps(path, config.prm.files)
    if counts.refused and processes.is_first():
        first = counts.bad[0]
        print(
            f"{path}: {counts.refused} of {counts.rows} rows cannot be used; line "
            f"{first['line']}: {first['reason']}",
            file=sys.stderr,
        )
    for number, record in enumerate(records, 1):
        for step, label in enumerate(record.labels, 1):
            if label is not None and not 0 <= label <= 1:
                raise UserError(
                    f"{path}, record {number}: label {step} is {label:g}; expected 0 "
                    "to 1, how likely the step is right or leads to what is"
                )
    return records, counts


def split(
    records: list[StepRecord], size: int, seed: int, path: str
) -> tuple[list[StepRecord], list[StepRecord]]:
    """Hold records out by whole prompts, so that no problem is in both parts.

    Args:
      records: of a file.
      size: at least so many are held out.
      seed: of which.
      path: of the file, for messages.

    Raises:
      UserError: nothing would be left in one of the parts.
    """
    prompts: dict[str, int] = {}
    names = [json.dumps(record.prompt, sort_keys=True) for record in records]
    which = [prompts.setdefault(name, len(prompts)) for name in names]
    order = np.random.default_rng([seed, 5]).permutation(len(prompts))
    counts = np.bincount(which, minlength=len(prompts))[order]
    taken = int(np.searchsorted(np.cumsum(counts), size)) + 1
    if not 0 < size or taken >= len(prompts):
        raise UserError(
            f"data.test_size={size}: {path} has {len(records)} records of "
            f"{len(prompts)} prompts; hold out some and leave some, or name "
            "data.test_path"
        )
    out = {int(i) for i in order[:taken]}
    kept = [r for r, i in zip(records, which, strict=True) if i not in out]
    return kept, [r for r, i in zip(records, which, strict=True) if i in out]
