# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts as ids in, completions as ids and text out: decoding with a tokenizer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from lrm_jax import sharding
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.data.verify.tags import THINK_CLOSE, THINK_OPEN
from lrm_jax.models.policy import Policy
from lrm_jax.reasoning.budget import ThinkingBudget
from lrm_jax.reasoning.decoding import Completions, generate_jit
from lrm_jax.reasoning.prompts import pad_prompts, prompt_buckets
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.reasoning.stops import cut_at_stop, stop_table
from lrm_jax.reasoning.token_budget import ThinkingTags, token_budgets
from lrm_jax.types import Key, Params, UserError

STOPS = ("length", "stop_id", "stop_string")
"""Why a completion ended, by `Completions.stop`."""

Budget = str | int | ThinkingBudget


class Sampling(NamedTuple):
    """How tokens are drawn, the same for every row; see `sampling.SamplingParams`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


GREEDY = Sampling(temperature=0.0)


class Decoding(NamedTuple):
    """Completions that are being written.

    Attributes:
      completions: arrays on the devices, rows of the compiled shape.
      rows: how many of the first rows are real.
    """

    completions: Completions
    rows: int


class Sampler:
    """Decodes with one policy and one tokenizer; a program for each bucket.

    Attributes:
      policy: the model's functions.
      tokenizer: text to ids.
      tags: of a thought; None where the vocabulary has none.
    """

    def __init__(
        self,
        policy: Policy,
        tokenizer: Tokenizer,
        mesh: Mesh,
        *,
        stop_strings: Sequence[str] = (),
    ) -> None:
        """Compile nothing yet.

        Args:
          policy: the model's functions.
          tokenizer: its ids are those of the policy.
          mesh: where prompts go.
          stop_strings: texts that end a completion, besides the end tokens.
        """
        self.policy, self.tokenizer, self._mesh = policy, tokenizer, mesh
        self.stop_strings = tuple(stop_strings)
        written = tokenizer.token_bytes()
        # Rows of the model beyond the vocabulary write nothing.
        self._bytes = [*written, *[b""] * (policy.cfg.rows - len(written))]
        self._stops = stop_table(self._bytes, tokenizer.eos_ids, stop_strings)
        self.tags = thinking_tags(tokenizer)

    def __call__(
        self, weights: Params, prompts: Sequence[Sequence[int]], key: Key, **how: Any
    ) -> Completions:
        """Write completions and bring them to the host; see `start`."""
        return self.collect(self.start(weights, prompts, key, **how))

    def start(
        self,
        weights: Params,
        prompts: Sequence[Sequence[int]],
        key: Key,
        *,
        max_new: int,
        group_size: int = 1,
        sampling: Sampling = GREEDY,
        budget: Budget | None = None,
        cap: int | None = None,
        rows: int | None = None,
        width: int | None = None,
        sequence_ids: np.ndarray | None = None,
    ) -> Decoding:
        """Begin to write `group_size` completions of every prompt; waits for nothing.

        Args:
          weights: of the policy.
          prompts: ids of each.
          key: of the draws; consumed.
          max_new: the most tokens of a completion.
          group_size: completions of each prompt.
          sampling: how tokens are drawn.
          budget: of thinking; None leaves thoughts alone and uncounted.
          cap: the most tokens that a budget may mean; `max_new` by default.
          rows: prompts that the program is compiled for; those missing stay empty.
          width: tokens of the longest prompt to come, for one program; by default
            that of these.
          sequence_ids: `[Q * group_size]`; 0, 1, ... by default.

        Raises:
          UserError: a prompt is empty or has no room, or the budget means nothing
            here.
        """
        count = rows or len(prompts)
        ids, mask = self._pad(prompts, count, max_new=max_new, width=width)
        lanes, real = count * group_size, len(prompts) * group_size
        limits = np.where(np.arange(lanes) < real, max_new, 0)
        arrays = {"ids": ids, "mask": mask}
        placed = sharding.put(arrays, {n: self._where(x) for n, x in arrays.items()})
        with sharding.use_mesh(self._mesh):
            found = generate_jit(
                self.policy,
                weights,
                placed["ids"],
                placed["mask"],
                group_size=group_size,
                max_new_tokens=max_new,
                sampling=sampling_params(
                    lanes, max_new=limits.tolist(), **sampling._asdict()
                ),
                key=key,
                sequence_ids=sequence_ids,
                stops=self._stops,
                budget=self._budget(budget, cap or max_new, prompts, count, group_size),
                pad_id=self.tokenizer.pad_id,
            )
        return Decoding(found, real)

    def collect(self, decoding: Decoding) -> Completions:
        """Wait for what was started; NumPy arrays of the real rows."""
        rows = decoding.rows
        return jax.tree.map(lambda x: np.asarray(x)[:rows], decoding.completions)

    def texts(self, found: Completions) -> list[str]:
        """Return what was written, without end tokens and stop strings."""
        texts = []
        for ids, mask, stop in zip(found.ids, found.mask, found.stop, strict=True):
            text = self.tokenizer.decode(np.asarray(ids)[np.asarray(mask)].tolist())
            if STOPS[int(stop)] == "stop_string":
                text = cut_at_stop(text, self.stop_strings)
            texts.append(text)
        return texts

    def _pad(
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        *,
        max_new: int,
        width: int | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and mask `[count, P]`, end tokens in the rows that are missing."""
        room = self.policy.cfg.max_seq_len - max_new
        if room < 1:
            raise UserError(
                f"max_new={max_new} leaves no room for a prompt in model.max_seq_len="
                f"{self.policy.cfg.max_seq_len}"
            )
        buckets = prompt_buckets(room)
        if width is not None:
            buckets = tuple(b for b in buckets if b >= width)[:1] or buckets[-1:]
        eos = self.tokenizer.eos_ids[0]
        return pad_prompts(
            [*prompts, *[[eos]] * (count - len(prompts))],
            buckets,
            vocab_size=self.policy.vocab_size,
            pad_id=self.tokenizer.pad_id,
        )

    def _budget(
        self,
        budget: Budget | None,
        cap: int,
        prompts: Sequence[Sequence[int]],
        count: int,
        group_size: int,
    ) -> Any:
        if budget is None:
            return None
        if self.tags is None:
            raise UserError(
                f"budget {budget!s}: the vocabulary has no {THINK_OPEN} and "
                f"{THINK_CLOSE}, so there is no thought to bound"
            )
        opened = [self.is_open(prompt) for prompt in prompts]
        opened += [False] * (count - len(prompts))
        rows = [is_open for is_open in opened for _ in range(group_size)]
        return token_budgets(
            [budget] * len(rows), self.tags, self._bytes, cap=cap, opened=rows
        )

    def is_open(self, prompt: Sequence[int]) -> bool:
        """Return whether a prompt ends inside a thought (some templates open it)."""
        text = self.tokenizer.decode(prompt)
        return text.rfind(THINK_OPEN) > text.rfind(THINK_CLOSE)

    def _where(self, array: np.ndarray) -> NamedSharding:
        """Split prompts over the devices where they divide."""
        names = ("batch", None)
        spec = sharding.partition_spec(names, self._mesh, array.shape)
        return NamedSharding(self._mesh, spec)


def thinking_tags(tokenizer: Tokenizer) -> ThinkingTags | None:
    """Return the tags of a thought as ids; None where the vocabulary lacks them.

    Qwen3 and its like write two newlines into an empty thought and after its end.
    """
    try:
        opened, closed = tokenizer.encode(THINK_OPEN), tokenizer.encode(THINK_CLOSE)
    except UserError:
        return None
    around: tuple[int, ...] = ()
    if hasattr(tokenizer, "folder"):
        around = tuple(tokenizer.encode("\n\n"))
    return ThinkingTags(tuple(opened), tuple(closed), empty=around, after=around)
