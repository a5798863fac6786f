# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training step of a reward model. Pure; jitted by `prm.py`.

Losses are sums over labels divided by their number in the *global* batch, so that
micro-batches, devices and padding change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lrm_jax.models.policy import token_policy
from lrm_jax.models.reward import RewardModel
from lrm_jax.prm.implicit import ImplicitScorer
from lrm_jax.prm.losses import StepLossConfig, judge_steps, loss_count, loss_sum
from lrm_jax.prm.scorer import WholeScorer, step_logits
from lrm_jax.recipes.policy_state import (
    StepMetrics,
    Updater,
    full_weights,
    trained_part,
)
from lrm_jax.recipes.prm_config import PrmRunConfig
from lrm_jax.sharding import constrain
from lrm_jax.training.accumulate import accumulate
from lrm_jax.training.state import TrainState
from lrm_jax.types import Array, Key, Params

Batch = Mapping[str, Array]
"""As `data.step_rows` makes it: ids, positions, mask `[B, T]`; ends, labels,
label_mask `[B, S]`; starts `[B]`."""

REFERENCE = "reference"
"""Part of the parameters: weights that an implicit reward model is compared with."""


def make_scorer(config: PrmRunConfig) -> RewardModel | ImplicitScorer:
    """Return the model of a run."""
    policy = token_policy(config.model)
    if config.implicit:
        return ImplicitScorer(policy, config.prm.loss.beta, config.prm.chunk)
    return RewardModel(policy, config.prm.semantics)


def scorer_params(scorer: WholeScorer, params: Params) -> Params:
    """Return a state's parameters as the scorer takes them.

    Adapters leave the weights as they were, which are the reference then.
    """
    weights = full_weights(params)
    if scorer.semantics != "implicit":
        return weights
    reference = params.get(REFERENCE, params["weights"])
    return {"policy": weights, REFERENCE: reference}


@dataclass(frozen=True)
class PrmUpdater(Updater):
    """An updater whose state keeps the reference that it started from.

    Attributes:
      implicit: whether there is one.
    """

    implicit: bool = False

    def init(self, key: Key, params: Params | None = None) -> TrainState:
        """Return the state before the first step."""
        state = super().init(key, params)
        if not self.implicit or "lora" in state.params:
            return state
        reference = {REFERENCE: state.params["weights"]}
        return state.replace(params={**state.params, **reference})


def make_updater(config: PrmRunConfig) -> PrmUpdater:
    """Return the updater of a run."""
    policy = token_policy(config.model)
    return PrmUpdater(
        policy, config.optim, config.train, config.lora, implicit=config.implicit
    )


def read_steps(scorer: WholeScorer, params: Params, batch: Batch) -> Array:
    """Return a batch's readings at step ends, `[B, S]` logits.

    Args:
      scorer: that reads.
      params: as it takes them.
      batch: of rows of one text each.
    """
    width = {2: ("batch", None), 1: ("batch",)}
    batch = {name: constrain(x, *width[x.ndim]) for name, x in batch.items()}
    return step_logits(
        scorer,
        params,
        batch["ids"],
        batch["mask"],
        batch["ends"],
        starts=batch["starts"],
        positions=batch["positions"],
    )


@dataclass(frozen=True)
class PrmStep:
    """Everything static that a training step closes over.

    Attributes:
      scorer: the model's functions.
      loss: what is learned.
      updater: from gradients to the next state.
      grad_accum: micro-batches per step.
    """

    scorer: RewardModel | ImplicitScorer
    loss: StepLossConfig
    updater: Updater
    grad_accum: int = 1

    def init(self, key: Key, params: Params | None = None) -> TrainState:
        """Return the state before the first step."""
        return self.updater.init(key, params)

    def __call__(
        self, state: TrainState, batch: Batch
    ) -> tuple[TrainState, StepMetrics]:
        """Take one optimizer step; metrics are (sum, weight)."""
        grads, metrics = self.gradients(state.params, batch)
        state, more = self.updater(state, grads)
        return state, metrics | more

    def gradients(self, params: Params, batch: Batch) -> tuple[Params, StepMetrics]:
        """Return gradients of the trained part, and metrics, over the global batch."""
        count = loss_count(self.loss, batch["labels"], batch["label_mask"])
        name = trained_part(params)

        def micro(rows: Any) -> tuple[Any, tuple[()]]:
            def loss(trained: Params) -> tuple[Array, StepMetrics]:
                whole = scorer_params(self.scorer, {**params, name: trained})
                logits = read_steps(self.scorer, whole, rows)
                total, metrics = self._measure(logits, rows)
                scale = jnp.maximum(count, 1).astype(total.dtype)
                return total / scale, metrics

            grads, metrics = jax.grad(loss, has_aux=True)(params[name])
            return (grads, metrics), ()

        (grads, metrics), _ = accumulate(micro, dict(batch), self.grad_accum)
        return grads, metrics

    def _measure(self, logits: Array, rows: Batch) -> tuple[Array, StepMetrics]:
        given = (rows["labels"], rows["label_mask"])
        total = loss_sum(self.loss, logits, *given)
        says, right, known = judge_steps(self.loss, logits, *given)
        n = lambda x: jnp.sum(x & known).astype(total.dtype)
        here = n(known)
        return total, {
            "loss/prm": (total, loss_count(self.loss, *given).astype(total.dtype)),
            "prm/accuracy": (n(says == right), here),
            "prm/label_rate": (n(right), here),
            "prm/score_rate": (n(says), here),
            "prm/labels": (here, jnp.full_like(here, 1 / self.grad_accum)),
        }
