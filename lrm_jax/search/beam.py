# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Beam search over written steps, DVTS and lookahead: one loop, three choices.

Snell et al. 2024 (arXiv 2408.03314): N candidates a round, the best N / M of those
that go on are kept, each is continued M times; lookahead scores a candidate k greedy
steps later. DVTS (Beeching et al. 2024) keeps the best of each of N / M subtrees that
never compete. Differences from the published code: a finished candidate is never
dropped, equal continuations of a text count once, ties go to the lower index, every
token is counted. Shape letters: `Q` problems, `N` candidates of each, `F` = N / M
texts that go on, `D` rounds, `C` tokens of a step at most.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from lrm_jax.prm.aggregate import aggregate
from lrm_jax.prm.semantics import Aggregation
from lrm_jax.reasoning.shards import on_parts, rows_spec
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
    Steps,
    StepWriter,
    Texts,
    begin_texts,
    child_keys,
    go_on,
    node_keys,
    take_texts,
    write_steps,
)
from lrm_jax.search.lookahead import look_ahead
from lrm_jax.search.tree import key_data
from lrm_jax.search.tree import node_keys as node_keys_of
from lrm_jax.types import Array, Key, UserError


@dataclass(frozen=True)
class BeamConfig:
    """How beams are searched; static under `jax.jit`.

    Attributes:
      candidates: N, steps that are sampled in a round.
      expand: M, continuations of each text; divides N.
      rounds: D, steps of a solution at most.
      max_new_tokens: tokens of a solution at most.
      kind: `beam`: the best N / M of a problem go on; `dvts`: the best of each subtree.
      lookahead: k, greedy steps behind a candidate before it is scored.
      aggregation: how the scores of steps make the score of a text.
    """

    candidates: int = 16
    expand: int = 4
    rounds: int = 16
    max_new_tokens: int = 256
    kind: Literal["beam", "dvts"] = "beam"
    lookahead: int = 0
    aggregation: Aggregation = "last"

    def __post_init__(self) -> None:
        """Refuse what no beam can be made of."""
        n, m = self.candidates, self.expand
        if m < 1 or n < m or n % m:
            raise UserError(
                f"beam of {n} candidates with {m} continuations of a text: accepted: "
                "candidates that are a multiple of the continuations"
            )
        if min(self.rounds, self.max_new_tokens) < 1 or self.lookahead < 0:
            raise UserError(
                f"beam rounds={self.rounds}, max_new_tokens={self.max_new_tokens}, "
                f"lookahead={self.lookahead}: accepted: 1, 1 and 0 or more"
            )

    @property
    def kept(self) -> int:
        """F, texts that go on."""
        return self.candidates // self.expand


class Beams(NamedTuple):
    """All candidates of all rounds; those of a problem are neighbours.

    Attributes:
      ids: `[D, Q, N, C]` int32.
      length: `[D, Q, N]` int32; 0: there is no such candidate.
      end: `[D, Q, N]` int32, CUT, ANSWER or STEP.
      parent: `[D, Q, N]` int32, the candidate of the round before that it goes on
        from; -1 in the first.
      kept: `[D, Q, N]` bool, not equal to an earlier one from the same text.
      step_score: `[D, Q, N]` of the step.
      score: `[D, Q, N]` of the text so far.
      logp: `[D, Q, N]` of the step.
      generated: `[Q]` int32, tokens written, lookahead included.
      scored: `[Q]` int32, tokens the reward model read, prompts not counted.
      lane_steps: `[]` int32, calls of the policy with one token a lane, all parts' of
        a mesh.
      lane_tokens: `[]` int32, tokens that took a lane for a step.
    """

    ids: Array
    length: Array
    end: Array
    parent: Array
    kept: Array
    step_score: Array
    score: Array
    logp: Array
    generated: Array
    scored: Array
    lane_steps: Array
    lane_tokens: Array


class _State(NamedTuple):
    """Texts that go on, `[Q * F]` rows, and all that was written."""

    texts: Texts
    scoring: Any
    keys: Key
    alive: Array  # [Q * F]
    left: Array  # [Q * F] tokens that the solution may still have
    origin: Array  # [Q * F] the candidate each is, all -1 at first
    history: Array  # [Q * F, D] scores of its steps
    round: Array
    beams: Beams


