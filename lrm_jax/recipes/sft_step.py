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
      balance: load-balance loss of the experts, a mean; 0 without experts.
    """

    nats: Array  # []
    entropy: Array  # []
    tokens: Array  # []
    balance: Array  # []


def sum_tokens(
    policy: Policy, params: Params, batch: Batch, *, chunk: int
) -> TokenSums:
    """Score the learned tokens of a batch of (packed) rows.

    Args:
      policy: the model's functions.
      params: as in a training state.
      batch: `[B, T]` arrays.
      chunk: columns of the vocabulary at a time.
    """
    weights = full_weights(params)
    batch = {k: constrain(x, "batch", "seq") for k, x in batch.items()}
    segments = batch["segment_ids"]
    output = policy.forward(
        weights, batch["ids"], batch["positions"], segments > 0, segments
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
    balance = output.aux.get("load_balance", jnp.zeros_like(count))
    return TokenSums(-jnp.sum(scores.logps), jnp.sum(scores.entropy), count, balance)


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

        def micro(rows: Any) -> tuple[Any, tuple[()]]:
            def loss(trained: Params) -> tuple[Array, StepMetrics]:
                whole = {**params, name: trained}
                sums = sum_tokens(self.policy, whole, rows, chunk=self.sft.chunk)
                scale = jnp.maximum(count, 1).astype(sums.nats.dtype)
                metrics = {
                    "loss/lm": (sums.nats, sums.tokens),
                    "policy/entropy": (sums.entropy, sums.tokens),
                }
                total = sums.nats / scale
                if self.policy.cfg.moe is not None:
                    metrics["loss/balance"] = (sums.balance, jnp.ones_like(total))
                    # Of each micro-batch by itself: it is no sum over tokens.
                    coef = self.sft.balance_coef / self.grad_accum
                    total = total + coef * sums.balance
                return total, metrics

            grads, metrics = jax.grad(loss, has_aux=True)(params[name])
            return (grads, metrics), ()

        (grads, metrics), _ = accumulate(micro, dict(batch), self.grad_accum)
        one = jnp.ones((), jnp.float32)
        metrics["data/tokens_learned"] = (count.astype(jnp.float32), one)
        return grads, metrics
