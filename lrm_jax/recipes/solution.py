# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One problem, thought through: what `Run.solve` returns."""

import dataclasses
from typing import Any

from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation.trace import ThoughtTrace


@dataclasses.dataclass(frozen=True)
class Solution:
    """One problem, thought through.

    Attributes:
      answer: as text, row by row.
      valid: whether it is right by the rules; None where the kind has none.
      steps: segments spent.
      halted: whether the reasoner stopped itself.
      trace: what it thought after each segment.
      view: how the puzzle is written.
    """

    answer: str
    valid: bool | None
    steps: int
    halted: bool
    trace: ThoughtTrace
    view: PuzzleView

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: the answer and every step of the thinking."""
        thinking = [
            {
                "step": i + 1,
                "answer": self.view.render(ids),
                "halt_prob": round(float(halt), 6),
            }
            for i, (ids, halt) in enumerate(
                zip(self.trace.preds, self.trace.halt_prob, strict=True)
            )
        ]
        return {
            "answer": self.answer,
            "valid": self.valid,
            "steps": self.steps,
            "halted": self.halted,
            "thinking": thinking,
        }
