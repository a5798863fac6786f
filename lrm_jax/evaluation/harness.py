# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Accuracy at every depth from one pass, and any thinking budget from that pass.

Evaluation knows a reasoner by its Protocol alone. Labels are hidden from it: the
problem it starts from has every label ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import processes
from lrm_jax.evaluation.judges import (
    IGNORED,
    cells_right,
    exact_match,
    verdict,
)
from lrm_jax.evaluation.summary import DepthPass, Evaluation, summarise
from lrm_jax.reasoning.budget import ThinkingBudget, lane_keys, think_for
from lrm_jax.types import (
    Array,
    Judge,
    Key,
    Params,
    Problem,
    Reasoner,
    Signals,
    UserError,
)

Constrain = Callable[[Problem], Problem]
"""Places a gathered batch of problems on the mesh."""


@dataclass(frozen=True)
class EvalConfig:
    """What is evaluated, how often and on how much.

    Attributes:
      every_steps: training steps between proxy evaluations; 0: only at the end.
      proxy_size: problems in the fixed random subset used during training; 0: all.
      proxy_seed: of that subset.
      batch_size: lanes in one device batch.
      budgets: thinking budgets to report (`lrm_jax.reasoning.ThinkingBudget`).
      max_steps: the cap that budgets resolve against; 0: the recipe's own.
      num_traces: problems whose thinking is kept for the report's player.
    """

    every_steps: int = 1000
    proxy_size: int = 2000
    proxy_seed: int = 0
    batch_size: int = 256
    budgets: tuple[str, ...] = ("0", "low", "medium", "high", "-1")
    max_steps: int = 0
    num_traces: int = 8

    def __post_init__(self) -> None:
        """Refuse what no evaluation could use."""
        for name in ("every_steps", "proxy_size", "max_steps", "num_traces"):
            if getattr(self, name) < 0:
                raise UserError(f"eval.{name}={getattr(self, name)}: must be 0 or more")
        if self.batch_size < 1:
            raise UserError(f"eval.batch_size={self.batch_size}: must be at least 1")
        if not self.budgets:
            raise UserError("eval.budgets is empty: give at least one budget")
        for budget in self.budgets:
            ThinkingBudget.parse(budget)


