# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The device's part of reinforcement learning: scoring and learning from a rollout.

Pure; jitted and donated by `grpo_build.py`. Q prompts, G completions of each, B =
Q * G rows, P prompt and C completion tokens.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lrm_jax.logprobs import chunked_logps
from lrm_jax.models.moe import balance_metrics, balance_penalty
from lrm_jax.models.policy import Policy, positions_of
from lrm_jax.recipes.grpo_config import GrpoConfig
from lrm_jax.recipes.grpo_process import ProcessJudge
from lrm_jax.recipes.grpo_state import Groups, GrpoCarry
from lrm_jax.recipes.policy_state import (
    StepMetrics,
    Updater,
    full_weights,
    trained_part,
)
from lrm_jax.rl.batch import Rollout, prepare_batch
from lrm_jax.rl.config import RlConfig
from lrm_jax.rl.dynamic_sampling import GroupBuffer
from lrm_jax.rl.entropy import active_coef, update_entropy
from lrm_jax.rl.objective import PolicyBatch, loss_denominator, policy_loss
from lrm_jax.rl.reference import update_reference
from lrm_jax.sharding import constrain
from lrm_jax.training.accumulate import accumulate
from lrm_jax.training.state import TrainState
from lrm_jax.types import Array, Key, Params

ROLLOUT, MINIBATCH = 2, 3
"""Purposes folded into the run's key, after the step."""


class Rows(NamedTuple):
    """Prompts and completions in one row each.

    Attributes:
      ids: `[B, P + C]` int32.
      mask: `[B, P + C]` bool, tokens that exist.
      prompt_end: `[B]` int32, slot of the prompt's last token.
      sampled: `[B, C]` bool, tokens of the completion that the policy drew.
    """

    ids: Array
    mask: Array
    prompt_end: Array
    sampled: Array


class Reading(NamedTuple):
    """What the policy makes of the completions; 0 where nothing was drawn.

    Attributes:
      logps: `[B, C]`.
      entropy: `[B, C]` nats.
      values: `[B, C]` of the state each token was drawn in; None without a critic.
      last_values: `[B]`, of the state after the last token; None without a critic.
      aux: of `PolicyOutput`.
    """

    logps: Array
    entropy: Array
    values: Array | None
    last_values: Array | None
    aux: dict[str, Array]


class Scores(NamedTuple):
    """What is known of a rollout before the first update on it; None if not needed.

    Attributes:
      old_logps: `[B, C]` of the trainer.
      ref_logps: `[B, C]` of the reference.
      values: `[B, C]` of the critic.
      last_values: `[B]` of the critic, after the last token.
      step_scores: `[B, C]` of a reward model, where steps end.
      step_ends: `[B, C]` bool, where steps end.
    """

    old_logps: Array | None = None
    ref_logps: Array | None = None
    values: Array | None = None
    last_values: Array | None = None
    step_scores: Array | None = None
    step_ends: Array | None = None


class Drawn(NamedTuple):
    """What the rollout leaves behind for the next one.

    Attributes:
      cursor: int32 scalar, prompts drawn so far.
      waiting: groups for later batches, or None.
    """

    cursor: Array | np.int32
    waiting: GroupBuffer | None


def make_rows(groups: Groups) -> Rows:
    """Return `[B, ...]` rows of groups."""
    lanes = groups.ids.shape[1]
    flat = lambda x: x.reshape(-1, *x.shape[2:])
    repeat = lambda x: jnp.repeat(x, lanes, axis=0)
    ids = jnp.concatenate([repeat(groups.prompt_ids), flat(groups.ids)], axis=1)
    mask = jnp.concatenate([repeat(groups.prompt_mask), flat(groups.mask)], axis=1)
    slots = jnp.arange(groups.prompt_mask.shape[1], dtype=jnp.int32)
    end = jnp.max(jnp.where(groups.prompt_mask, slots, 0), axis=1)
    return Rows(ids, mask, repeat(end), flat(groups.mask & ~groups.forced))


