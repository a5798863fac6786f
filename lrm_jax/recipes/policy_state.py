# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training state of a token policy, and one update of it.

`params` is `{"weights": ...}`, whole; with adapters also `"lora"`, and then these
alone are trained and averaged while the weights stay.
"""

from dataclasses import dataclass
from typing import Any

import jax
import optax

from lrm_jax.models.policy import Policy
from lrm_jax.training.optim import (
    OptimConfig,
    ema_decay,
    init_ema,
    learning_rate,
    make_optimizer,
    update_ema,
)
from lrm_jax.training.state import TrainState, make_state
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import Array, Key, Params

StepMetrics = dict[str, tuple[Array, Array]]
"""Name to (sum, weight)."""


def trained_part(params: Params) -> str:
    """Return which part of the parameters is trained."""
    return "lora" if "lora" in params else "weights"


def full_weights(params: Params) -> Params:
    """Return the weights that the policy's functions take."""
    return params["weights"]


def eval_params(state: TrainState) -> Params:
    """Return the parameters that are evaluated: averaged ones where there are."""
    if state.ema is None:
        return state.params
    return {**state.params, trained_part(state.params): state.ema}


@dataclass(frozen=True)
class Updater:
    """How gradients change a state: optimizer, schedule, average.

    Attributes:
      policy: makes fresh weights.
      optim: optimizer settings.
      train: length and averaging.
    """

    policy: Policy
    optim: OptimConfig
    train: TrainConfig

    def tx(self) -> optax.GradientTransformation:
        """Return the optimizer of the trained part."""
        return make_optimizer(self.optim, self.train.total_steps)

    def init(self, key: Key, params: Params | None = None) -> TrainState:
        """Return the state before the first step.

        Args:
          key: of the run; kept in the state.
          params: to start from, instead of fresh ones.
        """
        if params is None:
            params = {"weights": self.policy.init(jax.random.fold_in(key, 0))}
        trained = params[trained_part(params)]
        ema = init_ema(trained) if self.train.ema_decay else None
        return make_state(params, self.tx().init(trained), key, ema=ema)

    def __call__(
        self, state: TrainState, grads: Params
    ) -> tuple[TrainState, StepMetrics]:
        """Take one optimizer step.

        Args:
          state: before.
          grads: of the trained part.

        Returns:
          The new state; gradient norm and learning rate as metrics.
        """
        name = trained_part(state.params)
        before = state.params[name]
        updates, opt_state = self.tx().update(grads, state.opt_state, before)
        after: Any = optax.apply_updates(before, updates)
        count = state.step + 1
        ema = state.ema
        if self.train.ema_decay:
            warmup = self.train.ema_warmup_steps
            decay = ema_decay(self.train.ema_decay, count, warmup)
            ema = update_ema(ema, after, decay)
        params = {**state.params, name: after}
        state = state.replace(step=count, params=params, ema=ema, opt_state=opt_state)
        lr = learning_rate(self.optim, self.train.total_steps)(count)
        norm = optax.tree.norm(grads)
        one = lr * 0 + 1
        return state, {"optim/lr": (lr, one), "optim/grad_norm": (norm, one)}
