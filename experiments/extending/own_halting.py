# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A halting rule of your own: stop when both published rules say so, by a margin.

A rule is a function of the two halting logits of every lane, `[B]` each, to
"wants to halt" `[B]`; it decides in training and, as budget `-1` or `N+halt`, in
evaluation. TRM halts where Q-halt > 0, HRM where Q-halt > Q-continue.

    python -m experiments.extending.own_halting
    lrm train sudoku4_tiny halting.rule=experiments.extending.own_halting:when_sure
"""

import sys

import jax
import jax.numpy as jnp

import lrm_jax
from experiments.extending import own_task
from lrm_jax.cli.main import main as lrm
from lrm_jax.config import replace

NAME = "experiments.extending.own_halting:when_sure"
MARGIN = 2.0
"""In logits: an answer is right with at least 88 %, by the model's own word."""


def when_sure(q_halt: jax.Array, q_continue: jax.Array) -> jax.Array:
    """Return where a lane wants to halt, `[B]` bool."""
    return q_halt > MARGIN + jnp.maximum(q_continue, 0.0)


if __name__ == "__main__":
    words = [f"data.kind={own_task.NAME}", *own_task.SMALL, "train.total_steps=400"]
    words += [f"halting.rule={NAME}", *sys.argv[1:]]
    code = lrm(["train", "sudoku4_tiny", *words, "--run-dir", "runs/own_halting"])
    if code:
        sys.exit(code)
    run = lrm_jax.load("runs/own_halting")
    for rule in (NAME, "halt_only"):  # the same weights under either rule
        other = lrm_jax.Run(replace(run.config, {"halting.rule": rule}), run.params)
        (row,) = other.evaluate(budgets=["-1"])["results"]
        print(f"{rule}: {row['exact_accuracy']:.3f} in {row['mean_steps']:.2f} steps")