@dataclass(frozen=True)
class GrpoStep:
    """Everything static that scoring and learning close over.

    Attributes:
      policy: the model's functions.
      rl: the objective.
      grpo: sizes of what is computed at a time.
      updater: from gradients to the next state.
      grad_accum: micro-batches of an update.
      judge: scores the steps of completions, or None.
    """

    policy: Policy
    rl: RlConfig
    grpo: GrpoConfig
    updater: Updater
    grad_accum: int = 1
    judge: ProcessJudge | None = None

    @property
    def scores_first(self) -> bool:
        """Whether a rollout must be scored before it is learned from.

        With one update a rollout the trainer's old log-probs are the current ones.
        """
        old = self.rl.needs_old_logps and self.rl.updates_per_rollout > 1
        judged = self.judge is not None
        return old or judged or self.rl.needs_reference or self.rl.needs_values

    @property
    def objective(self) -> RlConfig:
        """The objective as `policy_loss` is to compute it; see `scores_first`."""
        rl = self.rl
        if not rl.needs_old_logps or rl.updates_per_rollout > 1:
            return rl
        loss = dataclasses.replace(rl.loss, ratio_base="current")
        return dataclasses.replace(rl, loss=loss)

    def read(self, weights: Params, rows: Rows) -> Reading:
        """Score the completions in rows whole, as sampled: at the same temperature."""
        ids = constrain(rows.ids, "batch", "seq")
        mask = constrain(rows.mask, "batch", "seq")
        output = self.policy.forward(weights, ids, positions_of(mask), mask)
        length = rows.sampled.shape[1]
        prompt_len = rows.ids.shape[1] - length
        end = rows.prompt_end[:, None, None]
        first = jnp.take_along_axis(output.hidden, end, axis=1)
        before = jnp.concatenate([first, output.hidden[:, prompt_len:-1]], axis=1)
        scored = chunked_logps(
            before.reshape(-1, before.shape[-1]),
            self.policy.lm_head(weights).astype(before.dtype),
            rows.ids[:, prompt_len:].reshape(-1),
            temperature=self.rl.rollout.temperature,
            mask=rows.sampled.reshape(-1),
            n_valid=self.policy.vocab_size,
            chunk=self.grpo.chunk,
        )
        values = last = None
        if self.rl.needs_values:
            values = self.policy.value(weights, before)
            written = jnp.sum(rows.mask[:, prompt_len:], axis=1) - 1
            slot = jnp.where(written < 0, rows.prompt_end, prompt_len + written)
            after = jnp.take_along_axis(output.hidden, slot[:, None, None], axis=1)
            last = self.policy.value(weights, after)[:, 0]
        logps, entropy = (x.reshape(rows.sampled.shape) for x in scored)
        return Reading(logps, entropy, values, last, output.aux)

    def score(
        self,
        params: Params,
        reference: Params | None,
        groups: Groups,
        judged_by: Params | None = None,
    ) -> Scores:
        """Return what is known before the first update.

        Args:
          params: of the policy.
          reference: its weights, where there is one.
          groups: to score.
          judged_by: the judge's weights, where there is one.
        """
        rl, weights = self.rl, full_weights(params)

        def part(rows: Rows) -> tuple[tuple[()], Scores]:
            now = Scores()
            if rl.needs_values or (rl.needs_old_logps and rl.updates_per_rollout > 1):
                read = self.read(weights, rows)
                now = Scores(read.logps, None, read.values, read.last_values)
            if rl.needs_reference:
                now = now._replace(ref_logps=self.read(reference, rows).logps)
            if self.judge is not None:
                prompt_len = rows.ids.shape[1] - rows.sampled.shape[1]
                found = self.judge(judged_by, rows.ids, rows.mask, prompt_len)
                now = now._replace(step_scores=found[0], step_ends=found[1])
            return (), now

        parts = self.rl.minibatches * self.grad_accum
        return accumulate(part, make_rows(groups), parts)[1]

    def learn(
        self,
        state: TrainState,
        groups: Groups,
        valid: Array,
        scores: Scores,
        drawn: Drawn,
    ) -> tuple[TrainState, StepMetrics]:
        """Take all updates on a rollout.

        Args:
          state: donated by the caller.
          groups: to learn from.
          valid: `[Q]` bool, groups that are not filler.
          scores: of `score`; empty where nothing needs it.
          drawn: what the next rollout begins with.

        Returns:
          The new state, and metrics as (sum, weight).
        """
        rows = make_rows(groups)
        fresh = jnp.repeat(groups.version == state.step, groups.ids.shape[1])
        rollout = _rollout(groups, rows, scores, valid)._replace(fresh=fresh)
        prepared = prepare_batch(self.rl, rollout)
        carry: GrpoCarry = state.carry
        nats = -jnp.sum(jnp.where(rows.sampled, _flat(groups.logps), 0))
        tokens = jnp.sum(rows.sampled).astype(nats.dtype)
        entropy = nats / jnp.maximum(tokens, 1)
        coef = active_coef(self.rl.entropy, carry.entropy, entropy)
        one = jnp.ones_like(nats)
        lag = jnp.where(valid, state.step - groups.version, 0).astype(nats.dtype)
        metrics = prepared.metrics | {
            "entropy/sampled": (nats, tokens),
            "entropy/coef": (coef, one),
            "sampling/weight_lag": (jnp.sum(lag), jnp.sum(valid).astype(nats.dtype)),
        }
        rows = jax.tree.map(lambda x: x[prepared.rows], rows)
        state, more = self._updates(state, rows, prepared.batch, coef)
        reference = carry.reference
        if reference is not None:
            now = full_weights(state.params)
            reference = update_reference(self.rl.reference, reference, now, state.step)
        carry = GrpoCarry(
            cursor=jnp.asarray(drawn.cursor),
            entropy=update_entropy(self.rl.entropy, carry.entropy, entropy),
            reference=reference,
            waiting=drawn.waiting,
        )
        return state.replace(carry=carry), metrics | more

    def _updates(
        self, state: TrainState, rows: Rows, batch: PolicyBatch, coef: Array
    ) -> tuple[TrainState, StepMetrics]:
        """All minibatches of all epochs, each a new permutation of the rows."""
        rl = self.rl
        if rl.updates_per_rollout == 1:
            return self.update(state, rows, batch, coef)
        unit = self._unit
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), MINIBATCH)
        count = rows.ids.shape[0] // unit
        order = minibatch_order(key, count, rl.epochs, rl.minibatches)

        def one(state: TrainState, places: Array) -> tuple[TrainState, StepMetrics]:
            take = lambda x: _flat(_units(x, unit)[places])
            some_rows, some = jax.tree.map(take, (rows, batch))
            return self.update(state, some_rows, some, coef)

        state, metrics = lax.scan(one, state, order)
        return state, jax.tree.map(lambda x: jnp.sum(x, axis=0), metrics)

    def update(
        self, state: TrainState, rows: Rows, batch: PolicyBatch, coef: Array
    ) -> tuple[TrainState, StepMetrics]:
        """Take one optimizer step on one minibatch."""
        grads, metrics = self.gradients(state.params, rows, batch, coef)
        state, more = self.updater(state, grads)
        return state, metrics | more

    def gradients(
        self, params: Params, rows: Rows, batch: PolicyBatch, coef: Array | float
    ) -> tuple[Params, StepMetrics]:
        """Return gradients of the trained part over a whole minibatch, and metrics.

        Micro-batches share one denominator, so that their number changes nothing
        (but for the experts' load balance, which is of a micro-batch).
        """
        name, unit, objective = trained_part(params), self._unit, self.objective
        denominators = loss_denominator(batch)
        kind, coef_of_balance = self.grpo.balance, self.grpo.balance_coef

        def micro(lanes: Any) -> tuple[Any, Any]:
            rows, batch = jax.tree.map(_flat, lanes)

            def loss(trained: Params) -> tuple[Array, Any]:
                weights = full_weights({**params, name: trained})
                read = self.read(weights, rows)
                entropy = read.entropy
                if self.rl.entropy.kind == "none":
                    entropy = lax.stop_gradient(entropy)
                found = policy_loss(
                    objective,
                    read.logps,
                    batch,
                    denominators=denominators,
                    entropy=entropy,
                    entropy_coef=coef,
                    values=read.values,
                )
                total, metrics = found.loss, dict(found.metrics)
                if read.aux:
                    extra = balance_penalty(read.aux, kind, coef_of_balance)
                    total = total + extra / self.grad_accum
                    metrics |= balance_metrics(read.aux)
                return total, (metrics, found.extremes)

            grads, (metrics, extremes) = jax.grad(loss, has_aux=True)(params[name])
            count = batch.mask.shape[0] // unit
            spread = lambda x: jnp.broadcast_to(x, (count,))
            return (grads, metrics), jax.tree.map(spread, extremes)

        lanes = jax.tree.map(lambda x: _units(x, unit), (rows, batch))
        (grads, metrics), extremes = accumulate(micro, lanes, self.grad_accum)
        for label, values in extremes.items():
            most = jnp.max(values) if label.endswith("max") else jnp.min(values)
            metrics[label] = (most, jnp.ones_like(most))
        return grads, metrics

    @property
    def _unit(self) -> int:
        """Rows that must stay together: a pair of online DPO."""
        return 2 if self.rl.loss.kind == "online_dpo" else 1


