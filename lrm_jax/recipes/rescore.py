# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Votes and best-of-n over stored samples, for every n at once: no model is run.

Numbers are expectations over subsets of n of a problem's stored completions, and over
ties (`search/subsets.py`). A reward model, where one is given, scores the steps.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np

from lrm_jax.data.jsonl import Prompt
from lrm_jax.data.verify.equivalence import equal_answers
from lrm_jax.evaluation.answers import pass_at_k
from lrm_jax.evaluation.paired import seed_difference
from lrm_jax.prm.aggregate import aggregate, drift_share, rank_scores
from lrm_jax.prm.semantics import Aggregation, Semantics, default_aggregation
from lrm_jax.reasoning.budget import LEVELS, ThinkingBudget
from lrm_jax.recipes.search_result import MethodResult
from lrm_jax.recipes.stored_samples import Candidate, StoredProblem, read_stored
from lrm_jax.search.subsets import best_of_curve, majority_curve, weighted_mean
from lrm_jax.search.voting import classes
from lrm_jax.types import Array, UserError

Need = Literal["", "score", "logprob"]
METHODS: dict[str, Need] = {
    "majority": "",
    "weighted": "score",
    "best_of_n": "score",
    "weighted_logprob": "logprob",
    "best_of_n_logprob": "logprob",
    "pass": "",
}
"""What a method needs of every completion. `pass`: any of n is right, an oracle."""


_VOTES = {"majority", "weighted", "weighted_logprob"}


class StepScorer(Protocol):
    """A reward model, seen from here."""

    @property
    def semantics(self) -> Semantics:
        """What its scores mean, and so how those of a solution are pooled."""
        ...

    def step_scores(
        self, solutions: Sequence[tuple[Prompt, str, Sequence[str] | None]]
    ) -> Sequence[Sequence[float]]:
        """Return a score for each step of (prompt, text, its steps if known)."""
        ...


class Ballot(NamedTuple):
    """A problem's candidates as numbers, `[N]` each.

    Attributes:
      class_ids: of their answers, -1 for none.
      right: 1 or 0.
      logprob: mean of a token's; NaN where unknown.
      rank: orders candidates by their score; NaN where there is none.
      weight: the score as a vote's weight.
    """

    class_ids: list[int]
    right: np.ndarray
    logprob: np.ndarray
    rank: np.ndarray
    weight: np.ndarray


def rescore(
    path: str | Path,
    *,
    methods: Sequence[str] = (),
    budgets: Sequence[str | int] = (),
    scorer: StepScorer | None = None,
    aggregation: Aggregation | None = None,
    seed: int = 0,
    **reading: Any,
) -> list[MethodResult]:
    """Score stored samples again.

    Args:
      path: file or run folder, see `stored_samples`.
      methods: of `METHODS`; all that the file has the numbers for, if not given.
      budgets: candidates of a problem: N, low, medium, high; powers of two if not
        given.
      scorer: scores the steps, in place of the stored scores.
      aggregation: of the scores of steps; by what the scorer's mean if not given, and
        `last` for stored ones.
      seed: of the subsets that a weighted vote draws.
      **reading: `layout`, `reading`, `step`, `split`, see `read_stored`.

    Returns:
      A result for each method and budget. Beside the stable keys: `stored` (the
      fewest candidates of a problem), `answered` (share of candidates with an answer),
      `left_out` (problems of one candidate where others have more), `aggregation` and
      `lowest_at_last_step` (share of solutions whose lowest score is at their last
      step) where steps are scored, `subsets` where they were drawn, and
      `above_majority`, the paired difference to the majority of as many.

    Raises:
      UserError: what was given or stored does not serve; see `read_stored`.
    """
    problems, left_out = _several(read_stored(path, **reading))
    facts: dict[str, Any] = {"left_out": left_out}
    if scorer is not None:
        problems = _scored(problems, scorer)
        aggregation = aggregation or default_aggregation(scorer.semantics)
    ballots = _ballots(problems, aggregation or "last", facts)
    if aggregation and "aggregation" not in facts:
        raise UserError(f"aggregation {aggregation!r}: {path} has no scores of steps")
    chosen = _methods(methods, problems, ballots, str(path))
    stored = min(len(b.class_ids) for b in ballots)
    counts = _budgets(budgets, problems)
    facts |= {"stored": stored, "answered": _answered(problems, chosen, str(path))}
    base = _scores("majority", ballots, counts, seed)[0]
    results = []
    for method in chosen:
        scores, drawn = _scores(method, ballots, counts, seed)
        for row, n, subsets, votes in zip(scores, counts, drawn, base, strict=True):
            extra = _extra(method, facts, subsets, votes, row)
            tokens = _tokens(problems, n)
            results.append(
                MethodResult(method, n, "candidates", row, tokens, extra=extra)
            )
    return results


