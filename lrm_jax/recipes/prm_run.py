# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trained reward model in Python: score written steps with it, evaluate it."""

import dataclasses
import json
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import sharding
from lrm_jax.data.chat import PromptEncoder
from lrm_jax.data.jsonl import Prompt
from lrm_jax.data.step_rows import StepRow, StepRowConfig, StepRows, collate_steps
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.models.policy import token_policy
from lrm_jax.prm.aggregate import aggregate, check_scores
from lrm_jax.prm.scorer import score_steps
from lrm_jax.prm.semantics import Aggregation, Semantics, default_aggregation
from lrm_jax.recipes.policy_build import (
    load_policy,
    read_policy_config,
    state_shardings,
    tokenizer_of,
)
from lrm_jax.recipes.policy_config import fit_vocabulary
from lrm_jax.recipes.policy_eval import batches_of
from lrm_jax.recipes.prm_config import PrmRunConfig
from lrm_jax.recipes.prm_data import StepSource
from lrm_jax.recipes.prm_eval import HeldOutSteps
from lrm_jax.recipes.prm_step import REFERENCE, make_scorer
from lrm_jax.steps import tokenize_steps
from lrm_jax.training import files
from lrm_jax.training.loading import load_params, parse_source
from lrm_jax.types import Params, UserError

Solution = tuple[Prompt, Sequence[str]]
"""A prompt, and the steps of a solution without their separators."""


@dataclasses.dataclass(frozen=True)
class StepScores:
    """What a reward model says of a solution.

    Attributes:
      steps: a score for each step; what it means is the model's `semantics`.
      total: of the solution.
      how: the steps' scores were pooled.
    """

    steps: list[float]
    total: float
    how: Aggregation


class RewardRun:
    """A reward model with its parameters; what `lrm eval` uses."""

    def __init__(
        self,
        config: PrmRunConfig,
        params: Params,
        *,
        run_dir: str | None = None,
        step: int = 0,
        warning: str | None = None,
    ) -> None:
        """Bind parameters to a config.

        Args:
          config: of the run.
          params: as its scorer takes them.
          run_dir: where reports go; None keeps them in memory.
          step: optimizer steps behind the parameters.
          warning: why it is not the newest step, see `LoadedParams`.
        """
        self.tokenizer = tokenizer_of(config)
        self.config = fit_vocabulary(config, self.tokenizer)
        self.step, self.run_dir, self.warning = step, run_dir, warning
        self.mesh = sharding.make_mesh(config.mesh)
        self.scorer = make_scorer(self.config)
        policy = token_policy(self.config.model)
        self.params = sharding.put(params, state_shardings(self.mesh, policy, params))
        self._score = jax.jit(partial(score_steps, self.scorer))

    @property
    def semantics(self) -> Semantics:
        """What the scores mean."""
        return self.config.prm.semantics

    def score(
        self, prompt: Prompt, steps: Sequence[str], *, how: Aggregation | None = None
    ) -> StepScores:
        """Score the steps of one solution; see `score_all`."""
        return self.score_all([(prompt, steps)], how=how)[0]

    def score_all(
        self, solutions: Sequence[Solution], *, how: Aggregation | None = None
    ) -> list[StepScores]:
        """Score the steps of solutions.

        Args:
          solutions: prompts, and steps without their separators.
          how: scores of steps are pooled; by what they mean if not given.

        Raises:
          UserError: a solution whose steps cannot be told apart, or that is longer
            than the model was trained on; a score that is NaN.
        """
        how = how or default_aggregation(self.semantics)
        shape = self._shape
        rows = [self._row(i, *one) for i, one in enumerate(solutions)]
        found: list[StepScores] = []
        size = self.config.eval.batch_size
        for part in batches_of(rows, size):
            full = [*part, *[part[0]] * (size - len(part))]
            batch = collate_steps(full, shape, self.tokenizer.pad_id)
            with sharding.use_mesh(self.mesh):
                scores = self._score(
                    self.params,
                    batch["ids"],
                    batch["mask"],
                    batch["ends"],
                    starts=batch["starts"],
                )
            here = jnp.asarray(batch["ends"] >= 0)
            check_scores(scores, here, "reward model")
            totals = np.asarray(aggregate(scores, here, how))
            for row, one, total in zip(part, np.asarray(scores), totals, strict=False):
                kept = [float(x) for x in one[: len(row.ends)]]
                found.append(StepScores(kept, float(total), how))
        return found

    def refusal(self, prompt: Prompt, steps: Sequence[str]) -> str | None:
        """Return why a solution cannot be scored; None where it can."""
        try:
            self._row(0, prompt, steps)
        except UserError as error:
            return str(error).removeprefix("solution 1: ")
        return None

    def evaluate(self, data: str | None = None) -> dict[str, Any]:
        """Measure the model on labelled steps; see `HeldOutSteps`.

        Args:
          data: JSONL of labelled steps; None for the run's own held-out ones, whose
            result is also written to `report/`.

        Returns:
          {n, semantics, metrics, data, step}.
        """
        cfg = self.config.eval
        held_out = HeldOutSteps(
            self.scorer,
            self.config.prm.loss,
            self.held_out(data),
            self.mesh,
            size=cfg.size if data is None else 0,
            batch_size=cfg.batch_size,
        )
        with sharding.use_mesh(self.mesh):
            metrics = held_out(self.params)
        report = {
            "n": held_out.count,
            "semantics": self.semantics,
            "metrics": metrics,
            "data": data or "own test set",
            "step": self.step,
        }
        if self.run_dir is not None and data is None:
            folder = files.as_path(self.run_dir) / "report"
            with files.user_errors(f"report of {self.run_dir} cannot be written"):
                folder.mkdir(parents=True, exist_ok=True)
                text = json.dumps(report, indent=1, allow_nan=False)
                files.write_atomic(folder / "eval.json", text + "\n")
        return report

    def held_out(self, data: str | None = None) -> StepRows:
        """Return the rows that `evaluate` measures on."""
        return (self.source if data is None else self._other_source(data)).held_out

    @cached_property
    def source(self) -> StepSource:
        """The run's own data."""
        return StepSource(self.config)

    @cached_property
    def encoder(self) -> PromptEncoder:
        """Prompts to ids, by the run's own settings."""
        data = self.config.data
        return PromptEncoder(
            self.tokenizer,
            raw=data.raw,
            system=data.system,
            enable_thinking=data.enable_thinking,
        )

    @property
    def _shape(self) -> StepRowConfig:
        prm = self.config.prm
        return StepRowConfig(prm.steps, prm.seq_len, prm.max_steps)

    def _row(self, number: int, prompt: Prompt, steps: Sequence[str]) -> StepRow:
        prm = self.config.prm
        try:
            found = tokenize_steps(
                self.tokenizer.encode, self.encoder(prompt), steps, prm.steps
            )
        except UserError as error:
            raise UserError(f"solution {number + 1}: {error}") from error
        if len(found.ids) > prm.seq_len or len(steps) > prm.max_steps:
            raise UserError(
                f"solution {number + 1}: {len(found.ids)} tokens in {len(steps)} steps;"
                f" the run has prm.seq_len={prm.seq_len}, prm.max_steps={prm.max_steps}"
            )
        return StepRow(found.ids, found.ends, [None] * len(steps), found.start)

    def _other_source(self, path: str) -> StepSource:
        """Read other labels, all of them to test on."""
        data = dataclasses.replace(
            self.config.data, path=path, test_path=path, test_size=0, train_size=0
        )
        return StepSource(dataclasses.replace(self.config, data=data))


