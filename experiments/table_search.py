# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Votes, beams and trees over a small policy with a reward model of its own steps.

Claim: at equal tokens, and at equal FLOPs with scoring counted, the vote weighted by a
process reward model, or a beam or a tree guided by it, is right more often than the
majority and than best-of-N by mean log-prob (Snell et al. 2024, arXiv 2408.03314;
Math-Shepherd, 2312.08935).
Command: python -m experiments.table_search [--root FOLDER] [--scale smoke]
Device: any; on two CPU cores some 10 minutes of training and 3 of search a seed.
Protocol: fixed before the first seed is run: chained arithmetic, the budgets below; a
seed has its own draws and its own 1,000 unseen problems, the same for all arms; 95 % t
interval of the paired difference over 5 seeds, to the majority and to best-of-N by
log-prob of the least FLOPs that are not below the method's. The policy learns from
noisy solutions; labels are completions by that very policy; the reward model starts
from it. What labels and the reward model cost is paid once; the policy that was
trained on for those FLOPs instead stands in the table, too.
Expected: docs/measurements.md.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import replace
from lrm_jax.cost import formulas
from lrm_jax.evaluation.paired import seed_difference
from lrm_jax.recipes import aot_prm
from lrm_jax.recipes.aot_policy import head_flops, layer_params, layers_flops
from lrm_jax.recipes.step_labels import StepLabelConfig, label_run

SEEDS = (1, 2, 3, 4, 5)
PLAIN = ("one_pass", "majority", "best_of_n")
GUIDED = ("best_of_n", "weighted", "beam", "dvts", "mcts")
SMOKE = {
    "train.total_steps": 2, "train.batch_size": 8, "eval.every_steps": 0,
    "data.test_size": 4,
}  # fmt: skip
SMALL = {"model.d_model": 16, "model.d_ff": 16}
Row = dict[str, Any]


def prepare(folder: Path, smoke: bool) -> dict[str, float]:
    """Train policy and reward model, label steps, train the policy on; once each."""
    policy, labels, reward = (folder / n for n in ("policy", "labels.jsonl", "prm"))
    config = presets.get("search_policy_arithmetic")
    config = replace(config, SMOKE | SMALL if smoke else {})
    lrm_jax.train(config, str(policy), progress="plain")
    told_file = folder / "labels.json"
    if not told_file.is_file():
        how = StepLabelConfig(n=40 if smoke else 4000, solutions=4, completions=8)
        told = label_run(lrm_jax.load(str(policy)), str(labels), how)
        told_file.write_text(json.dumps(told))
    told = json.loads(told_file.read_text())
    changes = {"data.path": str(labels), "inherit": True} | (SMOKE if smoke else {})
    learner = replace(presets.get("prm_arithmetic_tiny"), changes)
    lrm_jax.train(learner, str(reward), init_from=str(policy), progress="plain")
    model, train = config.model, config.train
    learner = replace(learner, {"model": model})
    token = formulas.dense(layer_params(model), 1) + head_flops(model, 1)
    rows, length = train.batch_size, config.sft.seq_len
    step = layers_flops(model, rows, length) + head_flops(model, rows * length)
    spent = {
        "label_tokens": told["tokens"],
        "label_flops": float((told["tokens"] + told["read_tokens"]) * token),
        "reward_flops": float(aot_prm.step_flops(learner) * learner.train.total_steps),
    }
    more = (spent["label_flops"] + spent["reward_flops"]) / formulas.trained(step)
    spent["policy_steps"] = 2 if smoke else round(more)
    longer = {"train.stop_at_accuracy": 0.0, "name": "trained on"}
    longer |= {"train.total_steps": spent["policy_steps"]}
    longer = replace(config, longer)
    lrm_jax.train(
        longer, str(folder / "longer"), init_from=str(policy), progress="plain"
    )
    return spent


def one_seed(seed: int, folder: Path, smoke: bool) -> list[Row]:
    """Search unseen problems of a seed; the result is kept."""
    kept = folder / f"search{seed}.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    policy, longer = (load(folder / n, seed, smoke) for n in ("policy", "longer"))
    say = lambda what, done, n: print(
        f"seed {seed}: {what}: {done}/{n}", file=sys.stderr
    )
    shape = {"batch": 4, "k": 2} if smoke else {"batch": 250, "k": 4, "lanes": 256}
    how = dict(max_depth=6, seed=seed, progress=say, **shape)
    few, many = ((4,), (4, 8)) if smoke else ((4, 16), (4, 16, 64))
    prm = str(folder / "prm")
    rows = named(policy.search(methods=PLAIN, budgets=many, **how), "best_of_n_logprob")
    rows += named(policy.search(methods=GUIDED, budgets=few, prm=prm, **how))
    more = named(longer.search(methods=PLAIN[:2], budgets=many, **how))
    rows += [row | {"method": f"{row['method']}, trained on"} for row in more]
    kept.write_text(json.dumps(rows))
    return rows


def load(run_dir: Path, seed: int, smoke: bool) -> Any:
    """Open a policy with a seed's own unseen problems."""
    run = lrm_jax.load(str(run_dir))
    size = 4 if smoke else 1000
    data = dataclasses.replace(run.config.data, seed=seed, test_size=size)
    run.config = dataclasses.replace(run.config, data=data)
    return run


def named(found: dict[str, Any], best_of_n: str = "best_of_n") -> list[Row]:
    """Return what the table shows of results, best-of-N by a name that says of what."""
    keys = ("method", "budget", "accuracy", "tokens", "flops", "time_s")
    rows = [{key: row[key] for key in keys} for row in found["results"]]
    for row in rows:
        if row["method"] == "best_of_n":
            row["method"] = best_of_n
    return rows


def beside(rows: list[list[Row]], i: int, method: str) -> str:
    """Return row i less a method of the least FLOPs that are not fewer."""
    flops = rows[0][i]["flops"]
    there = [j for j, row in enumerate(rows[0]) if row["method"] == method]
    enough = [j for j in there if rows[0][j]["flops"] >= flops and j != i]
    if not enough:
        return "none as large"
    other = min(enough, key=lambda j: rows[0][j]["flops"])
    found = seed_difference(*([run[j]["accuracy"] for run in rows] for j in (other, i)))
    low, high = found.ci95
    return f"{100 * found.difference:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="runs/table_search")
    parser.add_argument("--scale", choices=("smoke", "full"), default="full")
    args = parser.parse_args()
    smoke, folder = args.scale == "smoke", Path(args.root)
    folder.mkdir(parents=True, exist_ok=True)
    spent = prepare(folder, smoke)
    seeds = SEEDS[:2] if smoke else SEEDS
    rows = [one_seed(seed, folder, smoke) for seed in seeds]
    header = ["method", "budget", *(f"seed {s}" for s in seeds), "tokens", "FLOPs"]
    header += ["less majority, FLOPs no fewer", "less best-of-N by log-prob, the same"]
    print("| " + " | ".join(header) + " |\n" + "| --- " * len(header) + "|")
    for i, row in enumerate(rows[0]):
        cells = [row["method"], str(row["budget"])]
        cells += [f"{100 * run[i]['accuracy']:.1f}" for run in rows]
        cells += [f"{row['tokens']:.0f}", f"{row['flops']:.3g}"]
        cells += [beside(rows, i, m) for m in ("majority", "best_of_n_logprob")]
        print("| " + " | ".join(cells) + " |")
    print(f"paid once: {json.dumps(spent)}")


if __name__ == "__main__":
    main()
