# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Named run configs as functions: the published recipes, and small ones for CPU.

A preset takes no argument and returns a `RunConfig`; the first line of its
docstring is what `lrm presets` shows. Your own: `package.module:name`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lrm_jax.config import from_json, resolve
from lrm_jax.config.tree import suggest
from lrm_jax.data.pipeline import PuzzleDataConfig
from lrm_jax.evaluation.harness import EvalConfig
from lrm_jax.losses import LossConfig
from lrm_jax.models.latent import LatentConfig
from lrm_jax.reasoning.halting import HaltingConfig
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.loop import TrainConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.types import UserError

Preset = Callable[[], RunConfig]


def total_steps(epochs: int, groups: int, examples: float, batch_size: int) -> int:
    """Return the references' number of optimizer steps.

    Args:
      epochs: passes over the groups; each draws one puzzle of a group.
      groups: of puzzles that are augmentations of one another.
      examples: mean examples per puzzle.
      batch_size: global.
    """
    return int(epochs * groups * examples / batch_size)


# --- HRM: Wang et al. 2025, arXiv 2506.21734, and its repository ---------------


def hrm_sudoku() -> RunConfig:
    """HRM on Sudoku-Extreme, 1,000 puzzles (27.3M parameters).

    Paper: 55.0 % exact on the 422,786 test puzzles; one run on one H200 gave
    45.8 %; spread +-2 points; late over-fitting makes Q-learning unstable, so stop
    when training accuracy nears 100 %. Cost: 10 minutes on 8 GPUs, 1 hour on one
    H200. Set data.path to the 1,000-puzzle CSV or a published data folder.
    """
    return RunConfig(
        name="hrm_sudoku",
        data=PuzzleDataConfig(kind="sudoku", side=9, train_size=1000, augment=True),
        model=LatentConfig(
            vocab_size=11,
            seq_len=81,
            num_puzzle_ids=1,
            puzzle_emb_dim=512,
            d_model=512,
            n_heads=8,
            expansion=4.0,
            h_layers=4,
            l_layers=4,
            h_cycles=2,
            l_cycles=2,
            grad_depth="one_step",
            dtype="bfloat16",
        ),
        halting=HaltingConfig("q_learning", max_steps=16, exploration_prob=0.1),
        loss=LossConfig("stablemax", q_weight=0.5),
        optim=OptimConfig(
            kind="adam_atan2",
            lr=1e-4,
            lr_min_ratio=1.0,
            lr_warmup_steps=2000,
            weight_decay=1.0,
            beta1=0.9,
            beta2=0.95,
            puzzle_emb_lr=1e-4,
            puzzle_emb_weight_decay=1.0,
        ),
        train=TrainConfig(
            total_steps=total_steps(20_000, 1000, 1, 768), batch_size=768
        ),
        eval=EvalConfig(every_steps=2000, batch_size=768),
        checkpoint=CheckpointConfig(every_steps=2000),
    )


def hrm_maze() -> RunConfig:
    """HRM on Maze-Hard 30x30, 1,000 mazes.

    Paper: 74.5 % exact on 1,000 mazes. Cost: 1 hour on 8 GPUs. As in the
    repository's command the 8 dihedral augmentations are off.
    """
    base = hrm_sudoku()
    return replace(
        base,
        name="hrm_maze",
        data=replace(base.data, kind="maze", side=30, augment=False),
        model=replace(base.model, vocab_size=6, seq_len=900),
    )


def hrm_arc() -> RunConfig:
    """HRM on ARC-AGI-1, 960 tasks x 1,000 augmentations.

    Paper: 40.3 % pass@2 on the public evaluation tasks; 32 % on the semi-private
    ones (ARC Prize). Cost: 24 hours on 8 GPUs. Needs a published data folder in
    data.path; its number of puzzle ids depends on the builder's seed and is set
    by model.num_puzzle_ids. The mean examples per puzzle give the paper's ~414k
    steps.
    """
    base = hrm_sudoku()
    return replace(
        base,
        name="hrm_arc",
        data=replace(base.data, kind="arc", side=30, augment=False),
        model=replace(
            base.model, vocab_size=12, seq_len=900, num_puzzle_ids=ARC1_PUZZLE_IDS
        ),
        optim=replace(
            base.optim,
            weight_decay=0.1,
            puzzle_emb_lr=1e-2,
            puzzle_emb_weight_decay=0.1,
        ),
        train=replace(base.train, total_steps=total_steps(100_000, 960, 3.312, 768)),
    )


