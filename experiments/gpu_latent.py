# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The published latent recipes' training step on one GPU: numbers first, then time.

Claim: the steps of HRM (arXiv 2506.21734) and TRM-MLP (arXiv 2510.04871) on
Sudoku-Extreme at batch 768 in bfloat16 take at most 71 and 83 ms, which is half of
790e12 FLOP/s; the published code reaches 26 to 28 %.
Command: python -m experiments.gpu_latent --out FOLDER [--limit-s 540]
Device: one GPU of 40 GB or more; about five minutes. CPU: --scale smoke.
Expected: not yet measured (docs/measurements.md).

Numbers: ten optimizer steps on a device against the same ten of a CPU in float32,
losses and the first gradient, |a - b| / |b|. Lanes halt by the clock there, so that
no coin or tie decides which puzzle a lane works on. Time: one step a dispatch and
eight, the state donated, grids at random (their values cost no time; zeros would).
FLOPs are the matrix products of the traced step (`lrm_jax.cost`), loops and
whatever is recomputed counted in full.
"""

import dataclasses
import statistics
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.device_log import (
    PEAK_FLOPS,
    DeviceLog,
    arguments,
    ceilings,
    clocked,
    compiled,
    memory_bytes,
    relative,
    spread,
    timed_steps,
)
from lrm_jax.cost.jaxpr_flops import count_flops
from lrm_jax.models.latent import latent_core
from lrm_jax.presets.published import hrm_sudoku, trm_mlp_sudoku
from lrm_jax.reasoning.halting import Exploration
from lrm_jax.recipes.latent_step import LatentStep, scan_steps

TARGETS_S = {"hrm_sudoku": 0.071, "trm_mlp_sudoku": 0.083}
"""Seconds of a step at half of `PEAK_FLOPS`."""

KINDS = {  # dtype, precision of float32 products, bounds of losses and gradient
    "float32": ("float32", "highest", (1e-4, 1e-3)),
    "float32, default precision": ("float32", None, (0.02, 0.1)),
    "bfloat16": ("bfloat16", None, (0.02, 0.2)),
}


def step_of(config, dtype, **halting):
    """Return the training step of a preset in a dtype."""
    return LatentStep(
        core=latent_core(dataclasses.replace(config.model, dtype=dtype)),
        halting=dataclasses.replace(config.halting, **halting),
        loss=config.loss,
        optim=config.optim,
        total_steps=config.train.total_steps,
        ema=config.train.ema_decay,
        ema_warmup_steps=config.train.ema_warmup_steps,
    )


def puzzles(config, steps, batch):
    """Return `[steps, B, ...]` of random grids: half the cells given."""
    rng = np.random.default_rng(0)
    shape = (steps, batch, config.model.seq_len)
    labels = rng.integers(2, config.model.vocab_size, shape).astype(np.int32)
    inputs = np.where(rng.random(shape) < 0.5, labels, 1).astype(np.int32)
    ids = np.zeros((steps, batch), np.int32)
    return {"inputs": inputs, "labels": labels, "puzzle_ids": ids}


def never_early(batch, cap):
    """Return draws under which no lane halts before its last segment."""
    return Exploration(jnp.zeros((batch,)), jnp.full((batch,), cap, jnp.int32))


def ten_steps(step, params, problems):
    """Return the losses of each step and the gradient of the first."""
    draws = never_early(problems["puzzle_ids"].shape[1], step.halting.max_steps)

    def start(params, first):
        state = step.init(jax.random.key(0), first, params)
        return state, step.gradients(state.params, state.carry, first, draws)[0]

    def advance(state, problem):
        state, metrics = step(state, problem, draws)
        total, weight = metrics["loss/total"]
        return state, total / weight

    state, grads = jax.jit(start)(params, jax.tree.map(lambda x: x[0], problems))
    _, losses = jax.jit(partial(jax.lax.scan, advance))(state, problems)
    return losses, grads


def numerics(log, config, *, batch, count, kinds):
    """Compare ten steps with a CPU's in float32."""
    problems = puzzles(config, count, batch)
    with jax.default_device(jax.devices("cpu")[0]):
        exact = step_of(config, "float32", max_steps=4, exploration_prob=1.0)
        params = jax.tree.map(np.asarray, jax.jit(exact.core.init)(jax.random.key(0)))
        (losses, grads), time_s = clocked(ten_steps, exact, params, problems)
    log.write("numerics", preset=config.name, kind="cpu", time_s=time_s,
              losses=np.asarray(losses).tolist())  # fmt: skip
    for name in kinds:
        dtype, precision, bound = KINDS[name]
        step = step_of(config, dtype, max_steps=4, exploration_prob=1.0)
        with jax.default_matmul_precision(precision):
            run, time_s = clocked(ten_steps, step, params, problems)
        gaps = relative(run[0], losses), relative(run[1], grads)
        good = all(gap <= most for gap, most in zip(gaps, bound, strict=True))
        log.write(
            "numerics", preset=config.name, kind=name, losses=gaps[0],
            gradient=gaps[1], last_loss=float(run[0][-1]), bound=bound, ok=good,
            steps=count, batch=batch, time_s=time_s,
        )  # fmt: skip
        if not good:
            log.failed.append(f"numerics {config.name} {name}")


