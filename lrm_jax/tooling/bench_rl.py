# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Times iterations of reinforcement learning: rollout, rewards, updates, compiling."""

import contextlib
import dataclasses
import time
from typing import Any

import jax

from lrm_jax import sharding
from lrm_jax.recipes.grpo_build import build
from lrm_jax.recipes.grpo_config import GrpoRunConfig, resolve
from lrm_jax.recipes.grpo_rollout import check_prompts

_WARM_UP = 2
"""Iterations before the clock starts: one compiles, the next places its output."""

PARTS = ("rollout_s", "rollout_wait_s", "reward_s", "train_s", "iteration_s")
RATES = ("rollout_tokens_per_s", "train_tokens_per_s")


def bench_rl(config: GrpoRunConfig, *, steps: int) -> dict[str, Any]:
    """Time iterations from freshly drawn weights.

    Args:
      config: to be resolved; nothing is written.
      steps: iterations to time, after two to warm up.

    Returns:
      Means over the iterations timed: iteration_s and its parts rollout_s, reward_s
      and train_s (the updates, scores of reference and old policy included; where
      rollouts run ahead, rollout_wait_s in place of the first and no train_s),
      rollout_tokens_per_s (written), train_tokens_per_s (learned, each epoch anew),
      steps_per_s, completions_per_s, mean_length; compile_s (the first iteration
      less a timed one), recompiles (while timed), device, devices, dtype, prompts,
      group_size, max_new_tokens, steps_timed.
    """
    config = resolve(config, None, None)
    config = dataclasses.replace(
        config, grpo=dataclasses.replace(config.grpo, samples_every=0)
    )
    run, updates = build(config), config.rl.updates_per_rollout
    rollout = config.rl.rollout
    with contextlib.closing(run), sharding.use_mesh(run.mesh):
        check_prompts(config, run.source)
        state, iterate = run.init_state(), run.dispatch()
        clock, found = [time.perf_counter()], []
        for i in range(_WARM_UP + steps):
            state, metrics = iterate(state, i * updates)
            if i in (0, _WARM_UP - 1, _WARM_UP + steps - 1):
                jax.block_until_ready(state)
                clock.append(time.perf_counter())
            found.append(metrics)
    began, first, warm, ended = clock
    iteration_s = (ended - warm) / steps
    means = _means(found[_WARM_UP:])
    parts = {name: means.get(f"perf/{name}") for name in (*PARTS, *RATES)}
    completions = rollout.n_prompts * rollout.group_size
    return {
        **{name: value for name, value in parts.items() if value is not None},
        "iteration_s": iteration_s,
        "steps_per_s": updates / iteration_s,
        "completions_per_s": completions / iteration_s,
        "mean_length": means["completions/mean_length"],
        "compile_s": max(0.0, first - began - iteration_s),
        "recompiles": int(sum(m["perf/compiles"][0] for m in found[_WARM_UP:])),
        "device": jax.devices()[0].device_kind,
        "devices": run.mesh.size,
        "dtype": config.model.dtype,
        "prompts": rollout.n_prompts,
        "group_size": rollout.group_size,
        "max_new_tokens": rollout.max_new_tokens,
        "steps_timed": steps * updates,
    }


def _means(found: list[Any]) -> dict[str, float]:
    """Return sum over weight of each metric over iterations."""
    names = {name for metrics in found for name in metrics}
    means = {}
    for name in names:
        pairs = [metrics[name] for metrics in found if name in metrics]
        total, weight = (sum(float(pair[i]) for pair in pairs) for i in (0, 1))
        if weight:
            means[name] = total / weight
    return means
