# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Held-out evaluation of a policy under reinforcement learning.

Greedy accuracy, sampled pass@1 and pass@k, and what guessing would get, side by
side: together they tell learning from sharpening and from guessing.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from lrm_jax import sharding
from lrm_jax.data.text_source import TextSource
from lrm_jax.data.verify.verdict import Verdict
from lrm_jax.evaluation.answers import answer_entropy, best_constant, pass_at_k
from lrm_jax.reasoning.decoding import Completions
from lrm_jax.recipes.grpo_config import GrpoRunConfig
from lrm_jax.recipes.policy_build import state_shardings
from lrm_jax.recipes.policy_config import GREEDY
from lrm_jax.recipes.policy_eval import batches_of
from lrm_jax.recipes.shared_scoring import judge
from lrm_jax.recipes.token_sampler import GREEDY as MOST_LIKELY
from lrm_jax.recipes.token_sampler import Sampler, Sampling
from lrm_jax.recipes.token_thinking import Thinking
from lrm_jax.types import Params, UserError

EVALUATION = 4
"""Purpose folded into the run's seed for the draws of evaluation."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """Completions of held-out prompts, `[Q][n]`.

    Attributes:
      texts: what was written.
      verdicts: on it.
      tokens: `[Q, n]`, lengths.
      thinking: `[Q, n]`, tokens of the thoughts; 0 where they are not counted.
      first: of the first batch of prompts, token by token; NumPy arrays.
    """

    texts: list[list[str]]
    verdicts: list[list[Verdict]]
    tokens: np.ndarray
    thinking: np.ndarray
    first: Completions

    def scores(self, reading: str) -> np.ndarray:
        """Return `[Q, n]` of 0 to 1."""
        return np.array([[getattr(v, reading) for v in row] for row in self.verdicts])


class PolicyEvaluation:
    """Evaluates on the same held-out examples each time; compiles two programs."""

    def __init__(
        self, config: GrpoRunConfig, source: TextSource, sampler: Sampler
    ) -> None:
        """Encode the prompts.

        Raises:
          UserError: there are none, or one leaves no room for its completion.
        """
        self._config, self._source, self._sampler = config, source, sampler
        self.examples = source.test[: config.eval.size or None]
        if not self.examples:
            raise UserError("data.test_size=0: no held-out example to evaluate on")
        self._prompts = [source.encode(e.prompt) for e in self.examples]
        self._width = max(map(len, self._prompts))
        room = config.model.max_seq_len - config.eval.max_new_tokens
        if self._width > room:
            raise UserError(
                f"eval.max_new_tokens={config.eval.max_new_tokens}: a held-out prompt "
                f"has {self._width} tokens, and model.max_seq_len="
                f"{config.model.max_seq_len} leaves {max(room, 0)} for it"
            )

    def __call__(self, weights: Params) -> dict[str, float]:
        """Return the metrics of `weights`, `eval/...`."""
        return self.measure(weights)[0]

    def measure(self, weights: Params) -> tuple[dict[str, float], Judged]:
        """Return the metrics of `weights`, and the greedy completions."""
        count = self._config.grpo.eval_samples
        sampled = self.write(weights, count=count) if count else None
        greedy = self.write(weights)
        return self.metrics(greedy, sampled), greedy

    def metrics(self, greedy: Judged, sampled: Judged | None) -> dict[str, float]:
        """Return what completions of all prompts say, `eval/...`."""
        answers = [example.answer for example in self.examples]
        given = [row[0].extracted for row in greedy.verdicts]
        mean = lambda x: float(np.mean(x))
        found = {
            GREEDY: mean(greedy.scores("strict")),
            "eval/greedy_lenient": mean(greedy.scores("lenient")),
            "eval/greedy_length": mean(greedy.tokens),
            "eval/thinking_tokens": mean(greedy.thinking),
            "eval/best_constant": best_constant(answers),
            "eval/answer_entropy": answer_entropy(given),
            "eval/true_answer_entropy": answer_entropy(answers),
        }
        if sampled is None:
            return found
        strict = sampled.scores("strict")
        found["eval/sampled_accuracy"] = mean(strict)
        found["eval/sampled_lenient"] = mean(sampled.scores("lenient"))
        for k in (1, 2, 4, 8, 16, 32, 64, 128):
            if k <= strict.shape[1]:
                found[f"eval/pass_at_{k}"] = pass_at_k(strict >= 1, k)
        return found

    def place(self, weights: Params) -> Params:
        """Put weights on the sampler's mesh, split as training splits them."""
        sampler = self._sampler
        where = state_shardings(sampler.mesh, sampler.policy, weights)
        return sharding.put(weights, where)

    def write(self, weights: Params, *, count: int = 0) -> Judged:
        """Complete every held-out prompt: greedily, or `count` times by sampling.

        The draws are the same each time, so that two evaluations differ by the
        weights alone.
        """
        config, sampler = self._config, self._sampler
        rollout, size = config.rl.rollout, config.eval.batch_size
        key = jax.random.fold_in(jax.random.key(config.seed), EVALUATION)
        drawn = Sampling(
            rollout.temperature, rollout.top_k, rollout.top_p, rollout.min_p
        )
        lanes = max(count, 1)
        thinking = config.grpo.thinking
        if thinking is None and sampler.tags is not None:
            thinking = Thinking()  # which bounds nothing, and counts
        texts: list[str] = []
        verdicts: list[Verdict] = []
        tokens: list[Any] = []
        thoughts: list[Any] = []
        shown: list[Completions] = []
        examples = batches_of(self.examples, size)
        for first, part in enumerate(batches_of(self._prompts, size)):
            rows = np.arange(size * lanes, dtype=np.int32)
            found = sampler(
                weights,
                part,
                key,
                max_new=config.eval.max_new_tokens,
                group_size=lanes,
                sampling=drawn if count else MOST_LIKELY,
                thinking=thinking,
                lanes=config.eval.lanes,
                rows=size,
                width=self._width,
                sequence_ids=first * size * lanes + rows,
            )
            if not shown:
                shown.append(found)
            asked = [example for example in examples[first] for _ in range(lanes)]
            written, judged = judge(sampler, self._source, found, asked)
            texts, verdicts = texts + written, verdicts + judged
            tokens += list(found.length)
            thoughts += list(found.thinking_tokens)
        return Judged(
            texts=[list(part) for part in batches_of(texts, lanes)],
            verdicts=[list(part) for part in batches_of(verdicts, lanes)],
            tokens=np.array(tokens).reshape(-1, lanes),
            thinking=np.array(thoughts).reshape(-1, lanes),
            first=shown[0],
        )
