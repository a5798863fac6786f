# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Token policies: supervised fine-tuning. Of no paper."""

from lrm_jax.data.tasks.registry import TaskConfig
from lrm_jax.data.text_source import TextDataConfig
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.policy_config import GREEDY, LOSS, PolicyEvalConfig
from lrm_jax.recipes.sft_config import SftConfig, SftRunConfig
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig


def sft_addition_tiny() -> SftRunConfig:
    """Addition with the columns written out, by a policy of 108,000 parameters.

    From nothing, on made-up problems without end, for a CPU: about two minutes.
    docs/measurements.md has what it reaches.
    """
    return SftRunConfig(
        name="sft_addition_tiny",
        task=TaskConfig(name="addition", min_digits=1, max_digits=2),
        data=TextDataConfig(test_size=512),
        model=PolicyConfig(
            vocab_size=19,
            d_model=64,
            n_layers=2,
            n_heads=4,
            d_ff=192,
            max_seq_len=64,
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
            total_steps=600, batch_size=32, log_every=20, stop_metric=GREEDY
        ),
        eval=PolicyEvalConfig(every_steps=100, batch_size=128, max_new_tokens=48),
        checkpoint=CheckpointConfig(every_steps=200, best_metric=GREEDY),
        sft=SftConfig(seq_len=64),
    )


def sft_jsonl() -> SftRunConfig:
    """An imported policy on your JSONL: --init-from RUN data.path=FILE.

    Rows have `prompt`, and `solution` or `answer`. The best checkpoint is the one
    with the least held-out loss; eval.greedy=true decodes, too. Activations have the
    dtype that they were imported with.
    """
    return SftRunConfig(
        name="sft_jsonl",
        inherit=True,
        model=PolicyConfig(vocab_size=0, remat="block", dtype="inherited"),
        optim=OptimConfig(
            kind="adamw",
            lr=1e-5,
            lr_min_ratio=0.1,
            lr_warmup_steps=20,
            weight_decay=0.0,
            clip_norm=1.0,
        ),
        train=TrainConfig(
            total_steps=500, batch_size=8, log_every=10, stop_metric=GREEDY
        ),
        eval=PolicyEvalConfig(
            every_steps=100, batch_size=8, max_new_tokens=512, greedy=False
        ),
        checkpoint=CheckpointConfig(every_steps=250, best_metric=LOSS, best_mode="min"),
        sft=SftConfig(seq_len=1024),
    )
