# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of whole models: HRM and TRM runs, segment by segment.

A fixture holds what the reference did in three traces: `eval`, `train` (weights
fixed, a new batch offered every segment) and `optim` (real training steps). The
same segment functions and optimizers that training uses run over its weights,
inputs and draws; every array that it stores is compared.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.interop.arch import Arch, Kind, arch_to_configs
from lrm_jax.interop.hrm_trm import Entry, import_state_dict, layout, published_tensor
from lrm_jax.interop.hrm_trm import export_state_dict as export_params
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
from lrm_jax.recipes.verify_report import Report, Tensors, need, read_json
from lrm_jax.training import optim
from lrm_jax.training.state import TrainState
from lrm_jax.types import Array, Params, UserError

# What to ask of a float32 port (fixtures README, column "ask").
ATOL_STATE, ATOL_STATE_FIRST = 3e-4, 3e-5
ATOL_LOGITS, ATOL_Q, ATOL_TARGET = 3e-4, 3e-5, 2e-5
RTOL_LOSS, ATOL_ACCURACY = 1e-5, 1e-5
GRAD_OF_MAX, ATOL_PARAMS = 3e-5, 3e-6
# ... of learning rates, which the README gives no line: float32 rounding.
RTOL_LR = 1e-6
# ... and of a float64 port.
RTOL_F64 = 1e-10

_EXACT = (
    "steps",
    "halted",
    "current_inputs",
    "current_labels",
    "current_puzzle_identifiers",
    "metrics/count",
    "metrics/exact_accuracy",
    "metrics/q_halt_accuracy",
    "metrics/steps",
)
_FLOAT32_LIMITS = {
    "logits": {"atol": ATOL_LOGITS},
    "q_halt_logits": {"atol": ATOL_Q},
    "q_continue_logits": {"atol": ATOL_Q},
    "target_q_continue": {"atol": ATOL_TARGET},
    "metrics/accuracy": {"atol": ATOL_ACCURACY},
    **{name: {} for name in _EXACT},
}
_DATA_NAMES = {
    "inputs": "current_inputs",
    "labels": "current_labels",
    "puzzle_ids": "current_puzzle_identifiers",
}


_RECIPE_METRICS = {
    "loss/total": "optim/loss",
    "loss/lm": "optim/metrics/lm_loss",
    "loss/q_halt": "optim/metrics/q_halt_loss",
    "loss/q_continue": "optim/metrics/q_continue_loss",
    "accuracy/token": "optim/metrics/accuracy",
    "accuracy/exact": "optim/metrics/exact_accuracy",
    "halt/q_accuracy": "optim/metrics/q_halt_accuracy",
    "halt/steps_mean": "optim/metrics/steps",
}


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


def verify_run(folder: Path, kind: Kind, *, float64: bool) -> tuple[Report, list[str]]:
    """Verify one folder of an HRM or TRM run.

    Returns:
      The report, and the names of stored arrays that nothing compared.
    """
    report = Report()
    outputs = Tensors(folder / "outputs.safetensors")
    grads = Tensors(folder / "grads.safetensors")
    after = Tensors(folder / "params_after.safetensors")
    files = [outputs, grads, after]
    with jax.enable_x64(False):
        case = _read_case(folder, kind, "float32")
        _check_weights(report, case)
        _verify_float32(report, case, outputs, grads, after)
    if float64:
        exact = Tensors(folder / "outputs_f64.safetensors")
        files.append(exact)
        with jax.enable_x64(True):
            _verify_float64(report, _read_case(folder, kind, "float64"), exact)
    unread = [f"{file.path.name}:{name}" for file in files for name in file.unread()]
    return report, unread


def _read_case(folder: Path, kind: Kind, dtype: str) -> Case:
    path = folder / "config.json"
    config = read_json(path)
    weights = Tensors(folder / "weights.safetensors")
    tensors = {name: weights[name] for name in weights.names()}
    arch = arch_to_configs(kind, config, tensors)
    model = LatentConfig(**{**vars(arch.model), "dtype": dtype})
    core = latent_core(model)
    imported = import_state_dict(model, tensors)
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


