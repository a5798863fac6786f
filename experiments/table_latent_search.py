# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Noise and select over a latent reasoner, against one pass of the same compute.

Claim: of 16 noisy trajectories of depth 4 the one that the halting head likes best is
right more often than one pass of 4 segments and than one pass of 64 (PTRM, arXiv
2605.19943: Sudoku-Extreme 87.4 -> 98.75 with K=100, depth 64, sigma 0.3).
Command: python -m experiments.table_latent_search [--root FOLDER] [--scale smoke]
Device: any; on two CPU cores a minute of training and some five of search a seed.
Protocol: fixed before the first seed was run: task, K, depth and the paper's sigma; a
seed has its own training run, its own 1,000 unseen 6x6 Sudokus (none isomorphic to a
trained one) and its own noise, the same for all arms; 95 % t interval of the paired
difference over 5 seeds.
Differs from the paper: 6x6, a model stopped early, the first trajectory without noise.
Expected: docs/measurements.md.
"""

import argparse
import json
import sys
from pathlib import Path

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import replace
from lrm_jax.evaluation.paired import seed_difference
from lrm_jax.search.latent_noise import NoiseConfig

SEEDS = (1, 2, 3, 4, 5)
SMOKE = {
    "data.train_size": 64, "data.test_size": 16, "train.total_steps": 20,
    "model.d_model": 16, "eval.batch_size": 16,
}  # fmt: skip


def one_seed(seed: int, folder: Path, args: argparse.Namespace) -> dict:
    """Train, unless the run is there, and search; the result is kept."""
    kept = folder / kept_name(args)
    if kept.is_file():
        return json.loads(kept.read_text())
    config = replace(
        presets.search_latent_sudoku6(),
        {"seed": seed, "data.seed": seed} | (SMOKE if args.scale == "smoke" else {}),
    )
    where = str(folder / ("run" if args.scale == "full" else f"run_{args.scale}"))
    lrm_jax.train(config, where, progress="plain")
    say = lambda what, done, n: print(
        f"seed {seed}: {what}: {done}/{n}", file=sys.stderr
    )
    found = lrm_jax.load(where).search(
        methods=tuple(args.methods.split(",")),
        k=args.k,
        budgets=(args.k * args.depth,),
        noise=NoiseConfig(args.sigma),
        seed=seed,
        progress=say,
    )
    kept.write_text(json.dumps(found, default=str))
    return found


def kept_name(args: argparse.Namespace) -> str:
    """Return the file of a result: one for each setting that it depends on."""
    methods = args.methods.replace(",", "_")
    plan = f"k{args.k}_depth{args.depth}_sigma{args.sigma:g}"
    return f"search_{methods}_{plan}_{args.scale}.json"


def arm(found: dict, method: str, budget: int) -> dict:
    """Return the row of a method."""
    rows = found["results"]
    return next(r for r in rows if (r["method"], r["budget"]) == (method, budget))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="runs/table_latent_search", dest="out")
    parser.add_argument("--scale", choices=("smoke", "full"), default="full")
    parser.add_argument("--methods", default="best_q,mode,weighted,residual,first_halt")
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--sigma", type=float, default=0.3)
    args = parser.parse_args()

    seeds = SEEDS[:2] if args.scale == "smoke" else SEEDS
    found = [one_seed(seed, Path(args.out) / f"seed{seed}", args) for seed in seeds]
    total = args.k * args.depth
    arms = {"one_pass": args.depth, "one_pass_all": total}
    arms |= dict.fromkeys(args.methods.split(","), total)
    accuracy = {
        name: [arm(f, name.removesuffix("_all"), budget)["accuracy"] for f in found]
        for name, budget in arms.items()
    }
    header = ["method", "segments", *(f"seed {s}" for s in seeds)]
    header += ["minus one pass of the depth", "minus one pass of all"]
    print("| " + " | ".join(header) + " |\n" + "| --- " * len(header) + "|")
    for name, budget in arms.items():
        cells = [name, str(budget), *(f"{100 * a:.1f}" for a in accuracy[name])]
        bases = ("one_pass", "one_pass_all")
        cells += [show(accuracy[base], accuracy[name]) for base in bases]
        print("| " + " | ".join(cells) + " |")


def show(base: list[float], other: list[float]) -> str:
    """Return the paired difference in points with its interval."""
    found = seed_difference(base, other)
    low, high = found.ci95
    return f"{100 * found.difference:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
