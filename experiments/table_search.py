# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Votes, beams and trees over a small policy with a reward model of its own steps.

Claim: at equal tokens the vote weighted by a process reward model, or a beam or a tree
guided by it, is right more often than the majority and than best-of-N by mean
log-prob (Snell et al. 2024, arXiv 2408.03314; Math-Shepherd, 2312.08935). A row of
the same compute spent on training the policy is not in it.
Command: python -m experiments.table_search [--root FOLDER] [--scale smoke]
Device: any; on two CPU cores some 15 minutes of training and 5 of search a seed.
Protocol: fixed before the first seed is run: chained arithmetic, the budgets below; a
seed has its own draws and its own 1,000 unseen problems, the same for all arms; 95 % t
interval of the paired difference to the majority over 5 seeds. The policy is
trained on noisy solutions; labels are completions by that very policy; the reward
model starts from it. FLOPs are of one problem's search, scoring included; those of
labels and of training the reward model are paid once and printed apart.
Expected: not yet measured (docs/measurements.md).
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import replace
from lrm_jax.cost import formulas
from lrm_jax.evaluation.paired import seed_difference
from lrm_jax.recipes.aot_policy import head_flops, layer_params
from lrm_jax.recipes.step_labels import StepLabelConfig, label_run

SEEDS = (1, 2, 3, 4, 5)
METHODS = ("one_pass", "majority", "best_of_n", "weighted", "beam", "dvts", "mcts")
SMOKE = {
    "train.total_steps": 2, "model.d_model": 16, "model.d_ff": 16,
    "train.batch_size": 8, "eval.every_steps": 0, "data.test_size": 4,
}  # fmt: skip


def prepare(folder: Path, smoke: bool) -> dict:
    """Train policy and reward model, and label steps; what is there stays."""
    policy, labels, reward = (folder / n for n in ("policy", "labels.jsonl", "prm"))
    config = replace(presets.get("search_policy_arithmetic"), SMOKE if smoke else {})
    if not (folder / "spent.json").is_file():
        lrm_jax.train(config, str(policy), progress="plain")
        how = StepLabelConfig(n=40 if smoke else 4000, solutions=4, completions=8)
        told = label_run(lrm_jax.load(str(policy)), str(labels), how)
        trained = replace(
            presets.get("prm_arithmetic_tiny"),
            (SMOKE | {"model.d_ff": 16} if smoke else {}) | {"data.path": str(labels)},
        )
        lrm_jax.train(trained, str(reward), progress="plain")
        per_token = formulas.dense(layer_params(config.model), 1)
        per_token += head_flops(config.model, 1)
        spent = {"label_tokens": told["tokens"], "rows": told["rows"]}
        spent["label_flops"] = told["tokens"] * per_token
        (folder / "spent.json").write_text(json.dumps(spent))
    return json.loads((folder / "spent.json").read_text())


def one_seed(seed: int, folder: Path, smoke: bool) -> list[dict]:
    """Search unseen problems of a seed; the result is kept."""
    kept = folder / f"search{seed}.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    run = lrm_jax.load(str(folder / "policy"))
    data = dataclasses.replace(
        run.config.data, seed=seed, test_size=4 if smoke else 1000
    )
    run.config = dataclasses.replace(run.config, data=data)
    say = lambda what, done, n: print(
        f"seed {seed}: {what}: {done}/{n}", file=sys.stderr
    )
    found = run.search(
        methods=METHODS,
        budgets=(4,) if smoke else (4, 16),
        k=2 if smoke else 4,
        prm=str(folder / "prm"),
        max_depth=6,
        batch=4 if smoke else 100,
        lanes=16,
        seed=seed,
        progress=say,
    )
    kept.write_text(json.dumps(found["results"], default=str))
    return found["results"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="runs/table_search", dest="out")
    parser.add_argument("--scale", choices=("smoke", "full"), default="full")
    args = parser.parse_args()
    smoke, folder = args.scale == "smoke", Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    spent = prepare(folder, smoke)
    seeds = SEEDS[:2] if smoke else SEEDS
    found = [one_seed(seed, folder, smoke) for seed in seeds]
    header = ["method", "budget", *(f"seed {s}" for s in seeds)]
    header += ["tokens", "flops", "minus majority of the same budget"]
    print("| " + " | ".join(header) + " |\n" + "| --- " * len(header) + "|")
    for i, row in enumerate(found[0]):
        accuracy = [rows[i]["accuracy"] for rows in found]
        base = [
            next(
                r["accuracy"]
                for r in rows
                if r["method"] == "majority" and r["budget"] >= row["budget"]
            )
            for rows in found
        ]
        cells = [row["method"], str(row["budget"])]
        cells += [f"{100 * a:.1f}" for a in accuracy]
        cells += [f"{row['tokens']:.0f}", f"{row['flops']:.3g}", show(base, accuracy)]
        print("| " + " | ".join(cells) + " |")
    print(f"paid once: {json.dumps(spent)}")


def show(base: list[float], other: list[float]) -> str:
    """Return the paired difference in points with its interval."""
    found = seed_difference(base, other)
    low, high = found.ci95
    return f"{100 * found.difference:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
