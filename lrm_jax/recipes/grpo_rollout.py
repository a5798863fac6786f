# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rollouts: prompts by number, completions, rewards on the host.

Which prompts a rollout has is a function of the run's seed and the cursor, and the
draws of a completion are one of (key, sequence number, position): of nothing else.
"""

import time
from collections import Counter
from typing import Any, NamedTuple, get_args

import jax
import numpy as np

from lrm_jax.data.tasks.base import Example
from lrm_jax.data.text_source import TextSource
from lrm_jax.data.verify.rewards import Rewarder, RewardResult
from lrm_jax.data.verify.tags import open_thought
from lrm_jax.data.verify.verdict import Status
from lrm_jax.evaluation.answers import answer_entropy
from lrm_jax.reasoning.decoding import Completions
from lrm_jax.reasoning.prompts import pad_prompts, prompt_buckets
from lrm_jax.reasoning.stops import STOP_LENGTH
from lrm_jax.recipes.grpo_config import GrpoRunConfig
from lrm_jax.recipes.grpo_state import Groups, score_dtype
from lrm_jax.recipes.token_sampler import Decoding, Sampler, Sampling
from lrm_jax.types import Key, Params, UserError

HostMetrics = dict[str, tuple[Any, Any]]
"""Name to (sum, weight), numbers of Python."""

_SEQUENCES = 2**31
"""Sequence numbers wrap around here: they are int32 on the device."""

_LOOKED_AT = 256
"""How many prompts of a task without end are measured before a run begins."""


class Rolled(NamedTuple):
    """One rollout on the host.

    Attributes:
      groups: `[Q, ...]` NumPy arrays, to be put on the mesh.
      examples: `[Q]`.
      stop: `[B]` int32, why each completion ended.
      texts: `[B]`, without end tokens.
      rewards: of all B.
      written: tokens in all completions.
      rollout_s: seconds of decoding.
      reward_s: seconds of scoring.
    """

    groups: Groups
    examples: list[Example]
    stop: np.ndarray
    texts: list[str]
    rewards: RewardResult
    written: int
    rollout_s: float
    reward_s: float


class StartedRollout(NamedTuple):
    """A rollout whose completions are being written.

    Attributes:
      decoding: on the devices.
      examples: `[Q]`.
      prompt_ids: `[Q, P]` int32.
      prompt_mask: `[Q, P]` bool.
      step: optimizer steps behind the weights.
      cursor: prompts drawn before.
      began: when, in seconds of the monotonic clock.
    """

    decoding: Decoding
    examples: list[Example]
    prompt_ids: np.ndarray
    prompt_mask: np.ndarray
    step: int
    cursor: int
    began: float


class RolloutMaker:
    """Makes rollouts of a run; holds no state of it."""

    def __init__(
        self,
        config: GrpoRunConfig,
        source: TextSource,
        sampler: Sampler,
        rewarder: Rewarder,
    ) -> None:
        """Bind what a rollout needs; nothing is compiled."""
        self._config, self._source = config, source
        self._sampler, self._rewarder = sampler, rewarder
        room = prompt_room(config)
        length = config.grpo.prompt_len
        self._buckets = (length,) if length else prompt_buckets(room)

    def __call__(self, weights: Params, key: Key, *, cursor: int, step: int) -> Rolled:
        """Write and score G completions of the Q prompts from `cursor` on.

        Args:
          weights: of the policy.
          key: of the step's rollouts.
          cursor: prompts drawn before.
          step: optimizer steps behind the weights.

        Raises:
          RewardError: the user's reward function failed.
          UserError: a prompt is too long.
        """
        return self.finish(self.start(weights, key, cursor=cursor, step=step))

    def start(
        self, weights: Params, key: Key, *, cursor: int, step: int
    ) -> StartedRollout:
        """Begin to write; waits for nothing. Arguments are those of a call.

        Raises:
          UserError: a prompt is too long.
        """
        examples, prompts, ids, mask = self._draw(cursor)
        began = time.monotonic()
        decoding = self._write(weights, prompts, key, cursor, ids.shape[1])
        return StartedRollout(decoding, examples, ids, mask, step, cursor, began)

    def reopen(self, decoding: Decoding, *, cursor: int, step: int) -> StartedRollout:
        """Return a rollout that was started before, from what was written of it.

        Args:
          decoding: of the rollout.
          cursor: prompts drawn before it.
          step: optimizer steps behind the weights that write it.
        """
        examples, _, ids, mask = self._draw(cursor)
        began = time.monotonic()
        return StartedRollout(decoding, examples, ids, mask, step, cursor, began)

    def finish(self, started: StartedRollout) -> Rolled:
        """Wait for the completions and score them.

        Raises:
          RewardError: the user's reward function failed.
        """
        found = self._sampler.collect(started.decoding)
        wrote = time.monotonic()
        texts, rewards = self._read_and_score(started, found)
        return Rolled(
            groups=self._groups(started, found, rewards),
            examples=started.examples,
            stop=np.asarray(found.stop),
            texts=texts,
            rewards=rewards,
            written=int(np.sum(found.length)),
            rollout_s=wrote - started.began,
            reward_s=time.monotonic() - wrote,
        )

    def _read_and_score(
        self, started: StartedRollout, found: Completions
    ) -> tuple[list[str], RewardResult]:
        texts = self._sampler.texts(found)
        return texts, self._score(started.examples, texts, found, started.step)

    def _draw(
        self, cursor: int
    ) -> tuple[list[Example], list[list[int]], np.ndarray, np.ndarray]:
        """Return the examples from `cursor` on, their prompts, and those padded."""
        source, count = self._source, self._config.rl.rollout.n_prompts
        numbers = source.order(self._config.seed, cursor, count)
        examples = [source.train_example(number) for number in numbers]
        prompts = [source.encode(example.prompt) for example in examples]
        for prompt, number in zip(prompts, numbers, strict=True):
            _refuse_long(len(prompt), max(self._buckets), source.where(number))
        ids, mask = pad_prompts(
            prompts,
            self._buckets,
            vocab_size=self._sampler.policy.vocab_size,
            pad_id=source.tokenizer.pad_id,
        )
        return examples, prompts, ids, mask

    def _write(
        self,
        weights: Params,
        prompts: list[list[int]],
        key: Key,
        cursor: int,
        width: int,
    ) -> Decoding:
        config = self._config
        rollout = config.rl.rollout
        lanes = rollout.group_size
        first = cursor * lanes % _SEQUENCES
        sequences = (first + np.arange(len(prompts) * lanes)) % _SEQUENCES
        return self._sampler.start(
            weights,
            prompts,
            key,
            max_new=rollout.max_new_tokens,
            group_size=lanes,
            sampling=Sampling(
                rollout.temperature, rollout.top_k, rollout.top_p, rollout.min_p
            ),
            thinking=config.grpo.thinking,
            lanes=config.grpo.lanes,
            width=width,
            sequence_ids=sequences.astype(np.int32),
        )

    def _score(
        self,
        examples: list[Example],
        texts: list[str],
        found: Completions,
        step: int,
    ) -> RewardResult:
        lanes = self._config.rl.rollout.group_size
        rows = [example for example in examples for _ in range(lanes)]
        opened = [open_thought(self._source.encode.text(e.prompt)) for e in examples]
        names = {name for example in examples for name in example.columns}
        thinking, budgets = self._config.grpo.thinking, None
        if thinking is not None:
            most = thinking.bound(self._config.rl.rollout.max_new_tokens)
            budgets = np.full(len(rows), most)
        columns = {name: [e.columns.get(name) for e in rows] for name in sorted(names)}
        return self._rewarder.score(
            [example.prompt for example in rows],
            texts,
            [example.answer for example in rows],
            columns,
            np.asarray(found.length),
            np.asarray(found.thinking_tokens),
            np.asarray(found.stop == STOP_LENGTH),
            budgets=budgets,
            prefixes=[prefix for prefix in opened for _ in range(lanes)],
            group_size=lanes,
            step=step,
        )

    def _groups(
        self, started: StartedRollout, found: Completions, rewards: RewardResult
    ) -> Groups:
        count, lanes = len(started.examples), self._config.rl.rollout.group_size
        dtype = score_dtype(self._config)
        group: Any = lambda x: np.asarray(x).reshape(count, lanes, *np.shape(x)[1:])
        accurate = rewards.strict
        if self._config.reward.reading == "lenient":
            accurate = rewards.lenient
        return Groups(
            prompt_ids=started.prompt_ids,
            prompt_mask=started.prompt_mask,
            ids=group(found.ids),
            mask=group(found.mask),
            forced=group(found.forced),
            logps=group(found.logps).astype(dtype),
            rewards=group(rewards.total).astype(dtype),
            accuracy=group(accurate).astype(dtype),
            truncated=group(found.stop == STOP_LENGTH),
            version=np.full(count, started.step, np.int32),
            number=(started.cursor + np.arange(count)).astype(np.int32),
        )


def prompt_room(config: GrpoRunConfig) -> int:
    """Return how many tokens a prompt may have."""
    room = config.model.max_seq_len - config.rl.rollout.max_new_tokens
    return config.grpo.prompt_len or room


def check_prompts(config: GrpoRunConfig, source: TextSource) -> None:
    """Refuse prompts that no rollout has room for, before a run begins.

    All of files and of tasks with an end; the first of the run's stream otherwise.

    Raises:
      UserError: names the place of the first, its length and the room.
    """
    room = prompt_room(config)
    numbers = range(source.train_size if source.task.size("train") else 0)
    for number in numbers or source.order(config.seed, 0, _LOOKED_AT):
        where = source.where(number)
        try:
            length = len(source.encode(source.train_example(number).prompt))
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        _refuse_long(length, room, where)


def _refuse_long(length: int, room: int, where: str) -> None:
    if length > room:
        raise UserError(
            f"{where}: the prompt has {length} tokens; there is room for {room} "
            "(grpo.prompt_len, or model.max_seq_len - rl.rollout.max_new_tokens)"
        )


def rollout_metrics(rolled: list[Rolled]) -> HostMetrics:
    """Return what the host knows of a step's rollouts, (sum, weight) each.

    All completions written count, also those of groups that dynamic sampling leaves
    out.
    """
    parts = {name for one in rolled for name in one.rewards.parts}
    join = lambda arrays: np.concatenate([np.asarray(a) for a in arrays])
    mean = lambda x: (float(np.sum(x)), float(np.size(x)))
    status = Counter(s for one in rolled for s in one.rewards.status)
    total = sum(len(one.texts) for one in rolled)
    found: HostMetrics = {
        f"reward_parts/{name}": mean(join([o.rewards.parts[name] for o in rolled]))
        for name in sorted(parts)
    }
    for name in get_args(Status):
        found[f"verdict/{name}"] = (float(status[name]), float(total))
    answers = [a for one in rolled for a in one.rewards.extracted]
    seconds = sum(one.rollout_s for one in rolled)
    return found | {
        "accuracy/strict": mean(join([o.rewards.strict for o in rolled])),
        "accuracy/lenient": mean(join([o.rewards.lenient for o in rolled])),
        "answers/entropy": (answer_entropy(answers), 1.0),
        "reward/errors": (float(sum(o.rewards.errors for o in rolled)), 1.0),
        "rollout/prompts": (float(sum(len(o.examples) for o in rolled)), 1.0),
        "perf/rollout_s": (seconds, 1.0),
        "perf/reward_s": (sum(one.reward_s for one in rolled), 1.0),
        "perf/rollout_tokens_per_s": (
            float(sum(one.written for one in rolled)),
            seconds,
        ),
    }


def sampled_metrics(groups: list[Groups]) -> HostMetrics:
    """Return, under their usual names, the means over all groups that were sampled.

    For dynamic sampling, whose batch is a choice among them.
    """
    join = lambda name: np.concatenate([np.asarray(getattr(g, name)) for g in groups])
    rewards, accuracy = join("rewards"), join("accuracy")
    lengths, cut = join("mask").sum(axis=-1), join("truncated")
    spread = rewards.max(axis=1) - rewards.min(axis=1)
    share = accuracy.mean(axis=1)
    mean = lambda x: (float(np.sum(x)), float(np.size(x)))
    return {
        "reward/mean": mean(rewards),
        "reward/std": mean(rewards.std(axis=1)),
        "reward/frac_zero_std": mean(spread <= 1e-6),
        "reward/accuracy": mean(accuracy),
        "groups/no_signal_mean": mean((share <= 0) | (share >= 1)),
        "completions/mean_length": mean(lengths),
        "completions/clipped_ratio": mean(cut),
        "completions/mean_terminated_length": mean(lengths[~cut]),
    }


def step_key(key: Key, step: int, purpose: int) -> Key:
    """Return the key of a purpose at a step."""
    return jax.random.fold_in(jax.random.fold_in(key, step), purpose)