ARC1_PUZZLE_IDS = 876_406
"""Identifiers of the ARC-AGI-1 builder at its default seed, the blank one included."""


# --- TRM: Jolicoeur-Martineau 2025, arXiv 2510.04871, and its repository -------


def trm_att_sudoku() -> RunConfig:
    """TRM with attention on Sudoku-Extreme, 1,000 puzzles (6.8M parameters).

    Paper: 74.7 % exact; re-runs 73.7 and 77.7. Cost: below 36 hours on one L40S.
    """
    base = hrm_sudoku()
    return replace(
        base,
        name="trm_att_sudoku",
        model=replace(
            base.model,
            puzzle_prefix_len=16,
            h_layers=0,
            l_layers=2,
            h_cycles=3,
            l_cycles=6,
            grad_depth="last_recursion",
        ),
        halting=replace(base.halting, rule="halt_only"),
        train=replace(
            base.train,
            total_steps=total_steps(50_000, 1000, 1, 768),
            ema_decay=0.999,
        ),
    )


def trm_mlp_sudoku() -> RunConfig:
    """TRM with the token mixer on Sudoku-Extreme, 1,000 puzzles (5.0M parameters).

    Paper: 87.4 % exact; re-runs 79.4 to 87. Cost: below 36 hours on one L40S,
    about 1 hour on one H100 in nano-trm's re-run.
    """
    base = trm_att_sudoku()
    return replace(
        base,
        name="trm_mlp_sudoku",
        model=replace(base.model, mixer="mlp_t", positions="none"),
    )


def trm_maze() -> RunConfig:
    """TRM with attention on Maze-Hard 30x30, 1,000 mazes.

    Paper: 85.3 % exact; re-runs 78.7 to 83.7. Cost: below 24 hours on 4 L40S.
    """
    base = trm_att_sudoku()
    return replace(
        base,
        name="trm_maze",
        data=hrm_maze().data,
        model=replace(base.model, vocab_size=6, seq_len=900, l_cycles=4),
    )


def trm_arc() -> RunConfig:
    """TRM with attention on ARC-AGI-1, 960 tasks x 1,000 augmentations.

    Paper: 44.6 % pass@2; re-runs 41.0 to 43.0 (52.8 with l_cycles=6). Cost: 3 days
    on 4 H100. Needs a published data folder in data.path. The total is the step of
    the published checkpoint.
    """
    base = trm_att_sudoku()
    arc = hrm_arc()
    return replace(
        base,
        name="trm_arc",
        data=arc.data,
        model=replace(
            base.model,
            vocab_size=12,
            seq_len=900,
            num_puzzle_ids=ARC1_PUZZLE_IDS,
            l_cycles=4,
        ),
        optim=arc.optim,
        train=replace(base.train, total_steps=518_071),
    )


# --- Small ones, for a CPU -----------------------------------------------------