def _check_weights(report: Report, case: Case) -> None:
    """Count the weights, and export what was imported."""
    path = case.folder / "config.json"
    count = sum(int(x.size) for x in jax.tree.leaves(case.params["weights"]))
    report.compare("n_params", count, need(case.config, "n_params", path))
    stored = Tensors(case.folder / "weights.safetensors")
    exported = export_params(case.arch.model, case.params, prefix=case.prefix)
    for name in stored.names():
        report.compare("weights", exported.get(name, ()), stored[name], where=name)


def _segment_fn(case: Case, *, train: bool) -> SegmentFn:
    """One segment: refill, forward, loss and, in training, gradients."""
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


def _trace(case: Case, trace: str, run: SegmentFn) -> list[Step]:
    """Run `eval` or `train` with the weights held fixed."""
    carry, steps = _start(case), []
    for t, index in enumerate(case.inputs[f"{trace}/batch_index"]):
        draws = None if trace == "eval" else _exploration(case, trace, t)
        steps.append(run(case.params, carry, _offered(case, int(index)), draws))
        carry = steps[-1].carry
    return steps


class Training(NamedTuple):
    """What the `optim` trace gave: its segments, and the state after each."""

    steps: list[Step]
    metrics: list[StepMetrics]
    states: list[TrainState]
    lr: dict[str, list[float]]


def _train(case: Case, run: SegmentFn) -> Training:
    """Take real training steps with the recipe's own step.

    `run` is asked about each segment too, before its step: the recipe's step
    keeps logits and targets to itself.
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
    done = Training([], [], [], {name: [] for name in rates})
    for k, index in enumerate(case.inputs["optim/batch_index"]):
        offered, draws = _offered(case, int(index)), _exploration(case, "optim", k)
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


def _verify_float32(
    report: Report, case: Case, outputs: Tensors, grads: Tensors, after: Tensors
) -> None:
    train = _segment_fn(case, train=True)
    steps = _trace(case, "eval", _segment_fn(case, train=False))
    _compare_trace(report, case, "eval", steps, outputs)
    steps = _trace(case, "train", train)
    _compare_trace(report, case, "train", steps, outputs)
    for name in grads.names():
        got = _gradient(case, steps, name)
        exact = name.endswith("local_ids")
        limit = {} if exact else {"of_max": GRAD_OF_MAX}
        report.compare(f"grad/{_kind_of(name)}", got, grads[name], where=name, **limit)
    training = _train(case, train)
    _compare_trace(report, case, "optim", training.steps, outputs)
    _compare_recipe(report, training, outputs)
    for name in outputs.names("optim/lr_"):
        got = training.lr[name.removeprefix("optim/")]
        report.compare(name, got, outputs[name], rtol=RTOL_LR)
    for name in after.names():
        label, got = _trained_tensor(case, training, name)
        limit = {} if name.endswith("_init") else {"atol": ATOL_PARAMS}
        report.compare(label, got, after[name], where=name, **limit)


def _verify_float64(report: Report, case: Case, exact: Tensors) -> None:
    train = _segment_fn(case, train=True)
    traces = {
        "eval": _trace(case, "eval", _segment_fn(case, train=False)),
        "train": _trace(case, "train", train),
    }
    training = _train(case, train)
    traces["optim"] = training.steps
    for name in exact.names():
        trace, _, output = name.partition("/")
        if trace == "grad":
            output = f"f64/grad/{_kind_of(output)}"
            got = _gradient(case, traces["train"], name.removeprefix("grad/"))
        elif output.startswith("lr_"):
            got, output = training.lr[output], f"f64/{name}"
        elif output.endswith("_last"):
            got = _outputs(traces[trace][-1])[output.removesuffix("_last")]
            output = f"f64/{name}"
        else:
            got = np.stack([_outputs(step)[output] for step in traces[trace]])
            output = f"f64/{name}"
        report.compare(output, got, exact[name], of_max=RTOL_F64, where=name)


def _outputs(step: Step) -> dict[str, np.ndarray]:
    """Name what a segment gave as the fixtures do."""
    out, carry = step.output, step.carry
    named: dict[str, Any] = {
        "z_H": carry.z_h,
        "z_L": carry.z_l,
        "steps": carry.steps,
        "halted": carry.halted,
        "logits": out.logits,
        "q_halt_logits": out.q_halt_logits,
        "q_continue_logits": out.q_continue_logits,
        "loss": step.loss,
    }
    named |= {ref: carry.data[ours] for ours, ref in _DATA_NAMES.items()}
    metrics = step.metrics._asdict()
    if out.target_q_continue is None:
        metrics.pop("q_continue_loss")
    else:
        named["target_q_continue"] = out.target_q_continue
    named |= {f"metrics/{name}": value for name, value in metrics.items()}
    return {name: np.asarray(value) for name, value in named.items()}


def _compare_trace(
    report: Report, case: Case, trace: str, steps: list[Step], outputs: Tensors
) -> None:
    ours = [_outputs(step) for step in steps]
    for stored in outputs.names(f"{trace}/"):
        name = stored.removeprefix(f"{trace}/")
        if name.startswith("lr_"):
            continue
        want = outputs[stored]
        if not ours or name not in ours[0] or len(ours) != len(want):
            report.expect(stored, False, f"no such output in {len(ours)} segments")
            continue
        got = np.stack([step[name] for step in ours])
        if name in ("z_H", "z_L"):
            report.compare(stored, got[1:], want[1:], atol=ATOL_STATE)
            first = f"{stored} (first segment)"
            report.compare(first, got[0], want[0], atol=ATOL_STATE_FIRST)
            continue
        limit = _FLOAT32_LIMITS.get(name, {"rtol": RTOL_LOSS})
        report.compare(stored, got, want, **limit)


def _compare_recipe(report: Report, training: Training, outputs: Tensors) -> None:
    """Compare the metrics that the recipe's step itself reports."""
    for name, stored in _RECIPE_METRICS.items():
        if stored in outputs:
            got = np.stack([np.asarray(step[name][0]) for step in training.metrics])
            limit = _FLOAT32_LIMITS.get(stored.removeprefix("optim/"))
            limit = {"rtol": RTOL_LOSS} if limit is None else limit
            report.compare(stored, got, outputs[stored], where="recipe", **limit)
    counts = [np.asarray(m["accuracy/token"][1]) for m in training.metrics]
    stored = "optim/metrics/count"
    report.compare(stored, np.stack(counts), outputs[stored], where="recipe")


