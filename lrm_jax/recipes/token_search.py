# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Test-time search over a token policy: methods side by side, search off beside.

A budget is candidates of a problem (sampling, beams) or simulations of its tree
(mcts). All methods draw from the same policy and, but for `one_pass` and `majority`,
ask the same scorer: a reward model, or without one the likelihood of what was written.
Every token written and every token scored counts.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from lrm_jax import sharding
from lrm_jax.config.tree import suggest
from lrm_jax.prm.semantics import Aggregation
from lrm_jax.reasoning.budget import LEVELS, ThinkingBudget
from lrm_jax.recipes.search_result import MethodResult, results_json
from lrm_jax.recipes.search_trees import check_folder, save_trees
from lrm_jax.recipes.token_search_cost import search_flops
from lrm_jax.recipes.token_search_found import Found
from lrm_jax.recipes.token_search_run import Bench, open_bench
from lrm_jax.recipes.token_search_vote import verdicts, vote_scores
from lrm_jax.types import UserError

SAMPLING = ("majority", "best_of_n", "weighted")
BEAMS = ("beam", "lookahead", "dvts")
METHODS = ("one_pass", *SAMPLING, *BEAMS, "mcts")
"""What there is for a token policy; `one_pass`, the greedy text, is search off."""
DEFAULT_METHODS = ("one_pass", *SAMPLING, "beam", "mcts")
OnProgress = Callable[[str, int, int], None]
"""Called with (what runs, problems done, problems)."""


