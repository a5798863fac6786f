# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Traces of thought: what a reasoner would have answered after each step."""

import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import processes
from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation.harness import gather, hide_labels, on_device
from lrm_jax.evaluation.judges import IGNORED
from lrm_jax.evaluation.summary import sigmoid
from lrm_jax.reasoning.budget import EarlyStop, lane_keys, think_for
from lrm_jax.storage import gcs
from lrm_jax.storage.paths import as_path, is_remote, to_read
from lrm_jax.types import Array, Key, Params, Problem, Reasoner, Signals, UserError


class ThoughtTrace(NamedTuple):
    """One problem, thought through step by step (NumPy).

    Attributes:
      inputs: `[S]` int32.
      preds: `[T, S]` int32, the answer after each step.
      confidence: `[T, S]` float32, the probability of the answered token.
      halt_prob: `[T]` float32.
      labels: `[S]` int32, or None where the answer is not known.
      halted: whether the reasoner stopped itself (not the budget).
    """

    inputs: np.ndarray
    preds: np.ndarray
    confidence: np.ndarray
    halt_prob: np.ndarray
    labels: np.ndarray | None
    halted: bool = False


def trace_thoughts(
    reasoner: Reasoner,
    params: Params,
    problems: Mapping[str, Any],
    *,
    max_steps: int,
    early_stop: EarlyStop = None,
    key: Key | None = None,
    indices: Sequence[int] | None = None,
) -> list[ThoughtTrace]:
    """Return one trace per problem; a lane that halts ends its trace there.

    Args:
      reasoner: static under jit.
      params: its parameters.
      problems: arrays `[N, ...]`; labels may be absent.
      max_steps: the longest trace.
      early_stop: what may end a trace before.
      key: of the run, as `evaluate` takes it. Default: key 0.
      indices: rows of `problems` to trace. Default: all.
    """
    arrays = on_device(problems)
    count = arrays["inputs"].shape[0]
    rows = jnp.asarray(range(count) if indices is None else indices, jnp.int32)
    record, steps, halted = processes.to_host(
        _record(
            reasoner,
            params,
            arrays,
            jax.random.key(0) if key is None else key,
            rows,
            max_steps=max_steps,
            early_stop=early_stop,
        )
    )
    ids, confidence, halt = record
    traces = []
    for lane, row in enumerate(np.asarray(rows)):
        labels = np.asarray(arrays["labels"][row], np.int32)
        end = steps[lane]
        traces.append(
            ThoughtTrace(
                inputs=np.asarray(arrays["inputs"][row], np.int32),
                preds=ids[:end, lane],
                confidence=confidence[:end, lane],
                halt_prob=sigmoid(halt[:end, lane]).astype(np.float32),
                labels=None if (labels == IGNORED).all() else labels,
                halted=bool(halted[lane]),
            )
        )
    return traces


@partial(jax.jit, static_argnames=("reasoner", "max_steps", "early_stop"))
def _record(
    reasoner: Reasoner,
    params: Params,
    arrays: Problem,
    key: Key,
    rows: Array,
    *,
    max_steps: int,
    early_stop: EarlyStop,
) -> tuple[tuple[Array, Array, Array], Array, Array]:
    """Return (ids, confidences `[T, B, S]`, halting logits `[T, B]`), steps, halted."""

    def observe(carry: Any, signals: Signals) -> tuple[Array, Array, Array]:
        answer = reasoner.answer(params, carry)
        logits = answer.logits.astype(jnp.float32)
        probs = jax.nn.softmax(logits, axis=-1)
        chosen = jnp.take_along_axis(probs, answer.ids[..., None], axis=-1)[..., 0]
        return answer.ids, chosen, signals.halt.astype(jnp.float32)

    thought = think_for(
        reasoner,
        params,
        hide_labels(gather(arrays, rows)),
        lane_keys(key, rows),
        max_steps=max_steps,
        early_stop=early_stop,
        observe=observe,
    )
    return thought.record, thought.steps, thought.halted


def cell_marks(trace: ThoughtTrace, step: int) -> np.ndarray:
    """Return `[S]` int8: 1 right, -1 wrong, 0 unknown, after `step` (from 0)."""
    if trace.labels is None:
        return np.zeros(trace.inputs.shape, np.int8)
    known = trace.labels != IGNORED
    right = trace.preds[step] == trace.labels
    return np.where(known, np.where(right, 1, -1), 0).astype(np.int8)


def save_traces(
    path: str | os.PathLike[str], traces: Sequence[ThoughtTrace], view: PuzzleView
) -> None:
    """Write traces and the puzzle's face to one `.npz` file, without pickle."""
    arrays: dict[str, np.ndarray] = {
        "view": np.array(json.dumps(dataclasses.asdict(view))),
        "count": np.array(len(traces)),
    }
    for i, trace in enumerate(traces):
        for name, value in trace._asdict().items():
            if value is not None:
                arrays[f"{i}/{name}"] = np.asarray(value)
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **arrays)
    if is_remote(path):
        gcs.write(as_path(path), data.getvalue())
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data.getvalue())
    part.replace(path)


def load_traces(
    path: str | os.PathLike[str],
) -> tuple[list[ThoughtTrace], PuzzleView]:
    """Read what `save_traces` wrote."""
    try:
        content = io.BytesIO(to_read(path).read_bytes())
        with np.load(content, allow_pickle=False) as data:
            view = PuzzleView(**json.loads(str(data["view"])))
            traces = []
            for i in range(int(data["count"])):
                fields = {
                    name: data[f"{i}/{name}"] if f"{i}/{name}" in data else None
                    for name in ThoughtTrace._fields
                }
                fields["halted"] = bool(fields["halted"])
                traces.append(ThoughtTrace(**fields))  # pyright: ignore[reportArgumentType]
    except (
        *(ValueError, KeyError, TypeError, EOFError, OSError),
        zipfile.BadZipFile,
    ) as error:
        raise UserError(f"traces file {os.fspath(path)!r}: not readable") from error
    return traces, view
