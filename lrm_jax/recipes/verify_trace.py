# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The three traces of a model fixture, run by the functions that training uses.

`eval` and `train` hold the weights fixed and offer a new batch every segment;
`optim` takes real training steps. Batches and random draws are the fixture's.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.interop.arch import Arch, Kind, arch_to_configs
from lrm_jax.interop.hrm_trm import Entry, import_state_dict, layout
from lrm_jax.losses import LossConfig, make_token_loss
from lrm_jax.models.latent import LatentConfig, LatentCore, latent_core
from lrm_jax.reasoning.halting import (
    ActCarry,
    Exploration,
    HaltingConfig,
    empty_carry,
    refill,
)
from lrm_jax.reasoning.segment import (
    SegmentMetrics,
    SegmentOutput,
    segment,
    segment_loss,
)
from lrm_jax.recipes.latent_step import LatentStep, StepMetrics
from lrm_jax.recipes.verify_report import Tensors, need, read_json
from lrm_jax.training import optim
from lrm_jax.training.state import TrainState
from lrm_jax.types import Array, Params, UserError


class Step(NamedTuple):
    """What one segment of every lane gave."""

    carry: ActCarry
    output: SegmentOutput
    loss: Array
    metrics: SegmentMetrics
    weight_grads: Params
    row_grads: Array | None


class Case(NamedTuple):
    """A fixture folder, read."""

    folder: Path
    kind: Kind
    config: Mapping[str, Any]
    arch: Arch
    inputs: Tensors
    core: LatentCore
    params: Params
    entries: list[Entry]
    prefix: str


SegmentFn = Callable[[Params, ActCarry, dict[str, Array], Exploration | None], Step]


def read_case(folder: Path, kind: Kind, dtype: str) -> Case:
    """Read a fixture's config, weights and inputs, computing in `dtype`."""
    path = folder / "config.json"
    config = read_json(path)
    weights_path = folder / "weights.safetensors"
    weights = Tensors(weights_path)
    tensors = {name: weights[name] for name in weights.names()}
    arch = arch_to_configs(kind, config, tensors)
    model = LatentConfig(**{**vars(arch.model), "dtype": dtype})
    core = latent_core(model)
    imported = import_state_dict(model, tensors, where=str(weights_path))
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), imported.params)
    return Case(
        folder=folder,
        kind=kind,
        config=config,
        arch=arch._replace(model=model),
        inputs=Tensors(folder / "inputs.safetensors"),
        core=core,
        params=params,
        entries=layout(model),
        prefix=imported.prefix,
    )


def segment_fn(case: Case, *, train: bool) -> SegmentFn:
    """Jit one segment: refill, forward, loss and, in training, gradients."""
    core, halting = case.core, HaltingConfig(**case.arch.halting)
    loss_cfg = LossConfig(**case.arch.loss)
    token_loss = make_token_loss(loss_cfg)

    def run(
        params: Params,
        carry: ActCarry,
        offered: dict[str, Array],
        exploration: Exploration | None,
    ) -> Step:
        carry = refill(carry, offered, params["fixed"])
        table = params.get("puzzle_table")
        rows = None if table is None else table[carry.data["puzzle_ids"]]

        def loss_fn(weights: Params, rows: Array | None) -> tuple[Array, Any]:
            done, output = segment(
                core, weights, carry, rows, halting=halting, exploration=exploration
            )
            loss, metrics = segment_loss(
                output, done, token_loss=token_loss, q_weight=loss_cfg.q_weight
            )
            return loss, (done, output, metrics)

        if not train:
            loss, (done, output, metrics) = loss_fn(params["weights"], rows)
            return Step(done, output, loss, metrics, None, None)
        argnums = (0,) if rows is None else (0, 1)
        grad = jax.value_and_grad(loss_fn, argnums=argnums, has_aux=True)
        (loss, (done, output, metrics)), grads = grad(params["weights"], rows)
        row_grads = None if rows is None else grads[1]
        return Step(done, output, loss, metrics, grads[0], row_grads)

    # Full float32 products: an accelerator would round to TF32 or bfloat16.
    with jax.default_matmul_precision("highest"):
        return jax.jit(run)


