# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A trained or imported run in Python: evaluate it, solve with it."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lrm_jax import processes, sharding
from lrm_jax.config import from_dict
from lrm_jax.data.pipeline import PuzzleSource, make_source
from lrm_jax.data.puzzle_load import load_test
from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation.compact import CompactEvaluation, evaluate_compact
from lrm_jax.evaluation.harness import evaluate
from lrm_jax.evaluation.judges import IGNORED, judges_for, verdict
from lrm_jax.evaluation.metrics import wilson_interval
from lrm_jax.evaluation.trace import ThoughtTrace, save_traces, trace_thoughts
from lrm_jax.models.latent import latent_core
from lrm_jax.reasoning.budget import ThinkingBudget
from lrm_jax.reasoning.halting import RULES
from lrm_jax.reasoning.latent import LatentReasoner
from lrm_jax.recipes.latent_build import (
    check_fit,
    eval_cap,
    latent_step,
    split_lanes,
)
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.recipes.run_mesh import latent_mesh
from lrm_jax.recipes.solution import Solution
from lrm_jax.recipes.state_axes import latent_state_axes, shardings_of
from lrm_jax.training import files
from lrm_jax.training.loading import load_params, parse_source
from lrm_jax.training.run_folder import read_config
from lrm_jax.types import Judge, Params, Problem, UserError

Budget = str | int | ThinkingBudget


