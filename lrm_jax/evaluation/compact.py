# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adaptive halting at evaluation with lane compaction under static shapes.

A fixed number of lanes thinks in one jitted loop. A lane that halts writes its
answer to its problem's row and takes the next waiting problem; when the queue is
empty and few lanes are left, they move to a narrower loop. Every width is one
compiled loop of the same program, and the host never waits in between. Draws
depend on the problem and its own step count, so each result is the one that the
problem gets alone.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.evaluation.harness import Constrain, gather, hide_labels, on_device
from lrm_jax.evaluation.judges import IGNORED, cells_right, exact_match
from lrm_jax.evaluation.summary import result_row
from lrm_jax.reasoning.budget import (
    EarlyStop,
    ThinkingBudget,
    lane_keys,
    step_keys,
    stops,
)
from lrm_jax.reasoning.halting import select_lanes
from lrm_jax.types import Array, Judge, Key, Params, Problem, Reasoner


class CompactEvaluation(NamedTuple):
    """Results in problem order (NumPy), and what they cost.

    Attributes:
      report: one line as `evaluate` gives, with the lane counters beside it.
      ids: `[N, S]` int32, the answer at the moment of halting.
      steps: `[N]` int32, steps spent.
      halted: `[N]` bool, whether it stopped itself (not the budget).
      correct: `[N]` bool, by the judge.
    """

    report: dict[str, Any]
    ids: np.ndarray
    steps: np.ndarray
    halted: np.ndarray
    correct: np.ndarray


class _Results(NamedTuple):
    ids: Array  # [N, S]
    steps: Array  # [N]
    halted: Array  # [N]


class _Lanes(NamedTuple):
    """Lanes in flight; a lane with `problem == N` is idle."""

    carry: Any
    problem: Array  # [B] int32 row of the test set
    steps: Array  # [B] int32
    next_problem: Array  # int32, the head of the queue
    results: _Results
    launched: Array  # int32 lane-segments computed, idle ones included
    idle: Array  # int32


def evaluate_compact(
    reasoner: Reasoner,
    params: Params,
    test_set: Mapping[str, Any],
    *,
    budget: str | int | ThinkingBudget,
    cap: int,
    lanes: int = 256,
    shrink: int = 4,
    widths: int = 3,
    key: Key | None = None,
    judge: Judge = exact_match,
    constrain: Constrain | None = None,
) -> CompactEvaluation:
    """Spend `budget` on every problem, and no lane on one that has halted.

    Args:
      reasoner: static under jit; every leaf of its carry has the lane axis first.
      params: what is evaluated.
      test_set: arrays `[N, ...]`: inputs, labels, puzzle_ids.
      budget: `N+halt` or `-1` to profit; `N` runs too.
      cap: the most steps a budget may mean.
      lanes: problems in flight.
      shrink: each narrower loop has this many times fewer lanes.
      widths: number of compiled loops, the widest included.
      key: of the run; each problem draws by its index. Default: key 0.
      judge: decides `exact_accuracy`.
      constrain: placement of the problems in the lanes on the mesh.
    """
    parsed = ThinkingBudget.parse(budget)
    max_steps, early_stop = parsed.resolve(cap)
    arrays = on_device(test_set)
    n = arrays["inputs"].shape[0]
    lanes = min(lanes, n)
    done = _drain_queue(
        reasoner,
        params,
        arrays,
        jax.random.key(0) if key is None else key,
        max_steps=max_steps,
        early_stop=early_stop,
        ladder=lane_ladder(lanes, shrink, widths),
        constrain=constrain,
    )
    verdict = _judge_results(done.results.ids, arrays, judge=judge, chunk=lanes)
    done, (correct, right, cells) = jax.device_get((done._replace(carry=()), verdict))
    ids, steps, halted = done.results
    report = result_row(str(parsed), correct, right, cells, steps, halted)
    full_depth = n * max_steps
    report |= {
        "max_steps": max_steps,
        "n": n,
        "lanes": lanes,
        "lane_segments_launched": int(done.launched),
        "idle_lane_segments": int(done.idle),
        "full_depth_lane_segments": full_depth,
        "share_of_full_depth": int(done.launched) / full_depth,
    }
    return CompactEvaluation(report, ids, steps, halted, correct)


