# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reward models on labelled steps. Of no paper but for the shape of the largest."""

from lrm_jax.data.tasks.registry import TaskConfig
from lrm_jax.data.text_source import TextDataConfig
from lrm_jax.models.policy_config import PolicyConfig, RopeConfig
from lrm_jax.prm.losses import StepLossConfig
from lrm_jax.recipes.policy_config import PolicyEvalConfig
from lrm_jax.recipes.prm_config import PrmConfig, PrmRunConfig
from lrm_jax.steps import StepRule
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig


def prm_arithmetic_tiny() -> PrmRunConfig:
    """Steps of arithmetic: data.path=LABELS.jsonl, 108,000 parameters, on a CPU.

    Steps are the operations that the task writes out, a comma after each; labels are
    shares of completions that end right. From nothing, or from the policy that
    wrote the steps: --init-from RUN inherit=true.
    """
    return PrmRunConfig(
        name="prm_arithmetic_tiny",
        task=TaskConfig(name="arithmetic"),
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
            total_steps=600, batch_size=64, log_every=20, stop_metric="prm/auroc"
        ),
        eval=PolicyEvalConfig(every_steps=100, size=0, batch_size=128, greedy=False),
        prm=PrmConfig(
            semantics="future_success",
            loss=StepLossConfig("soft", after_error="learn"),
            steps=StepRule(",", last="text"),
            seq_len=96,
            max_steps=8,
        ),
    )


def prm_jsonl() -> PrmRunConfig:
    """A reward model from an imported policy: --init-from RUN data.path=FILE.

    Rows are our own, TRL's, Math-Shepherd's, PRM800K's and others' labelled steps
    (`prm.files`); a step ends at a line break. Learning rate as TRL's.
    """
    return PrmRunConfig(
        name="prm_jsonl",
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
            total_steps=500, batch_size=16, log_every=10, stop_metric="prm/auroc"
        ),
        eval=PolicyEvalConfig(every_steps=100, batch_size=16, greedy=False),
        prm=PrmConfig(
            semantics="step_correctness",
            loss=StepLossConfig("hard"),
            bad_steps="drop",
            seq_len=1024,
            max_steps=64,
        ),
    )


def prm_math_7b() -> PrmRunConfig:
    """A 7B reward model on Monte Carlo labels at 2,048 tokens, for v5p-64.

    --init-from an import of Qwen2.5-Math-7B, whose shape this is (arXiv 2409.12122);
    labels as Math-Shepherd's (arXiv 2312.08935, section 3.3), 440,000 solutions. 512
    solutions a step. Nobody has run it; `lrm aot` says what it would cost.
    """
    return PrmRunConfig(
        name="prm_math_7b",
        inherit=True,
        data=TextDataConfig(test_size=1024),
        model=PolicyConfig(
            vocab_size=151_646,
            vocab_rows=152_064,
            d_model=3584,
            n_layers=28,
            n_heads=28,
            n_kv_heads=4,
            d_ff=18_944,
            max_seq_len=4096,
            tied_embeddings=False,
            qkv_bias=True,
            rope=RopeConfig(theta=1e4),
            value_head=True,
            scan_layers=True,
            remat="block",
            dtype="bfloat16",
        ),
        optim=OptimConfig(
            kind="adamw", lr=1e-5, lr_warmup_steps=50, weight_decay=0.0, clip_norm=1.0
        ),
        train=TrainConfig(
            total_steps=860,
            batch_size=512,
            log_every=10,
            stop_metric="prm/auroc",
        ),
        eval=PolicyEvalConfig(every_steps=100, size=1024, batch_size=64, greedy=False),
        prm=PrmConfig(
            semantics="future_success",
            loss=StepLossConfig("hard"),
            bad_steps="drop",
            seq_len=2048,
            max_steps=64,
        ),
    )
