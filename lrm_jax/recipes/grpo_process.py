# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A reward model that scores the steps of rollouts; see `rl.process_reward`."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from lrm_jax.data.tokenizer import Tokenizer
from lrm_jax.models.policy import positions_of
from lrm_jax.models.reward import RewardModel
from lrm_jax.prm.scorer import WholeScorer
from lrm_jax.prm.semantics import score
from lrm_jax.recipes.grpo_config import GrpoRunConfig
from lrm_jax.recipes.policy_build import load_policy, read_policy_config, tokenizer_of
from lrm_jax.recipes.policy_config import fit_vocabulary
from lrm_jax.recipes.prm_config import PrmRunConfig
from lrm_jax.recipes.prm_run import refuse_other_tokenizer
from lrm_jax.recipes.prm_step import make_scorer
from lrm_jax.sharding import constrain
from lrm_jax.steps import StepTable, step_end_mask, step_table
from lrm_jax.training.loading import parse_source
from lrm_jax.types import Array, Params, UserError


@dataclass(frozen=True, eq=False)
class ProcessJudge:
    """Finds the steps of completions and scores them, on the device.

    Attributes:
      scorer: the reward model's functions.
      table: on the host; finds where steps end in token ids, as its training data
        had them.
    """

    scorer: WholeScorer
    table: StepTable

    def __call__(
        self, params: Params, ids: Array, mask: Array, prompt_len: int
    ) -> tuple[Array, Array]:
        """Return scores `[B, C]`, and where steps end `[B, C]` bool.

        Args:
          params: of the reward model.
          ids: `[B, P + C]` prompts and completions.
          mask: `[B, P + C]` bool, tokens that exist.
          prompt_len: P.
        """
        ids, mask = constrain(ids, "batch", "seq"), constrain(mask, "batch", "seq")
        logits = self.scorer.forward(params, ids, positions_of(mask), mask)
        written = slice(prompt_len, None)
        table = jax.tree.map(jnp.asarray, self.table)
        ends = step_end_mask(ids[:, written], mask[:, written], table)
        return score(self.scorer.semantics, logits)[:, written], ends


def read_judge_config(config: GrpoRunConfig) -> PrmRunConfig:
    """Return the config of the reward model that a run names.

    Raises:
      UserError: it is none, or its scores are not of single states in [0, 1].
    """
    folder, _ = parse_source(config.process_reward)
    theirs = read_policy_config(folder)
    if not isinstance(theirs, PrmRunConfig):
        raise UserError(
            f"process_reward={config.process_reward!r}: a run of recipe "
            f"{theirs.recipe!r}; expected a reward model (recipe 'prm')"
        )
    if theirs.prm.semantics not in ("step_correctness", "future_success"):
        raise UserError(
            f"process_reward={config.process_reward!r}: its scores are "
            f"{theirs.prm.semantics}, no probabilities of states; expected "
            "step_correctness or future_success"
        )
    return theirs


def make_judge(config: GrpoRunConfig, tokenizer: Tokenizer) -> ProcessJudge | None:
    """Return what scores the steps of a run's rollouts; None without a reward model.

    Args:
      config: of the run.
      tokenizer: of its policy.

    Raises:
      UserError: the reward model cannot read what the policy writes.
    """
    if not config.process_reward:
        return None
    theirs = read_judge_config(config)
    name = f"process_reward={config.process_reward!r}"
    refuse_other_tokenizer(tokenizer_of(theirs), tokenizer, f"the policy ({name})")
    theirs = fit_vocabulary(theirs, tokenizer_of(theirs))
    if theirs.model.max_seq_len < config.model.max_seq_len:
        raise UserError(
            f"{name}: reads {theirs.model.max_seq_len} tokens (model.max_seq_len); the "
            f"policy may write up to {config.model.max_seq_len}"
        )
    scorer = make_scorer(theirs)
    assert isinstance(scorer, RewardModel)  # by its semantics
    table = jax.device_get(step_table(tokenizer, theirs.prm.steps))
    return ProcessJudge(scorer, table)


def load_judge(config: GrpoRunConfig, mesh: Mesh) -> Params | None:
    """Return the reward model's weights on a mesh; None without one."""
    if not config.process_reward:
        return None
    return load_policy(config.process_reward, mesh).weights
