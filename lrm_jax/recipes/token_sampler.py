# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Prompts as ids in, completions as ids and text out: decoding with a tokenizer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from lrm_jax import processes, sharding
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.models.policy import Policy
from lrm_jax.reasoning.decoding import Completions, generate_jit
from lrm_jax.reasoning.prompts import pad_prompts, prompt_buckets
from lrm_jax.reasoning.refill import generate_refilled_jit
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.reasoning.stops import cut_at_stop, stop_table
from lrm_jax.reasoning.token_budget import TokenBudget
from lrm_jax.recipes.token_thinking import Thinking, compile_thinking, thinking_tags
from lrm_jax.types import Array, Key, Params, UserError

STOPS = ("length", "stop_id", "stop_string")
"""Why a completion ended, by `Completions.stop`."""


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
      steps: `[]` int32, calls of the model with one token a lane, where lanes were
        refilled; otherwise one less than the tokens of the longest completion.
    """

    completions: Completions
    rows: int
    steps: Array | None = None


class Sampler:
    """Decodes with one policy and one tokenizer; a program for each bucket.

    Attributes:
      policy: the model's functions.
      tokenizer: text to ids.
      mesh: where prompts go.
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
        self.policy, self.tokenizer, self.mesh = policy, tokenizer, mesh
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
        thinking: Thinking | None = None,
        lanes: int = 0,
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
          thinking: how long; None leaves thoughts alone and uncounted.
          lanes: completions at work at a time, see `generate_refilled`; 0 for all.
          rows: prompts that the program is compiled for, rounded up to the parts
            the mesh splits a batch into; those missing stay empty.
          width: tokens of the longest prompt to come, for one program; by default
            that of these.
          sequence_ids: `[Q * group_size]`; 0, 1, ... by default.

        Raises:
          UserError: a prompt is empty or has no room, or the budget means nothing
            here.
        """
        parts = sharding.batch_shards(self.mesh)
        count = -(-(rows or len(prompts)) // parts) * parts
        prompts, real = self._filled(prompts, count), len(prompts) * group_size
        ids, mask = self._pad(prompts, max_new=max_new, width=width)
        total = count * group_size
        limits = np.where(np.arange(total) < real, max_new, 0).tolist()
        if sequence_ids is not None:
            sequence_ids = np.resize(sequence_ids, total)  # of empty rows: any
        options = {
            "group_size": group_size,
            "max_new_tokens": max_new,
            "sampling": sampling_params(total, max_new=limits, **sampling._asdict()),
            "key": key,
            "sequence_ids": sequence_ids,
            "stops": self._stops,
            "budget": self._budget(thinking, prompts, max_new, group_size),
            "pad_id": self.tokenizer.pad_id,
        }
        arrays = {"ids": ids, "mask": mask}
        placed = sharding.put(arrays, {n: self._where(x) for n, x in arrays.items()})
        inputs = (self.policy, weights, placed["ids"], placed["mask"])
        with sharding.use_mesh(self.mesh):
            if not 0 < lanes < total:
                return Decoding(generate_jit(*inputs, **options), real)
            found = generate_refilled_jit(*inputs, lanes=lanes, **options)
        return Decoding(found.completions, real, found.steps)

    def collect(self, decoding: Decoding) -> Completions:
        """Wait for what was started; NumPy arrays of the real rows."""
        found = processes.to_host(decoding.completions)
        return jax.tree.map(lambda x: x[: decoding.rows], found)

    def texts(self, found: Completions) -> list[str]:
        """Return what was written, without end tokens and stop strings."""
        texts = []
        for ids, mask, stop in zip(found.ids, found.mask, found.stop, strict=True):
            text = self.tokenizer.decode(np.asarray(ids)[np.asarray(mask)].tolist())
            if STOPS[int(stop)] == "stop_string":
                text = cut_at_stop(text, self.stop_strings)
            texts.append(text)
        return texts

    def _filled(
        self, prompts: Sequence[Sequence[int]], count: int
    ) -> list[Sequence[int]]:
        """Return `count` prompts, end tokens in place of those that are missing."""
        eos = self.tokenizer.eos_ids[0]
        return [*prompts, *[[eos]] * (count - len(prompts))]

    def _pad(
        self, prompts: Sequence[Sequence[int]], *, max_new: int, width: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and mask `[Q, P]`."""
        room = self.policy.cfg.max_seq_len - max_new
        if room < 1:
            raise UserError(
                f"max_new={max_new} leaves no room for a prompt in model.max_seq_len="
                f"{self.policy.cfg.max_seq_len}"
            )
        buckets = prompt_buckets(room)
        if width is not None:
            buckets = tuple(b for b in buckets if b >= width)[:1] or buckets[-1:]
        return pad_prompts(
            prompts,
            buckets,
            vocab_size=self.policy.vocab_size,
            pad_id=self.tokenizer.pad_id,
        )

    def _budget(
        self,
        thinking: Thinking | None,
        prompts: Sequence[Sequence[int]],
        max_new: int,
        group_size: int,
    ) -> TokenBudget | None:
        """Return the budgets `[B]`."""
        if thinking is None:
            return None
        found = compile_thinking(
            thinking, self.tokenizer, self._bytes, prompts, max_new=max_new
        )
        return found.take(jnp.repeat(jnp.arange(len(prompts)), group_size))

    def _where(self, array: np.ndarray) -> NamedSharding:
        """Split prompts over the devices."""
        spec = sharding.partition_spec(("batch", None), self.mesh, array.shape)
        return NamedSharding(self.mesh, spec)