def minibatch_order(key: Key, count: int, epochs: int, minibatches: int) -> Array:
    """Return `[epochs * minibatches, count / minibatches]` int32.

    Every epoch visits every one of `count` once, in an order of its own.
    """
    keys = jax.vmap(lambda e: jax.random.fold_in(key, e))(jnp.arange(epochs))
    orders = jax.vmap(lambda k: jax.random.permutation(k, count))(keys)
    return orders.reshape(epochs * minibatches, -1).astype(jnp.int32)


def _rollout(groups: Groups, rows: Rows, scores: Scores, valid: Array) -> Rollout:
    return Rollout(
        mask=rows.sampled,
        sampler_logps=_flat(groups.logps),
        rewards=_flat(groups.rewards),
        accuracy=_flat(groups.accuracy),
        truncated=_flat(groups.truncated),
        lengths=jnp.sum(_flat(groups.mask), axis=1, dtype=jnp.int32),
        old_logps=scores.old_logps,
        ref_logps=scores.ref_logps,
        values=scores.values,
        last_values=scores.last_values,
        step_scores=scores.step_scores,
        step_ends=scores.step_ends,
        valid_groups=valid,
    )


def _units(x: Array, unit: int) -> Array:
    """`[B, ...]` as `[B / unit, unit, ...]`."""
    return x.reshape(x.shape[0] // unit, unit, *x.shape[1:])


def _flat(x: Array) -> Array:
    """`[N, unit, ...]` as `[N * unit, ...]`."""
    return x.reshape(-1, *x.shape[2:])
