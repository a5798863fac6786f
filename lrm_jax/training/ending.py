# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a training loop ends: why, with what, and what a person is told."""

from typing import Any, Literal, NamedTuple

from lrm_jax.training.checkpoint import Checkpointer
from lrm_jax.training.files import Path
from lrm_jax.training.state import TrainState

Reason = Literal["done", "mastered", "time", "interrupted", "terminated", "nan"]


class Stop(Exception):
    """Ends the loop."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Say why."""
        super().__init__(message)
        self.reason: Reason = reason


class LoopResult(NamedTuple):
    """How a run ended.

    Attributes:
      state: the last state (after a NaN: not to be used).
      step: optimizer steps done.
      reason: why it ended; `nan` is a failed run, all else is saved.
      message: one line for a person.
      metrics: newest value of every metric.
      best: {"step", "value"} of the best evaluation, or None.
      recompiles: programs compiled by the step after its first call; 0 is right.
      time_s: training time, restarts included.
    """

    state: TrainState
    step: int
    reason: Reason
    message: str
    metrics: dict[str, float | None]
    best: dict[str, Any] | None
    recompiles: int
    time_s: float


def explain(
    reason: Reason, message: str, step: int, where: Path, saved: Checkpointer
) -> str:
    """Return the message with what is kept in the run folder and how to go on."""
    if reason == "nan":
        kept = [i.step for i in saved.list_steps() if i.complete]
        good = f"checkpoint {kept[-1]} in {where} is sound" if kept else "none kept"
        return f"stopped: {message}; {good}; a lower optim.lr or clipping helps"
    if reason in ("interrupted", "terminated"):
        return (
            f"{message}: saved step {step} in {where}; run the same command"
            f" again to go on (lrm train ... --run-dir {where})"
        )
    return message
