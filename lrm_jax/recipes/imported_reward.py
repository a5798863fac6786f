# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published reward models: opened and scored with, never trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.data.chat import PromptEncoder, template_of
from lrm_jax.data.chat_steps import tokenize_turns
from lrm_jax.data.jsonl import Prompt
from lrm_jax.data.step_rows import StepRow, StepRowConfig, collate_steps
from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.models.policy import token_policy
from lrm_jax.models.reward import reward_model
from lrm_jax.prm.aggregate import aggregate, check_scores
from lrm_jax.prm.readers import ReaderConfig, SignReader, sign_id
from lrm_jax.prm.scorer import ScoringModel, score_steps
from lrm_jax.prm.semantics import Aggregation, Semantics, default_aggregation
from lrm_jax.recipes.policy_build import (
    fit_params,
    read_policy_config,
    tokenizer_of,
)
from lrm_jax.recipes.policy_config import (
    ImportedPolicyConfig,
    PolicyEvalConfig,
    run_id,
    validate_policy,
)
from lrm_jax.recipes.policy_eval import batches_of
from lrm_jax.recipes.prm_run import Solution, StepScores
from lrm_jax.recipes.registry import Recipe
from lrm_jax.steps import StepTokens, step_table, tokenize_steps
from lrm_jax.training.loading import load_params, parse_source
from lrm_jax.types import Params, UserError

HEAD = "value_head"
_LEAST = 64  # tokens of the shortest rows that are compiled


@dataclass(frozen=True)
class ImportedRewardConfig(ImportedPolicyConfig):
    """A reward model that came from elsewhere.

    Attributes:
      recipe: `reward`.
      reader: how it is read.
      eval: `batch_size` solutions are scored at a time.
    """

    recipe: Literal["reward"] = "reward"  # pyright: ignore[reportIncompatibleVariableOverride]
    reader: ReaderConfig = field(default_factory=ReaderConfig)
    eval: PolicyEvalConfig = field(
        default_factory=lambda: PolicyEvalConfig(batch_size=8, greedy=False)
    )


class StepTokenizer:
    """Prompts and steps to ids, as a reader's model was taught to see them."""

    def __init__(self, tokenizer: Tokenizer, reader: ReaderConfig) -> None:
        """Bind a tokenizer.

        Raises:
          UserError: it cannot write the separator, or has no chat template where the
            reader needs one.
        """
        self.tokenizer, self.reader = tokenizer, reader
        self._template = None if reader.raw else template_of(tokenizer)
        self._encode = None
        if reader.form == "chat":
            if self._template is None:
                raise UserError(
                    "reader.form='chat': the tokenizer has no chat template"
                )
            return
        system = reader.system if self._template is not None else ""
        self._encode = PromptEncoder(tokenizer, raw=reader.raw, system=system)
        # On the host: it is looked up a token at a time.
        self._table = jax.device_get(step_table(tokenizer, reader.rule))

    def __call__(self, prompt: Prompt, steps: Sequence[str]) -> StepTokens:
        """Return the ids of a solution, and where its steps are read.

        Raises:
          UserError: its steps cannot be told apart as tokens.
        """
        written = self.reader.write(list(steps))
        if self._encode is None:
            assert self._template is not None
            return tokenize_turns(
                self.tokenizer,
                self._template,
                prompt,
                written,
                self.reader.plus,
                system=self.reader.system,
            )
        return tokenize_steps(
            self.tokenizer.encode,
            self._encode(self._written(prompt)),
            written,
            self.reader.rule,
            self._table,
        )

    def _written(self, prompt: Prompt) -> Prompt:
        """Return the prompt as the reader has it; messages are a template's."""
        if self.reader.prompt == "{prompt}" or not isinstance(prompt, str):
            return prompt
        named = getattr(self.tokenizer, "special_tokens", {})
        return self.reader.write_prompt(prompt, named.get("bos_token", ""))


