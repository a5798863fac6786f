# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A whole data set along parallel trajectories: batches of fixed lanes, judged.

One compiled program for a batch: think, choose by every rule at every asked width and
depth, judge. Only verdicts come back to the host.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import processes
from lrm_jax.data import augment
from lrm_jax.data import counter_rng as rng
from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation.harness import gather, hide_labels, on_device
from lrm_jax.evaluation.judges import verdict
from lrm_jax.reasoning.budget import lane_keys
from lrm_jax.reasoning.shards import mesh_parts, on_parts, rows_spec
from lrm_jax.search.latent_noise import LatentSearchable, NoiseConfig
from lrm_jax.search.latent_pass import Trajectories, run_trajectories
from lrm_jax.search.latent_select import is_right, oracle, select
from lrm_jax.types import Array, Judge, Key, Params, Problem, UserError

OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class Views:
    """The same problem, K times over: as it is, then changed in ways that keep it.

    Attributes:
      puzzle: its kind; Sudokus and square mazes have such changes.
      seed: of the changes.
    """

    puzzle: PuzzleView
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse kinds without changes that keep a problem."""
        square = self.puzzle.rows == self.puzzle.cols
        if self.puzzle.kind != "sudoku" and not (self.puzzle.kind == "maze" and square):
            raise UserError(
                f"method augment: no change keeps a {self.puzzle.kind} of "
                f"{self.puzzle.rows}x{self.puzzle.cols}; it is for sudoku and square "
                "mazes"
            )

    def draw(self, rows: Array, number: Array) -> augment.Change:
        """Return the changes of views `number` `[B]` of problems `rows` `[B]`."""
        words = (*rng.split_seed(self.seed), rows, number)
        if self.puzzle.kind == "sudoku":
            change = augment.sudoku_change(jnp, self.puzzle.geometry, *words)
        else:
            side, names = self.puzzle.rows, self.puzzle.vocab_size
            change = augment.maze_change(jnp, side, names, *words)
        keep = (number == 0)[:, None]
        return augment.Change(*(jnp.where(keep, _same(x), x) for x in change))


def _same(table: Array) -> Array:
    return jnp.broadcast_to(jnp.arange(table.shape[1], dtype=table.dtype), table.shape)


@dataclass(frozen=True)
class PassPlan:
    """What a pass does; static under `jax.jit`.

    Attributes:
      width: trajectories of a problem, K.
      steps: segments of each, T.
      problems: of a device in a batch.
      rules: selectors that are asked (`latent_select.RULES`).
      points: (width, depth) at which each of them is asked.
      judge: says what is right.
      noise: which states; its sigma is not read.
      views: change the problem from trajectory to trajectory; None: never.
      window: segments that `residual` averages over.
    """

    width: int
    steps: int
    problems: int
    rules: tuple[str, ...]
    points: tuple[tuple[int, int], ...]
    judge: Judge
    noise: NoiseConfig
    views: Views | None = None
    window: int = 3


def problems_per_device(lanes: int, width: int) -> int:
    """Return how many problems of `width` lanes each fit, at least one.

    >>> problems_per_device(256, 16), problems_per_device(8, 16)
    (16, 1)
    """
    return max(lanes // width, 1)


class PassResult(NamedTuple):
    """What a pass found, in problem order (NumPy).

    Attributes:
      right: rule -> `[N, P]` bool, at each point.
      spent: rule -> `[N, P]` int32 segments.
      oracle: `[N, P]` bool, whether any trajectory was right.
      halt: `[N, K]` float32 halting logit after the last segment.
      exact: `[N, K]` bool, right after the last segment.
      time_s: by the clock, without compilation.
    """

    right: dict[str, np.ndarray]
    spent: dict[str, np.ndarray]
    oracle: np.ndarray
    halt: np.ndarray
    exact: np.ndarray
    time_s: float


def run_pass(
    plan: PassPlan,
    reasoner: LatentSearchable,
    params: Params,
    test_set: Mapping[str, Any],
    key: Key,
    *,
    sigma: np.ndarray | None = None,
    on_batch: OnBatch | None = None,
) -> PassResult:
    """Think through every problem of a test set along K trajectories.

    Args:
      plan: what is done.
      reasoner: static under jit.
      params: what is evaluated.
      test_set: arrays `[N, ...]`: inputs, labels, puzzle_ids.
      key: of the run; each problem draws by its index.
      sigma: `[T]` noise before each segment; None for none.
      on_batch: progress, called with (problems done, N).

    Raises:
      UserError: a halting logit is not a number; names problem, lane and segment.
    """
    scale = None if sigma is None else jnp.asarray(sigma)
    step = partial(_batch, plan, reasoner)
    found, time_s = run_batches(
        step, (params, scale), test_set, key, plan.problems, on_batch
    )
    _check_finite(found.pop("bad_at"), plan.steps)
    return PassResult(**found, time_s=time_s)


def run_batches(
    step: Callable[..., Any],
    whole: Any,
    test_set: Mapping[str, Any],
    key: Key,
    problems: int,
    on_batch: OnBatch | None,
) -> tuple[dict[str, Any], float]:
    """Return what a program says of every problem, and the seconds it took.

    Args:
      step: `(whole, arrays, key, start, batch) -> arrays [batch, ...]`, pure; the
        first of `batch` problems is number `start`.
      whole: what it takes of the model.
      test_set: as `run_pass` takes it.
      key: of the run.
      problems: of a device in a batch; a short batch is filled with the last one.
      on_batch: progress.
    """
    arrays = on_device(test_set)
    n = arrays["inputs"].shape[0]
    batch = problems * mesh_parts()
    program = jax.jit(partial(step, batch=batch))
    args = lambda start: (whole, arrays, key, jnp.int32(start))
    compiled = program.lower(*args(0)).compile()
    began = time.perf_counter()
    found: list[dict[str, Any]] = []
    waiting = None
    for start in [*range(0, n, batch), None]:
        # One batch is always in flight while the one before it is read.
        running = None if start is None else compiled(*args(start))
        if waiting is not None:
            found.append(processes.to_host(waiting))
            if on_batch is not None:
                on_batch(min(len(found) * batch, n), n)
        waiting = running
    time_s = time.perf_counter() - began
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *found), time_s


def _batch(
    plan: PassPlan,
    reasoner: LatentSearchable,
    whole: Any,
    arrays: Problem,
    key: Key,
    start: Array,
    *,
    batch: int,
) -> dict[str, Any]:
    """Judge problems `start ..`; those past the end repeat the last one."""
    rows = jnp.minimum(start + jnp.arange(batch), arrays["inputs"].shape[0] - 1)
    mine = (gather(arrays, rows), rows, lane_keys(key, rows))
    spec = rows_spec(batch)
    return on_parts(partial(_part, plan, reasoner), whole, mine, spec, spec)


def _part(
    plan: PassPlan, reasoner: LatentSearchable, whole: Any, mine: Any
) -> dict[str, Any]:
    """Do a device's share of a batch."""
    (params, sigma), (problem, rows, keys) = whole, mine
    known = {name: jnp.repeat(x, plan.width, axis=0) for name, x in problem.items()}
    shown, undo = dict(hide_labels(known)), None
    if plan.views is not None:
        number = jnp.tile(jnp.arange(plan.width), rows.shape[0])
        change = plan.views.draw(jnp.repeat(rows, plan.width), number)
        back = augment.invert_change(jnp, change)
        shown["inputs"] = augment.apply_change(jnp, change, shown["inputs"])
        undo = lambda ids: augment.apply_change(jnp, back, ids)
    seen = run_trajectories(
        reasoner,
        params,
        shown,
        keys,
        sigma,
        width=plan.width,
        steps=plan.steps,
        noise=plan.noise,
        undo=undo,
        judge=lambda ids: verdict("exact", plan.judge, ids, known),
    )
    return _verdicts(plan, seen)


