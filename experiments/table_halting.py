# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient depth x halting x hierarchy x EMA, one change at a time from TRM.

Claim: back-propagating a whole recursion, one shared module, and averaged weights
each buy accuracy; Q-continue buys none (TRM, arXiv 2510.04871, ablations; HRM,
arXiv 2506.21734). Published figures: `expected/table_halting.json`.

    python -m experiments.table_halting data.path=A.csv data.test_path=B.csv

smoke: 4x4, 4 steps, shows that rows run (2 CPU cores, < 2 minutes). small: 6x6,
3 seeds (a GPU). full: the published recipe, one seed; below 36 hours a row on one
L40S. Re-runs spread by 5 points: less than that on one seed means nothing.
Differs from the paper: AdamATan2 and 50k epochs as in its code (the text: AdamW,
60k); "fixed depth", "all gradient" and "last 4 calls" are ours.
"""

import sys
from pathlib import Path

from lrm_jax import presets
from lrm_jax.cli.main import main as lrm
from lrm_jax.config import replace
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.recipes.sweep import with_seeds

EXPECTED = Path(__file__).parent / "expected" / "table_halting.json"
TRM = {
    "model.mixer": "mlp_t",
    "model.positions": "none",
    "model.h_cycles": 3,
    "model.l_cycles": 6,
    "model.grad_depth": "last_recursion",
}
SMOKE = (
    {"model.d_model": 16, "model.ff_multiple": 16, "model.l_layers": 1}
    | {"model.h_cycles": 2, "model.l_cycles": 3, "halting.max_steps": 2}
    | {"data.train_size": 64, "data.test_size": 64, "eval.batch_size": 16}
    | {"train.total_steps": 4, "train.batch_size": 16, "eval.num_traces": 0}
)
ATTENTION = {"model.mixer": "attention", "model.positions": "rope"}
ROWS = {
    "TRM": {},
    "Q-continue": {"halting.rule": "q_learning"},
    "fixed depth": {"halting.rule": "fixed"},
    "separate modules": {"model.h_layers": 2},
    "no EMA": {"train.ema_decay": 0.0},
    "4 layers, n=3": {"model.l_layers": 4, "model.l_cycles": 3},
    "self-attention": ATTENTION,
    "T=2, n=2": {"model.h_cycles": 2, "model.l_cycles": 2},
    "one-step gradient": {"model.grad_depth": "one_step"},
    "last 4 calls": {"model.grad_depth": 4},
    "all gradient": {"model.grad_depth": "all"},
    "HRM": ATTENTION
    | {"model.h_layers": 4, "model.l_layers": 4, "model.grad_depth": "one_step"}
    | {"model.h_cycles": 2, "model.l_cycles": 2, "train.ema_decay": 0.0}
    | {"model.puzzle_prefix_len": 0, "halting.rule": "q_learning"},
}


def rows(scale: str = "full") -> dict[str, RunConfig]:
    base, n_seeds = {
        "smoke": (replace(presets.sudoku4_tiny(), TRM | SMOKE), 1),
        "small": (replace(presets.quickstart_latent(), TRM), 3),
        "full": (presets.trm_mlp_sudoku(), 1),
    }[scale]
    base = replace(base, {"name": "table_halting"})
    return with_seeds({n: replace(base, change) for n, change in ROWS.items()}, n_seeds)


def main() -> int:
    return lrm(["sweep", __file__, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
