# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Times a preset's training step as `lrm train` runs it, and counts its work."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lrm_jax import sharding
from lrm_jax.cost.chips import CHIPS
from lrm_jax.cost.jaxpr_flops import jaxpr_flops
from lrm_jax.data.pipeline import GENERATE, PuzzleDataConfig
from lrm_jax.recipes.registry import recipe_of
from lrm_jax.tooling.bench_rl import bench_rl
from lrm_jax.types import UserError

PEAK_FLOPS = {
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    **{chip.kind: chip.peak_flops / chip.devices_per_chip for chip in CHIPS.values()},
}
"""Dense bfloat16 FLOP/s of a device by the maker's data sheet, by `device_kind`."""

_WARM_UP = 2
_MATMUL_SIZE = {"cpu": 2048}
_MATMUL_SIZE_ELSEWHERE = 8192


def bench(config: Any, *, steps: int = 10) -> dict[str, Any]:
    """Time training steps.

    Args:
      config: of any recipe.
      steps: dispatches to time, after two to warm up.

    Returns:
      steps_per_s, items_per_s, flops_per_step (matrix products as traced, loops in
      full), flops_per_s, mfu (against bfloat16 peak; None where the peak is not
      known), matmul_flops_per_s (one device's own rate in the model's dtype,
      measured just before), compile_s, peak_bytes of one device, device, devices,
      dtype, batch_size, steps_timed; of fine-tuning also tokens_per_s (positions of
      its rows). Reinforcement learning is timed by its parts: see `bench_rl`.
    """
    if steps < 1:
        raise UserError(f"--steps {steps}: expected 1 or more")
    if config.recipe == "grpo":
        return bench_rl(config, steps=steps)
    recipe = recipe_of(config)
    if recipe.build is None:
        raise UserError(f"recipe {config.recipe!r}: there is no training step to time")
    config = recipe.resolve(_with_data(config), None, None)
    run = recipe.build(config)
    count = config.train.steps_per_dispatch
    with sharding.use_mesh(run.mesh):
        rate = matmul_rate(config.model.dtype)
        state, next_batch = run.init_state(), run.batches()
        dispatch: Any = run.dispatch()
        traced = dispatch.trace(state, next_batch(0))
        platform = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
        flops_per_step = jaxpr_flops(traced.jaxpr, platform=platform) / count
        began = time.perf_counter()
        program = traced.lower().compile()
        compile_s = time.perf_counter() - began
        time_s = _time_dispatches(program, state, next_batch, count, steps)
    steps_per_s = steps * count / time_s
    device = jax.devices()[0].device_kind
    peak = PEAK_FLOPS.get(device)
    flops_per_s = flops_per_step * steps_per_s
    rows_per_s = steps_per_s * config.train.batch_size
    tokens = {}
    if config.recipe == "sft":
        tokens["tokens_per_s"] = rows_per_s * config.sft.seq_len
    return {
        "steps_per_s": steps_per_s,
        "items_per_s": rows_per_s,
        **tokens,
        "flops_per_step": flops_per_step,
        "flops_per_s": flops_per_s,
        "mfu": flops_per_s / (peak * run.mesh.size) if peak else None,
        "matmul_flops_per_s": rate,
        "compile_s": compile_s,
        "peak_bytes": _peak_bytes(program),
        "device": device,
        "devices": run.mesh.size,
        "dtype": config.model.dtype,
        "batch_size": config.train.batch_size,
        "steps_timed": steps * count,
    }


def _with_data(config: Any) -> Any:
    """Make puzzles where a config leaves open which: their values cost no time."""
    data = config.data
    if not isinstance(data, PuzzleDataConfig) or data.path or data.kind == "arc":
        return config
    made = dataclasses.replace(data, path=GENERATE)
    return dataclasses.replace(config, data=made)


def matmul_rate(dtype: str, repeats: int = 5) -> float:
    """Return the FLOP/s of a large square product on one device."""
    backend = jax.default_backend()
    size = _MATMUL_SIZE.get(backend, _MATMUL_SIZE_ELSEWHERE)
    # Not ones: an accelerator multiplies those faster, at a higher clock.
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(x, x))
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(product(x, x))
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def _time_dispatches(
    program: Callable[[Any, Any], tuple[Any, Any]],
    state: Any,
    next_batch: Callable[[int], Any],
    count: int,
    dispatches: int,
) -> float:
    """Run two dispatches to warm up, then return the seconds of the rest."""
    for i in range(_WARM_UP):
        state, _ = program(state, next_batch(i * count))
    jax.block_until_ready(state)
    began = time.perf_counter()
    for i in range(_WARM_UP, _WARM_UP + dispatches):
        state, _ = program(state, next_batch(i * count))
    jax.block_until_ready(state)
    return time.perf_counter() - began


def _peak_bytes(program: Any) -> int | None:
    """Return the most bytes of one device in use, as its compiler plans them."""
    memory = program.memory_analysis()
    if memory is None:
        return None
    shared = memory.alias_size_in_bytes  # donated: an output in an argument's place
    whole = memory.argument_size_in_bytes + memory.output_size_in_bytes - shared
    return int(whole + memory.temp_size_in_bytes)