def _verdicts(plan: PassPlan, seen: Trajectories) -> dict[str, Any]:
    """Ask every rule at every point; leaves `[B, ...]`."""
    widths, depths = (jnp.asarray(x, jnp.int32) for x in zip(*plan.points, strict=True))

    def ask(rule: str, width: Array, depth: Array) -> tuple[Array, Array]:
        choice = select(rule, seen, width, depth, window=plan.window)
        return is_right(seen, choice), choice.spent

    asked = {r: jax.vmap(partial(ask, r))(widths, depths) for r in plan.rules}
    any_right = jax.vmap(partial(oracle, seen))(widths, depths)
    bad = ~jnp.isfinite(seen.halt)
    bad_at = jnp.where(bad.any(-1), jnp.argmax(bad, axis=-1), plan.steps)
    return {
        "right": {rule: found[0].T for rule, found in asked.items()},
        "spent": {rule: found[1].T for rule, found in asked.items()},
        "oracle": any_right.T,
        "halt": seen.halt[..., -1],
        "exact": seen.right[..., -1],
        "bad_at": bad_at,
    }


def _check_finite(bad_at: np.ndarray, steps: int) -> None:
    """Refuse halting logits that are no numbers; `[N, K]` the first such segment."""
    bad = np.asarray(bad_at < steps)
    if not bad.any():
        return
    lanes, each = bad.shape[1], bad.sum(axis=1)
    problem = int(each.argmax())
    lane = int(bad[problem].argmax())
    share = "all" if each[problem] == lanes else f"{each[problem]} of"
    raise UserError(
        f"problem {problem}: {share} {lanes} lanes are invalid: the halting logit of "
        f"lane {lane} is not finite at segment {int(bad_at[problem, lane]) + 1}; "
        f"{int(bad.sum())} of {bad.size} lanes in all"
    )