def _offered(case: Case, index: int) -> dict[str, Array]:
    names = {
        "inputs": "inputs",
        "labels": "labels",
        "puzzle_ids": "puzzle_identifiers",
    }
    return {k: jnp.asarray(case.inputs[v][index]) for k, v in names.items()}


def _start(case: Case) -> ActCarry:
    model = case.arch.model
    shape = (model.total_len, model.d_model)
    return empty_carry(_offered(case, 0), shape, model.dtype)


def _exploration(case: Case, trace: str, index: int) -> Exploration:
    """The reference's draws of a segment; none where it has no ACT."""
    name = f"{trace}/explore_uniform"
    if name not in case.inputs:
        batch = case.inputs["inputs"].shape[1]
        return Exploration(jnp.ones((batch,)), jnp.zeros((batch,), jnp.int32))
    least = case.inputs[f"{trace}/explore_min_steps"][index]
    return Exploration(jnp.asarray(case.inputs[name][index]), jnp.asarray(least))


def run_trace(case: Case, trace: str, run: SegmentFn) -> list[Step]:
    """Run `eval` or `train` with the weights held fixed."""
    carry, steps = _start(case), []
    for t, index in enumerate(case.inputs[f"{trace}/batch_index"]):
        draws = None if trace == "eval" else _exploration(case, trace, t)
        steps.append(run(case.params, carry, _offered(case, int(index)), draws))
        carry = steps[-1].carry
    return steps


class Training(NamedTuple):
    """What the `optim` trace gave: segments, and states before and after."""

    starts: list[TrainState]
    steps: list[Step]
    metrics: list[StepMetrics]
    states: list[TrainState]
    lr: dict[str, list[float]]


def run_training(
    case: Case, run: SegmentFn, starts: Sequence[TrainState] | None = None
) -> Training:
    """Take real training steps with the recipe's own step.

    `run` is asked about each segment too, before its step: the recipe's step
    keeps logits and targets to itself.

    Args:
      case: the fixture.
      run: the segment with gradients.
      starts: the state before each step, where it is not the step before's.
    """
    step_fn = _latent_step(case)
    cfg, total = step_fn.optim, step_fn.total_steps
    rates = {
        "lr_dense": optim.learning_rate(cfg, total),
        "lr_puzzle_emb": optim.learning_rate(cfg, total, base_lr=cfg.puzzle_emb_lr),
    }
    state = step_fn.init(jax.random.key(0), _offered(case, 0), case.params)
    with jax.default_matmul_precision("highest"):
        take = jax.jit(step_fn)
    done = Training([], [], [], [], {name: [] for name in rates})
    for k, index in enumerate(case.inputs["optim/batch_index"]):
        offered, draws = _offered(case, int(index)), _exploration(case, "optim", k)
        if starts is not None:
            state = starts[k]
        done.starts.append(state)
        done.steps.append(run(state.params, state.carry, offered, draws))
        state, metrics = take(state, offered, draws)
        done.metrics.append(metrics)
        done.states.append(state)
        for name, rate in rates.items():
            done.lr[name].append(float(rate(state.step)))
    return done


def _latent_step(case: Case) -> LatentStep:
    path = case.folder / "config.json"
    settings = dict(need(case.config, "train", path))
    total = settings.pop("total_steps", None)
    if total is None:
        raise UserError(f"{path}: train has no 'total_steps'")
    return LatentStep(
        core=case.core,
        halting=HaltingConfig(**case.arch.halting),
        loss=LossConfig(**case.arch.loss),
        optim=optim.OptimConfig(kind="adam_atan2", **settings),
        total_steps=total,
        ema=case.config.get("ema_mu") or 0.0,
    )
