# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Early stop on mastery: a metric that holds its goal so many times in a row."""

from collections.abc import Mapping
from typing import Any

from lrm_jax.training.train_config import TrainConfig


class Mastery:
    """Counts how often the goal was met in a row, across restarts.

    What was counted towards another goal does not count.
    """

    def __init__(self, cfg: TrainConfig, resume: Mapping[str, Any]) -> None:
        """Go on from `resume`, what `to_json` gave; empty for a fresh run."""
        self._cfg = cfg
        same_goal = resume.get("goal") == self._goal()
        self._held = int(resume["held"]) if same_goal else 0
        self._stop_step: int | None = resume["stop_step"] if same_goal else None

    def measured(self, step: int, values: Mapping[str, Any], *, late: bool) -> None:
        """Take note of a record; `late` where it may be read a dispatch later."""
        cfg = self._cfg
        value = values.get(cfg.stop_metric)
        if not cfg.stop_at_accuracy or value is None:
            return
        self._held = self._held + 1 if value >= cfg.stop_at_accuracy else 0
        if self._held >= cfg.stop_evaluations and self._stop_step is None:
            # Records of the step before are read late: or early, when a save is
            # due. The step to stop at must not depend on that.
            latest = min(step + cfg.steps_per_dispatch, cfg.total_steps)
            self._stop_step = latest if late else step

    def reached(self, step: int) -> bool:
        """Whether the run is to stop at this step."""
        return self._stop_step is not None and step >= self._stop_step

    def to_json(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "goal": self._goal(),
            "held": self._held,
            "stop_step": self._stop_step,
        }

    def _goal(self) -> list[Any]:
        cfg = self._cfg
        return [cfg.stop_metric, cfg.stop_at_accuracy, cfg.stop_evaluations]
