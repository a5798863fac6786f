# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labelled steps as rows of tokens, by step of training.

Every labelled step that is kept is one supervised token: the one that `steps.py`
ends it at. A row is cut at a step's end, never inside a step.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from lrm_jax.data.jsonl import Prompt
from lrm_jax.data.step_formats import StepRecord
from lrm_jax.data.text_source import shuffled
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.steps import StepRule, StepTable, step_table, tokenize_steps
from lrm_jax.types import UserError, first_of

STEP_ROWS = 34
"""Purpose of `counter_rng` that orders rows of steps."""

EncodePrompt = Callable[[Prompt], Sequence[int]]
"""Prompts to ids, with what a template or a tokenizer puts before them."""


@dataclasses.dataclass(frozen=True)
class StepRowConfig:
    """Shape of rows, and which labels count.

    Attributes:
      rule: how steps are written.
      seq_len: tokens of a row; steps that do not fit are dropped whole.
      max_steps: of a row; further ones are dropped.
      after_error: `mask` the labels of steps after the first wrong one, or `keep`.
      wrong_at: a label up to this is wrong; 0 suits labels of 0 and 1 as well as
        shares of right completions (Qwen's threshold).
      bad_steps: what becomes of a record whose steps cannot be told apart as tokens:
        `drop` (and count) or `refuse`.
    """

    rule: StepRule = StepRule()
    seq_len: int = 1024
    max_steps: int = 64
    after_error: Literal["mask", "keep"] = "mask"
    wrong_at: float = 0.0
    bad_steps: Literal["drop", "refuse"] = "drop"

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        for name in ("seq_len", "max_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: expected 1 or more")


class StepRow(NamedTuple):
    """One record as tokens.

    Attributes:
      ids: prompt and whole steps.
      ends: index of each step's last token.
      labels: of each step; None where it is not to be learned.
      start: index of the first token after the prompt.
    """

    ids: list[int]
    ends: list[int]
    labels: list[float | None]
    start: int


def step_row(
    record: StepRecord,
    prompt_ids: Sequence[int],
    tokenizer: Tokenizer,
    cfg: StepRowConfig,
    table: StepTable | None = None,
) -> StepRow | None:
    """Return a record as tokens; None where no labelled step is left.

    Args:
      record: prompt, steps and labels.
      prompt_ids: the prompt as the model is to see it.
      tokenizer: of the steps.
      cfg: shape, and which labels count.
      table: of the rule, to see that the device finds the same ends.

    Raises:
      UserError: its steps cannot be told apart as tokens.
    """
    steps = record.steps
    found = tokenize_steps(tokenizer.encode, prompt_ids, steps, cfg.rule, table)
    fit = sum(end < cfg.seq_len for end in found.ends[: cfg.max_steps])
    labels = list(record.labels[:fit])
    if cfg.after_error == "mask":
        wrong = [i for i, x in enumerate(labels) if x is not None and x <= cfg.wrong_at]
        for i in range(wrong[0] + 1 if wrong else fit, fit):
            labels[i] = None
    if all(label is None for label in labels):
        return None
    ids, ends = found.ids[: found.ends[fit - 1] + 1], found.ends[:fit]
    return StepRow(ids, ends, labels, found.start)


def collate_steps(
    rows: Sequence[StepRow], cfg: StepRowConfig, pad_id: int
) -> dict[str, np.ndarray]:
    """Return the arrays of a batch.

    Args:
      rows: that fit.
      cfg: gives T and S.
      pad_id: fills the rest of a row.

    Returns:
      `ids` and `positions` `[B, T]` int32, `mask` `[B, T]` bool (real tokens, the
      prompt's too), `ends` `[B, S]` int32 (-1 for no step), `labels` `[B, S]` float32
      and `label_mask` `[B, S]` bool, true where a label is to be learned; `starts`
      `[B]` int32, the first token after the prompt.
    """
    tokens, steps = (len(rows), cfg.seq_len), (len(rows), cfg.max_steps)
    ids = np.full(tokens, pad_id, np.int32)
    positions, mask = np.zeros(tokens, np.int32), np.zeros(tokens, bool)
    ends, labels = np.full(steps, -1, np.int32), np.zeros(steps, np.float32)
    label_mask = np.zeros(steps, bool)
    for b, row in enumerate(rows):
        length = len(row.ids)
        ids[b, :length] = row.ids
        positions[b, :length] = np.arange(length)
        mask[b, :length] = True
        ends[b, : len(row.ends)] = row.ends
        for i, label in enumerate(row.labels):
            if label is not None:
                labels[b, i], label_mask[b, i] = label, True
    return {
        "ids": ids,
        "positions": positions,
        "mask": mask,
        "ends": ends,
        "labels": labels,
        "label_mask": label_mask,
        "starts": np.asarray([row.start for row in rows], np.int32),
    }


