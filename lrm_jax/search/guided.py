# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps as actions: a tree whose edges are steps that the policy has sampled.

Making a node samples its K next steps at once (eager-K) and scores them; action k is
the k-th of them. Equal ones are one action, of which the prior is its share of the
draws: the policy has already had its say in sampling (with its own distribution as
the proposal, Sampled MuZero, arXiv 2104.06303, corrects to that). A node stores the
pages of its candidates, nothing of its ancestors'. Shape letters: `B` trees, `N`
nodes beside the root, `M` rows, `K` candidates, `C` tokens of a step, `D` steps of a
solution, `L` nodes of a path, `G` tokens of the right answer.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.prm.aggregate import aggregate
from lrm_jax.prm.scorer import ScoringModel
from lrm_jax.prm.semantics import Aggregation
from lrm_jax.search.guided_scores import (
    StepScorer,
    begin_scoring,
    fork_scoring,
    no_score,
    score_steps_on,
)
from lrm_jax.search.guided_steps import (
    ANSWER,
    Drawing,
    StepEnds,
    StepWriter,
    Texts,
    begin_texts,
    first_of_kind,
    node_keys,
    take_texts,
    write_steps,
)
from lrm_jax.search.pages import cut_pages, join_pages, lanes_first
from lrm_jax.search.tree import Expansion, NodeView
from lrm_jax.types import Array, Key, Params, TokenModel, UserError


class GuidedParams(NamedTuple):
    """Arrays that a guided search needs; traced.

    Attributes:
      policy: of the policy.
      scorer: of the reward model, None without one.
      ends: what ends a step.
      drawing: how tokens are drawn.
    """

    policy: Params
    scorer: Params
    ends: StepEnds
    drawing: Drawing


class GuidedProblem(NamedTuple):
    """Prompts that have been read, one a tree; made by `GuidedModel.problem`.

    Attributes:
      texts: of the policy.
      scoring: what the reward model remembers of them, lanes first; None without one.
      gold: `[B, G]` int32, the tokens that a right solution ends with, on the right;
        None where the reward model decides.
      gold_length: `[B]` int32.
      limits: `[B]` int32, tokens of a solution at most.
    """

    texts: Texts
    scoring: Any
    gold: Array | None  # [B, G]
    gold_length: Array | None  # [B]
    limits: Array  # [B]


class GuidedState(NamedTuple):
    """What a node stores: how it came about, and its candidate next steps.

    Attributes:
      action: `[M]` int32, which candidate of its parent it is.
      total: `[M]` int32, tokens of its text, the prompt's too.
      history: `[M, D]`, scores of its steps.
      ids: `[M, K, C]` int32.
      length: `[M, K]` int32; 0: there is none.
      end: `[M, K]` int32, CUT, ANSWER or STEP.
      kept: `[M, K]` bool, not equal to an earlier one.
      logp: `[M, K]`.
      score: `[M, K]`, of the step.
      search: `[M, K]` int32, state of the search for ends behind the step.
      pages: of the policy, leaves `[M, K, C, ...]`.
      scored: of the reward model likewise; None without one.
      lane_steps: `[M]` int32, calls of the policy with one token a lane while it was
        made (the same for all rows made together).
    """

    action: Array
    total: Array
    history: Array
    ids: Array
    length: Array
    end: Array
    kept: Array
    logp: Array
    score: Array
    search: Array
    pages: Any
    scored: Any
    lane_steps: Array