def beam_search(
    writer: StepWriter,
    scorer: StepScorer,
    prompt_ids: Array,
    prompt_mask: Array,
    keys: Key,
    drawing: Drawing,
    config: BeamConfig,
    *,
    limits: Array | None = None,
) -> Beams:
    """Search the solutions of every prompt.

    Pure, to be jitted with `config` and the models static. A problem's candidates are
    a function of its prompt, its key and its path. Under a mesh that splits batches
    each part searches its own problems, in `writer.lanes` lanes of its own; where they
    do not divide, every part searches all.

    Args:
      writer: of steps.
      scorer: of steps.
      prompt_ids: `[Q, P]` int32.
      prompt_mask: `[Q, P]` bool, padding on the right.
      keys: `[Q]`, one a problem.
      drawing: how tokens are drawn.
      config: of the beams.
      limits: `[Q]` int32, tokens of each problem's solutions at most, where that is
        less than `config.max_new_tokens`.
    """
    if limits is None:
        limits = jnp.full(len(prompt_ids), config.max_new_tokens, jnp.int32)

    def part(whole: tuple, rows: tuple) -> Beams:
        """Search the problems of one part of the mesh."""
        (policy, ends), (reward, places), drawing = whole
        write = writer._replace(params=policy, ends=ends)
        read = scorer._replace(params=reward, ends=places)
        ids, mask, data, limits = rows
        state = _begin(write, read, ids, mask, node_keys_of(data), config)
        left = jnp.repeat(jnp.minimum(limits, config.max_new_tokens), config.kept)
        state = state._replace(left=left, alive=left > 0)
        goes_on = lambda now: (now.round < config.rounds) & now.alive.any()
        one = lambda now: _round(write, read, drawing, config, now)
        beams = jax.lax.while_loop(goes_on, one, state).beams
        steps, tokens = beams.lane_steps[None], beams.lane_tokens[None]
        return beams._replace(lane_steps=steps, lane_tokens=tokens)

    models = (writer.params, writer.ends), (scorer.params, scorer.ends)
    whole = (*models, jax.tree.map(jnp.asarray, drawing))
    rows = (prompt_ids, prompt_mask, key_data(keys), limits)
    split = rows_spec(len(prompt_ids))
    by_round: Any = P(None, *split)
    specs = Beams(*[by_round] * len(Beams._fields))
    flat: Any = dict.fromkeys(
        ("generated", "scored", "lane_steps", "lane_tokens"), split
    )
    beams = on_parts(part, whole, rows, split, specs._replace(**flat))
    steps, tokens = jnp.sum(beams.lane_steps), jnp.sum(beams.lane_tokens)
    return beams._replace(lane_steps=steps, lane_tokens=tokens)


def _begin(
    writer: StepWriter,
    scorer: StepScorer,
    ids: Array,
    mask: Array,
    keys: Key,
    config: BeamConfig,
) -> _State:
    """Return F copies of every prompt, with a key each."""
    count, kept = len(ids), config.kept
    slots = ids.shape[1] + config.max_new_tokens
    parents = jnp.repeat(jnp.arange(count), kept)
    texts = begin_texts(writer.model, writer.params, ids, mask, slots=slots)
    texts = take_texts(writer, texts, parents)
    spare = writer.step_tokens * (1 + config.lookahead)
    scoring = begin_scoring(scorer, ids, mask, slots=slots + spare)
    rows = count * kept
    zeros = jnp.zeros(rows, jnp.int32)
    scores = no_score(scorer, rows)
    return _State(
        texts,
        fork_scoring(scorer, scoring, parents),
        child_keys(keys, kept),
        zeros == 0,
        zeros + config.max_new_tokens,
        zeros - 1,
        jnp.broadcast_to(scores[:, None], (rows, config.rounds)),
        jnp.int32(0),
        _no_beams(count, writer, config, scores.dtype),
    )


def _no_beams(count: int, writer: StepWriter, config: BeamConfig, dtype: Any) -> Beams:
    shape = (config.rounds, count, config.candidates)
    whole, real = jnp.zeros(shape, jnp.int32), jnp.zeros(shape, dtype)
    ids = jnp.full((*shape, writer.step_tokens), writer.pad_id, jnp.int32)
    tokens = jnp.zeros(count, jnp.int32)
    return Beams(
        ids=ids,
        length=whole,
        end=whole,
        parent=whole - 1,
        kept=whole > 0,
        step_score=real,
        score=real - jnp.inf,
        logp=real,
        generated=tokens,
        scored=tokens,
        lane_steps=jnp.int32(0),
        lane_tokens=jnp.int32(0),
    )


class _Written(NamedTuple):
    """A round's candidates, `[Q * N]` rows."""

    steps: Steps
    scoring: Any
    step_score: Array
    history: Array  # [Q * N, D]
    kept: Array  # [Q, N]
    spent: Array  # [Q * N] tokens written
    lane_steps: Array  # []
    lane_tokens: Array  # []


