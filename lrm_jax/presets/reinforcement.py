# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning of token policies, and the cold start before it."""

from dataclasses import replace

from lrm_jax.data.tasks.registry import TaskConfig
from lrm_jax.data.text_source import TextDataConfig
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.grpo_config import GrpoConfig, GrpoRunConfig
from lrm_jax.recipes.policy_config import GREEDY, PolicyEvalConfig
from lrm_jax.recipes.sft_config import SftConfig, SftRunConfig
from lrm_jax.rl.config import (
    CorrectionConfig,
    EntropyConfig,
    GroupFilterConfig,
    RolloutConfig,
)
from lrm_jax.rl.variants import dapo
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig

ADDITION = TaskConfig(name="addition", min_digits=2, max_digits=2)
ADDITION_POLICY = PolicyConfig(
    vocab_size=19, d_model=64, n_layers=2, n_heads=4, d_ff=160, max_seq_len=32
)
ADAMW = OptimConfig(kind="adamw", lr=5e-4, lr_warmup_steps=10, clip_norm=1.0)
EVAL = PolicyEvalConfig(every_steps=50, size=1000, batch_size=250, max_new_tokens=24)


def sft_addition_cold() -> SftRunConfig:
    """A cold start: addition from noisy worked solutions, stopped at 25 % greedy.

    4 in 10 columns of the solutions are wrong, and what follows goes on from them.
    A policy of 98,000 parameters that has the form and little of the substance; what
    `grpo_addition` starts from. Of no paper.
    """
    return SftRunConfig(
        name="sft_addition_cold",
        task=replace(ADDITION, noise=0.4),
        data=TextDataConfig(test_size=1000),
        model=ADDITION_POLICY,
        optim=replace(ADAMW, lr=2e-3, weight_decay=0.01),
        train=TrainConfig(
            total_steps=600,
            batch_size=128,
            steps_per_dispatch=4,
            log_every=50,
            stop_at_accuracy=0.25,
            stop_evaluations=1,
            stop_metric=GREEDY,
            ema_decay=0.9,
        ),
        eval=replace(EVAL, every_steps=4, size=250),
        checkpoint=CheckpointConfig(every_steps=0, every_s=0.0, best_metric=GREEDY),
        sft=SftConfig(seq_len=32, pack=False),
    )


def grpo_addition() -> GrpoRunConfig:
    """GRPO on addition with a written thought: --init-from a `sft_addition_cold` run.

    What `lrm quickstart --part policy` trains, minutes on two CPU cores: GRPO with
    DAPO's clip and token mean (arXiv 2503.14476), no KL. The entropy bonus, off above
    the target, is meant to keep answers alive that the cold start makes unlikely; no
    group is left out, so that it reaches prompts without signal too (not ablated). The
    evaluated weights are an average. docs/measurements.md has what it reaches.
    """
    rollout = RolloutConfig(n_prompts=16, group_size=16, max_new_tokens=24)
    objective = replace(
        dapo(rollout),
        truncated="penalise",
        overlong=replace(dapo(rollout).overlong, buffer_tokens=0, truncated_reward=0.0),
        entropy=EntropyConfig(
            kind="adaptive", coef=0.05, coef_max=0.05, target=0.15, step=1e-4
        ),
        correction=CorrectionConfig(kind="token_truncate", high=2.0),
        group_filter=GroupFilterConfig(kind="none"),
    )
    return GrpoRunConfig(
        name="grpo_addition",
        task=ADDITION,
        data=TextDataConfig(test_size=1000),
        model=ADDITION_POLICY,
        optim=replace(ADAMW, weight_decay=0.0, beta2=0.95),
        train=TrainConfig(
            total_steps=1000,
            log_every=10,
            stop_at_accuracy=0.95,
            stop_evaluations=1,
            stop_metric=GREEDY,
            ema_decay=0.97,
        ),
        eval=EVAL,
        checkpoint=CheckpointConfig(every_steps=250, best_metric=GREEDY),
        rl=objective,
        grpo=GrpoConfig(prompt_len=6, eval_samples=0),
    )