def speed(log, config, *, batch, per_dispatch, samples):
    """Time the step as the recipe runs it, `per_dispatch` of them at a time."""
    step = step_of(config, config.model.dtype)
    problems = jax.device_put(puzzles(config, per_dispatch, batch))
    first = jax.tree.map(lambda x: x[0], problems)
    state = jax.jit(step.init)(jax.random.key(0), first)
    flops = count_flops(step, state, first)
    advance = partial(scan_steps, step)
    program, compile_s = compiled(advance, state, problems, donate_argnums=0)
    about = {
        "preset": config.name,
        "dtype": config.model.dtype,
        "batch": batch,
        "steps_per_dispatch": per_dispatch,
        "compile_s": compile_s,
        "planned_bytes": memory_bytes(program),
    }
    log.write("step", **about)
    log.keep_program(f"{config.name}_{per_dispatch}", program)
    _, metrics, times = timed_steps(program, state, (problems,), samples, warm_up=3)
    total, weight = metrics["loss/total"]
    each = [time_s / per_dispatch for time_s in times]
    step_s, target = statistics.median(each), TARGETS_S[config.name]
    log.write(
        "step", **about, **spread(each), loss=float(total / weight), flops=flops,
        flops_per_s=flops / step_s, share_of_peak=flops / step_s / PEAK_FLOPS,
        target_s=target, times_target=step_s / target, puzzles_per_s=batch / step_s,
    )  # fmt: skip


def scaled(config, smoke):
    """Return a preset, or for smoke one of its kind that a CPU runs in seconds."""
    if not smoke:
        return config
    model = dataclasses.replace(
        config.model, d_model=16, n_heads=2, puzzle_emb_dim=16, seq_len=9,
        h_layers=min(config.model.h_layers, 1), l_layers=1, l_cycles=1, h_cycles=2,
    )  # fmt: skip
    return dataclasses.replace(config, model=model)


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=TARGETS_S, action="append")
    parser.add_argument("--batch", type=int, default=768)
    parser.add_argument("--samples", type=int, default=20)
    args = parser.parse_args()
    log = DeviceLog("gpu_latent", args.out, args.limit_s)
    smoke = args.scale == "smoke"
    wanted = lambda part: not args.only or part in args.only
    if wanted("device"):
        size, copy = (64, 2**16) if smoke else (8192, 2**32)
        log.run("device", ceilings, size=size, copy_bytes=copy)
    presets = [p for p in (hrm_sudoku, trm_mlp_sudoku)
               if p.__name__ in (args.preset or TARGETS_S)]  # fmt: skip
    configs = [scaled(preset(), smoke) for preset in presets]
    sizes = {"batch": 16, "count": 10, "kinds": tuple(KINDS)}
    if smoke:
        sizes = {"batch": 3, "count": 5, "kinds": ("bfloat16",)}
    for config in configs if wanted("numerics") else []:
        log.run("numerics", numerics, config, **sizes)
    for per_dispatch in (2,) if smoke else (1, 8):
        for config in configs if wanted("step") else []:
            log.run(
                "step", speed, config, batch=3 if smoke else args.batch,
                per_dispatch=per_dispatch, samples=args.samples,
                needs_s=0 if smoke else 60,
            )  # fmt: skip
    return log.exit_code()


if __name__ == "__main__":
    sys.exit(main())
