# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The solutions that a search has written, on the host: tokens, steps and scores.

A tree's solutions are all its candidates that ended with an answer, visited or not:
they have been paid for. Those that never ended have no answer and do not vote.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from lrm_jax.search.beam import Beams
from lrm_jax.search.guided import GuidedState
from lrm_jax.search.guided_steps import ANSWER
from lrm_jax.search.tree import ROOT, SearchResult


class Solution(NamedTuple):
    """One way to an answer.

    Attributes:
      ids: tokens written, the end token included.
      steps: tokens of each step; they sum to `len(ids)`.
      scores: of each step.
      logp: summed over the tokens.
      visits: simulations that came to its end; 0 for beams.
      value: what the tree has backed up at its end (its score, unless the right
        answer was known); for beams the score of the text.
    """

    ids: list[int]
    steps: list[int]
    scores: list[float]
    logp: float
    visits: int
    value: float


def tree_solutions(result: SearchResult[GuidedState]) -> list[list[Solution]]:
    """Return every tree's solutions, in the order of their nodes and candidates."""
    states = jax.tree.map(
        np.asarray, result.tree.states._replace(pages=None, scored=None)
    )
    names = ("parents", "actions", "visits", "children", "rewards")
    tree = {name: np.asarray(getattr(result.tree, name)) for name in names}
    found = []
    for b in range(len(tree["visits"])):
        made = np.flatnonzero(tree["visits"][b] > 0)
        ended = states.kept[b] & (states.end[b] == ANSWER) & (states.length[b] > 0)
        found.append(
            [
                _solution(states, tree, b, int(node), int(k))
                for node in made
                for k in np.flatnonzero(ended[node])
            ]
        )
    return found


def _solution(
    states: Any, tree: dict[str, np.ndarray], b: int, node: int, k: int
) -> Solution:
    child = int(tree["children"][b, node, k])
    path = [(node, k)]
    while node != ROOT:
        parent = int(tree["parents"][b, node])
        path.append((parent, int(tree["actions"][b, node])))
        node = parent
    path.reverse()
    pieces = [states.ids[b, n, a][: states.length[b, n, a]].tolist() for n, a in path]
    scores = [float(states.score[b, n, a]) for n, a in path]
    made = child >= 0
    return Solution(
        ids=[token for piece in pieces for token in piece],
        steps=[len(piece) for piece in pieces],
        scores=scores,
        logp=float(sum(states.logp[b, n, a] for n, a in path)),
        visits=int(tree["visits"][b, child]) if made else 0,
        value=float(tree["rewards"][b, child]) if made else scores[-1],
    )


def beam_solutions(beams: Beams) -> list[list[Solution]]:
    """Return every problem's solutions, in the order of rounds and candidates."""
    beams = jax.tree.map(np.asarray, beams)
    ended = beams.kept & (beams.end == ANSWER)  # [D, Q, N]
    return [
        [
            _beam_solution(beams, int(d), q, int(n))
            for d, n in zip(*np.nonzero(ended[:, q]), strict=True)
        ]
        for q in range(ended.shape[1])
    ]


def _beam_solution(beams: Beams, d: int, q: int, n: int) -> Solution:
    value = float(beams.score[d, q, n])
    path = []
    for back in range(d, -1, -1):
        path.append((back, q, n))
        n = int(beams.parent[back, q, n])
    path.reverse()
    pieces = [beams.ids[at][: beams.length[at]].tolist() for at in path]
    return Solution(
        ids=[token for piece in pieces for token in piece],
        steps=[len(piece) for piece in pieces],
        scores=[float(beams.step_score[at]) for at in path],
        logp=float(sum(beams.logp[at] for at in path)),
        visits=0,
        value=value,
    )


def without_blank_ends(
    found: list[list[Solution]], solid: np.ndarray
) -> list[list[Solution]]:
    """Return solutions whose last step says something, as those of a sampled text.

    What a search writes behind the last separator is a step of its own; where that is
    the end token, or blanks, it belongs to the step before.

    Args:
      found: of each problem.
      solid: `[V]` bool, tokens that write more than blanks.
    """

    def one(solution: Solution) -> Solution:
        ids, steps, scores = solution.ids, solution.steps, solution.scores
        while scores and not solid[ids[sum(steps[:-1]) :]].any():
            steps = [*steps[:-2], sum(steps[-2:])]
            scores = scores[:-1]
        return solution._replace(steps=steps, scores=scores)

    return [[one(solution) for solution in solutions] for solutions in found]


class Spent(NamedTuple):
    """What a search has cost, a problem each `[Q]`; prompts are not counted.

    Attributes:
      generated: tokens the policy wrote.
      scored: tokens the reward model read.
      lane_steps: calls of the policy with one token a lane.
      lane_tokens: tokens that took a lane for a step.
    """

    generated: np.ndarray  # [Q]
    scored: np.ndarray  # [Q]
    lane_steps: int
    lane_tokens: int


def tree_spent(result: SearchResult[GuidedState], *, scored: bool) -> Spent:
    """Return what trees have cost; `scored`: a reward model read every candidate."""
    states = result.tree.states
    made = np.asarray(result.tree.visits) > 0
    length = np.asarray(states.length) * made[:, :, None]
    tokens = length.sum((1, 2))
    # All nodes that are made together share their calls: the largest of a column.
    steps = np.where(made, np.asarray(states.lane_steps), 0).max(0).sum()
    lane_tokens = int(np.maximum(length - 1, 0).sum())
    return Spent(tokens, tokens if scored else 0 * tokens, int(steps), lane_tokens)


def beam_spent(beams: Beams) -> Spent:
    """Return what beams have cost."""
    return Spent(
        np.asarray(beams.generated),
        np.asarray(beams.scored),
        int(beams.lane_steps),
        int(beams.lane_tokens),
    )
