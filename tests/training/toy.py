# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A small recipe with all that a resume must bring back, to run and to kill.

    python tests/training/toy.py RUN_DIR [--steps 60] [--sleep 0.005] ...

Noise is folded by step, lanes carry state, weights are averaged, batches are a
function of the step. Prints one JSON object when it ends.
"""

import argparse
import dataclasses
import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrm_jax.training import loop
from lrm_jax.training.checkpoint import CheckpointConfig, Checkpointer
from lrm_jax.training.optim import (
    OptimConfig,
    init_ema,
    learning_rate,
    make_optimizer,
    update_ema,
)
from lrm_jax.training.run_folder import open_run
from lrm_jax.training.sparse import sparse_sign_sgd
from lrm_jax.training.state import make_state

LANES, WIDTH, ROWS = 8, 64, 10


def init(cfg: OptimConfig, seed: int = 0):
    key, left, right, run_key = jax.random.split(jax.random.key(seed), 4)
    weights = {
        "up": {"kernel": jax.random.normal(left, (4, WIDTH)) / 2},
        "down": {"kernel": jax.random.normal(right, (WIDTH, 1)) / 8},
    }
    params = {"weights": weights, "puzzle_table": jax.random.normal(key, (ROWS, 4))}
    return make_state(
        params,
        make_optimizer(cfg, 1).init(weights),
        run_key,
        ema=init_ema(weights),
        carry=jnp.zeros((LANES, WIDTH)),
    )


def make_batch(step: int):
    rng = np.random.default_rng((7, step))
    x = rng.normal(size=(LANES, 4)).astype(np.float32)
    ids = rng.integers(0, ROWS, size=LANES).astype(np.int32)
    return {"x": x, "y": np.sin(x.sum(-1)), "ids": ids}


def make_step(cfg: OptimConfig, total_steps: int):
    tx, lr = make_optimizer(cfg, total_steps), learning_rate(cfg, total_steps)

    def step(state, batch):
        noise = jax.random.normal(jax.random.fold_in(state.key, state.step), (LANES, 4))

        def loss_fn(weights, rows):
            x = batch["x"] + rows + 0.1 * noise
            hidden = jnp.tanh(x @ weights["up"]["kernel"] + 0.1 * state.carry)
            error = (hidden @ weights["down"]["kernel"])[:, 0] - batch["y"]
            return jnp.sum(jnp.square(error)) / LANES, (hidden, error)

        weights, table = state.params["weights"], state.params["puzzle_table"]
        rows = table[batch["ids"]]
        grad = jax.value_and_grad(loss_fn, argnums=(0, 1), has_aux=True)
        (loss, (hidden, error)), (grads, row_grads) = grad(weights, rows)
        updates, opt_state = tx.update(grads, state.opt_state, weights)
        weights = optax.apply_updates(weights, updates)
        table = sparse_sign_sgd(table, batch["ids"], row_grads, 1e-3, 0.1)
        metrics = {
            "loss/total": (loss * LANES, jnp.asarray(LANES, jnp.float32)),
            "accuracy/exact": (
                jnp.sum((jnp.abs(error) < 0.1).astype(jnp.float32)),
                jnp.asarray(LANES, jnp.float32),
            ),
            "optim/lr": (lr(state.step + 1), jnp.ones(())),
        }
        state = state.replace(
            step=state.step + 1,
            params={"weights": weights, "puzzle_table": table},
            ema=update_ema(state.ema, weights, 0.99),
            opt_state=opt_state,
            carry=jax.lax.stop_gradient(hidden),
        )
        return state, metrics

    return step


@jax.jit
def score(weights) -> jax.Array:
    x = jnp.linspace(-1, 1, 32)[:, None] * jnp.ones((1, 4))
    out = (jnp.tanh(x @ weights["up"]["kernel"]) @ weights["down"]["kernel"])[:, 0]
    return -jnp.mean(jnp.square(out - jnp.sin(x.sum(-1))))


def train(run_dir, cfg, optim, saves, *, sleep=0.0, progress="off", eval_every=0):
    """Run or resume; returns the loop's result."""

    calls = iter(range(10**9))

    def next_batch(step):
        if next(calls) == 1:
            print("running", flush=True)  # the first step is compiled
        time.sleep(sleep)
        return make_batch(step)

    config = {"train": dataclasses.asdict(cfg), "optim": dataclasses.asdict(optim)}
    with open_run(run_dir, config) as folder:
        checkpointer = Checkpointer(folder.checkpoints, saves, owner=folder)
        abstract = jax.eval_shape(lambda: init(optim))
        state, extra = loop.restore_or_init(
            lambda: init(optim), abstract, folder=folder, checkpointer=checkpointer
        )
        print("ready", flush=True)
        return loop.run(
            jax.jit(make_step(optim, cfg.total_steps), donate_argnums=0),
            state,
            next_batch,
            cfg=cfg,
            folder=folder,
            checkpointer=checkpointer,
            evaluate=lambda s: {"eval/exact_accuracy": float(score(s.ema))},
            eval_every_steps=eval_every,
            resume=extra,
            progress=progress,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--sleep", type=float, default=0.005)
    parser.add_argument("--save-every", type=int, default=5)
    args = parser.parse_args()
    result = train(
        args.run_dir,
        loop.TrainConfig(total_steps=args.steps, batch_size=LANES, log_every=7),
        OptimConfig(lr=1e-3, lr_warmup_steps=5, lr_min_ratio=0.1),
        CheckpointConfig(every_steps=args.save_every, keep=2),
        sleep=args.sleep,
        progress="plain",
        eval_every=15,
    )
    print(json.dumps({"reason": result.reason, "step": result.step}))
    sys.exit({"interrupted": 130, "terminated": 143, "nan": 1}.get(result.reason, 0))


if __name__ == "__main__":
    main()
