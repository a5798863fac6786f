# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The step of supervised fine-tuning: maximum likelihood of the learned tokens.

Loss = -sum log p(token) / N over all learned tokens of the *global* batch, so that
micro-batches, devices and packing change nothing. Pure; jitted by `policy_build.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.logprobs import chunked_logps
from lrm_jax.models.moe import balance_metrics, balance_penalty
from lrm_jax.models.mtp import ahead, has_ahead
from lrm_jax.models.policy import Policy
from lrm_jax.recipes.policy_state import (
    StepMetrics,
    Updater,
    full_weights,
    trained_part,
)
from lrm_jax.recipes.sft_config import SftConfig
from lrm_jax.sharding import constrain
from lrm_jax.training.accumulate import accumulate
from lrm_jax.training.state import TrainState
from lrm_jax.types import Array, Key, Params

Batch = Mapping[str, Array]
"""As `data.packing.collate` makes it, `[B, T]` each."""


class TokenSums(NamedTuple):
    """Sums over the learned tokens of some rows, float32 at least.

    Attributes:
      nats: of -log p(token).
      entropy: of the distributions, in nats.
      tokens: how many.
      aux: what the experts' routers say, of `PolicyOutput`; empty without experts.
      ahead: `[K]` nats of the tokens further ahead; None unless asked for.
    """

    nats: Array  # []
    entropy: Array  # []
    tokens: Array  # []
    aux: dict[str, Array]
    ahead: Array | None = None  # [K]


def sum_tokens(
    policy: Policy,
    params: Params,
    batch: Batch,
    *,
    chunk: int,
    look_ahead: bool = False,
    packed: bool = True,
) -> TokenSums:
    """Score the learned tokens of a batch of (packed) rows.

    Args:
      policy: the model's functions.
      params: as in a training state.
      batch: `[B, T]` arrays.
      chunk: columns of the vocabulary at a time.
      look_ahead: let the multi-token-prediction blocks predict, too.
      packed: rows may hold several examples; of one each, padding and causality
        say all, which a fused attention can use (`flash.py`).
    """
    weights = full_weights(params)
    batch = {k: constrain(x, "batch", "seq") for k, x in batch.items()}
    segments = batch["segment_ids"]
    output = policy.forward(
        weights,
        batch["ids"],
        batch["positions"],
        segments > 0,
        segments if packed else None,
    )
    hidden = output.hidden
    scores = chunked_logps(
        hidden.reshape(-1, hidden.shape[-1]),
        policy.lm_head(weights).astype(hidden.dtype),
        batch["targets"].reshape(-1),
        mask=batch["loss_mask"].reshape(-1),
        n_valid=policy.vocab_size,
        chunk=chunk,
    )
    count = jnp.sum(batch["loss_mask"]).astype(scores.logps.dtype)
    later = None
    if look_ahead:
        later = sum_ahead(policy, weights, hidden, batch, chunk=chunk)
    nats, entropy = -jnp.sum(scores.logps), jnp.sum(scores.entropy)
    return TokenSums(nats, entropy, count, output.aux, later)


def ahead_mask(batch: Batch, steps: int) -> Array:
    """Return where the token `steps + 1` on is learned, `[B, T]`."""
    segments = batch["segment_ids"]
    there = has_ahead(segments > 0, steps + 1, segments)
    return there & ahead(batch["loss_mask"], steps)


def sum_ahead(
    policy: Policy, weights: Params, hidden: Array, batch: Batch, *, chunk: int
) -> Array:
    """Return -log p summed over what each multi-token-prediction block predicts, `[K]`.

    Args:
      policy: the model's functions.
      weights: as they take them.
      hidden: `[B, T, D]` of `forward`.
      batch: `[B, T]` arrays.
      chunk: columns of the vocabulary at a time.
    """
    segments = batch["segment_ids"]
    found = policy.predict_ahead(
        weights, hidden, batch["ids"], batch["positions"], segments > 0, segments
    )
    nats = []
    for steps, block in enumerate(found, 1):
        scores = chunked_logps(
            block.hidden.reshape(-1, hidden.shape[-1]),
            policy.lm_head(weights).astype(hidden.dtype),
            block.targets.reshape(-1),
            mask=ahead_mask(batch, steps).reshape(-1),
            n_valid=policy.vocab_size,
            chunk=chunk,
        )
        nats.append(-jnp.sum(scores.logps))
    return jnp.stack(nats)


@dataclass(frozen=True)
class SftStep:
    """Everything static that a training step closes over.

    Attributes:
      policy: the model's functions.
      sft: rows and loss.
      updater: from gradients to the next state.
      grad_accum: micro-batches per step.
    """

    policy: Policy
    sft: SftConfig
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
        count = jnp.sum(batch["loss_mask"])
        name = trained_part(params)
        blocks = range(1, self.policy.cfg.mtp_layers + 1 if self.sft.mtp_coef else 1)
        further = [jnp.sum(ahead_mask(batch, steps)) for steps in blocks]

        def micro(rows: Any) -> tuple[Any, tuple[()]]:
            def loss(trained: Params) -> tuple[Array, StepMetrics]:
                whole = {**params, name: trained}
                sums = sum_tokens(
                    self.policy,
                    whole,
                    rows,
                    chunk=self.sft.chunk,
                    look_ahead=bool(further),
                    packed=self.sft.pack,
                )
                scale = jnp.maximum(count, 1).astype(sums.nats.dtype)
                metrics = {
                    "loss/lm": (sums.nats, sums.tokens),
                    "policy/entropy": (sums.entropy, sums.tokens),
                }
                total = sums.nats / scale
                if sums.aux:
                    metrics |= balance_metrics(sums.aux)
                    # Of each micro-batch by itself: it is no sum over tokens.
                    sft = self.sft
                    extra = balance_penalty(sums.aux, sft.balance, sft.balance_coef)
                    total = total + extra / self.grad_accum
                if sums.ahead is not None:
                    tokens = jnp.stack(further).astype(total.dtype)
                    share = jnp.ones_like(total) / self.grad_accum
                    metrics["loss/mtp"] = (
                        jnp.sum(sums.ahead),
                        jnp.sum(tokens) * share,
                    )
                    # Averaged over blocks: arXiv 2412.19437, eq. 25.
                    mean = jnp.mean(sums.ahead / jnp.maximum(tokens, 1))
                    total = total + self.sft.mtp_coef * mean
                return total, metrics

            grads, metrics = jax.grad(loss, has_aux=True)(params[name])
            return (grads, metrics), ()

        (grads, metrics), _ = accumulate(micro, dict(batch), self.grad_accum)
        one = jnp.ones((), jnp.float32)
        metrics["data/tokens_learned"] = (count.astype(jnp.float32), one)
        return grads, metrics
