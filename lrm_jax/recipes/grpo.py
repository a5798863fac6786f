# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning with verifiable rewards: GRPO and its family.

GRPO: arXiv 2402.03300; the objective is composed by `rl/` from what the config
names, the published compositions are `rl.variants`.
"""

import contextlib
import dataclasses
from typing import Any

from lrm_jax.config import to_dict
from lrm_jax.models.policy import count_params
from lrm_jax.recipes.alarms import AlarmWatch
from lrm_jax.recipes.driver import drive, summary
from lrm_jax.recipes.grpo_build import GrpoRun, build
from lrm_jax.recipes.grpo_config import GrpoRunConfig, resolve, validate
from lrm_jax.recipes.grpo_eval import PolicyEvaluation
from lrm_jax.recipes.grpo_rollout import check_prompts
from lrm_jax.recipes.policy_build import begin
from lrm_jax.recipes.policy_config import PolicyRunBase
from lrm_jax.recipes.policy_config import not_identity as policy_not_identity
from lrm_jax.recipes.policy_config import run_id as policy_run_id
from lrm_jax.recipes.policy_state import eval_params, full_weights, trained_part
from lrm_jax.recipes.registry import Recipe
from lrm_jax.recipes.samples import eval_records
from lrm_jax.recipes.token_run import open_run
from lrm_jax.training import loop
from lrm_jax.training.progress import Style, check_style
from lrm_jax.training.state import TrainState

NOT_IDENTITY = frozenset(
    {
        "grpo.chunk",
        "grpo.eval_samples",
        "grpo.samples_every",
        "grpo.samples",
        "grpo.alarms",
        "grpo.rollout_devices",
        "reward.on_error",  # a run that a failing reward stopped may go on with 0
        "reward.user_deadline_s",
        "reward.verify_deadline_s",
    }
)
"""Further keys that may change between two starts of one run."""


def not_identity(config: PolicyRunBase) -> frozenset[str]:
    """Return the keys on which a resumed run may differ from its folder."""
    follows = {"train.steps_per_dispatch"}  # from rl; not free as elsewhere
    return (policy_not_identity(config) - follows) | NOT_IDENTITY


def run_id(config: GrpoRunConfig) -> str:
    """Return the name of the run; see `policy_config.run_id`."""
    grpo = dataclasses.replace(config.grpo, rollout_devices=0)  # hardware
    return policy_run_id(dataclasses.replace(config, grpo=grpo))


def train(
    config: GrpoRunConfig,
    run_dir: str,
    *,
    init_from: str | None = None,
    dry_run: bool = False,
    profile_steps: int | None = None,
    progress: Style = "auto",
) -> dict[str, Any]:
    """Train, or go on training, the run in `run_dir`; see `registry.train`.

    Raises:
      RewardError: a reward failed; the state is saved.
      UserError: the config, the data, the folder or the source cannot be used.
    """
    check_style(progress)
    config = resolve(config, run_dir, init_from)
    validate(config)
    ignore = not_identity(config)
    config, start = begin(config, run_dir, identity_ignore=ignore, dry_run=dry_run)
    run = build(config, None if dry_run else run_dir)
    with contextlib.closing(run):
        check_prompts(config, run.source)
        if dry_run:
            return _describe(run)
        result, resumed_from = drive(
            config,
            run,
            run_dir,
            start=start,
            evaluate=make_evaluate(run),
            identity_ignore=ignore,
            progress=progress,
            profile_steps=profile_steps or 0,
            watch=AlarmWatch(config.grpo.alarms),
        )
    return summary(run_dir, result, resumed_from)


def make_evaluate(run: GrpoRun) -> loop.EvaluateFn:
    """Return the evaluation during training; it writes down a few completions."""
    evaluation = PolicyEvaluation(run.config, run.source, run.sampler)
    cfg = run.config.grpo

    def measure(state: TrainState) -> dict[str, float]:
        metrics, greedy = evaluation.measure(full_weights(eval_params(state)))
        step = int(state.step)
        samples = run.samples(step) if cfg.samples_every else None
        if samples is not None:
            records = eval_records(greedy, run.source, step=step, count=cfg.samples)
            samples.write(records)
        return metrics

    return measure


def _describe(run: GrpoRun) -> dict[str, Any]:
    params = run.abstract_state().params
    config, rollout = run.config, run.config.rl.rollout
    prompt_len = config.grpo.prompt_len or (
        config.model.max_seq_len - rollout.max_new_tokens
    )
    lanes = [rollout.n_prompts, rollout.group_size]
    return {
        "config": to_dict(config),
        "params": count_params(params[trained_part(params)]),
        "batch": {
            "prompts": [rollout.n_prompts, prompt_len],
            "completions": [*lanes, rollout.max_new_tokens],
        },
        "data": run.source.describe(),
    }


RECIPE = Recipe(
    config=GrpoRunConfig,
    validate=validate,
    run_id=run_id,
    resolve=resolve,
    train=train,
    open=open_run,
    build=None,
)
