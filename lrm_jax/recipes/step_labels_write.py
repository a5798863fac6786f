# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Completions of prefixes, judged: what step labels are counted from."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.data.tasks.base import Example
from lrm_jax.reasoning.stops import stop_table
from lrm_jax.recipes.token_search_run import SEPARATORS
from lrm_jax.search.guided_steps import ANSWER, Drawing, StepWriter
from lrm_jax.search.labels import answer_ends, complete
from lrm_jax.search.labels_omega import Prefix, Rollout
from lrm_jax.steps import StepRule, find_step_ends, step_table
from lrm_jax.types import UserError


class Completer:
    """Writes completions in batches of one shape and counts what it writes.

    Attributes:
      rule: how steps are told apart.
      tokenizer: of the run.
      tokens: written so far.
      read_tokens: of the prompts and prefixes read so far, each once a prefix asked.
      written: completions so far.
    """

    def __init__(self, run: Any, source: Any, config: Any, progress: Any) -> None:
        """Compile nothing yet.

        Args:
          run: `recipes.token_run.TokenRun`.
          source: of its problems.
          config: `step_labels.StepLabelConfig`.
          progress: called with (what runs, prefixes done, prefixes), or None.
        """
        self._run, self._source, self._config = run, source, config
        self._progress = progress
        self.tokenizer = run.tokenizer
        separator = config.separator or SEPARATORS.get(source.task.name, "\n")
        self.rule = StepRule(separator=separator, last="text")
        self._table = step_table(self.tokenizer, self.rule)
        written = self.tokenizer.token_bytes()
        written = [*written, *[b""] * (run.policy.cfg.rows - len(written))]
        writes = jnp.asarray([len(one) > 0 for one in written])
        self._ends = answer_ends(stop_table(written, self.tokenizer.eos_ids), writes)
        self._calls = 0
        self.tokens = self.read_tokens = self.written = 0

    @property
    def max_new(self) -> int:
        """Tokens of a solution at most."""
        return self._config.max_new or self._run.config.eval.max_new_tokens

    def encode(self, example: Example) -> list[int]:
        """Return the ids of a prompt."""
        return self._source.encode(example.prompt)

    def texts(self, steps: Prefix) -> list[str]:
        """Return the texts of steps without their separators."""
        found = [self.tokenizer.decode(step) for step in steps]
        return [text.removesuffix(self.rule.separator) for text in found]

    def without_end(self, ids: Sequence[int]) -> list[int]:
        """Return the tokens without the end token."""
        ends = self.tokenizer.eos_ids
        return list(ids[:-1] if ids and ids[-1] in ends else ids)

    def __call__(
        self, prefixes: Sequence[tuple[Prefix, Example, int]], count: int, what: str
    ) -> list[list[Rollout]]:
        """Return `count` completions of each prefix.

        Args:
          prefixes: steps so far, the problem, and its number, from which and from
            the order of the calls its draws follow.
          count: completions of each.
          what: runs, for `progress`.
        """
        self._calls += 1
        found: list[list[Rollout]] = []
        size = self._config.batch
        for first in range(0, len(prefixes), size):
            part = prefixes[first : first + size]
            found += self._write(part, first, count)
            if self._progress is not None:
                self._progress(what, min(first + size, len(prefixes)), len(prefixes))
        return found

    def _write(
        self,
        prefixes: Sequence[tuple[Prefix, Example, int]],
        first: int,
        count: int,
    ) -> list[list[Rollout]]:
        config, size = self._config, self._config.batch
        prompts = [self.encode(example) for _, example, _ in prefixes]
        before = [[t for step in steps for t in step] for steps, _, _ in prefixes]
        texts = [[*a, *b] for a, b in zip(prompts, before, strict=True)]
        width = self._run.policy.cfg.max_seq_len - 1
        longest = max(map(len, texts))
        if longest > width:
            raise UserError(
                f"a problem and its steps take {longest} tokens, which leaves no room "
                f"to write in max_seq_len={width + 1}; accepted: up to {width}"
            )
        width = min(width, _rounded(longest))
        ids = np.full((size, width), self.tokenizer.pad_id, np.int32)
        mask, room = np.zeros(ids.shape, bool), np.zeros(size, np.int32)
        mask[:, 0] = True
        place = np.zeros(size, np.int32)
        for i, text in enumerate(texts):
            ids[i, : len(text)], mask[i, : len(text)] = text, True
            written = self.max_new - len(before[i])
            room[i] = min(written, self._run.policy.cfg.max_seq_len - len(text))
            place[i] = first + i
        steps = _complete_jit(
            self._run.policy,
            (self.max_new, config.lanes, self.tokenizer.pad_id, count),
            (self._run.weights, self._ends),
            ids,
            mask,
            _keys(config.seed, self._calls, place),
            Drawing(config.temperature),
            room,
        )
        said, length, end = (np.asarray(x) for x in steps)
        rows = len(prefixes) * count
        self.tokens += int(length.sum())
        self.read_tokens += sum(map(len, texts))
        self.written += rows
        tokens = [said[r, : length[r]].tolist() for r in range(rows)]
        ended = [bool(end[r] == ANSWER) for r in range(rows)]
        return self._judge(prefixes, before, tokens, ended, count)

    def _judge(
        self,
        prefixes: Sequence[tuple[Prefix, Example, int]],
        before: Sequence[list[int]],
        tokens: Sequence[list[int]],
        ended: Sequence[bool],
        count: int,
    ) -> list[list[Rollout]]:
        """Return the completions cut into steps; of those that did not end, none."""
        whole = [[*before[r // count], *one] for r, one in enumerate(tokens)]
        examples = [prefixes[r // count][1] for r in range(len(tokens))]
        verdicts = self._source.judge(
            [self.tokenizer.decode(ids) for ids in whole], examples
        )
        rollouts = [
            Rollout(
                self._cut(ids, len(before[r // count])) if ended[r] else (),
                bool(ended[r] and verdicts[r].strict >= 1),
            )
            for r, ids in enumerate(whole)
        ]
        return [rollouts[i : i + count] for i in range(0, len(rollouts), count)]

    def _cut(self, ids: list[int], start: int) -> Prefix:
        """Return the steps of a text from `start` on; an end token is in the last."""
        ends = find_step_ends(ids, 0, self._table)
        cuts = [end + 1 for end in ends if start < end + 1]
        if not cuts:
            return (tuple(ids[start:]),) if ids[start:] else ()
        cuts = (
            [start, *cuts[:-1], len(ids)]
            if _tail(self, ids, cuts[-1])
            else [
                start,
                *cuts,
                len(ids),
            ]
        )
        return tuple(tuple(ids[a:b]) for a, b in zip(cuts, cuts[1:], strict=False))


def _tail(writer: Completer, ids: list[int], cut: int) -> bool:
    """Whether nothing but an end token follows the last step's end."""
    return not writer.without_end(ids[cut:])


def _rounded(length: int) -> int:
    """Return the next multiple of 8: a program for each."""
    return -(-length // 8) * 8


def _keys(seed: int, call: int, place: np.ndarray) -> jax.Array:
    base = jax.random.fold_in(jax.random.key(seed), call)
    return jax.vmap(jax.random.fold_in, (None, 0))(base, jnp.asarray(place))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _complete_jit(policy, sizes, arrays, ids, mask, keys, drawing, room):  # noqa: ANN001, ANN202
    max_new, lanes, pad_id, count = sizes
    weights, ends = arrays
    writer = StepWriter(policy, weights, ends, max_new, lanes, pad_id)
    steps = complete(writer, ids, mask, keys, drawing, count=count, room=room)
    return steps.ids, steps.length, steps.end
