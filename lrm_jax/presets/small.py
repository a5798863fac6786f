# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small latent reasoners, for a CPU; of no paper."""

from dataclasses import replace

from lrm_jax.data.pipeline import PuzzleDataConfig
from lrm_jax.evaluation.harness import EvalConfig
from lrm_jax.losses import LossConfig
from lrm_jax.models.latent import LatentConfig
from lrm_jax.reasoning.halting import HaltingConfig
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.loop import TrainConfig
from lrm_jax.training.optim import OptimConfig


def sudoku4_tiny() -> RunConfig:
    """4x4 Sudoku, a shared module of 2 layers of width 64, float32; Muon.

    For tests and first looks: a minute or two on two CPU cores. Of no paper. All
    minimal puzzles but those of 9 of the 36 isomorphism classes are trained on.
    """
    return RunConfig(
        name="sudoku4_tiny",
        data=PuzzleDataConfig(kind="sudoku", side=4, test_size=1000, holdout="class"),
        model=LatentConfig(
            vocab_size=6,
            seq_len=16,
            puzzle_emb_dim=0,
            d_model=64,
            n_heads=4,
            ff_multiple=64,
            h_layers=0,
            l_layers=2,
            h_cycles=2,
            l_cycles=2,
            positions="grid",
            grid_shape=(4, 4, 2, 2),
            qk_norm=True,
            relation_bias=True,
            grad_depth="last_recursion",
        ),
        halting=HaltingConfig("halt_only", max_steps=8, exploration_prob=0.1),
        loss=LossConfig("softmax"),
        optim=OptimConfig(
            kind="muon",
            lr=1e-2,
            lr_warmup_steps=50,
            weight_decay=0.1,
            beta2=0.95,
            muon_lr=0.02,
            muon_weight_decay=0.01,
            clip_norm=1.0,
        ),
        train=TrainConfig(
            total_steps=500, batch_size=64, ema_decay=0.99, ema_warmup_steps=10
        ),
        eval=EvalConfig(every_steps=250, proxy_size=256, batch_size=128),
        checkpoint=CheckpointConfig(every_steps=250),
    )


def quickstart_latent() -> RunConfig:
    """6x6 Sudoku with attention that knows rows, columns and boxes; Muon.

    What `lrm quickstart --part latent` trains: minimal puzzles, none isomorphic to a
    trained one in the test set. Extra givens at first, fewer by the step. Of no
    paper: the shared module of TRM (arXiv 2510.04871) with one recursion of two
    updates, Muon as in arXiv 2601.19085. docs/measurements.md has what it reaches.
    """
    base = sudoku4_tiny()
    return replace(
        base,
        name="quickstart_latent",
        data=PuzzleDataConfig(
            kind="sudoku",
            side=6,
            train_size=20_000,
            test_size=2_000,
            resident=True,
            reveal=0.8,
            reveal_steps=600,
        ),
        model=replace(
            base.model,
            vocab_size=8,
            seq_len=36,
            ff_multiple=32,
            h_cycles=1,
            l_cycles=2,
            grid_shape=(6, 6, 2, 3),
            q_pool="mean",
            grad_depth="all",
        ),
        halting=HaltingConfig(
            "halt_only", max_steps=8, exploration_prob=0.1, eval_margin=3.0
        ),
        optim=replace(base.optim, lr_min_ratio=0.0),
        train=TrainConfig(
            total_steps=1000,
            batch_size=32,
            steps_per_dispatch=20,
            log_every=20,
            ema_decay=0.99,
            ema_warmup_steps=10,
        ),
        eval=EvalConfig(
            every_steps=250,
            proxy_size=512,
            batch_size=256,
            max_steps=16,
            budgets=("0", "2", "4", "8", "16", "-1"),
        ),
        checkpoint=CheckpointConfig(every_steps=500),
    )
