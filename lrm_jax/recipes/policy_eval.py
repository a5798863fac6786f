# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Held-out evaluation of a policy: nats per learned token, greedy accuracy."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lrm_jax.data.packing import Tokens, collate
from lrm_jax.data.text_source import TextSource
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.models.policy import Policy
from lrm_jax.recipes.policy_config import GREEDY, LOSS, PolicyEvalConfig
from lrm_jax.recipes.sft_step import TokenSums, sum_tokens
from lrm_jax.recipes.shared_scoring import judge
from lrm_jax.recipes.token_sampler import Sampler
from lrm_jax.training.own_rows import own_rows, place
from lrm_jax.types import Params, UserError


class HeldOutLoss:
    """Nats per learned token of held-out examples; compiles once.

    Attributes:
      dropped: examples too long for a row, which are left out.
    """

    def __init__(
        self,
        policy: Policy,
        source: TextSource,
        mesh: Mesh,
        *,
        size: int,
        batch_size: int,
        seq_len: int,
        chunk: int,
    ) -> None:
        """Encode the examples.

        Args:
          policy: the model's functions.
          source: of the examples.
          mesh: where batches go.
          size: examples to use; 0 for all.
          batch_size: examples at a time.
          seq_len: tokens of a row.
          chunk: columns of the vocabulary at a time.

        Raises:
          UserError: an example does not fit a row, or none does.
        """
        self._mesh, self._batch_size, self._seq_len = mesh, batch_size, seq_len
        self._pad_id = source.tokenizer.pad_id
        self._own = own_rows(mesh, batch_size)
        found = [source.tokens(e) for e in source.test[: size or None]]
        self._tokens: list[Tokens] = [t for t in found if len(t.ids) <= seq_len]
        self.dropped = len(found) - len(self._tokens)
        if self.dropped and source.cfg.too_long == "refuse":
            raise UserError(
                f"{self.dropped} held-out examples have more than sft.seq_len="
                f"{seq_len} tokens; raise it, or set data.too_long=drop"
            )
        if not self._tokens:
            raise UserError(
                f"data.test_size={source.cfg.test_size}: no held-out example to "
                "evaluate on"
            )

        def sums(weights: Params, batch: Any) -> TokenSums:
            return sum_tokens(policy, {"weights": weights}, batch, chunk=chunk)

        self._sums = jax.jit(sums)

    def __call__(self, weights: Params) -> dict[str, float]:
        """Return `{eval/loss}`."""
        nats = tokens = 0.0
        for rows in batches_of(self._tokens, self._batch_size):
            # A short last batch is filled with rows that have nothing to learn.
            lanes = [rows[i : i + 1] for i in self._own]
            batch = collate(lanes, self._seq_len, self._pad_id)
            placed = place(self._mesh, batch, self._own, self._batch_size)
            sums = self._sums(weights, placed)
            nats, tokens = nats + float(sums.nats), tokens + float(sums.tokens)
        return {LOSS: nats / tokens}


def batches_of(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Return the items in parts of `size`, the last one shorter."""
    return [items[i : i + size] for i in range(0, len(items), size)]


class GreedyAccuracy:
    """Strict and lenient accuracy of the most likely completions; compiles once."""

    def __init__(
        self, sampler: Sampler, source: TextSource, cfg: PolicyEvalConfig
    ) -> None:
        """Encode the prompts.

        Raises:
          UserError: a prompt leaves no room for its completion.
        """
        self._sampler, self._source, self._cfg = sampler, source, cfg
        self._examples = source.test[: cfg.size or None]
        self._prompts = [source.encode(e.prompt) for e in self._examples]
        self._width = max(map(len, self._prompts), default=0)
        room = sampler.policy.cfg.max_seq_len - cfg.max_new_tokens
        if self._width > room:
            raise UserError(
                f"eval.max_new_tokens={cfg.max_new_tokens}: a held-out prompt has "
                f"{self._width} tokens, and model.max_seq_len="
                f"{sampler.policy.cfg.max_seq_len} leaves {max(room, 0)} for it"
            )

    def __call__(self, weights: Params) -> dict[str, float]:
        """Return `{eval/greedy_accuracy, eval/greedy_lenient, eval/greedy_length}`."""
        verdicts: list[Verdict] = []
        tokens, size = 0, self._cfg.batch_size
        examples = batches_of(self._examples, size)
        for part, rows in zip(batches_of(self._prompts, size), examples, strict=True):
            found = self._sampler(
                weights,
                part,
                jax.random.key(0),
                max_new=self._cfg.max_new_tokens,
                lanes=self._cfg.lanes,
                rows=size,
                width=self._width,
            )
            verdicts += judge(self._sampler, self._source, found, rows)[1]
            tokens += int(np.sum(found.length))
        count = len(verdicts)
        return {
            GREEDY: sum(v.strict for v in verdicts) / count,
            "eval/greedy_lenient": sum(v.lenient for v in verdicts) / count,
            "eval/greedy_length": tokens / count,
        }
