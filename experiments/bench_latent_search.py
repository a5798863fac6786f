# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What latent search costs beside the model: a bare scan of the same forwards.

Claim: noise and select, and a tree over recursions, reach at least 0.90 of the
throughput of `lax.scan` over the same batched segments without noise, answers,
selection or tree. Of no paper.
Command: python -m experiments.bench_latent_search [--scale smoke]
Device: any; TRM with attention at width 128 (527k parameters, 9x9 Sudoku, prefix 16),
64 lanes, float32. All programs in one process, in turn, several rounds; ratios of the
fastest rounds, medians of the rounds' own ratios (other work on the machine falls on
all of them), and both by processor time too, where that means something: on a CPU.
Expected: docs/measurements.md.
"""

import argparse
import json
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.evaluation.judges import SudokuJudge
from lrm_jax.models.latent import LatentConfig, latent_core
from lrm_jax.reasoning.budget import lane_keys, step_keys
from lrm_jax.reasoning.halting import HaltingConfig
from lrm_jax.reasoning.latent import LatentReasoner
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.latent_noise import NoiseConfig, sigmas
from lrm_jax.search.latent_pass import run_trajectories
from lrm_jax.search.latent_select import is_right, select
from lrm_jax.search.latent_tree import LatentTree, answer_node
from lrm_jax.search.mcts import search

TRM_ATT_H128 = LatentConfig(
    vocab_size=11, seq_len=81, puzzle_emb_dim=128, puzzle_prefix_len=16,
    num_puzzle_ids=1, d_model=128, n_heads=4, h_layers=0, l_layers=2, h_cycles=3,
    l_cycles=6, positions="rope", grad_depth="last_recursion",
)  # fmt: skip
SMALL = LatentConfig(
    vocab_size=11, seq_len=81, puzzle_emb_dim=0, d_model=16, n_heads=2, h_layers=0,
    l_layers=1, h_cycles=1, l_cycles=1, positions="rope", grad_depth="all",
)  # fmt: skip


def bare(reasoner, segments, params, problem, keys):
    """The forwards alone."""
    zero = jnp.zeros(keys.shape, jnp.int32)

    def segment(carry, number):
        carry, signals = reasoner.think(params, carry, step_keys(keys, zero + number))
        return carry, signals.halt

    first = reasoner.start(params, problem, step_keys(keys, zero))
    carry, halt = jax.lax.scan(segment, first, jnp.arange(1, segments + 1))
    return reasoner.answer(params, carry).ids, halt


def noise_and_select(reasoner, segments, width, params, problem, keys):
    """All of `lrm search`'s device work: think, select by two rules, judge."""
    noise = NoiseConfig()
    seen = run_trajectories(
        reasoner, params, problem, keys[::width], jnp.asarray(sigmas(noise, segments)),
        width=width, steps=segments, noise=noise,
        judge=partial(SudokuJudge(), problem=problem),
    )  # fmt: skip
    return [
        is_right(seen, select(rule, seen, width, segments))
        for rule in ("best_q", "mode")
    ]


def tree(reasoner, segments, params, problem, keys):
    """A tree for each lane, a segment a simulation."""
    model = LatentTree(reasoner, 4, segments, NoiseConfig())
    config = SearchConfig(simulations=segments, max_depth=segments)
    found = search(model, params, problem, keys, config)
    return answer_node(found, "best"), found.simulations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=("smoke", "full"), default="full")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--width", type=int, default=16)
    args = parser.parse_args()
    smoke = args.scale == "smoke"
    lanes, segments = (8, 3) if smoke else (args.lanes, args.segments)
    width = 4 if smoke else args.width

    reasoner = LatentReasoner(
        latent_core(SMALL if smoke else TRM_ATT_H128), HaltingConfig("halt_only")
    )
    params = reasoner.core.init(jax.random.key(0))
    inputs = np.random.default_rng(0).integers(1, 11, (lanes, 81)).astype(np.int32)
    problem = {"inputs": jnp.asarray(inputs), "puzzle_ids": jnp.zeros(lanes, jnp.int32)}
    keys = lane_keys(jax.random.key(1), jnp.arange(lanes))
    programs = {
        "bare": partial(bare, reasoner, segments),
        "noise_and_select": partial(noise_and_select, reasoner, segments, width),
        "tree": partial(tree, reasoner, segments),
    }
    compiled = {
        name: jax.jit(program).lower(params, problem, keys).compile()
        for name, program in programs.items()
    }
    clocks = (time.perf_counter, time.process_time)
    times_s = {name: np.zeros((args.rounds + 1, 2)) for name in programs}
    for turn in range(args.rounds + 1):
        for name, program in compiled.items():
            began = [clock() for clock in clocks]
            jax.block_until_ready(program(params, problem, keys))
            times_s[name][turn] = [c() - t for c, t in zip(clocks, began, strict=True)]
    report: dict = {"lanes": lanes, "segments": segments}
    spent = compiled["tree"](params, problem, keys)[1]
    report["tree_simulations"] = [int(spent.min()), int(spent.max())]
    for i, clock in enumerate(("wall", "cpu")):
        times = {name: t[1:, i] for name, t in times_s.items()}
        base = times["bare"]
        report[clock] = {
            name: {
                "share_of_bare": float(base.min() / t.min()),
                "median_share": float(np.median(base / t)),
                "lane_segments_per_s": lanes * segments / float(t.min()),
                "times_s": t.round(4).tolist(),
            }
            for name, t in times.items()
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
