# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`TrainConfig`: how long, how wide and until when a run trains."""

import dataclasses

from lrm_jax.types import UserError


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long and how wide to train.

    Attributes:
      total_steps: optimizer steps.
      batch_size: lanes in a step, over all devices.
      grad_accum: micro-batches that make a step.
      steps_per_dispatch: steps the device takes before Python looks again.
      log_every: steps between records.
      max_time_s: stop after so much training time, restarts included; 0 = never.
      stop_at_accuracy: stop on mastery: `stop_metric` at least this; 0 = never.
      stop_evaluations: measurements in a row that must reach it.
      stop_metric: the accuracy that is meant.
      ema_decay: of the averaged weights; 0 = none.
      ema_warmup_steps: the average forgets faster at first; 0 = as in TRM.
    """

    total_steps: int = 1000
    batch_size: int = 64
    grad_accum: int = 1
    steps_per_dispatch: int = 1
    log_every: int = 50
    max_time_s: float = 0.0
    stop_at_accuracy: float = 0.0
    stop_evaluations: int = 3
    stop_metric: str = "eval/exact_accuracy"
    ema_decay: float = 0.0
    ema_warmup_steps: int = 0

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        positive = ("batch_size", "grad_accum", "steps_per_dispatch", "log_every")
        for name in (*positive, "stop_evaluations"):
            _require(getattr(self, name) >= 1, name, self, "1 or more")
        for name in ("total_steps", "max_time_s", "ema_warmup_steps"):
            _require(getattr(self, name) >= 0, name, self, "0 or more")
        _require(0 <= self.stop_at_accuracy <= 1, "stop_at_accuracy", self, "0 to 1")
        _require(0 <= self.ema_decay < 1, "ema_decay", self, "0 <= value < 1")
        if self.batch_size % self.grad_accum:
            raise UserError(
                f"train.grad_accum is {self.grad_accum}; it must divide"
                f" train.batch_size, {self.batch_size}"
            )


def _require(holds: bool, name: str, cfg: TrainConfig, accepted: str) -> None:
    if not holds:
        raise UserError(f"train.{name} is {getattr(cfg, name)!r}; accepted: {accepted}")
