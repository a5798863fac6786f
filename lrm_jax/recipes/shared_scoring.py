# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Completions of several processes: each is scored once, by one of them; all know all.

Tokens go to every host whole (some ten bytes each); what takes a host's time (text
out of tokens, verifiers, a user's function) is split by prompts, and the results are
exchanged. With one process nothing here does more than what it is built on.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lrm_jax import processes
from lrm_jax.data.tasks.base import Example
from lrm_jax.data.text_source import TextSource
from lrm_jax.data.verify.rewards import RewardResult
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.reasoning.decoding import Completions
from lrm_jax.recipes.grpo_rollout import RolloutMaker, StartedRollout
from lrm_jax.recipes.token_sampler import Sampler


def judge(
    sampler: Sampler,
    source: TextSource,
    found: Completions,
    examples: Sequence[Example],
) -> tuple[list[str], list[Verdict]]:
    """Return texts and verdicts of completions, one of each example."""

    def work(part: range) -> list[tuple[str, Any]]:
        texts = sampler.texts(_rows(found, part))
        verdicts = source.judge(texts, [examples[i] for i in part]) if part else []
        return [(t, _plain(v)) for t, v in zip(texts, verdicts, strict=True)]

    results = processes.shared(len(examples), work)
    return [text for text, _ in results], [Verdict(**v) for _, v in results]


class SharedRolloutMaker(RolloutMaker):
    """Makes rollouts whose completions are scored by all processes together."""

    def _read_and_score(
        self, started: StartedRollout, found: Completions
    ) -> tuple[list[str], RewardResult]:
        if not processes.several():
            return super()._read_and_score(started, found)
        own = processes.own_part(len(started.examples))
        return _join(processes.of_all(self._part(started, found, own)))

    def _part(self, started: StartedRollout, found: Completions, own: range) -> Any:
        """Return what this process finds of its prompts, as JSON values."""
        if not own:
            return None
        lanes = self._config.rl.rollout.group_size
        some = _rows(found, range(own.start * lanes, own.stop * lanes))
        texts = self._sampler.texts(some)
        examples = [started.examples[i] for i in own]
        scored = self._score(examples, texts, some, started.step)
        numbers = {
            **{name: getattr(scored, name).tolist() for name in _ARRAYS},
            "parts": {name: part.tolist() for name, part in scored.parts.items()},
        }
        words = {"status": scored.status, "extracted": scored.extracted}
        return {**numbers, **words, "errors": scored.errors, "texts": texts}


_ARRAYS = ("total", "strict", "lenient")


def _join(parts: Sequence[Any]) -> tuple[list[str], RewardResult]:
    """Return the texts and rewards of all prompts."""
    parts = [part for part in parts if part is not None]
    listed = lambda name: [one for part in parts for one in part[name]]
    names = parts[0]["parts"]
    joined = {n: [x for part in parts for x in part["parts"][n]] for n in names}
    return listed("texts"), RewardResult(
        **{name: np.array(listed(name), np.float32) for name in _ARRAYS},
        parts={name: np.array(rows, np.float32) for name, rows in joined.items()},
        status=listed("status"),
        extracted=listed("extracted"),
        errors=sum(part["errors"] for part in parts),
    )


def _rows(found: Completions, part: range) -> Completions:
    return jax.tree.map(lambda x: x[part.start : part.stop], found)


def _plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON values."""
    numbers = {"strict": float(verdict.strict), "lenient": float(verdict.lenient)}
    parts = {name: float(x) for name, x in verdict.parts.items()}
    return {**verdict._asdict(), **numbers, "parts": parts}