def open_run(run: str) -> RewardRun:
    """Open `RUN[@step]` of a reward model.

    Raises:
      UserError: no run of a reward model, or no usable checkpoint.
    """
    folder, which = parse_source(run)
    config = read_policy_config(folder)
    if not isinstance(config, PrmRunConfig):
        raise UserError(
            f"{run}: a run of recipe {config.recipe!r}, which scores nothing; expected "
            "a reward model (recipe 'prm')"
        )
    mesh = sharding.make_mesh(config.mesh)
    loaded = load_policy(run, mesh)
    params = loaded.weights
    if config.implicit:
        place = partial(state_shardings, mesh, token_policy(config.model))
        whole = load_params(folder, which, place=place).params
        params = {
            "policy": params,
            REFERENCE: whole.get(REFERENCE, whole["weights"]),
        }
    return RewardRun(
        config,
        params,
        run_dir=folder,
        step=loaded.step,
        warning=loaded.warning,
    )


def refuse_other_tokenizer(ours: Tokenizer, theirs: Tokenizer, where: str) -> None:
    """Refuse two models that do not write with the same tokens.

    Args:
      ours: tokenizer of the reward model.
      theirs: of the policy.
      where: the policy is from, for messages.

    Raises:
      UserError: an id means something else; names the first.
    """
    one, two = ours.token_bytes(), theirs.token_bytes()
    if len(one) != len(two):
        raise UserError(
            f"{where}: its tokenizer has {len(two)} ids and the reward model's "
            f"{len(one)}; both need the same tokens"
        )
    for i, (a, b) in enumerate(zip(one, two, strict=True)):
        if a != b:
            raise UserError(
                f"{where}: another tokenizer than the reward model's: id {i} writes "
                f"{b.decode(errors='replace')!r} there, {a.decode(errors='replace')!r} "
                "here"
            )
    if ours.eos_ids != theirs.eos_ids:
        raise UserError(
            f"{where}: another tokenizer than the reward model's: texts end with "
            f"{theirs.eos_ids} there, with {ours.eos_ids} here"
        )
