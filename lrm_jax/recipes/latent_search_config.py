# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is tried when a latent reasoner is searched over, checked."""

import dataclasses
from typing import get_args

from lrm_jax.config.tree import suggest
from lrm_jax.reasoning.budget import ThinkingBudget
from lrm_jax.search.config import Method
from lrm_jax.search.latent_noise import NoiseConfig
from lrm_jax.search.latent_select import RULES
from lrm_jax.search.latent_tree import AnswerRule
from lrm_jax.types import UserError

METHODS = ("one_pass", *RULES, "augment", "mcts")
"""What there is for a latent reasoner; `one_pass` is search off."""
DEFAULT_METHODS = ("one_pass", *RULES)


@dataclasses.dataclass(frozen=True)
class LatentSearchConfig:
    """What is tried.

    Attributes:
      methods: out of `METHODS`.
      budgets: segments of a problem, in all; a `ThinkingBudget` against k * cap.
      k: trajectories or views.
      noise: how trajectories are made to differ.
      window: segments that `residual` averages over.
      lanes: of a device; 0 for the run's evaluation batch.
      seed: of the noise, the views and the trees.
      actions: draws of noise at a node of a tree (`mcts`).
      max_depth: segments of a tree's longest path; 0 for the run's cap.
      tree: how trees are searched: `puct`, `uct` or `gumbel`.
      answer: how a tree answers: `best`, `weighted` or `visits`.
      trees: file that the trees of `mcts` are written to, with a page beside it.
      memory_gib: of a device, for trees; 0 for what is free.
    """

    methods: tuple[str, ...] = DEFAULT_METHODS
    budgets: tuple[str | int, ...] = ("high",)
    k: int = 16
    noise: NoiseConfig = NoiseConfig()
    window: int = 3
    lanes: int = 0
    seed: int = 0
    actions: int = 4
    max_depth: int = 0
    tree: Method = "puct"
    answer: AnswerRule = "best"
    trees: str = ""
    memory_gib: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be tried."""
        for name in self.methods:
            if name not in METHODS:
                raise UserError(
                    f"method {name!r}: not for a latent reasoner"
                    f"{suggest(name, list(METHODS))}; accepted are {', '.join(METHODS)}"
                )
        least = {"k": 1, "window": 1, "lanes": 0, "actions": 1, "max_depth": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"{name}={getattr(self, name)}: expected {low} or more")
        choices = {"tree": get_args(Method), "answer": get_args(AnswerRule)}
        for name, accepted in choices.items():
            if getattr(self, name) not in accepted:
                raise UserError(
                    f"{name}={getattr(self, name)!r}: accepted are "
                    + ", ".join(accepted)
                )
        if self.trees and "mcts" not in self.methods:
            raise UserError(f"trees={self.trees}: only the method mcts grows trees")

    def segments(self, cap: int) -> list[int]:
        """Return the budgets in segments of a problem; `cap` is of one trajectory."""
        most = self.k * cap
        found = []
        for asked in self.budgets or ("high",):
            budget = ThinkingBudget.parse(asked)
            text = str(budget)
            if text == "-1" or text.endswith("+halt"):
                raise UserError(
                    f"budget {text!r}: search spends what it is given; give a number "
                    "of segments (the method first_halt stops by itself)"
                )
            numeric = text.isdigit()
            total = budget.resolve(max(most, int(text)) if numeric else most).max_steps
            if total < self.k:
                raise UserError(
                    f"budget {text}: {total} segments for k={self.k} candidates; each "
                    "takes one at least"
                )
            found.append(total)
        return sorted(set(found))