def _gradient(case: Case, steps: list[Step], name: str) -> np.ndarray:
    """Return one of our gradients by the fixture's name, `segK/NAME`."""
    segment_name, _, tensor = name.partition("/")
    step = steps[int(segment_name.removeprefix("seg"))]
    if tensor == "puzzle_emb.local_ids":
        return np.asarray(step.carry.data["puzzle_ids"])
    if tensor == "puzzle_emb.local_weights":
        return np.asarray(step.row_grads)
    if tensor == "puzzle_emb.dense":
        dense = np.zeros_like(np.asarray(case.params["puzzle_table"]))
        ids = np.asarray(step.carry.data["puzzle_ids"])
        np.add.at(dense, ids, np.asarray(step.row_grads))
        return dense
    return published_tensor(_entry(case, tensor), {"weights": step.weight_grads})


def _trained_tensor(
    case: Case, training: Training, name: str
) -> tuple[str, np.ndarray]:
    when, _, tensor = name.partition("/")
    if when == "ema":
        ema = {"weights": training.states[-1].ema}
        return "ema", published_tensor(_entry(case, tensor), ema)
    params = training.states[int(when.removeprefix("step")) - 1].params
    entry = _entry(case, tensor)
    label = "params/puzzle_emb" if entry.path == ("puzzle_table",) else "params/dense"
    return label, published_tensor(entry, params)


def _entry(case: Case, tensor: str) -> Entry:
    bare = tensor.removeprefix(case.prefix)
    return next(entry for entry in case.entries if entry.name == bare)


def _kind_of(name: str) -> str:
    """Group gradients under a short name: the last two parts of the tensor's."""
    parts = name.split(".")
    return "puzzle_emb." + parts[-1] if "puzzle_emb" in name else ".".join(parts[-2:])
