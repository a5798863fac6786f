# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of whole models: HRM and TRM runs against stored numbers.

Every array that a fixture stores is compared: carries, logits, targets, losses and
metrics of each segment, gradients, parameters and averages after optimizer steps;
in float32 to the README's limits, then in float64 to 1e-10.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from lrm_jax.interop.arch import Kind
from lrm_jax.interop.hrm_trm import Entry, published_tensor
from lrm_jax.interop.hrm_trm import export_state_dict as export_params
from lrm_jax.recipes.verify_report import Report, Tensors, need
from lrm_jax.recipes.verify_stored import check_stored, published_name
from lrm_jax.recipes.verify_trace import (
    Case,
    Step,
    Training,
    read_case,
    run_trace,
    run_training,
    segment_fn,
)
from lrm_jax.training.state import TrainState

# What to ask of a float32 port (fixtures README, column "ask").
ATOL_STATE, ATOL_STATE_FIRST = 3e-4, 3e-5
ATOL_LOGITS, ATOL_Q, ATOL_TARGET = 3e-4, 3e-5, 2e-5
RTOL_LOSS, ATOL_ACCURACY = 1e-5, 1e-5
GRAD_OF_MAX, ATOL_PARAMS = 3e-5, 3e-6
# The largest difference of gradients that the README measured.
GRAD_NOISE = 3.2e-6
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


Masks = list[dict[str, np.ndarray]]
"""For each optimizer step, by published name: elements that are not compared."""


def verify_run(folder: Path, kind: Kind, *, float64: bool) -> tuple[Report, list[str]]:
    """Verify one folder of an HRM or TRM run.

    Returns:
      The report, and the names of stored arrays that nothing compared.
    """
    report = Report()
    outputs = Tensors(folder / "outputs.safetensors")
    grads = Tensors(folder / "grads.safetensors", published_name)
    after = Tensors(folder / "params_after.safetensors", published_name)
    exact = None
    if float64:
        exact = Tensors(folder / "outputs_f64.safetensors", published_name)
    files = [outputs, grads, after] + ([exact] if exact else [])
    with jax.enable_x64(False):
        case = read_case(folder, kind, "float32")
        check_stored(case, outputs, grads, after, exact)
        _check_weights(report, case)
        run = segment_fn(case, train=True)
        steps = run_trace(case, "eval", segment_fn(case, train=False))
        _compare_trace(report, "eval", steps, outputs)
        steps = run_trace(case, "train", run)
        _compare_trace(report, "train", steps, outputs)
        _compare_gradients(report, case, steps, grads)
        training = run_training(case, run)
    trained = Report()
    _compare_training(trained, case, training, outputs, after)
    if exact is not None:
        with jax.enable_x64(True):
            wide = read_case(folder, kind, "float64")
            true = _verify_float64(report, wide, exact, after)
        if trained.failed:
            # AdamATan2's first step is lr sign(g): a gradient that float32 cannot
            # tell from zero may move its weight the other way, and all that
            # follows with it. The float64 run, compared above without exception,
            # says which; then each step is compared on its own.
            masks = undecided_signs(case, training, true)
            if any(masks):
                with jax.enable_x64(False):
                    starts = [_narrow(state) for state in true.starts]
                    training = run_training(case, run, starts)
                masks = undecided_signs(case, training, true)
                trained = Report()
                _compare_training(trained, case, training, outputs, after, masks)
                trained.notes.append(_describe(masks))
    report.extend(trained)
    unread = [f"{file.path.name}:{name}" for file in files for name in file.unread()]
    return report, unread


def _check_weights(report: Report, case: Case) -> None:
    """Count the weights, and export what was imported."""
    path = case.folder / "config.json"
    count = sum(int(x.size) for x in jax.tree.leaves(case.params["weights"]))
    report.compare("n_params", count, need(case.config, "n_params", path))
    stored = Tensors(case.folder / "weights.safetensors")
    exported = export_params(case.arch.model, case.params, prefix=case.prefix)
    for name in stored.names():
        report.compare("weights", exported.get(name, ()), stored[name], where=name)


def _compare_gradients(
    report: Report, case: Case, steps: list[Step], grads: Tensors
) -> None:
    for name in grads.names():
        got = _gradient(case, steps, name)
        of_max = 0.0 if name.endswith("local_ids") else GRAD_OF_MAX
        output = f"grad/{_kind_of(name)}"
        report.compare(output, got, grads[name], where=name, of_max=of_max)