def summary(results: Sequence[MethodResult]) -> tuple[str, list[str]]:
    """Return a title for a table of the results, and the lines to go below it."""
    extra = results[0].extra
    title = f"{results[0].n} problems, {extra['stored']} completions or more of each"
    if extra["left_out"]:
        title += f"; left out: {extra['left_out']} of a single completion"
    notes = []
    for row in results:
        if "lowest_at_last_step" in row.extra:
            notes.append(
                f"scores of steps pooled by {row.extra['aggregation']}; lowest at the "
                f"last step: {row.extra['lowest_at_last_step']:.1%} of the solutions"
            )
            break
    return title, notes


def _answered(
    problems: list[StoredProblem], methods: Sequence[str], path: str
) -> float:
    """Share of candidates with an answer; refused where votes have none."""
    found = [row.answer is not None for p in problems for row in p.candidates]
    if not any(found) and set(methods) & _VOTES:
        raise UserError(
            f"{path}: no answer was found in any of {len(found)} completions; a vote "
            "needs an answer tag, a box, #### or a last number"
        )
    return float(np.mean(found))


def _extra(
    method: str,
    facts: dict[str, Any],
    subsets: int,
    majority: np.ndarray,
    scores: np.ndarray,
) -> dict[str, Any]:
    """The further keys of a row."""
    of_steps = ("aggregation", "lowest_at_last_step")
    scored = METHODS[method] == "score"
    extra = {k: v for k, v in facts.items() if scored or k not in of_steps}
    if subsets:
        extra["subsets"] = subsets
    if method != "majority" and len(scores) > 1:
        paired = seed_difference(majority, scores)
        extra["above_majority"] = {
            "difference": paired.difference,
            "ci95": list(paired.ci95),
        }
    return extra


def _several(problems: list[StoredProblem]) -> tuple[list[StoredProblem], int]:
    """Problems without those of one candidate, unless all have one (greedy ones)."""
    several = [p for p in problems if len(p.candidates) > 1]
    kept = several or problems
    return kept, len(problems) - len(kept)


def _scored(problems: list[StoredProblem], scorer: StepScorer) -> list[StoredProblem]:
    """The same with the reward model's scores in place of what is stored."""
    asked = [(p.prompt, c.text, c.steps) for p in problems for c in p.candidates]
    scores = iter(scorer.step_scores(asked))
    found = []
    for problem in problems:
        rows = []
        for row in problem.candidates:
            said = [float(x) for x in next(scores)]
            for step, score in enumerate(said, 1):
                if math.isnan(score):
                    raise UserError(
                        f"reward model: line {row.line}, step {step}: the score is NaN"
                    )
            rows.append(row._replace(score=None, step_scores=said))
        found.append(problem._replace(candidates=rows))
    return found


def _ballots(
    problems: list[StoredProblem], how: Aggregation, facts: dict[str, Any]
) -> list[Ballot]:
    """Candidates as numbers; what is said of step scores goes to `facts`."""
    rows = [row for problem in problems for row in problem.candidates]
    weight = np.array([math.nan if r.score is None else r.score for r in rows])
    rank = weight.copy()
    stepped = np.array([r.step_scores is not None for r in rows])
    if stepped.any():
        scores, mask = _padded([r for r in rows if r.step_scores is not None])
        weight[stepped] = np.asarray(aggregate(scores, mask, how))
        rank[stepped] = np.asarray(rank_scores(scores, mask, how))
        facts["aggregation"] = how
        facts["lowest_at_last_step"] = float(drift_share(scores, mask))
    ballots, at = [], 0
    for problem in problems:
        part = slice(at, at + len(problem.candidates))
        at = part.stop
        answers = [row.answer for row in problem.candidates]
        ballots.append(
            Ballot(
                classes(answers, equal_answers, symmetric=True),
                np.array([row.right for row in problem.candidates]),
                np.array([row.logprob for row in problem.candidates]),
                rank[part],
                weight[part],
            )
        )
    return ballots


def _padded(rows: list[Candidate]) -> tuple[Array, Array]:
    """Scores and mask `[B, S]` of candidates with step scores."""
    width = max(len(row.step_scores or ()) for row in rows)
    scores = np.zeros((len(rows), max(width, 1)), np.float32)
    mask = np.zeros(scores.shape, bool)
    for i, row in enumerate(rows):
        given = row.step_scores or ()
        scores[i, : len(given)], mask[i, : len(given)] = given, True
    return jnp.asarray(scores), jnp.asarray(mask)