class StepRows:
    """Batches of labelled steps, a pure function of (seed, step).

    Attributes:
      rows: what is trained on.
      dropped: records that gave no row, by why.
      first_bad: what was wrong with the first whose steps are not told apart.
      cut: records of which steps were dropped from the end.
    """

    def __init__(
        self,
        records: Iterable[StepRecord],
        tokenizer: Tokenizer,
        cfg: StepRowConfig,
        *,
        batch_size: int,
        seed: int,
        encode_prompt: EncodePrompt | None = None,
    ) -> None:
        """Tokenise the records.

        Args:
          records: see `step_files.stream_steps`.
          tokenizer: text to ids.
          cfg: shape, and which labels count.
          batch_size: rows of a step.
          seed: of the order.
          encode_prompt: a `PromptEncoder`; None for text by the tokenizer alone.

        Raises:
          UserError: no record gives a row.
        """
        self.cfg, self._tokenizer = cfg, tokenizer
        self._batch_size, self._seed = batch_size, seed
        self.rows: list[StepRow] = []
        self.dropped: Counter[str] = Counter()
        self.first_bad = ""
        self.cut = 0
        encode = encode_prompt or _plain_prompts(tokenizer)
        # On the host: it is looked up a token at a time.
        table = jax.device_get(step_table(tokenizer, cfg.rule))
        for number, record in enumerate(records, 1):
            self._add(record, number, encode, table)
        if not self.rows:
            reasons = [f"{count} {why}" for why, count in self.dropped.items()]
            raise UserError(
                "no record with labelled steps gives a row: "
                + (first_of(reasons, "; ") if reasons else "there is none")
            )

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.rows)

    def __call__(
        self, step: int, lanes: Sequence[int] | np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return the batch of a step, or the rows `lanes` of it; see `collate_steps`.

        All rows are gone through in a new random order every epoch.
        """
        first = step * self._batch_size
        order = shuffled(len(self.rows), self._seed, STEP_ROWS, first, self._batch_size)
        lanes = range(self._batch_size) if lanes is None else lanes
        return self.batch([order[int(lane)] for lane in lanes])

    def batch(self, which: Iterable[int]) -> dict[str, np.ndarray]:
        """Return rows by number, for evaluation; see `collate_steps`."""
        rows = [self.rows[i] for i in which]
        return collate_steps(rows, self.cfg, self._tokenizer.pad_id)

    def fingerprint(self) -> str:
        """Return a hash of what is trained on: equal for equal rows."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(repr(tuple(row)).encode())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return what the rows are, as JSON values."""
        labels = [x for row in self.rows for x in row.labels if x is not None]
        used = sum(len(row.ids) for row in self.rows)
        return {
            "rows": len(self.rows),
            "labels": len(labels),
            "mean_label": round(float(np.mean(labels)), 4),
            "fill": round(used / (len(self.rows) * self.cfg.seq_len), 4),
            "cut": self.cut,
            "dropped": dict(self.dropped),
            **({"first_bad": self.first_bad} if self.first_bad else {}),
        }

    def _add(
        self, record: StepRecord, number: int, encode: EncodePrompt, table: StepTable
    ) -> None:
        try:
            row = step_row(
                record, encode(record.prompt), self._tokenizer, self.cfg, table
            )
        except UserError as error:
            if self.cfg.bad_steps == "refuse":
                raise UserError(
                    f"record {number} ({record.source}): {error}"
                ) from error
            self.dropped["whose steps are not told apart as tokens"] += 1
            self.first_bad = self.first_bad or f"record {number}: {error}"
            return
        if row is None:
            self.dropped["without a labelled step that fits"] += 1
            return
        self.cut += len(row.ends) < len(record.steps)
        self.rows.append(row)


def _plain_prompts(tokenizer: Tokenizer) -> EncodePrompt:
    def encode(prompt: Prompt) -> list[int]:
        if not isinstance(prompt, str):
            raise UserError(
                "the prompt is a list of messages; it needs a chat template"
            )
        return [*tokenizer.bos_ids, *tokenizer.encode(prompt)]

    return encode