def _round(
    writer: StepWriter,
    scorer: StepScorer,
    drawing: Drawing,
    config: BeamConfig,
    now: _State,
) -> _State:
    """Write and score a round's candidates, and choose those that go on."""
    m, n = config.expand, config.candidates
    new = _write(writer, scorer, drawing, config, now)
    there = jnp.arange(config.rounds)[None] <= now.round
    there = jnp.broadcast_to(there, new.history.shape)
    score = aggregate(new.history, there, config.aggregation)
    beams = _record(now, new, score, jnp.repeat(now.origin, m), scorer)
    left = jnp.repeat(now.left, m) - new.steps.length
    opened = (new.steps.end != ANSWER) & (left > 0)
    chosen, alive = _choose(score, new.kept, opened.reshape(-1, n), config)
    done = jnp.sum((beams.end == ANSWER) & beams.kept, axis=(0, 2)) >= n  # [Q]
    row = (jnp.arange(len(chosen))[:, None] * n + chosen).reshape(-1)  # [Q * F]
    return _State(
        go_on(writer, now.texts, new.steps, row // m, row),
        fork_scoring(scorer, new.scoring, row),
        child_keys(now.keys, m)[row],
        (alive & ~done[:, None]).reshape(-1),
        left[row],
        chosen.reshape(-1),
        new.history[row],
        now.round + 1,
        beams,
    )


def _write(
    writer: StepWriter,
    scorer: StepScorer,
    drawing: Drawing,
    config: BeamConfig,
    now: _State,
) -> _Written:
    """Write the next steps of every text that is alive, and score them."""
    m = config.expand
    room = jnp.where(now.alive, jnp.minimum(writer.step_tokens, now.left), 0)
    keys = node_keys(now.keys, m)
    steps = write_steps(writer, now.texts, keys, drawing, count=m, room=room)
    parents = jnp.arange(len(steps.length)) // m
    before = now.history[parents, jnp.maximum(now.round - 1, 0)]
    scoring = fork_scoring(scorer, now.scoring, parents)
    length = now.texts.length[parents]
    found, scoring = score_steps_on(scorer, scoring, length, steps, before)
    spent, lane_steps, lane_tokens = steps.length, steps.steps, steps.lane_tokens
    if config.lookahead:
        left = now.left[parents] - steps.length
        left = jnp.where((steps.length == 0) | (steps.end == ANSWER), 0, left)
        depth, rows = config.lookahead, jnp.arange(len(parents))
        texts = go_on(writer, now.texts, steps, parents, rows)
        ahead = look_ahead(writer, scorer, texts, scoring, found, left, depth)
        found, spent = ahead.score, spent + ahead.tokens
        lane_steps += ahead.lane_steps
        lane_tokens += ahead.lane_tokens
    history = now.history[parents].at[:, now.round].set(found)
    kept = _distinct(steps, now.origin[parents], config)
    return _Written(
        steps, scoring, found, history, kept, spent, lane_steps, lane_tokens
    )


def _distinct(steps: Steps, origin: Array, config: BeamConfig) -> Array:
    """Return `[Q, N]`: candidates that no earlier one from the same text equals.

    Subtrees of DVTS have a text each, the prompt too: they are not compared.
    """
    n = config.candidates if config.kind == "beam" else config.expand
    inside = jnp.arange(steps.ids.shape[1])[None] < steps.length[:, None]
    tokens = jnp.where(inside, steps.ids, -1)
    tokens = jnp.concatenate([origin[:, None], tokens], axis=1)
    tokens = tokens.reshape(-1, n, tokens.shape[1])
    same = (tokens[:, :, None] == tokens[:, None]).all(-1)  # [Q, N, N], [Q F, M, M]
    earlier = jnp.tril(jnp.ones((n, n), bool), -1)[None]
    kept = ~(same & earlier).any(-1) & (steps.length.reshape(-1, n) > 0)
    return kept.reshape(-1, config.candidates)


def _choose(
    score: Array, kept: Array, opened: Array, config: BeamConfig
) -> tuple[Array, Array]:
    """Return the candidates `[Q, F]` that go on, and whether there are so many."""
    n, kept_n = config.candidates, config.kept
    score = score.reshape(-1, n)
    if config.kind == "beam":
        value = jnp.where(kept & opened, score, -jnp.inf)
        order = jnp.argsort(-value, axis=1, stable=True)[:, :kept_n]
        good = jnp.take_along_axis(kept & opened, order, axis=1)
        return order.astype(jnp.int32), good
    groups = lambda x: x.reshape(-1, kept_n, config.expand)
    value = groups(jnp.where(kept, score, -jnp.inf))
    first = jnp.argmax(value, axis=2).astype(jnp.int32)
    chosen = first + jnp.arange(kept_n, dtype=jnp.int32)[None] * config.expand
    return chosen, jnp.take_along_axis(kept & opened, chosen, axis=1)


def _record(
    now: _State, new: _Written, score: Array, origin: Array, scorer: StepScorer
) -> Beams:
    """Return the beams with a round's candidates."""
    shape, steps, beams = new.kept.shape, new.steps, now.beams  # [Q, N]
    put = lambda rounds, x: rounds.at[now.round].set(
        x.reshape(rounds.shape[1:]).astype(rounds.dtype)
    )
    spent = jnp.sum(new.spent.reshape(shape), axis=1)
    return Beams(
        ids=put(beams.ids, steps.ids),
        length=put(beams.length, steps.length),
        end=put(beams.end, steps.end),
        parent=put(beams.parent, origin),
        kept=put(beams.kept, new.kept),
        step_score=put(beams.step_score, new.step_score),
        score=put(beams.score, jnp.where(new.kept, score.reshape(shape), -jnp.inf)),
        logp=put(beams.logp, steps.logp),
        generated=beams.generated + spent,
        scored=beams.scored + (0 if scorer.model is None else spent),
        lane_steps=beams.lane_steps + new.lane_steps,
        lane_tokens=beams.lane_tokens + new.lane_tokens,
    )
