# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a method of token search found: solutions, and what they cost."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lrm_jax.search.guided_answers import Solution, Spent


class Found(NamedTuple):
    """What a method found of some problems, `[Q]`.

    Attributes:
      solutions: of each; those without an answer's end are among sampled ones.
      generated: tokens written.
      scored: tokens the reward model read, prompts not counted.
      scored_prompts: how often it read a prompt.
      lane_steps: calls of the policy with one token a lane.
      lane_tokens: tokens that took a lane for such a call.
      lanes: of such a call.
      scoring_s: seconds in which whole texts were scored, once all were written.
    """

    solutions: list[list[Solution]]
    generated: np.ndarray
    scored: np.ndarray
    scored_prompts: int
    lane_steps: int
    lane_tokens: int
    lanes: int
    scoring_s: float = 0.0

    @property
    def lane_use(self) -> float:
        """Tokens that took a lane for a step, over lanes times steps run."""
        room = self.lane_steps * self.lanes
        return self.lane_tokens / room if room else 1.0

    @staticmethod
    def join(parts: "Sequence[Found]") -> "Found":
        """Return batches as one."""
        return Found(
            [one for part in parts for one in part.solutions],
            np.concatenate([part.generated for part in parts]),
            np.concatenate([part.scored for part in parts]),
            parts[0].scored_prompts,
            sum(part.lane_steps for part in parts),
            sum(part.lane_tokens for part in parts),
            parts[0].lanes,
            sum(part.scoring_s for part in parts),
        )


def searched(solutions: list[list[Solution]], spent: Spent, lanes: int) -> Found:
    """Return what a search found that reads every prompt once."""
    return Found(
        solutions,
        spent.generated,
        spent.scored,
        1,
        spent.lane_steps,
        spent.lane_tokens,
        lanes,
    )
