# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Test-time search over a latent reasoner: methods at equal segments, side by side.

A budget is segments of a problem in all. K trajectories of depth budget / K stand
beside one pass of that depth and one pass of the whole budget: search off, at the
same compute.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import sharding
from lrm_jax.cost.jaxpr_flops import count_flops
from lrm_jax.data.pipeline import PuzzleSource
from lrm_jax.evaluation.judges import judges_for
from lrm_jax.evaluation.step_tree import StepTree
from lrm_jax.evaluation.summary import calibration
from lrm_jax.recipes.latent_search_config import LatentSearchConfig
from lrm_jax.recipes.latent_search_pass import (
    PassPlan,
    PassResult,
    Views,
    problems_per_device,
    run_pass,
)
from lrm_jax.recipes.latent_search_tree import TreePlan, run_trees
from lrm_jax.recipes.search_memory import trees_limit
from lrm_jax.recipes.search_result import MethodResult, results_json
from lrm_jax.recipes.search_trees import board_trees, check_folder, save_trees
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.latent_noise import LatentSearchable, sigmas
from lrm_jax.search.latent_select import RULES
from lrm_jax.search.latent_tree import LatentTree
from lrm_jax.types import Judge, Params

OnProgress = Callable[[str, int, int], None]
"""Called with (what runs, problems done, problems)."""


class LatentSearch(NamedTuple):
    """What a search found.

    Attributes:
      rows: a method at a budget each; `scores` are in problem order.
      report: {n, results, grid, calibration, settings}, JSON-ready.
    """

    rows: list[MethodResult]
    report: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Bench:
    """What all methods share."""

    reasoner: LatentSearchable
    params: Params
    test_set: dict[str, np.ndarray]
    judge: Judge
    config: LatentSearchConfig
    lanes: int
    cap: int
    source: PuzzleSource
    segment_flops: int
    answer_flops: int
    progress: OnProgress
    trees: list[StepTree] = dataclasses.field(default_factory=list)

    def plan(self, width: int, steps: int, **how: Any) -> PassPlan:
        """Return the plan of a pass that asks at its full width and depth."""
        plan = PassPlan(
            width=width,
            steps=steps,
            problems=problems_per_device(self.lanes, width),
            rules=("best_q",),
            points=((width, steps),),
            judge=self.judge,
            noise=dataclasses.replace(self.config.noise, sigma=0.0),
            window=self.config.window,
        )
        return dataclasses.replace(plan, **how)

    def run(self, what: str, plan: PassPlan, sigma: np.ndarray | None) -> PassResult:
        """Run a pass."""
        return run_pass(
            plan,
            self.reasoner,
            self.params,
            self.test_set,
            jax.random.key(self.config.seed),
            sigma=sigma,
            on_batch=partial(self.progress, what),
        )

    def row(
        self,
        method: str,
        budget: int,
        right: np.ndarray,
        segments: float,
        answers: int,
        time_s: float,
        **extra: Any,
    ) -> MethodResult:
        """Return the line of a method; `segments` and `answers` are of a problem."""
        return MethodResult(
            method=method,
            budget=budget,
            unit="segments",
            scores=right,
            tokens=0.0,
            flops=segments * self.segment_flops + answers * self.answer_flops,
            time_s=time_s,
            extra={"segments": segments, **extra},
        )


def search_run(
    run: Any,
    config: LatentSearchConfig | None = None,
    *,
    data: str | None = None,
    progress: OnProgress | None = None,
) -> LatentSearch:
    """Try methods of search on a latent run, with search off beside.

    Args:
      run: `recipes.run.Run`.
      config: what is tried; None for the defaults.
      data: CSV or dataset folder; None for the run's own test set.
      progress: called as passes go on.

    Raises:
      UserError: the config does not fit the run, or the model says NaN.
    """
    config = config or LatentSearchConfig()
    check_folder(config.trees)
    source = run.source if data is None else run.other_source(data)
    budgets = config.segments(run.cap)
    judge, _ = judges_for(source.view, source.judges)
    reasoner, params = run.reasoner, run.params
    bench = _Bench(
        reasoner=reasoner,
        params=params,
        test_set=source.test_set(),
        judge=judge,
        config=config,
        lanes=config.lanes or run.config.eval.batch_size,
        cap=run.cap,
        source=source,
        segment_flops=_flops(reasoner.think, reasoner, params, source.seq_len, True),
        answer_flops=_flops(reasoner.answer, reasoner, params, source.seq_len, False),
        progress=progress or (lambda what, done, n: None),
    )
    rows: list[MethodResult] = []
    extras: dict[str, Any] = {}
    with sharding.use_mesh(run.mesh):
        rows += _baselines(bench, budgets)
        for budget in budgets:
            found, extra = _noise_rows(bench, budget, last=budget == budgets[-1])
            rows += found
            extras |= extra
            if "augment" in config.methods:
                rows.append(_augment_row(bench, budget))
            if "mcts" in config.methods:
                rows.append(_tree_row(bench, budget))
    if config.trees:
        files = save_trees(config.trees, bench.trees, view=source.view)
        extras["trees"] = files
    settings = dataclasses.asdict(config) | {
        "lanes": bench.lanes,
        "segment_flops": bench.segment_flops,
    }
    report = results_json(rows) | extras | {"settings": settings}
    return LatentSearch(rows, report)


