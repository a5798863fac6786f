# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the solutions of a problem to what is handed out, ties as expectations."""

from typing import Any, Literal, NamedTuple

from lrm_jax.data.verify.equivalence import equal_answers
from lrm_jax.recipes.token_search_found import Found
from lrm_jax.recipes.token_search_run import Bench
from lrm_jax.search.voting import best_of, classes, majority, weighted

Final = Literal["majority", "vote", "score", "visits"]


class Said(NamedTuple):
    """What the task says of every solution, problem by problem.

    Attributes:
      answers: what was answered; None where nothing was.
      right: 1.0 or 0.0.
    """

    answers: list[list[str | None]]
    right: list[list[float]]


def verdicts(bench: Bench, found: Found) -> Said:
    """Judge every solution."""
    tokenizer, texts, examples = bench.run.tokenizer, [], []
    for example, solutions in zip(bench.examples, found.solutions, strict=True):
        texts += [tokenizer.decode(one.ids) for one in solutions]
        examples += [example] * len(solutions)
    judged = bench.source.judge(texts, examples) if texts else []
    each = iter(judged)
    rows = [[next(each) for _ in solutions] for solutions in found.solutions]
    unread = ("no_tag", "no_answer")
    return Said(
        [[None if v.status in unread else v.extracted for v in row] for row in rows],
        [[float(v.strict >= 1) for v in row] for row in rows],
    )


def vote_scores(
    found: Found, said: Said, final: Final, pooled: list[list[float]]
) -> list[float]:
    """Return the chance that each problem's handed-out solution is right.

    Args:
      found: the solutions.
      said: of them.
      final: `majority`; `vote`, weighted by score (below 0 counts 0); the best
        `score`; or the most `visits`, the best score where nothing was visited.
      pooled: the score of each solution.
    """
    scores = []
    rows = zip(found.solutions, said.answers, said.right, pooled, strict=True)
    for solutions, answers, right, score in rows:
        ids = classes(answers, equal_answers, symmetric=True)
        vote: Any
        if final == "majority":
            vote = majority(ids)
        elif final == "vote":
            vote = weighted(ids, [max(s, 0.0) for s in score])
        elif final == "visits" and any(one.visits for one in solutions):
            vote = best_of(ids, [float(one.visits) for one in solutions])
        else:
            vote = best_of(ids, score)
        scores.append(min(1.0, vote.expected(right)))
    return scores
