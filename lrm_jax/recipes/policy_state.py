# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training state of a token policy, and one update of it.

`params` is `{"weights": ...}`, whole; with adapters also `"lora"` and `"lora_scale"`
`[]`, and then the adapters alone are trained and averaged while the weights stay.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrm_jax.models.lora import LoraConfig, attach, init_lora, merge
from lrm_jax.models.policy import Policy
from lrm_jax.training.optim import (
    OptimConfig,
    ema_decay,
    init_ema,
    learning_rate,
    make_optimizer,
    update_ema,
    without_router_bias,
)
from lrm_jax.training.state import TrainState, make_state
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import Array, Key, Params

StepMetrics = dict[str, tuple[Array, Array]]
"""Name to (sum, weight)."""


ADAPTERS = 3
"""Purpose folded into the run's key for fresh adapters."""


def trained_part(params: Params) -> str:
    """Return which part of the parameters is trained."""
    return "lora" if "lora" in params else "weights"


def full_weights(params: Params) -> Params:
    """Return the weights that the policy's functions take, adapters beside them."""
    if "lora" not in params:
        return params["weights"]
    return attach(_scaled(params), params["weights"], params["lora"])


def merged_weights(params: Params) -> Params:
    """Return plain weights, adapters added in: for export and for other runs."""
    if "lora" not in params:
        return params["weights"]
    return merge(_scaled(params), params["weights"], params["lora"])


def add_adapters(cfg: LoraConfig, params: Params, key: Key) -> Params:
    """Return parameters with fresh adapters, which change nothing yet.

    The scale is kept beside them, so that a checkpoint says it all.
    """
    adapters = init_lora(cfg, params["weights"], key)
    scale = jnp.asarray(cfg.scale, jnp.result_type(float))
    return {**params, "lora": adapters, "lora_scale": scale}


def _scaled(params: Params) -> LoraConfig:
    return LoraConfig(rank=1, alpha=params["lora_scale"])


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
      lora: adapters to train in place of the weights, or None.
    """

    policy: Policy
    optim: OptimConfig
    train: TrainConfig
    lora: LoraConfig | None = None

    def tx(self) -> optax.GradientTransformation:
        """Return the optimizer of the trained part."""
        return make_optimizer(self.optim, self.train.total_steps)

    def init(self, key: Key, params: Params | None = None) -> TrainState:
        """Return the state before the first step.

        Args:
          key: of the run; kept in the state.
          params: to start from, instead of fresh ones.
        """
        start = params
        if start is None:
            start = {"weights": self.policy.init(jax.random.fold_in(key, 0))}
        if self.lora is not None and "lora" not in start:
            start = add_adapters(self.lora, start, jax.random.fold_in(key, ADAPTERS))
        trained = start[trained_part(start)]
        ema = init_ema(trained) if self.train.ema_decay else None
        return make_state(start, self.tx().init(trained), key, ema=ema)

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
        norm = optax.tree.norm(without_router_bias(grads))
        one = lr * 0 + 1
        return state, {"optim/lr": (lr, one), "optim/grad_norm": (norm, one)}