class Run:
    """A reasoner with its parameters; what `lrm eval` and `lrm solve` use."""

    def __init__(
        self,
        config: RunConfig,
        params: Params,
        *,
        run_dir: str | None = None,
        step: int = 0,
        warning: str | None = None,
        source: PuzzleSource | None = None,
        reasoner: LatentReasoner | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        """Bind parameters (averaged ones where there are) to a config.

        Args:
          config: of the run.
          params: what is evaluated.
          run_dir: where reports go; None keeps them in memory.
          step: optimizer steps behind the parameters.
          warning: why it is not the newest step, see `LoadedParams`.
          source: the run's own data, where it is at hand.
          reasoner: the one training used, so that nothing compiles twice.
          mesh: the one training used; by default the one it would use.
        """
        self.config = config
        self.step, self.warning = step, warning
        self.run_dir = run_dir
        core = latent_core(config.model)
        self.reasoner = reasoner or LatentReasoner(core, config.halting)
        self.mesh = mesh or latent_mesh(config, latent_step(config, core))
        where = shardings_of(self.mesh, params, latent_state_axes(core))
        self.params = sharding.put(params, where)
        self._source = source

    @cached_property
    def source(self) -> PuzzleSource:
        """The run's own data."""
        source = self._source or make_source(self.config.data)
        check_fit(self.config, source)
        return source

    @property
    def cap(self) -> int:
        """The most segments that a budget may mean."""
        return eval_cap(self.config)

    def evaluate(
        self,
        data: str | None = None,
        *,
        budgets: Sequence[Budget] | None = None,
        cap: int | None = None,
        halting: str | None = None,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Measure the run at several thinking budgets in one pass.

        Args:
          data: CSV or dataset folder; None for the run's own test set, whose
            result is also written to `report/`.
          budgets: see `ThinkingBudget`; None for those of the config.
          cap: the most segments a budget may mean; None for the run's own.
          halting: the rule of budget -1, instead of the one it was trained with.
          on_batch: progress, called with (problems done, problems).

        Returns:
          {n, results, depth_curve, halting_histogram, calibration, data, step}.
        """
        cap = cap or self.cap
        wanted = [
            ThinkingBudget.parse(budget, cap=cap)
            for budget in budgets or self.config.eval.budgets
        ]
        source = self.source if data is None else self.other_source(data)
        judge, extra = judges_for(source.view, source.judges)
        test = source.test_set()
        with sharding.use_mesh(self.mesh):
            found = evaluate(
                self._reasoner(halting),
                self.params,
                test,
                budgets=wanted,
                cap=cap,
                batch_size=self.config.eval.batch_size,
                judge=judge,
                extra_judges=extra,
                constrain=split_lanes,
                on_batch=on_batch,
            )
        report = {**found.report, "data": data or "own test set", "step": self.step}
        parts = _by_part(source, found.correct)
        if parts:
            report["parts"] = parts
        if self.run_dir is not None and data is None:
            self._write_report(report, source)
        return report

    def evaluate_compact(
        self,
        data: str | None = None,
        *,
        budget: Budget = "-1",
        lanes: int = 0,
        cap: int | None = None,
        halting: str | None = None,
    ) -> CompactEvaluation:
        """Measure one budget with lane compaction: solved lanes leave.

        Args:
          data: as for `evaluate`.
          budget: `-1` or `N+halt` to profit.
          lanes: problems in flight; 0 for the config's evaluation batch.
          cap: as for `evaluate`.
          halting: as for `evaluate`.
        """
        cap = cap or self.cap
        parsed = ThinkingBudget.parse(budget, cap=cap)
        source = self.source if data is None else self.other_source(data)
        judge, _ = judges_for(source.view, source.judges)
        with sharding.use_mesh(self.mesh):
            return evaluate_compact(
                self._reasoner(halting),
                self.params,
                source.test_set(),
                budget=parsed,
                cap=cap,
                lanes=lanes or self.config.eval.batch_size,
                judge=judge,
                constrain=split_lanes,
            )

    def search(
        self,
        data: str | None = None,
        *,
        progress: Callable[[str, int, int], None] | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Try methods of test-time search, with search off beside at equal segments.

        Args:
          data: as for `evaluate`.
          progress: called with (what runs, problems done, problems).
          **settings: fields of `LatentSearchConfig`: `k=16, methods=("best_q",)`.

        Returns:
          {n, results, grid, calibration, settings, data, step}.
        """
        from lrm_jax.recipes.latent_search import search_run
        from lrm_jax.recipes.latent_search_config import LatentSearchConfig

        config = LatentSearchConfig(**settings)
        found = search_run(self, config, data=data, progress=progress)
        return {**found.report, "data": data or "own test set", "step": self.step}

    def _reasoner(self, halting: str | None) -> LatentReasoner:
        """The run's reasoner, with another halting rule where one is named."""
        if halting is None:
            return self.reasoner
        if halting not in RULES and ":" not in halting:
            raise UserError(
                f"--halting {halting}: accepted are {', '.join(RULES)} and "
                "package.module:name"
            )
        rule = dataclasses.replace(self.config.halting, rule=halting)
        return dataclasses.replace(self.reasoner, halting=rule)

    def solve(self, puzzle: str, *, budget: Budget = "-1") -> Solution:
        """Solve one puzzle written as text.

        Args:
          puzzle: row by row; see `PuzzleView.parse`.
          budget: how long to think.
        """
        view = self.view
        inputs = view.parse(puzzle)[None]
        problem = {
            "inputs": inputs,
            "puzzle_ids": np.zeros(1, np.int32),
        }
        budget = ThinkingBudget.parse(budget)
        max_steps, early_stop = budget.resolve(self.cap)
        (trace,) = trace_thoughts(
            self.reasoner,
            self.params,
            problem,
            max_steps=max_steps,
            early_stop=early_stop,
        )
        answer = trace.preds[-1]
        valid = self._is_valid(problem, answer[None])
        steps = len(trace.preds)
        return Solution(
            answer=view.render_grid(answer),
            valid=None if valid is None else bool(valid[0]),
            steps=steps,
            halted=trace.halted,
            trace=trace,
            view=view,
        )

    def _is_valid(self, problem: Problem, answers: np.ndarray) -> np.ndarray | None:
        """Judge answers by the rules of their kind, or by the task's own."""
        own = self._own_judges()
        if not own:
            return self.view.is_valid(np.asarray(problem["inputs"]), answers)
        known = {name: jnp.asarray(x) for name, x in problem.items()}
        known["labels"] = jnp.full_like(known["inputs"], IGNORED)
        ids = jnp.asarray(answers)
        return np.all([verdict(name, j, ids, known) for name, j in own.items()], axis=0)

    def _own_judges(self) -> Mapping[str, Judge]:
        """The rules of a task of the user's own, whose source is read then."""
        if self._source is None and ":" not in self.config.data.kind:
            return {}
        return self.source.judges

    @property
    def view(self) -> PuzzleView:
        """How the run's puzzles are written."""
        from lrm_jax.data.views import maze_view, sudoku_view

        data = self.config.data
        if self._source is None and data.kind == "sudoku" and data.side:
            return sudoku_view(data.side)
        if self._source is None and data.kind == "maze" and data.side:
            return maze_view(data.side)
        return self.source.view

    def other_source(self, path: str) -> PuzzleSource:
        """Read other puzzles of the run's kind, to test on: a CSV or a folder."""
        if not Path(path).exists():
            raise UserError(f"--data {path}: no such file or folder")
        view = self.view
        table, ratings = load_test(path, view)
        source = PuzzleSource(
            view=view,
            train=table,
            test=table,
            vocab_size=view.vocab_size,
            seq_len=view.seq_len,
            num_puzzle_ids=int(table.puzzle_ids.max()) + 1,
            test_ratings=ratings,
            judges=self._own_judges(),
        )
        check_fit(self.config, source)
        return source

    def _write_report(self, report: Mapping[str, Any], source: PuzzleSource) -> None:
        traces = self.traces(source)  # by all processes
        if not processes.is_first():
            return
        folder = files.as_path(self.run_dir or ".") / "report"
        with files.user_errors(f"report of {self.run_dir} cannot be written"):
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report, indent=1, allow_nan=False)
            files.write_atomic(folder / "eval.json", text + "\n")
        if traces:
            save_traces(folder / "traces.npz", traces, source.view)

    def traces(self, source: PuzzleSource | None = None) -> list[ThoughtTrace]:
        """Return the thinking on the first few test problems, at full depth."""
        source = source or self.source
        test = source.test_set()
        count = min(self.config.eval.num_traces, len(test["inputs"]))
        if not count:
            return []
        return trace_thoughts(
            self.reasoner,
            self.params,
            {name: np.asarray(x)[:count] for name, x in test.items()},
            max_steps=self.cap,
        )


def load(run: str) -> Run:
    """Open a run folder, trained or imported.

    Args:
      run: `RUN` or `RUN@latest` for the newest checkpoint, `RUN@STEP`, or
        `RUN@best`: the best by the evaluation during training, which is drawn from
        the test set, so that its figure on that set leans to the high side.

    Raises:
      UserError: no run, an unknown recipe, or no usable checkpoint.
    """
    folder, which = parse_source(run)
    config = from_dict(RunConfig, read_config(folder))
    core = latent_core(config.model)
    mesh = latent_mesh(config, latent_step(config, core))
    place = partial(shardings_of, mesh, axes_of=latent_state_axes(core))
    shapes = jax.eval_shape(core.init, jax.random.key(0))
    placed = lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)
    abstract = jax.tree.map(placed, shapes, place(shapes))
    loaded = load_params(folder, which, abstract=abstract, place=place)
    params = loaded.params
    if loaded.ema is not None:
        params = {**params, "weights": loaded.ema}
    return Run(
        config,
        params,
        run_dir=folder,
        step=loaded.step,
        warning=loaded.warning,
        mesh=mesh,
    )


def _by_part(
    source: PuzzleSource, correct: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Return accuracy per named part of the test set and budget."""
    parts = source.test_parts
    if parts is None:
        return {}
    table: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(parts.names):
        rows = parts.index == number
        table[name] = {"n": int(rows.sum())}
        for budget, right in correct.items():
            wins, n = int(right[rows].sum()), int(rows.sum())
            if n:
                table[name][budget] = {
                    "exact_accuracy": wins / n,
                    "ci95": list(wilson_interval(wins, n)),
                }
    return table