def _compare_training(
    report: Report,
    case: Case,
    training: Training,
    outputs: Tensors,
    after: Tensors,
    masks: Masks | None = None,
) -> None:
    _compare_trace(report, "optim", training.steps, outputs)
    _compare_recipe(report, training, outputs)
    for name in outputs.names("optim/lr_"):
        got = training.lr[name.removeprefix("optim/")]
        report.compare(name, got, outputs[name], rtol=RTOL_LR)
    _compare_params(report, case, training, after, masks)


def _compare_params(
    report: Report,
    case: Case,
    training: Training,
    after: Tensors,
    masks: Masks | None = None,
    prefix: str = "",
) -> None:
    """Compare parameters and averages after optimizer steps."""
    for name in after.names():
        when, _, tensor = name.partition("/")
        entry = _entry(case, tensor)
        step = len(training.states)
        if when == "ema":
            output, tree = "ema", {"weights": training.states[-1].ema}
        else:
            step = int(when.removeprefix("step"))
            tree = training.states[step - 1].params
            is_table = entry.path == ("puzzle_table",)
            output = "params/puzzle_emb" if is_table else "params/dense"
        got, want = published_tensor(entry, tree), after[name]
        if masks and entry.name in masks[step - 1]:
            got = np.where(masks[step - 1][entry.name], want, got)
        # Initial states are never trained.
        atol = 0.0 if name.endswith("_init") else ATOL_PARAMS
        report.compare(prefix + output, got, want, where=name, atol=atol)


def undecided_signs(case: Case, training: Training, true: Training) -> Masks:
    """Find gradients whose sign float32 rounding decides.

    An element counts where the float32 run disagrees with the float64 run about
    the sign, and the float64 gradient is below the float32 noise of its tensor.
    """
    masks: Masks = []
    for ours, exact in zip(training.steps, true.steps, strict=True):
        found = {}
        for entry in case.entries:
            if entry.is_buffer:
                continue
            narrow = published_tensor(entry, {"weights": ours.weight_grads})
            wide = published_tensor(entry, {"weights": exact.weight_grads})
            noise = GRAD_NOISE * np.max(np.abs(wide), initial=0.0)
            mask = (np.sign(narrow) != np.sign(wide)) & (np.abs(wide) <= noise)
            if mask.any():
                found[entry.name] = mask
        masks.append(found)
    return masks


def _narrow(state: TrainState) -> TrainState:
    """Round a float64 state to float32."""

    def narrow(x: Any) -> Any:
        wide = getattr(x, "dtype", None) == np.float64
        return jax.numpy.asarray(np.asarray(x).astype(np.float32)) if wide else x

    return jax.tree.map(narrow, state)


def _describe(masks: Masks) -> str:
    counts = [sum(int(m.sum()) for m in step.values()) for step in masks]
    told = "optim: steps were compared one by one, each from the float64 run's state"
    if not any(counts):  # the one that float32 could not tell is told from there
        return told
    return (
        f"{told}, without {sum(counts)} elements ({counts} by step): the signs of "
        "their gradients lie below float32 rounding"
    )


def _verify_float64(
    report: Report, case: Case, exact: Tensors, after: Tensors
) -> Training:
    run = segment_fn(case, train=True)
    traces = {
        "eval": run_trace(case, "eval", segment_fn(case, train=False)),
        "train": run_trace(case, "train", run),
    }
    training = run_training(case, run)
    traces["optim"] = training.steps
    for name in exact.names():
        trace, _, output = name.partition("/")
        label = f"f64/{name}"
        if trace == "grad":
            label = f"f64/grad/{_kind_of(output)}"
            got = _gradient(case, traces["train"], output)
        elif output.startswith("lr_"):
            got = training.lr[output]
        elif output.endswith("_last"):
            got = _outputs(traces[trace][-1])[output.removesuffix("_last")]
        else:
            got = np.stack([_outputs(step)[output] for step in traces[trace]])
        report.compare(label, got, exact[name], of_max=RTOL_F64, where=name)
    _compare_params(report, case, training, after, prefix="f64/")
    return training


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
    report: Report, trace: str, steps: list[Step], outputs: Tensors
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


def _entry(case: Case, tensor: str) -> Entry:
    """Return the entry of a name that `check_stored` has let through."""
    return next(entry for entry in case.entries if entry.name == tensor)


def _kind_of(name: str) -> str:
    """Group gradients under a short name: the last two parts of the tensor's."""
    parts = name.split(".")
    return "puzzle_emb." + parts[-1] if "puzzle_emb" in name else ".".join(parts[-2:])
