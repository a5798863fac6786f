# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a fixture of an HRM or TRM run must store, and the names of what it stores.

An array that is missing, or stored under a name that nothing knows, is refused: a
comparison that silently leaves something out would be no comparison.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from lrm_jax.interop.hrm_trm import Entry, bare_name
from lrm_jax.recipes.verify_report import Tensors
from lrm_jax.recipes.verify_trace import Case
from lrm_jax.types import UserError, first_of

TRACES = ("eval", "train", "optim")
_CARRY = ("z_H", "z_L")
_EXACT = (
    "steps",
    "halted",
    "current_inputs",
    "current_labels",
    "current_puzzle_identifiers",
)
_FLOATS = (
    "logits",
    "q_halt_logits",
    "q_continue_logits",
    "loss",
    "metrics/count",
    "metrics/accuracy",
    "metrics/exact_accuracy",
    "metrics/q_halt_accuracy",
    "metrics/steps",
    "metrics/lm_loss",
    "metrics/q_halt_loss",
)
_Q_LEARNING = ("target_q_continue", "metrics/q_continue_loss")
_RATES = ("optim/lr_dense", "optim/lr_puzzle_emb")
_ROWS = "puzzle_emb.local_weights"
_PUZZLE_GRADS = (_ROWS, "puzzle_emb.local_ids", "puzzle_emb.dense")
_OUTER = ("embed_tokens.", "embed_pos.", "lm_head.", "q_head.")
_EMA_LEFT_OUT = ".layers.1."


class Names(NamedTuple):
    """The arrays of one file.

    Attributes:
      required: names that must be there.
      known: names that may be there.
    """

    required: set[str]
    known: set[str]


def published_name(name: str) -> str:
    """Return `WHEN/TENSOR` without the prefix that a compiled module's name has."""
    when, slash, tensor = name.rpartition("/")
    return when + slash + bare_name(tensor)


def check_stored(
    case: Case,
    outputs: Tensors,
    grads: Tensors,
    after: Tensors,
    exact: Tensors | None,
) -> None:
    """Refuse a fixture that lacks an array, or has one of an unknown name.

    A trimmed fixture says in its config what was taken out: `left_out`, names by
    file.

    Raises:
      UserError: naming the file and the arrays.
    """
    check_names(case.inputs, Names(_inputs(case), set(case.inputs.names())))
    check_names(outputs, Names(_outputs(case), set(outputs.names())))
    wanted = [(grads, _grads(case, grads)), (after, _after(case, after))]
    if exact is not None:
        wanted.append((exact, _float64(case, exact)))
    left_out = case.config.get("left_out") or {}
    for file, names in wanted:
        told = set(left_out.get(file.path.stem, ()))
        check_names(file, Names(names.required - told, names.known))


def check_names(file: Tensors, names: Names) -> None:
    """Compare the names in a file with those that are wanted.

    Raises:
      UserError: some are missing or unknown.
    """
    stored = set(file.names())
    missing, unknown = names.required - stored, stored - names.known
    parts = []
    if missing:
        parts.append(f"missing arrays: {first_of(sorted(missing))}")
    if unknown:
        parts.append(f"arrays of unknown names: {first_of(sorted(unknown))}")
    if parts:
        raise UserError(f"{file.path}: {'; '.join(parts)}")


def _trained(case: Case) -> list[Entry]:
    return [entry for entry in case.entries if not entry.is_buffer]


def _has_table(case: Case) -> bool:
    return "puzzle_table" in case.params


def _length(case: Case, trace: str) -> int:
    return len(case.inputs[f"{trace}/batch_index"])


def _inputs(case: Case) -> set[str]:
    names = {"inputs", "labels", "puzzle_identifiers"}
    names |= {f"{trace}/batch_index" for trace in TRACES}
    if case.arch.halting["max_steps"] > 1:
        draws = ("explore_uniform", "explore_min_steps")
        names |= {f"{trace}/{draw}" for trace in ("train", "optim") for draw in draws}
    return names


def _floats(case: Case, trace: str) -> tuple[str, ...]:
    halting = case.arch.halting
    bootstraps = halting["rule"] == "q_learning" and halting["max_steps"] > 1
    return _FLOATS + (_Q_LEARNING if bootstraps and trace != "eval" else ())


def _outputs(case: Case) -> set[str]:
    names = {
        f"{trace}/{name}"
        for trace in TRACES
        for name in (*_CARRY, *_EXACT, *_floats(case, trace))
    }
    return names | set(_RATES if _has_table(case) else _RATES[:1])


def _grads(case: Case, grads: Tensors) -> Names:
    entries = [entry.name for entry in _trained(case)]
    tensors = entries + list(_PUZZLE_GRADS if _has_table(case) else ())
    required = _of(_segments(case, grads), tensors)
    return Names(required, _of(_all_segments(case), tensors))


def _all_segments(case: Case) -> list[str]:
    return [f"seg{k}" for k in range(_length(case, "train"))]


def _segments(case: Case, grads: Tensors) -> list[str]:
    """Name the segments whose gradients the config says are stored."""
    told = case.config.get("grad_segments")
    return _told("seg", told) or _stored("seg", grads) or ["seg0"]


def _after(case: Case, after: Tensors) -> Names:
    steps = [f"step{k + 1}" for k in range(_length(case, "optim"))]
    saved = _told("step", case.config.get("save_params_steps"))
    saved = saved or _stored("step", after) or steps[-1:]
    tensors = [entry.name for entry in case.entries]
    required, known = _of(saved, tensors), _of(steps, tensors)
    if case.config.get("ema_mu"):
        averaged = [entry.name for entry in _trained(case)]
        known |= _of(["ema"], averaged)
        kept = [name for name in averaged if _EMA_LEFT_OUT not in name]
        required |= _of(["ema"], kept)
    return Names(required, known)


def _float64(case: Case, exact: Tensors) -> Names:
    lasts = tuple(f"{name}_last" for name in _CARRY)
    required, known = set(), set(_RATES)
    for trace in TRACES:
        floats = _floats(case, trace)
        required |= _of([trace], (*floats, *lasts))
        known |= _of([trace], (*_CARRY, *_EXACT, *floats))
        known |= _of([trace], [f"{name}_last" for name in (*_CARRY, *floats)])
    entries = [entry.name for entry in _trained(case)]
    outer = [name for name in entries if name.startswith(_OUTER)]
    rows = (_ROWS, "puzzle_emb.dense") if _has_table(case) else ()
    told = _told("seg", case.config.get("grad_segments"))
    segments = told or _stored("grad/seg", exact, drop="grad/") or ["seg0"]
    required |= {f"grad/{name}" for name in _of(segments, (*outer, *rows))}
    every = (*entries, *(_PUZZLE_GRADS if rows else ()))
    known |= {f"grad/{name}" for name in _of(_all_segments(case), every)}
    return Names(required, known)


def _told(kind: str, numbers: Iterable[int] | None) -> list[str]:
    return [f"{kind}{int(number)}" for number in numbers or ()]


def _stored(kind: str, file: Tensors, drop: str = "") -> list[str]:
    """Name the segments or steps of which a file holds anything."""
    found = [re.match(rf"{re.escape(kind)}\d+(?=/)", name) for name in file.names()]
    return sorted({match[0].removeprefix(drop) for match in found if match})


def _of(groups: Iterable[str], names: Iterable[str]) -> set[str]:
    names = list(names)
    return {f"{group}/{name}" for group in groups for name in names}