class ImportedReward:
    """A published reward model with its parameters."""

    def __init__(
        self,
        config: ImportedRewardConfig,
        params: Params,
        *,
        step: int = 0,
        warning: str | None = None,
    ) -> None:
        """Bind parameters to a config.

        Args:
          config: of the run.
          params: of the policy, with the head where it is read by one.
          step: of the checkpoint.
          warning: why it is not the newest.
        """
        self.config, self.params = config, params
        self.step, self.warning = step, warning
        self.tokenizer = tokenizer_of(config)
        self.encode = StepTokenizer(self.tokenizer, config.reader)
        self.scorer = make_reader(config, self.tokenizer)
        self._score = jax.jit(partial(score_steps, self.scorer))

    @property
    def semantics(self) -> Semantics:
        """What the scores mean."""
        return self.config.reader.semantics

    def score(
        self, prompt: Prompt, steps: Sequence[str], *, how: Aggregation | None = None
    ) -> StepScores:
        """Score the steps of one solution; see `score_all`."""
        return self.score_all([(prompt, steps)], how=how)[0]

    def score_all(
        self, solutions: Sequence[Solution], *, how: Aggregation | None = None
    ) -> list[StepScores]:
        """Score the steps of solutions.

        Solutions of about equal length go together; lengths are rounded up to powers
        of two, so that few programs are compiled.

        Args:
          solutions: prompts, and steps without their separators.
          how: scores of steps are pooled; by what they mean if not given.

        Raises:
          UserError: a solution whose steps cannot be told apart, or that is longer
            than the model reads; a score that is NaN.
        """
        how = how or default_aggregation(self.semantics)
        rows = [self._row(i, *one) for i, one in enumerate(solutions)]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        found: list[StepScores | None] = [None] * len(rows)
        for part in batches_of(order, self.config.eval.batch_size):
            scores, here = self._scores([rows[i] for i in part])
            check_scores(scores, here, self.config.name)
            totals = np.asarray(aggregate(scores, here, how))
            for i, one, total in zip(part, np.asarray(scores), totals, strict=False):
                kept = one[: len(rows[i].ends)].tolist()
                found[i] = StepScores(kept, float(total), how)
        return [one for one in found if one is not None]

    def refusal(self, prompt: Prompt, steps: Sequence[str]) -> str | None:
        """Return why a solution cannot be scored; None where it can."""
        try:
            self._row(0, prompt, steps)
        except UserError as error:
            return str(error).removeprefix("solution 1: ")
        return None

    def _scores(self, rows: list[StepRow]) -> tuple[jax.Array, jax.Array]:
        """Return the scores of a full batch, `[B, S]`, and where there is a step."""
        size = self.config.eval.batch_size
        shape = StepRowConfig(
            self.config.reader.rule,
            seq_len=_rounded(max(len(row.ids) for row in rows), _LEAST),
            max_steps=_rounded(max(len(row.ends) for row in rows), 8),
        )
        full = [*rows, *[rows[0]] * (size - len(rows))]
        batch = collate_steps(full, shape, self.tokenizer.pad_id)
        scores = self._score(self.params, batch["ids"], batch["mask"], batch["ends"])
        return scores, jnp.asarray(batch["ends"] >= 0)

    def _row(self, number: int, prompt: Prompt, steps: Sequence[str]) -> StepRow:
        try:
            found = self.encode(prompt, steps)
        except UserError as error:
            raise UserError(f"solution {number + 1}: {error}") from error
        longest = self.config.model.max_seq_len
        if len(found.ids) > longest:
            raise UserError(
                f"solution {number + 1}: {len(found.ids)} tokens; the model reads "
                f"{longest}"
            )
        return StepRow(found.ids, found.ends, [None] * len(found.ends), found.start)


def make_reader(config: ImportedRewardConfig, tokenizer: Tokenizer) -> ScoringModel:
    """Return the functions that score with an imported model.

    Raises:
      UserError: a sign is not one token.
    """
    reader = config.reader
    if reader.kind == "head":
        return reward_model(config.model, reader.semantics)
    plus, minus = (
        sign_id(tokenizer.encode(text), text, name)
        for text, name in ((reader.plus, "plus"), (reader.minus, "minus"))
    )
    policy = token_policy(config.model)
    return SignReader(policy, plus, minus, reader.early, reader.semantics)


def open_reward(run: str) -> ImportedReward:
    """Open `RUN[@step]` of a published reward model.

    Raises:
      UserError: it is none, or has no usable checkpoint.
    """
    folder, which = parse_source(run)
    config = read_policy_config(folder)
    if not isinstance(config, ImportedRewardConfig):
        raise UserError(
            f"{run}: a run of recipe {config.recipe!r}; expected a published reward "
            "model (lrm import hf SRC RUN --reader ...)"
        )
    loaded = load_params(folder, which)
    weights = dict(loaded.params["weights"])
    head = weights.pop(HEAD, None)
    shapes = jax.eval_shape(token_policy(config.model).init, jax.random.key(0))
    weights = fit_params(weights, shapes, f"checkpoint of {run}")
    if config.reader.kind == "head":
        if head is None:
            raise UserError(f"{run}: its checkpoint has no {HEAD}; import it again")
        weights = {**weights, HEAD: jax.tree.map(jnp.asarray, head)}
    return ImportedReward(config, weights, step=loaded.step, warning=loaded.warning)


def _rounded(value: int, least: int) -> int:
    return max(least, 1 << (value - 1).bit_length())


def train(config: ImportedRewardConfig, run_dir: str, **options: Any) -> dict[str, Any]:
    """Refuse: there is nothing that an import learns from."""
    del run_dir, options
    raise UserError(
        f"config of {config.name!r} is that of an import (recipe='reward'), which is "
        "not trained; train a reward model from its weights: --init-from RUN"
    )


RECIPE = Recipe(
    config=ImportedRewardConfig,
    validate=validate_policy,
    run_id=run_id,
    resolve=lambda config, run_dir, init_from: config,
    train=train,
    open=open_reward,
    build=None,
)
