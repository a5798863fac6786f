# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What adaptive halting with lane compaction saves, on a trained run.

Claim: solved lanes leave and waiting puzzles enter, so that evaluation costs what
the halting head asks for, at the accuracy of full depth. Of no paper: HRM and TRM
evaluate every puzzle at every depth.
Command: python -m experiments.compaction RUN [--puzzles 5000] [--lanes 256]
Device: any; a minute on two CPU cores for the quickstart's run.
Expected (docs/measurements.md): at most 40 % of the lane-segments, 55 % of the wall
time, and within 0.3 points of full depth on the same puzzles. The puzzles are
generated; none is isomorphic to one the run was trained on.
"""

import argparse
import dataclasses
import json
import time

import numpy as np

import lrm_jax
from lrm_jax.data.folder_source import pick_examples
from lrm_jax.data.isomorphism import overlaps
from lrm_jax.data.pipeline import make_source
from lrm_jax.evaluation.metrics import paired_difference
from lrm_jax.recipes.run import Run


def timed(function):
    """Return the result and seconds of a second call: the first one compiles."""
    function()
    began = time.perf_counter()
    return function(), time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--puzzles", type=int, default=5000)
    parser.add_argument("--lanes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1, help="of the puzzles")
    args = parser.parse_args()

    trained = lrm_jax.load(args.run)
    spare = args.puzzles // 4
    data = dataclasses.replace(
        trained.config.data,
        train_size=1,
        test_size=args.puzzles + spare,
        seed=args.seed,
    )
    fresh = make_source(data)
    seen = overlaps(
        fresh.view, fresh.test.inputs, trained.source.train.inputs, "canonical"
    )
    unseen = pick_examples(fresh.test, np.flatnonzero(~seen)[: args.puzzles])
    run = Run(
        trained.config,
        trained.params,
        source=dataclasses.replace(fresh, test=unseen, test_ratings=None),
    )
    full_budget = str(run.cap)
    full, full_s = timed(lambda: run.evaluate_compact(budget=full_budget))
    fast, fast_s = timed(lambda: run.evaluate_compact(budget="-1", lanes=args.lanes))
    paired = paired_difference(fast.correct, full.correct)
    report = {
        "puzzles": len(unseen.inputs),
        "full_depth": {"exact_accuracy": float(full.correct.mean()), "time_s": full_s},
        "adaptive": {**fast.report, "time_s": fast_s},
        "lane_segments_share": fast.report["share_of_full_depth"],
        "time_share": fast_s / full_s,
        "paired_difference": paired._asdict(),
    }
    print(json.dumps(report, indent=1, default=float))


if __name__ == "__main__":
    main()