@dataclasses.dataclass(frozen=True)
class TokenSearchConfig:
    """What is tried.

    Attributes:
      methods: out of `METHODS`.
      budgets: candidates or simulations of a problem; a level is of `cap`.
      cap: what `high` means.
      k: candidates of a node, continuations of a beam's text.
      prm: run of a reward model, RUN[@step]; empty for likelihood.
      aggregation: how the scores of steps are pooled; by what they mean if empty.
      separator: text between steps; the reward model's, or else the task's, if empty.
      step_tokens: tokens of a step at most; 0 for `max_new`.
      max_new: tokens of a solution at most; 0 for the run's.
      max_depth: steps of a solution at most.
      lookahead: greedy steps behind a candidate, for `lookahead`.
      temperature: of the draws.
      top_p: draw from the most likely tokens of this mass.
      final: of a tree's or beam's answers: `vote` weighted by score, the best `score`,
        or the most `visits` (trees; the best score where nothing was visited).
      tree: how trees are searched: `puct`, `uct` or `gumbel`.
      prior: of a node's candidates, see `GuidedModel`.
      batch: problems at a time; short batches are padded.
      lanes: rows at work at a time; 0 for all.
      n: problems; 0 for all there are.
      seed: of the draws; a problem's follow from it and its place in the data.
      outcome: what a tree's answer is worth: `score`, by what scores steps, or `gold`,
        1 where it is the right one and 0 where not (to make training data of it).
      split: problems of the run's `test` or `train` set.
      trees: file that the trees of `mcts` are written to, with a page beside it.
      memory_gib: of a device, for trees; 0 for what is free.
    """

    methods: tuple[str, ...] = DEFAULT_METHODS
    budgets: tuple[str | int, ...] = (16,)
    cap: int = 64
    k: int = 4
    prm: str = ""
    aggregation: Aggregation | Literal[""] = ""
    separator: str = ""
    step_tokens: int = 0
    max_new: int = 0
    max_depth: int = 16
    lookahead: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    final: Literal["vote", "score", "visits"] = "vote"
    tree: Literal["puct", "uct", "gumbel"] = "puct"
    prior: Literal["multiplicity", "logprob"] = "multiplicity"
    batch: int = 64
    lanes: int = 0
    n: int = 0
    seed: int = 0
    outcome: Literal["score", "gold"] = "score"
    split: Literal["test", "train"] = "test"
    trees: str = ""
    memory_gib: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be tried."""
        for name in self.methods:
            if name not in METHODS:
                raise UserError(
                    f"method {name!r}: not for a token policy"
                    f"{suggest(name, list(METHODS))}; accepted are {', '.join(METHODS)}"
                )
        if self.trees and "mcts" not in self.methods:
            raise UserError(f"trees={self.trees}: only the method mcts grows trees")
        least = {"k": 1, "cap": 1, "max_depth": 1, "batch": 1, "lookahead": 1}
        least |= dict.fromkeys(("step_tokens", "max_new", "lanes", "n"), 0)
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"{name}={getattr(self, name)}: expected {low} or more")
        accepted = {
            "final": ("vote", "score", "visits"),
            "tree": ("puct", "uct", "gumbel"),
            "prior": ("multiplicity", "logprob"),
            "outcome": ("score", "gold"),
            "split": ("test", "train"),
            "aggregation": ("", "min", "product", "last", "mean", "sum"),
        }
        for name, names in accepted.items():
            if getattr(self, name) not in names:
                raise UserError(
                    f"{name}={getattr(self, name)!r}: expected one of "
                    f"{', '.join(filter(None, names))}"
                )

    def counts(self) -> list[int]:
        """Return the budgets as numbers.

        Raises:
          UserError: one is below k or, for beams, no multiple of it; or means none.
        """
        found = []
        for spelled in self.budgets:
            budget = ThinkingBudget.parse(spelled, unit="simulations")
            plain = budget.spelling.isdigit()
            cap = max(self.cap, int(budget.spelling)) if plain else self.cap
            number, stop = budget.resolve(cap)
            if stop is not None or not (plain or budget.spelling in LEVELS):
                raise UserError(
                    f"budget {spelled!r}: accepted: a number, low, medium or high"
                )
            searched = any(name in (*BEAMS, "mcts") for name in self.methods)
            if number < 1 or (searched and number < self.k):
                raise UserError(
                    f"budget {spelled!r}: {number}, below the k={self.k} candidates of "
                    "a node; accepted: k or more"
                )
            beams = any(name in BEAMS for name in self.methods)
            if beams and number % self.k:
                raise UserError(
                    f"budget {spelled!r}: a beam of {number} candidates with k={self.k}"
                    " continuations; accepted: a multiple of the continuations"
                )
            found.append(number)
        return found


def search_run(
    run: Any,
    config: TokenSearchConfig = TokenSearchConfig(),
    *,
    data: str | None = None,
    progress: OnProgress | None = None,
) -> list[MethodResult]:
    """Try methods of search on a policy, on the same problems.

    Args:
      run: `recipes.token_run.TokenRun`.
      config: what is tried.
      data: JSONL; None for the run's own held-out problems.
      progress: called as problems are done.

    Raises:
      UserError: the config does not fit the run, a reward model of other tokens or of
        scores that no search can read, or NaN from it (lane and step named).
    """
    budgets = config.counts()
    check_folder(config.trees)
    bench = open_bench(run, config, data)
    try:
        with sharding.use_mesh(run.mesh):
            rows = list(_rows(bench, budgets, progress))
        if config.trees:
            save_trees(
                config.trees, [tree for part in bench.trees.values() for tree in part]
            )
        return rows
    finally:
        bench.source.close()


def _rows(bench: Bench, budgets: Sequence[int], progress: OnProgress | None) -> Any:
    """Yield the result of each method and budget."""
    config, cache = bench.config, {}
    for method in config.methods:
        for budget in budgets if method != "one_pass" else (1,):
            sampled = method in SAMPLING
            key = ("sampled" if sampled else method, budget)
            if key not in cache:
                cache[key] = _run(bench, *key, progress)
            yield _result(bench, method, budget, *cache[key])


def _run(
    bench: Bench, method: str, budget: int, progress: OnProgress | None
) -> tuple[Found, float]:
    """Search all problems; the seconds are without compilation."""
    parts, time_s = [], 0.0
    for first in range(0, len(bench.examples), bench.config.batch):
        if first == 0:
            bench.search(method, budget, first)  # compiles
        start = time.perf_counter()
        parts.append(bench.search(method, budget, first))
        time_s += time.perf_counter() - start
        if progress is not None:
            done = min(first + bench.config.batch, len(bench.examples))
            progress(f"{method} {budget}", done, len(bench.examples))
    return Found.join(parts), time_s


def _result(
    bench: Bench, method: str, budget: int, found: Found, time_s: float
) -> MethodResult:
    """Judge what was found and decide."""
    said = verdicts(bench, found)
    how: Any = {"majority": "majority", "weighted": "vote", "best_of_n": "score"}
    final = how.get(method, bench.config.final)
    if method == "one_pass":
        final = "majority"
    scores = vote_scores(found, said, final, bench.pooled(found))
    cost = search_flops(bench, found, method)
    unit = "simulations" if method == "mcts" else "candidates"
    answers = np.asarray([len(one) for one in found.solutions])
    single = sum(len(s.steps) < 2 for one in found.solutions for s in one)
    tokens = found.generated
    if bench.scorer is not None and method not in ("one_pass", "majority"):
        scored = float(np.mean(found.scored))
    else:
        scored, time_s = 0.0, time_s - found.scoring_s
    return MethodResult(
        method=method,
        budget=budget,
        unit=unit,
        scores=np.asarray(scores),
        tokens=float(np.mean(tokens)),
        flops=cost,
        time_s=time_s,
        extra={
            "scored_tokens": scored,
            "prompt_tokens": float(np.mean(bench.lengths)),
            "answers": float(answers.mean()),
            "unanswered": int((answers == 0).sum()),
            "without_separator": int(single),
            "lane_use": found.lane_use,
            "oracle_accuracy": float(np.mean([max(x, default=0) for x in said.right])),
        },
    )


def report(
    rows: list[MethodResult], config: TokenSearchConfig, run: Any, data: str | None
) -> dict[str, Any]:
    """Return `{n, results, settings, data, step}`."""
    return results_json(rows) | {
        "settings": dataclasses.asdict(config),
        "data": data or "own test set",
        "step": run.step,
    }