def evaluate(
    reasoner: Reasoner,
    params: Params,
    test_set: Mapping[str, Any],
    *,
    budgets: Sequence[str | int | ThinkingBudget],
    cap: int,
    batch_size: int = 256,
    key: Key | None = None,
    judge: Judge = exact_match,
    extra_judges: Mapping[str, Judge] | None = None,
    constrain: Constrain | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure every asked budget, and every depth up to the largest, in one pass.

    Args:
      reasoner: static under jit: keep one object and nothing compiles twice.
      params: what is evaluated (EMA weights where there are any).
      test_set: arrays `[N, ...]`: inputs, labels, puzzle_ids.
      budgets: thinking budgets.
      cap: the most steps a budget may mean.
      batch_size: lanes of a batch; the last one is padded and the padding dropped.
      key: of the run; each problem draws by its index. Default: key 0.
      judge: decides `exact_accuracy`.
      extra_judges: reported as `<name>_accuracy`.
      constrain: placement of a batch on the mesh.
      on_batch: progress, called with (problems done, N).
    """
    resolved = {
        str(b): b.resolve(cap) for b in (ThinkingBudget.parse(b) for b in budgets)
    }
    if not resolved:
        raise UserError("no thinking budget given: give at least one, such as 'high'")
    seen = depth_pass(
        reasoner,
        params,
        test_set,
        max_steps=max(b.max_steps for b in resolved.values()),
        batch_size=batch_size,
        key=jax.random.key(0) if key is None else key,
        judges=(("exact", judge), *(extra_judges or {}).items()),
        constrain=constrain,
        on_batch=on_batch,
    )
    return summarise(seen, resolved)


def depth_pass(
    reasoner: Reasoner,
    params: Params,
    test_set: Mapping[str, Any],
    *,
    max_steps: int,
    batch_size: int,
    key: Key,
    judges: tuple[tuple[str, Judge], ...] = (("exact", exact_match),),
    constrain: Constrain | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> DepthPass:
    """Run every problem for `max_steps` steps and judge its answer after each."""
    arrays = on_device(test_set)
    n = arrays["inputs"].shape[0]
    batch_size = min(batch_size, n)
    starts = range(0, n, batch_size)
    batches: list[dict[str, Any]] = []
    waiting = None
    for start in [*starts, None]:
        # One batch is always in flight while the one before it is read.
        running = None
        if start is not None:
            running = _judge_batch(
                reasoner,
                params,
                arrays,
                key,
                jnp.int32(start),
                judges=judges,
                max_steps=max_steps,
                batch_size=batch_size,
                constrain=constrain,
            )
        if waiting is not None:
            batches.append(processes.to_host(waiting))
            if on_batch is not None:
                on_batch(min(len(batches) * batch_size, n), n)
        waiting = running
    joined = jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *batches)
    return DepthPass(**joined)


@partial(
    jax.jit,
    static_argnames=("reasoner", "judges", "max_steps", "batch_size", "constrain"),
)
def _judge_batch(
    reasoner: Reasoner,
    params: Params,
    arrays: Problem,
    key: Key,
    start: Array,
    *,
    judges: tuple[tuple[str, Judge], ...],
    max_steps: int,
    batch_size: int,
    constrain: Constrain | None,
) -> dict[str, Any]:
    """Judge problems `start ..` after each step; lanes past the end repeat the last."""
    last = arrays["inputs"].shape[0] - 1
    indices = jnp.minimum(start + jnp.arange(batch_size), last)
    problem = gather(arrays, indices, constrain)

    def observe(carry: Any, signals: Signals) -> tuple[Any, ...]:
        answer = reasoner.answer(params, carry)
        ids = jnp.where(answer.mask, answer.ids, IGNORED - 1)
        verdicts = {name: verdict(name, judge, ids, problem) for name, judge in judges}
        halt = signals.halt.astype(jnp.float32)
        return verdicts, cells_right(ids, problem)[0], halt, signals.done

    record = think_for(
        reasoner,
        params,
        hide_labels(problem),
        lane_keys(key, indices),
        max_steps=max_steps,
        observe=observe,
    ).record
    verdicts, right, halt, done = jax.tree.map(lambda x: x.T, record)  # [B, T]
    return {
        "exact": verdicts.pop("exact"),
        "cells_right": right,
        "cells": cells_right(problem["inputs"], problem)[1],
        "halt": halt,
        "done": done,
        "extra": verdicts,
    }


def on_device(test_set: Mapping[str, Any]) -> dict[str, Array]:
    """Put a test set on the device, checked; absent labels are all ignored."""
    arrays = {name: jnp.asarray(value) for name, value in test_set.items()}
    if "inputs" not in arrays or arrays["inputs"].ndim != 2:
        raise UserError("test set: needs an array 'inputs' of shape [problems, cells]")
    arrays.setdefault("labels", jnp.full_like(arrays["inputs"], IGNORED, jnp.int32))
    n = arrays["inputs"].shape[0]
    if n == 0:
        raise UserError("test set: it holds no problem")
    for name, value in arrays.items():
        if value.shape[:1] != (n,):
            raise UserError(
                f"test set: {name!r} has shape {value.shape}, 'inputs' has {n} rows"
            )
    return arrays


def gather(
    arrays: Problem, indices: Array, constrain: Constrain | None = None
) -> Problem:
    """Take the problems `indices` `[B]`; integers become int32."""
    problem = {
        name: value[indices].astype(jnp.int32)
        if jnp.issubdtype(value.dtype, jnp.integer)
        else value[indices]
        for name, value in arrays.items()
    }
    return problem if constrain is None else constrain(problem)


def hide_labels(problem: Problem) -> Problem:
    """Return the problem as a reasoner may see it: all labels ignored."""
    return {**problem, "labels": jnp.full_like(problem["labels"], IGNORED)}


def proxy_indices(n: int, size: int, seed: int) -> np.ndarray:
    """Return the `size` rows of `n` with the least seeded hash, in ascending order.

    A row's hash does not depend on `n` or `size`: subsets of one seed are nested.
    The first rows would not do: published lists are sorted in part.
    """
    if size == 0 or size >= n:
        return np.arange(n)
    state = np.arange(n, dtype=np.uint64)
    state = _splitmix64(state ^ _splitmix64(np.full(n, seed, np.uint64)))
    return np.sort(np.argsort(state, kind="stable")[:size])


def _splitmix64(x: np.ndarray) -> np.ndarray:
    """Mix 64 bits [Steele et al. 2014, SplittableRandom]."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