@dataclass(frozen=True)
class GuidedModel:
    """A `TreeModel` over a policy and what scores its steps; holds no arrays.

    A node is terminal where its answer has ended, at `max_depth` steps, without room
    for more tokens, and where no candidate was written. What ends without an answer
    is worth 0.

    Attributes:
      policy: writes.
      scorer: scores; None for likelihood.
      candidates: K.
      step_tokens: C.
      max_depth: D.
      max_new_tokens: tokens of a solution at most.
      lanes: rows at work at a time; 0 for all.
      prior: `multiplicity`, or `logprob`: softmax of the steps' mean log-probs, which
        counts the policy twice.
      outcome: what an answer is worth: `score`, of the text, or `gold`: 1 where the
        solution ends as the right one does, else 0 (training).
      aggregation: how the scores of steps make the value of a text.
      pad_id: what follows the end.
      refill_at: see `StepWriter`.
    """

    policy: TokenModel[Any]
    scorer: ScoringModel[Any] | None
    candidates: int = 4
    step_tokens: int = 64
    max_depth: int = 16
    max_new_tokens: int = 256
    lanes: int = 0
    prior: Literal["multiplicity", "logprob"] = "multiplicity"
    outcome: Literal["score", "gold"] = "score"
    aggregation: Aggregation = "last"
    pad_id: int = 0
    refill_at: int = 0

    def __post_init__(self) -> None:
        """Refuse what no tree can be made of."""
        least = min(self.candidates, self.step_tokens, self.max_depth)
        if min(least, self.max_new_tokens) < 1:
            raise UserError(
                f"guided search: candidates={self.candidates}, step_tokens="
                f"{self.step_tokens}, max_depth={self.max_depth}, max_new_tokens="
                f"{self.max_new_tokens}: accepted: 1 or more of each"
            )

    @property
    def num_actions(self) -> int:
        """K."""
        return self.candidates

    def problem(
        self,
        params: GuidedParams,
        ids: Array,
        mask: Array,
        gold: Array | None = None,
        gold_mask: Array | None = None,
        *,
        limits: Array | None = None,
    ) -> GuidedProblem:
        """Read prompts `[B, P]`, padded on the right.

        Args:
          params: of the search.
          ids: `[B, P]` int32.
          mask: `[B, P]` bool.
          gold: `[B, G]` int32 tokens that a right solution ends with, its end token
            included, padded on the left.
          gold_mask: `[B, G]` bool.
          limits: `[B]` int32, tokens of each problem's solutions at most, where that
            is less than `max_new_tokens`.

        Raises:
          UserError: `outcome` is `gold` and there is none.
        """
        if self.outcome == "gold" and (gold is None or gold_mask is None):
            raise UserError("guided search with outcome='gold': no right answers given")
        slots = ids.shape[1] + self.max_new_tokens
        texts = begin_texts(self.policy, params.policy, ids, mask, slots=slots)
        scorer = self._scorer(params)
        scoring = begin_scoring(scorer, ids, mask, slots=slots + self.step_tokens)
        length = None if gold_mask is None else jnp.sum(gold_mask, 1, dtype=jnp.int32)
        most = jnp.full(len(ids), self.max_new_tokens, jnp.int32)
        limits = most if limits is None else jnp.minimum(limits, most)
        return GuidedProblem(texts, scoring, gold, length, limits)

    def root(
        self, params: GuidedParams, problem: GuidedProblem, keys: Key
    ) -> tuple[Expansion, GuidedState]:
        """Return the roots: prompts with their first steps."""
        rows = len(keys)
        score = no_score(self._scorer(params), rows)
        history = jnp.broadcast_to(score[:, None], (rows, self.max_depth))
        here = _Here(
            action=jnp.full(rows, -1, jnp.int32),
            history=history,
            depth=jnp.zeros(rows, jnp.int32),
            most=problem.texts.length + problem.limits,
            active=jnp.ones(rows, bool),
            gold=jnp.zeros(rows, bool),
            ended=jnp.zeros(rows, bool),
        )
        return self._make(params, here, problem.texts, problem.scoring, keys)

    def step(
        self,
        params: GuidedParams,
        view: NodeView[GuidedState],
        action: Array,
        keys: Key,
    ) -> tuple[Expansion, GuidedState]:
        """Return the nodes that candidate `action` `[M]` of each row leads to."""
        parent, problem = view.state(), view.problem
        action = jnp.maximum(action, 0)
        of = lambda x: jnp.take_along_axis(
            x, action.reshape(-1, *[1] * (x.ndim - 1)), axis=1
        )[:, 0]
        ids, length = of(parent.ids), of(parent.length)
        depth = view.depth
        texts, scoring = self._texts(params, view, action)
        newest = jnp.take_along_axis(ids, jnp.maximum(length - 1, 0)[:, None], 1)[:, 0]
        texts = texts._replace(
            last=newest, length=parent.total + length, search=of(parent.search)
        )
        place = jnp.minimum(depth, self.max_depth - 1)
        rows = jnp.arange(len(action))
        gold = jnp.zeros(len(action), bool)
        if self.outcome == "gold":
            right = problem.gold[view.tree], problem.gold_length[view.tree]
            gold = ends_with(ids, length, *right)
        here = _Here(
            action=action,
            history=parent.history.at[rows, place].set(of(parent.score)),
            depth=depth + 1,
            most=(problem.texts.length + problem.limits)[view.tree],
            active=view.active,
            gold=gold,
            ended=of(parent.end) == ANSWER,
        )
        return self._make(params, here, texts, scoring, keys)

    def writer(self, params: GuidedParams) -> StepWriter:
        """Return what writes steps."""
        return StepWriter(
            self.policy,
            params.policy,
            params.ends,
            self.step_tokens,
            self.lanes,
            self.pad_id,
            self.refill_at,
        )

    def _scorer(self, params: GuidedParams) -> StepScorer:
        return StepScorer(self.scorer, params.scorer, params.ends)

    def _texts(
        self, params: GuidedParams, view: NodeView[GuidedState], action: Array
    ) -> tuple[Texts, Any]:
        """Return the texts that end with a candidate of each row, and their scoring."""
        states, tree = view.states, view.tree[:, None]
        there = view.ancestors >= 0  # [M, L]
        nodes = jnp.maximum(view.ancestors, 0)
        # Which candidate of each ancestor the path takes: what the next one is.
        taken = jnp.pad(states.action[tree, nodes][:, 1:], ((0, 0), (0, 1)))
        last = jnp.sum(there, axis=1, keepdims=True) - 1
        places = jnp.arange(there.shape[1])[None]
        taken = jnp.where(places == last, action[:, None], jnp.maximum(taken, 0))
        lengths = jnp.where(there, states.length[tree, nodes, taken], 0)

        def take(leaf: Array, page: Array, place: Array) -> Array:
            at = lambda x: jnp.take_along_axis(x, page, axis=1)
            return leaf[tree, at(nodes), at(taken), place]  # [M, S, ...]

        prompts = take_texts(self.writer(params), view.problem.texts, view.tree)
        cache = join_pages(
            self.policy, prompts.cache, prompts.length - 1, take, states.pages, lengths
        )
        scorer, scoring = self._scorer(params), None
        if scorer.model is not None:
            scoring = fork_scoring(scorer, view.problem.scoring, view.tree)
            scoring = join_pages(
                scorer.model, scoring, prompts.length, take, states.scored, lengths
            )
        return prompts._replace(cache=cache), scoring

    def _make(
        self, params: GuidedParams, here: "_Here", texts: Texts, scoring: Any, keys: Key
    ) -> tuple[Expansion, GuidedState]:
        """Sample and score the next steps of every text, and judge the text itself."""
        k, rows = self.candidates, len(here.depth)
        left = here.most - texts.length
        terminal = here.ended | (here.depth >= self.max_depth) | (left <= 0)
        room = jnp.where(
            here.active & ~terminal, jnp.minimum(left, self.step_tokens), 0
        )
        steps = write_steps(
            self.writer(params),
            texts,
            node_keys(keys, k),
            params.drawing,
            count=k,
            room=room,
        )
        scorer, parents = self._scorer(params), jnp.repeat(jnp.arange(rows), k)
        before = here.history[jnp.arange(rows), jnp.maximum(here.depth - 1, 0)]
        forked = fork_scoring(scorer, scoring, parents)
        length = texts.length[parents]
        score, read = score_steps_on(scorer, forked, length, steps, before[parents])
        scored = None
        if scorer.model is not None:
            scored = cut_pages(scorer.model, read, length, self.step_tokens)
            scored = lanes_first(scorer.model, scored)
        kept, multiplicity = first_of_kind(steps.ids, steps.length, k)
        each = lambda x: x.reshape(rows, k, *x.shape[1:])
        state = GuidedState(
            action=here.action,
            total=texts.length,
            history=here.history,
            ids=each(steps.ids),
            length=each(steps.length),
            end=each(steps.end),
            kept=kept,
            logp=each(steps.logp),
            score=each(score),
            search=each(steps.search),
            pages=jax.tree.map(each, lanes_first(self.policy, steps.pages)),
            scored=jax.tree.map(each, scored),
            lane_steps=jnp.broadcast_to(steps.steps, (rows,)),
        )
        terminal |= ~kept.any(-1)
        return self._judge(here, state, multiplicity, terminal), state

    def _judge(
        self, here: "_Here", state: GuidedState, multiplicity: Array, terminal: Array
    ) -> Expansion:
        """Return what a node is worth, and its actions."""
        steps = jnp.arange(self.max_depth)[None] < jnp.maximum(here.depth, 1)[:, None]
        value = aggregate(state.history, steps, self.aggregation)
        worth = here.gold.astype(value.dtype) if self.outcome == "gold" else value
        worth = jnp.where(here.ended, worth, 0)
        if self.prior == "multiplicity":
            logits = jnp.log(jnp.maximum(multiplicity, 1).astype(value.dtype))
        else:
            logits = state.logp / jnp.maximum(state.length, 1)
        return Expansion(
            reward=jnp.where(terminal, worth, 0),
            discount=jnp.where(terminal, 0, 1).astype(value.dtype),
            prior_logits=logits,
            valid=state.kept,
            value=value,
            terminal=terminal,
        )


class _Here(NamedTuple):
    """Nodes that are being made, `[M]` each; `history` `[M, D]`."""

    action: Array
    history: Array
    depth: Array
    most: Array  # tokens of its text, the prompt's too
    active: Array
    gold: Array  # the answer is right
    ended: Array  # the answer has ended


def ends_with(ids: Array, length: Array, gold: Array, gold_length: Array) -> Array:
    """Return whether steps end with given tokens, `[M]` bool.

    Args:
      ids: `[M, C]` int32.
      length: `[M]` int32 of the steps.
      gold: `[M, G]` int32, padded on the left.
      gold_length: `[M]` int32; nothing ends with no token.
    """
    width = gold.shape[1]
    back = jnp.arange(width)[::-1][None]  # how far before the last token
    place = length[:, None] - 1 - back
    said = jnp.take_along_axis(ids, jnp.clip(place, 0, ids.shape[1] - 1), axis=1)
    meant = back < gold_length[:, None]
    same = jnp.where(meant, (said == gold) & (place >= 0), True)
    return same.all(-1) & (gold_length > 0)
