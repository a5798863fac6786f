# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training step of a latent reasoner: one ACT segment of every lane.

One optimizer step = refill halted lanes, one segment with gradient, the weights
by the optimizer, the puzzle rows by sign-SGD, the average (HRM, arXiv 2506.21734;
TRM, arXiv 2510.04871). Pure; jitted and donated by `recipes/latent.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrm_jax.losses import LossConfig, make_token_loss
from lrm_jax.models.latent import LatentCore
from lrm_jax.reasoning import halting as act
from lrm_jax.reasoning.segment import SegmentMetrics, segment, segment_loss
from lrm_jax.training.accumulate import accumulate
from lrm_jax.training.optim import (
    OptimConfig,
    ema_decay,
    init_ema,
    learning_rate,
    make_optimizer,
    update_ema,
)
from lrm_jax.training.sparse import sparse_sign_sgd
from lrm_jax.training.state import TrainState, make_state
from lrm_jax.types import Array, Key, Params, Problem

EXPLORATION = 1
"""Purpose folded into the run's key, after the step, for halting exploration."""

StepMetrics = dict[str, tuple[Array, Array]]
"""Name to (sum, weight)."""


@dataclass(frozen=True)
class LatentStep:
    """Everything static that a training step closes over.

    Attributes:
      core: the model's functions.
      halting: the halting rule.
      loss: token loss and weight of the halting losses.
      optim: optimizer settings.
      total_steps: where the schedules end.
      grad_accum: micro-batches per step.
      ema: decay of the averaged weights; 0 for none.
      ema_warmup_steps: see `ema_decay`.
    """

    core: LatentCore
    halting: act.HaltingConfig
    loss: LossConfig
    optim: OptimConfig
    total_steps: int
    grad_accum: int = 1
    ema: float = 0.0
    ema_warmup_steps: int = 0

    def tx(self) -> optax.GradientTransformation:
        """Return the optimizer of the weights."""
        return make_optimizer(self.optim, self.total_steps)

    def init(
        self, key: Key, problem: Mapping[str, Any], params: Params | None = None
    ) -> TrainState:
        """Return the state before the first step.

        Args:
          key: of the run; kept in the state.
          problem: one batch (shapes suffice): the lanes' size.
          params: to start from, instead of fresh ones.
        """
        init_key = jax.random.fold_in(key, 0)
        start = self.core.init(init_key) if params is None else params
        weights = start["weights"]
        cfg = self.core.cfg
        shape = (cfg.total_len, cfg.d_model)
        return make_state(
            start,
            self.tx().init(weights),
            key,
            ema=init_ema(weights) if self.ema else None,
            carry=act.empty_carry(problem, shape, cfg.dtype),
        )

    def __call__(
        self,
        state: TrainState,
        problem: Problem,
        exploration: act.Exploration | None = None,
    ) -> tuple[TrainState, StepMetrics]:
        """Take one optimizer step.

        Args:
          state: donated by the caller.
          problem: `[B, ...]` one offer a lane.
          exploration: draws to use; None draws them from the run's key.

        Returns:
          The new state, and metrics as (sum, weight).
        """
        batch = state.carry.halted.shape[0]
        if exploration is None:
            key = jax.random.fold_in(state.key, state.step)
            key = jax.random.fold_in(key, EXPLORATION)
            exploration = act.draw_exploration(key, batch, self.halting.max_steps)
        grads, row_grads, carry, metrics = self.gradients(
            state.params, state.carry, problem, exploration
        )
        count = state.step + 1
        params, opt_state = self._update_weights(state, grads)
        lr = learning_rate(self.optim, self.total_steps)(count)
        if row_grads is not None:
            rate = learning_rate(
                self.optim, self.total_steps, base_lr=self.optim.puzzle_emb_lr
            )
            params["puzzle_table"] = sparse_sign_sgd(
                params["puzzle_table"],
                carry.data["puzzle_ids"],
                row_grads,
                rate(count),
                self.optim.puzzle_emb_weight_decay,
            )
        ema = state.ema
        if self.ema:
            decay = ema_decay(self.ema, count, self.ema_warmup_steps)
            ema = update_ema(ema, params["weights"], decay)
        state = state.replace(
            step=count, params=params, ema=ema, opt_state=opt_state, carry=carry
        )
        return state, _named(metrics, self.loss.q_weight, batch, lr)

    def gradients(
        self,
        params: Params,
        carry: act.ActCarry,
        problem: Problem,
        exploration: act.Exploration,
    ) -> tuple[Params, Array | None, act.ActCarry, SegmentMetrics]:
        """Return gradients of the loss over the global batch, and what comes along.

        Returns:
          Gradients of the weights; of the puzzle rows `[B, P]` (None without a
          table); the carry after the segment; metrics as sums over lanes.
        """
        carry = act.refill(carry, problem, params["fixed"])
        table = params.get("puzzle_table")
        rows = None if table is None else table[carry.data["puzzle_ids"]]
        scale = 1 / carry.halted.shape[0]
        token_loss = make_token_loss(self.loss)

        def micro(lanes: Any) -> tuple[Any, Any]:
            carry, rows, exploration = lanes

            def loss(weights: Params, rows: Array | None) -> tuple[Array, Any]:
                after, output = segment(
                    self.core,
                    weights,
                    carry,
                    rows,
                    halting=self.halting,
                    exploration=exploration,
                )
                total, metrics = segment_loss(
                    output, after, token_loss=token_loss, q_weight=self.loss.q_weight
                )
                return total * scale, (after, metrics)

            argnums = (0,) if rows is None else (0, 1)
            grad = jax.grad(loss, argnums=argnums, has_aux=True)
            grads, (after, metrics) = grad(params["weights"], rows)
            row_grads = None if rows is None else grads[1]
            return (grads[0], metrics), (after, row_grads)

        lanes = (carry, rows, exploration)
        (grads, metrics), (carry, row_grads) = accumulate(micro, lanes, self.grad_accum)
        return grads, row_grads, carry, metrics

    def _update_weights(self, state: TrainState, grads: Params) -> tuple[Params, Any]:
        weights = state.params["weights"]
        updates, opt_state = self.tx().update(grads, state.opt_state, weights)
        return {
            **state.params,
            "weights": optax.apply_updates(weights, updates),
        }, opt_state


def _named(
    metrics: SegmentMetrics, q_weight: float, batch: int, lr: Array
) -> StepMetrics:
    lanes = jnp.asarray(batch, metrics.lm_loss.dtype)
    q_loss = metrics.q_halt_loss + metrics.q_continue_loss
    return {
        "loss/total": (metrics.lm_loss + q_weight * q_loss, lanes),
        "loss/lm": (metrics.lm_loss, lanes),
        "loss/q_halt": (metrics.q_halt_loss, lanes),
        "loss/q_continue": (metrics.q_continue_loss, lanes),
        "accuracy/token": (metrics.accuracy, metrics.count),
        "accuracy/exact": (metrics.exact_accuracy, metrics.count),
        "halt/q_accuracy": (metrics.q_halt_accuracy, metrics.count),
        "halt/steps_mean": (metrics.steps, metrics.count),
        "optim/lr": (lr, jnp.ones_like(lr)),
    }


def scan_steps(
    step: Callable[[TrainState, Any], tuple[TrainState, StepMetrics]],
    state: TrainState,
    batches: Any,
) -> tuple[TrainState, StepMetrics]:
    """Take several steps in one dispatch; metrics are summed over them.

    Args:
      step: one step.
      state: before.
      batches: pytree of `[N, ...]`, what each of the N steps takes.
    """
    if jax.tree.leaves(batches)[0].shape[0] == 1:
        return step(state, jax.tree.map(lambda x: x[0], batches))
    state, metrics = jax.lax.scan(step, state, batches)
    return state, jax.tree.map(lambda x: jnp.sum(x, axis=0), metrics)
