# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A reward model scores stored samples: `lrm search --samples FILE --prm RUN`."""

import dataclasses
from collections.abc import Sequence

from lrm_jax.data.jsonl import Prompt
from lrm_jax.prm.semantics import Semantics
from lrm_jax.recipes.imported_reward import ImportedReward
from lrm_jax.recipes.prm_run import RewardRun
from lrm_jax.recipes.registry import load
from lrm_jax.steps import StepRule, split_steps
from lrm_jax.types import UserError

BLANK_LINE = "\n\n"
"""What ends a step of a text, where the reward model was imported."""


class RunScorer:
    """A `rescore.StepScorer`."""

    def __init__(self, run: RewardRun | ImportedReward, separator: str = "") -> None:
        """Take a reward model.

        Args:
          run: trained here or imported.
          separator: between the steps of a text; by default as the run was trained,
            and a blank line for an imported one.
        """
        self._run = run
        if separator:
            rule = StepRule(separator)
        elif isinstance(run, RewardRun):
            rule = run.config.prm.steps
        else:
            rule = StepRule(BLANK_LINE)
        # A stored text may end without a separator: what is left is a step.
        self._rule = dataclasses.replace(rule, last="text")

    @property
    def semantics(self) -> Semantics:
        """What the scores mean."""
        return self._run.semantics

    def step_scores(
        self, solutions: Sequence[tuple[Prompt, str, Sequence[str] | None]]
    ) -> list[list[float]]:
        """Return a score for each step; none for a text of blanks alone.

        Raises:
          UserError: a solution is longer than the model reads.
        """
        split = [
            (prompt, self._steps(text) if steps is None else steps)
            for prompt, text, steps in solutions
        ]
        asked = [(prompt, steps) for prompt, steps in split if steps]
        found = iter(self._run.score_all(asked) if asked else [])
        return [next(found).steps if steps else [] for _, steps in split]

    def _steps(self, text: str) -> list[str]:
        return split_steps(text, self._rule) if text.strip() else []


def open_scorer(run: str, separator: str = "") -> RunScorer:
    """Open `RUN[@step]` of a reward model.

    Raises:
      UserError: no run, or one that scores nothing.
    """
    opened = load(run)
    if not isinstance(opened, RewardRun | ImportedReward):
        raise UserError(
            f"{run}: a run of recipe {opened.config.recipe!r}, which scores nothing; "
            "expected a reward model"
        )
    return RunScorer(opened, separator)
