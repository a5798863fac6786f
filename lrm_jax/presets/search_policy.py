# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A policy to search over: it has the form of a solution and makes slips."""

from lrm_jax.data.tasks.registry import TaskConfig
from lrm_jax.data.text_source import TextDataConfig
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.policy_config import GREEDY, PolicyEvalConfig
from lrm_jax.recipes.sft_config import SftConfig, SftRunConfig
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig


def search_policy_arithmetic() -> SftRunConfig:
    """Chained arithmetic from noisy worked solutions, stopped at 60 % greedy.

    What `experiments/table_search.py` searches over: a fifth of the written results
    are wrong, so that sampled steps slip now and then and a reward model has
    something to tell apart. Minutes on a CPU. Of no paper.
    """
    return SftRunConfig(
        name="search_policy_arithmetic",
        task=TaskConfig(name="arithmetic", noise=0.2),
        data=TextDataConfig(test_size=512),
        model=PolicyConfig(
            vocab_size=0, d_model=64, n_layers=2, n_heads=4, d_ff=192, max_seq_len=96
        ),
        optim=OptimConfig(
            kind="adamw",
            lr=3e-3,
            lr_min_ratio=0.05,
            lr_warmup_steps=20,
            weight_decay=0.01,
            clip_norm=1.0,
        ),
        train=TrainConfig(
            total_steps=3000,
            batch_size=64,
            log_every=20,
            stop_at_accuracy=0.6,
            stop_evaluations=1,
            stop_metric=GREEDY,
        ),
        eval=PolicyEvalConfig(every_steps=100, batch_size=128, max_new_tokens=48),
        checkpoint=CheckpointConfig(every_steps=500, best_metric=GREEDY),
        sft=SftConfig(seq_len=96),
    )
