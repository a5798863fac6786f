# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objectives of reinforcement learning from one cold start, against more of it.

Question: on addition with a written thought, what does each objective make of one
cold start in equal time, beside "just more cold start" (noisy worked solutions)?
Found at small scale: all objectives climb from 28 % to between 85 and 96 % greedy,
and more cold start reaches 100 %: where worked solutions can be had, even with four
columns in ten wrong, imitating them is the shorter way, and this table shows that
objectives work, not that they are needed. Of no paper: published comparisons are at
another scale (DAPO, arXiv 2503.14476; Dr. GRPO, 2503.20783).

    lrm sweep experiments/table_grpo.py --scale small

smoke: 2 updates a row, shows that rows run (2 CPU cores, < 2 minutes). small: equal
time, 150 s a row after the cold start, compiling and evaluation included, one seed
(2 CPU cores, half an hour). full: 3 seeds, 400 rollouts of 256 completions a row, so
that all but "quickstart" (which samples until its batches have signal) sample the
same number of completions (2 CPU cores, a day at most; not yet run). Expected:
docs/measurements.md, where it has been run.
Differs from the papers: coefficients are theirs (`rl/variants.py`), sizes, learning
rate and averaged weights are the quickstart's for all.
"""

import sys
from dataclasses import replace

from lrm_jax import presets
from lrm_jax.cli.main import main as lrm
from lrm_jax.config import replace as change
from lrm_jax.recipes.policy_config import PolicyRunBase
from lrm_jax.recipes.sweep import with_seeds
from lrm_jax.rl.variants import variant

METRICS = ("eval/greedy_accuracy", "reward/accuracy", "entropy/mean")
METRICS += ("completions/mean_length", "time_s")
VARIANTS = ("grpo", "dr_grpo", "ppo", "rloo", "gspo", "cispo", "raft")
SMOKE = (
    {"model.d_model": 16, "model.n_heads": 2, "model.d_ff": 16, "model.n_layers": 1}
    | {"data.test_size": 8, "eval.size": 8, "eval.batch_size": 8}
    | {"train.log_every": 1, "eval.every_steps": 0, "train.total_steps": 2}
)
SCALES = {
    "smoke": (SMOKE, 1),
    "small": ({"train.max_time_s": 150.0, "train.total_steps": 100_000}, 1),
    "full": ({"train.total_steps": 400}, 3),
}


def rows(scale: str = "full") -> dict[str, PolicyRunBase]:
    sizes, n_seeds = SCALES[scale]
    small = SMOKE if scale == "smoke" else {}
    lanes = {"n_prompts": 4, "group_size": 2} if small else {}
    cold = change(presets.sft_addition_cold(), small)
    base = presets.grpo_addition()
    rollout = replace(base.rl.rollout, **lanes)
    base = replace(base, rl=replace(base.rl, rollout=rollout))
    base = change(base, {"train.stop_at_accuracy": 0.0, **sizes})
    found: dict[str, PolicyRunBase] = {"cold start": cold, "quickstart": base}
    for name in VARIANTS:
        value_head = {"model.value_head": name == "ppo"}
        found[name] = change(replace(base, rl=variant(name, rollout)), value_head)
    more = {"train.stop_at_accuracy": 0.0, "eval.every_steps": base.eval.every_steps}
    more |= {"train.ema_decay": base.train.ema_decay, "train.batch_size": 256}
    found["more cold start"] = change(cold, {**more, **sizes})
    for name, config in found.items():
        found[name] = replace(config, name=f"table_grpo_{name.replace(' ', '_')}")
    seeded = with_seeds(found, n_seeds)
    return {
        name: config
        if name.startswith("cold start")
        else change(config, {"init_from": f"row:cold start,seed={config.seed}"})
        for name, config in seeded.items()
    }


def main() -> int:
    return lrm(["sweep", __file__, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