def sudoku4_tiny() -> RunConfig:
    """4x4 Sudoku, a shared module of 2 layers of width 64, float32.

    For tests and first looks: minutes on two CPU cores. Of no paper. All minimal
    puzzles but those of 9 of the 36 isomorphism classes are trained on.
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
            positions="learned",
            grad_depth="last_recursion",
        ),
        halting=HaltingConfig("halt_only", max_steps=8, exploration_prob=0.1),
        loss=LossConfig("stablemax"),
        optim=OptimConfig(
            kind="adamw", lr=3e-3, lr_warmup_steps=50, weight_decay=0.1, beta2=0.95
        ),
        train=TrainConfig(total_steps=2000, batch_size=64, ema_decay=0.99),
        eval=EvalConfig(every_steps=500, proxy_size=256, batch_size=128),
        checkpoint=CheckpointConfig(every_steps=500),
    )


def sudoku6_small() -> RunConfig:
    """6x6 Sudoku (boxes of 2x3), row, column and box tables, Muon.

    For a CPU: minutes. Of no paper.
    """
    base = sudoku4_tiny()
    return replace(
        base,
        name="sudoku6_small",
        data=PuzzleDataConfig(kind="sudoku", side=6, train_size=5000, test_size=1000),
        model=replace(
            base.model,
            vocab_size=8,
            seq_len=36,
            d_model=128,
            h_cycles=2,
            l_cycles=3,
            positions="grid",
            grid_shape=(6, 6, 2, 3),
            qk_norm=True,
        ),
        halting=replace(base.halting, max_steps=16),
        optim=replace(base.optim, kind="muon", lr=1e-3, muon_lr=0.02),
        train=replace(base.train, total_steps=5000),
    )


def maze10_small() -> RunConfig:
    """Mazes of 10x10, row and column tables.

    For a CPU: minutes. Of no paper.
    """
    base = sudoku4_tiny()
    return replace(
        base,
        name="maze10_small",
        data=PuzzleDataConfig(kind="maze", side=10, train_size=2000, test_size=500),
        model=replace(
            base.model,
            vocab_size=6,
            seq_len=100,
            positions="grid",
            grid_shape=(10, 10, 1, 1),
        ),
        halting=replace(base.halting, max_steps=16),
        train=replace(base.train, total_steps=3000, batch_size=32),
    )


def quickstart_latent() -> RunConfig:
    """6x6 Sudoku with attention that knows rows, columns and boxes; Muon.

    What `lrm quickstart --part latent` trains: minimal puzzles, none isomorphic to a
    trained one in the test set. Extra givens at first, fewer by the step. Of no
    paper: the shared module of TRM (arXiv 2510.04871) with one recursion of two
    updates, Muon as in arXiv 2601.19085. docs/measurements.md has what it reaches.
    """
    base = sudoku6_small()
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
            d_model=64,
            ff_multiple=32,
            h_cycles=1,
            l_cycles=2,
            relation_bias=True,
            q_pool="mean",
            grad_depth="all",
        ),
        halting=HaltingConfig(
            "halt_only", max_steps=8, exploration_prob=0.1, eval_margin=3.0
        ),
        loss=LossConfig("softmax"),
        optim=OptimConfig(
            kind="muon",
            lr=1e-2,
            lr_min_ratio=0.0,
            lr_warmup_steps=50,
            weight_decay=0.1,
            muon_lr=0.02,
            muon_weight_decay=0.01,
            clip_norm=1.0,
        ),
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


PRESETS: dict[str, Preset] = {
    preset.__name__: preset
    for preset in (
        hrm_sudoku,
        hrm_maze,
        hrm_arc,
        trm_att_sudoku,
        trm_mlp_sudoku,
        trm_maze,
        trm_arc,
        sudoku4_tiny,
        sudoku6_small,
        maze10_small,
        quickstart_latent,
    )
}


def get(name: str) -> RunConfig:
    """Return a preset's config.

    Args:
      name: a preset, `package.module:name` of a function or a config of yours, or
        a config.json as a run folder holds it.

    Raises:
      UserError: no such preset, or what was named is none.
    """
    if name in PRESETS:
        return PRESETS[name]()
    if name.endswith(".json"):
        file = Path(name)
        if not file.is_file():
            raise UserError(f"preset {name!r}: no such file")
        return from_json(RunConfig, file.read_text(), name)
    if ":" not in name:
        hint = suggest(name, list(PRESETS))
        raise UserError(
            f"unknown preset {name!r}{hint}; see lrm presets, or give "
            "package.module:name"
        )
    made = resolve(name, "preset")
    config = made() if callable(made) else made
    if not isinstance(config, RunConfig):
        raise UserError(
            f"preset {name!r}: expected a RunConfig, got {type(config).__name__}"
        )
    return config


def summaries() -> dict[str, str]:
    """Return `{name: first line of the docstring}`."""
    return {
        name: (preset.__doc__ or "").strip().partition("\n")[0]
        for name, preset in PRESETS.items()
    }