def _flops(
    method: Callable[..., Any],
    reasoner: LatentSearchable,
    params: Params,
    cells: int,
    takes_keys: bool,
) -> int:
    """Return the FLOPs of one lane in one call of `think` or `answer`."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    problem = {
        "inputs": jax.ShapeDtypeStruct((1, cells), jnp.int32),
        "puzzle_ids": jax.ShapeDtypeStruct((1,), jnp.int32),
    }
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    carry = jax.eval_shape(reasoner.start, shapes, problem, keys)
    return count_flops(method, shapes, carry, *([keys] if takes_keys else []))


def _baselines(bench: _Bench, budgets: Sequence[int]) -> list[MethodResult]:
    """One pass at the depth of a trajectory, and one that spends the whole budget."""
    k = bench.config.k
    depths = sorted({d for budget in budgets for d in (budget // k, budget)})
    rows = []
    for depth in depths:
        found = bench.run(f"one pass of {depth}", bench.plan(1, depth), None)
        rows.append(
            bench.row(
                "one_pass",
                depth,
                found.exact[:, 0],
                depth,
                1,
                found.time_s,
                k=1,
                depth=depth,
            )
        )
    return rows


def _noise_rows(
    bench: _Bench, budget: int, *, last: bool
) -> tuple[list[MethodResult], dict[str, Any]]:
    """All rules of one pass along noisy trajectories; the grid of the largest."""
    config, k = bench.config, bench.config.k
    rules = tuple(rule for rule in RULES if rule in config.methods)
    if not rules:
        return [], {}
    depth = budget // k
    points = _grid_points(k, depth) if last else ((k, depth),)
    plan = bench.plan(k, depth, rules=rules, points=points)
    sigma = sigmas(config.noise, depth) if config.noise.sigma else None
    found = bench.run(f"{k} trajectories of {depth}", plan, sigma)
    here = points.index((k, depth))
    shared = {
        "k": k,
        "depth": depth,
        "sigma": config.noise.sigma,
        "oracle_accuracy": float(found.oracle[:, here].mean()),
    }
    rows = []
    for rule in rules:
        spent = float(found.spent[rule][:, here].mean())
        right = found.right[rule][:, here]
        rows.append(bench.row(rule, budget, right, spent, k, found.time_s, **shared))
        if rule == "first_halt":  # counted to where it stops; time_s is of all
            rows[-1].extra["segments_run"] = float(k * depth)
    if not last:
        return rows, {}
    grid = [_grid_entry(bench, found, i, *point) for i, point in enumerate(points)]
    return rows, {"grid": grid, "calibration": calibration(found.halt, found.exact)}


def _grid_points(k: int, depth: int) -> tuple[tuple[int, int], ...]:
    """Return (width, depth) by powers of two, and the ends.

    >>> _grid_points(2, 3)
    ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3))
    """
    powers = lambda most: sorted(
        {min(2**i, most) for i in range(most.bit_length() + 1)}
    )
    return tuple((w, d) for w in powers(k) for d in powers(depth))


def _grid_entry(
    bench: _Bench, found: PassResult, at: int, width: int, depth: int
) -> dict[str, Any]:
    """Return accuracy at one width and depth of a pass."""
    segments = width * depth
    flops = segments * bench.segment_flops + width * bench.answer_flops
    return {
        "k": width,
        "depth": depth,
        "segments": segments,
        "flops": flops,
        **{rule: float(right[:, at].mean()) for rule, right in found.right.items()},
        "oracle": float(found.oracle[:, at].mean()),
    }


def _augment_row(bench: _Bench, budget: int) -> MethodResult:
    """TRM's evaluator: views of the problem vote, by number and then by mean q."""
    k = bench.config.k
    depth = budget // k
    views = Views(bench.source.view, bench.config.seed)
    plan = bench.plan(k, depth, rules=("mode",), views=views)
    found = bench.run(f"{k} views of {depth}", plan, None)
    return bench.row(
        "augment",
        budget,
        found.right["mode"][:, 0],
        k * depth,
        k,
        found.time_s,
        k=k,
        depth=depth,
        oracle_accuracy=float(found.oracle[:, 0].mean()),
    )


def _tree_row(bench: _Bench, budget: int) -> MethodResult:
    """A tree whose simulations are a segment each; its root costs nothing."""
    config = bench.config
    max_depth = config.max_depth or bench.cap
    plan = TreePlan(
        model=LatentTree(bench.reasoner, config.actions, max_depth, config.noise),
        search=SearchConfig(
            simulations=budget,
            method=config.tree,
            max_depth=max_depth,
            memory_limit_bytes=trees_limit(config.memory_gib),
        ),
        problems=bench.lanes,
        answer=config.answer,
        judge=bench.judge,
        keep=bool(config.trees),
    )
    found = run_trees(
        plan,
        bench.params,
        bench.test_set,
        jax.random.key(config.seed),
        on_batch=partial(bench.progress, f"trees of {budget}"),
    )
    if found.trees is not None:
        bench.trees.extend(
            board_trees(
                found.trees[0],
                bench.test_set,
                found.trees[1],
                view=bench.source.view,
                method=f"{config.tree}, {budget} segments",
            )
        )
    spent = float(found.simulations.mean())
    return bench.row(
        "mcts",
        budget,
        found.right,
        spent,
        1,
        found.time_s,
        actions=config.actions,
        max_depth=max_depth,
        sigma=config.noise.sigma,
        answer_depth=float(found.depth.mean()),
        oracle_accuracy=float(found.any_right.mean()),
    )
