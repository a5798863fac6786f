# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Latent reasoners to search over, for a CPU; of no paper."""

from dataclasses import replace

from lrm_jax.presets.small import quickstart_latent
from lrm_jax.recipes.run_config import RunConfig


def search_latent_sudoku6() -> RunConfig:
    """6x6 Sudoku, the quickstart's model stopped early: something is left to search.

    300 of its steps, so that one pass of 8 segments solves about two thirds of unseen
    puzzles; `lrm search RUN` and `experiments/table_latent_search.py` then ask what
    parallel trajectories add. Half a minute on two CPU cores. Of no paper.
    """
    base = quickstart_latent()
    return replace(
        base,
        name="search_latent_sudoku6",
        data=replace(base.data, test_size=1000),
        train=replace(base.train, total_steps=300),
        eval=replace(base.eval, every_steps=0, num_traces=2),
        checkpoint=replace(base.checkpoint, every_steps=300),
    )