def lane_ladder(lanes: int, shrink: int, widths: int) -> tuple[int, ...]:
    """Return the widths of the loops, the widest first.

    >>> lane_ladder(256, shrink=4, widths=3)
    (256, 64, 16)
    """
    if lanes < 1 or shrink < 2 or widths < 1:
        raise ValueError(f"lane_ladder({lanes}, {shrink}, {widths}): too small")
    ladder = [lanes]
    while len(ladder) < widths and ladder[-1] // shrink >= 1:
        ladder.append(ladder[-1] // shrink)
    return tuple(ladder)


@partial(
    jax.jit,
    static_argnames=("reasoner", "max_steps", "early_stop", "ladder", "constrain"),
)
def _drain_queue(
    reasoner: Reasoner,
    params: Params,
    arrays: Problem,
    key: Key,
    *,
    max_steps: int,
    early_stop: EarlyStop,
    ladder: tuple[int, ...],
    constrain: Constrain | None,
) -> _Lanes:
    """Run every problem to its end, width by width down the ladder."""
    n = arrays["inputs"].shape[0]

    def begin(problem: Array) -> Any:
        rows = jnp.minimum(problem, n - 1)
        visible = hide_labels(gather(arrays, rows, constrain))
        keys = lane_keys(key, rows)
        return reasoner.start(params, visible, step_keys(keys, jnp.zeros_like(problem)))

    def segment(state: _Lanes) -> _Lanes:
        keys = lane_keys(key, jnp.minimum(state.problem, n - 1))
        steps = state.steps + 1
        carry, signals = reasoner.think(params, state.carry, step_keys(keys, steps))
        active = state.problem < n
        halted = stops(signals, early_stop)
        ended = active & (halted | (steps >= max_steps))
        answer = reasoner.answer(params, carry)
        # Rows of lanes that go on are out of range, and dropped.
        row = jnp.where(ended, state.problem, n)
        ids = jnp.where(answer.mask, answer.ids, IGNORED - 1)
        results = _Results(
            state.results.ids.at[row].set(ids, mode="drop"),
            state.results.steps.at[row].set(steps, mode="drop"),
            state.results.halted.at[row].set(halted, mode="drop"),
        )
        return _Lanes(
            carry,
            jnp.where(ended, n, state.problem),
            steps,
            state.next_problem,
            results,
            state.launched + steps.size,
            state.idle + (~active).sum(dtype=jnp.int32),
        )

    state = _seat_all(begin, arrays["inputs"], ladder[0])
    for width, narrower in zip(ladder, (*ladder[1:], 0), strict=True):
        state = _narrow(state, width, n)

        def worth_it(state: _Lanes, narrower: int = narrower) -> Array:
            active = (state.problem < n).sum()
            return (state.next_problem < n) | (active > narrower)

        def body(state: _Lanes, refilling: bool = width == ladder[0]) -> _Lanes:
            state = segment(state)
            return _refill(begin, state, n) if refilling else state

        state = jax.lax.while_loop(worth_it, body, state)
    return state


def _seat_all(begin: Callable[[Array], Any], inputs: Array, lanes: int) -> _Lanes:
    """Put the first problems into the lanes; there are at least that many."""
    n, cells = inputs.shape
    problem = jnp.arange(lanes, dtype=jnp.int32)
    carry = begin(problem)
    for leaf in jax.tree.leaves(carry):
        if leaf.shape[:1] != (lanes,):
            raise ValueError(
                f"carry leaf of shape {leaf.shape} has no lane axis of {lanes}"
            )
    results = _Results(
        jnp.full((n, cells), IGNORED - 1, jnp.int32),
        jnp.zeros(n, jnp.int32),
        jnp.zeros(n, bool),
    )
    zero = jnp.int32(0)
    steps = jnp.zeros(lanes, jnp.int32)
    return _Lanes(carry, problem, steps, jnp.int32(lanes), results, zero, zero)


def _refill(begin: Callable[[Array], Any], state: _Lanes, n: int) -> _Lanes:
    """Give each idle lane the next waiting problem, in lane order."""
    idle = state.problem >= n
    offered = state.next_problem + jnp.cumsum(idle, dtype=jnp.int32) - 1
    enters = idle & (offered < n)
    problem = jnp.where(enters, offered, state.problem)
    carry = jax.lax.cond(
        enters.any(),
        lambda carry: select_lanes(enters, begin(problem), carry),
        lambda carry: carry,
        state.carry,
    )
    return state._replace(
        carry=carry,
        problem=problem,
        steps=jnp.where(enters, 0, state.steps),
        next_problem=state.next_problem + enters.sum(dtype=jnp.int32),
    )


def _narrow(state: _Lanes, width: int, n: int) -> _Lanes:
    """Keep `width` lanes, the ones still at work first."""
    if width == state.problem.size:
        return state
    order = jnp.argsort(state.problem >= n, stable=True)[:width]
    carry, problem, steps = jax.tree.map(
        lambda x: x[order], (state.carry, state.problem, state.steps)
    )
    return state._replace(carry=carry, problem=problem, steps=steps)


@partial(jax.jit, static_argnames=("judge", "chunk"))
def _judge_results(
    ids: Array, arrays: Problem, *, judge: Judge, chunk: int
) -> tuple[Array, Array, Array]:
    """Judge `[N]` answers, `chunk` at a time: right, cells right, labelled cells."""
    n = ids.shape[0]
    rows = jnp.arange(-(-n // chunk) * chunk, dtype=jnp.int32)
    rows = jnp.minimum(rows, n - 1).reshape(-1, chunk)

    def judge_rows(rows: Array) -> tuple[Array, Array, Array]:
        problem = gather(arrays, rows)
        right, cells = cells_right(ids[rows], problem)
        return judge(ids[rows], problem), right, cells

    verdicts = jax.lax.map(judge_rows, rows)
    return jax.tree.map(lambda x: x.reshape(-1)[:n], verdicts)