def _methods(
    asked: Sequence[str],
    problems: list[StoredProblem],
    ballots: list[Ballot],
    path: str,
) -> list[str]:
    """The methods to run; refused where a number they need is missing."""
    unknown = [m for m in asked if m not in METHODS]
    if unknown:
        raise UserError(
            f"method {unknown[0]!r}: expected one of {', '.join(METHODS)} for stored "
            "samples"
        )
    missing = {
        need: _first_without(need, problems, ballots) for need in METHODS.values()
    }
    for method in asked:
        row = missing[METHODS[method]]
        if row is not None:
            wanted = {
                "score": "scores, and no reward model is given (--prm)",
                "logprob": "logps of its tokens",
            }[METHODS[method]]
            raise UserError(f"{method}: {path}, line {row.line} has no {wanted}")
    chosen = list(asked) or [m for m, need in METHODS.items() if missing[need] is None]
    low = _first_negative(problems, ballots)
    if "weighted" in chosen and low is not None:
        if "weighted" in asked:
            raise UserError(
                f"weighted: {path}, line {low.line} has a score below 0 or infinite, "
                "which is no weight of a vote; best_of_n takes any"
            )
        chosen.remove("weighted")
    return chosen


def _first_without(
    need: Need, problems: list[StoredProblem], ballots: list[Ballot]
) -> Candidate | None:
    """The first candidate without a number."""
    if not need:
        return None
    for problem, ballot in zip(problems, ballots, strict=True):
        values = ballot.rank if need == "score" else ballot.logprob
        if np.isnan(values).any():
            return problem.candidates[int(np.isnan(values).argmax())]
    return None


def _first_negative(
    problems: list[StoredProblem], ballots: list[Ballot]
) -> Candidate | None:
    """The first candidate whose score is no weight; -inf (no step) weighs nothing."""
    for problem, ballot in zip(problems, ballots, strict=True):
        bad = ((ballot.weight < 0) & (ballot.weight > -np.inf)) | (
            ballot.weight == np.inf
        )
        if bad.any():
            return problem.candidates[int(bad.argmax())]
    return None


def _budgets(asked: Sequence[str | int], problems: list[StoredProblem]) -> list[int]:
    """Candidates of a problem, rising."""
    fewest = min(problems, key=lambda p: len(p.candidates))
    stored = len(fewest.candidates)
    if not asked:
        counts = [2**i for i in range(stored.bit_length())]
        return sorted({*counts, stored})
    counts = set()
    for budget in asked:
        spelling = str(ThinkingBudget(str(budget), "simulations"))
        if spelling not in LEVELS and not (spelling.isdigit() and int(spelling) > 0):
            raise UserError(
                f"budget {budget!r}: expected a number of candidates, low, medium or "
                "high"
            )
        if spelling.isdigit() and int(spelling) > stored:
            raise UserError(
                f"budget {spelling}: only {stored} completions are stored of the "
                f"problem in line {fewest.candidates[0].line}"
            )
        counts.add(ThinkingBudget(spelling, "simulations").resolve(stored).max_steps)
    return sorted(counts)


def _scores(
    method: str, ballots: list[Ballot], counts: list[int], seed: int
) -> tuple[np.ndarray, list[int]]:
    """Scores `[budgets, problems]`, and the subsets drawn for each budget."""
    drawn = [0] * len(counts)
    scores = np.zeros((len(counts), len(ballots)))
    at = np.array(counts) - 1
    for q, (ids, right, logprob, rank, weight) in enumerate(ballots):
        if method == "majority":
            scores[:, q] = majority_curve(ids, right)[at]
        elif method in ("best_of_n", "best_of_n_logprob"):
            order = rank if method == "best_of_n" else logprob
            scores[:, q] = best_of_curve(ids, order.tolist(), right)[at]
        elif method == "pass":
            scores[:, q] = [pass_at_k(right[None], n) for n in counts]
        else:
            votes = np.exp(logprob) if method == "weighted_logprob" else weight
            votes = np.where(votes == -np.inf, 0, votes).tolist()
            for i, n in enumerate(counts):
                found = weighted_mean(ids, votes, right, n, seed=seed)
                scores[i, q] = found.score
                drawn[i] = max(drawn[i], found.subsets)
    return np.clip(scores, 0, 1), drawn


def _tokens(problems: list[StoredProblem], n: int) -> float | None:
    """Tokens of n candidates of a problem, the mean; None where one is unknown."""
    means = []
    for problem in problems:
        counts = [row.tokens for row in problem.candidates if row.tokens is not None]
        if len(counts) < len(problem.candidates):
            return None
        means.append(math.fsum(counts) / len(counts))
    return n * math.fsum(means) / len(means)
