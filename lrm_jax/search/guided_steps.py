# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The step decoder: texts in, K sampled next steps of each out.

Rows work through a fixed number of lanes as in `reasoning/refill.py`, each to its own
end: a step's separator, the answer's end, or `step_tokens`. A token's draw depends on
the row's key (its problem's seed and its path) and on its position alone. Shape
letters: `R` texts, `K` candidates of each, M = R * K rows (a text's are neighbours),
`C` tokens of a step at most, `S` slots of a text, `V` vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.reasoning.decoding import Prefilled, Resumed, Rows, Writer
from lrm_jax.reasoning.refill import Queue, write_queue
from lrm_jax.reasoning.sampling import SamplingParams
from lrm_jax.reasoning.stops import (
    STOP_ID,
    STOP_LENGTH,
    STOP_STRING,
    StopTable,
    TokenAutomaton,
)
from lrm_jax.search.pages import paste_pages, slots_of
from lrm_jax.steps import StepTable
from lrm_jax.types import Array, Key, Params, TokenModel

CUT, ANSWER, STEP = STOP_LENGTH, STOP_ID, STOP_STRING
"""Why a step ended: its limit, the answer's end, its separator."""
_ANSWER_FLAG, _STEP_FLAG = 1, 2
_DRAWS = 2**31 - 1
"""Folded into a node's key for the draws of its candidates; no action's number."""


class StepEnds(NamedTuple):
    """What ends a step, as arrays; made by `step_ends`.

    Attributes:
      table: says ANSWER or STEP; its search goes on from step to step.
      writes: `[V]` bool, tokens that add to the text: scores are read at the last of
        a step, so that no end token comes between.
    """

    table: StopTable
    writes: Array  # [V]


class Texts(NamedTuple):
    """Texts so far: prompts, and the steps written behind them.

    Attributes:
      cache: of R lanes and S slots: all tokens but the newest, slot = position.
      last: `[R]` int32, the newest token.
      length: `[R]` int32, tokens in all, the newest too.
      search: `[R]` int32, state of the search for ends.
    """

    cache: Any
    last: Array  # [R]
    length: Array  # [R]
    search: Array  # [R]


class Steps(NamedTuple):
    """Candidate next steps, `[M]` rows.

    Attributes:
      ids: `[M, C]` int32, the pad id after the end.
      length: `[M]` int32, tokens; 0 where there was no room.
      end: `[M]` int32, CUT, ANSWER or STEP.
      logp: `[M]`, summed over the tokens, of the distribution they were drawn from.
      search: `[M]` int32, state of the search for ends after the step.
      pages: a cache of M lanes and C slots, see `refill.WrittenQueue`; None where the
        rows' own text is not gone on with.
      steps: `[]` int32, calls of the model with one token a lane.
      lane_tokens: `[]` int32, tokens that took a lane for a step: all but a row's
        first, which the reading of its text has paid for.
    """

    ids: Array  # [M, C]
    length: Array  # [M]
    end: Array  # [M]
    logp: Array  # [M]
    search: Array  # [M]
    pages: Any
    steps: Array  # []
    lane_tokens: Array  # []


class Drawing(NamedTuple):
    """How steps are sampled, the same for all rows; traced.

    Attributes:
      temperature: 0 = greedy.
      top_k: 0 = off.
      top_p: 1 = off.
      min_p: 0 = off.
    """

    temperature: Array | float = 1.0
    top_k: Array | int = 0
    top_p: Array | float = 1.0
    min_p: Array | float = 0.0


class StepWriter(NamedTuple):
    """What writes steps.

    Attributes:
      model: the token model.
      params: its parameters.
      ends: what ends a step.
      step_tokens: the most tokens of a step, C.
      lanes: rows at work at a time; 0 for all.
      pad_id: what follows the end.
      refill_at: see `generate_refilled`; 0 for a quarter of the lanes.
    """

    model: TokenModel[Any]
    params: Params
    ends: StepEnds
    step_tokens: int
    lanes: int = 0
    pad_id: int = 0
    refill_at: int = 0


def step_ends(
    steps: StepTable, stops: StopTable, token_bytes: Sequence[bytes]
) -> StepEnds:
    """Compile what ends a step or an answer into one automaton.

    Args:
      steps: finds separators, `steps.step_table`.
      stops: finds the ends of answers, `stops.stop_table`; a token that ends both a
        step and an answer ends the answer.
      token_bytes: what each id writes, `[V]`.
    """
    vocabulary = len(token_bytes)
    first = np.asarray(steps.next_state, np.int64)  # [a, v], maybe fewer ids
    ended = np.asarray(jax.vmap(lambda s: _ends(steps, s))(jnp.arange(len(first))))
    room = ((0, 0), (0, vocabulary - first.shape[1]))
    own = np.repeat(np.arange(len(first))[:, None], vocabulary, axis=1)
    own[:, : first.shape[1]] = first
    ended = np.pad(ended, room)
    second = np.asarray(stops.automaton.next_state, np.int64)[:, :vocabulary]
    stopped = np.asarray(stops.automaton.flags)[:, :vocabulary] > 0  # [b, V]
    states = len(second)
    both = own[:, None] * states + second[None]  # [a, b, V]
    flags = np.where(ended[:, None], _STEP_FLAG, 0) | np.zeros_like(both)
    flags = np.where(stopped[None], _ANSWER_FLAG, flags)
    automaton = TokenAutomaton(
        jnp.asarray(both.reshape(-1, vocabulary), jnp.int16),
        jnp.asarray(flags.reshape(-1, vocabulary), jnp.uint8),
    )
    writes = np.asarray([len(written) > 0 for written in token_bytes])
    return StepEnds(StopTable(automaton), jnp.asarray(writes))


def _ends(steps: StepTable, state: Array) -> Array:
    """Return which tokens `[v]` end a step from one state."""
    ids = jnp.arange(steps.next_state.shape[1])
    return steps.read(jnp.broadcast_to(state, ids.shape), ids)[1]


def begin_texts(
    model: TokenModel[Any], params: Params, ids: Array, mask: Array, *, slots: int
) -> Texts:
    """Read prompts `[R, P]`, padded on the right, into caches of `slots`."""
    mask = mask.astype(bool)
    positions = jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)
    cache = model.init_cache(len(ids), slots)
    _, cache = model.extend(params, ids, positions, mask, cache, 0)
    length = jnp.sum(mask, axis=1, dtype=jnp.int32)
    last = jnp.take_along_axis(ids, jnp.maximum(length - 1, 0)[:, None], axis=1)[:, 0]
    return Texts(cache, last, length, jnp.zeros_like(length))


def node_keys(keys: Key, count: int) -> Key:
    """Return the keys `[M]` of `count` candidates of each node `[R]`."""
    fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
    each = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    found = jax.vmap(each, in_axes=(0, None))(fold(keys, _DRAWS), jnp.arange(count))
    return found.reshape(-1)


def child_keys(keys: Key, count: int) -> Key:
    """Return the keys `[M]` of the nodes that `count` actions of each `[R]` lead to."""
    each = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    found = jax.vmap(each, in_axes=(0, None))(keys, jnp.arange(count))
    return found.reshape(-1)


def take_texts(writer: StepWriter, texts: Texts, rows: Array) -> Texts:
    """Return the texts whose lane i is a copy of lane `rows[i]`, `[R']`."""
    rest = jax.tree.map(lambda x: x[rows], texts._replace(cache=None))
    return rest._replace(cache=writer.model.fork(texts.cache, rows))


def go_on(
    writer: StepWriter, texts: Texts, steps: Steps, parents: Array, rows: Array
) -> Texts:
    """Return texts `[R']` with a step written behind each.

    Args:
      writer: that wrote the steps.
      texts: R of them.
      steps: M of them, with pages.
      parents: `[R']` int32, the text that each goes on from.
      rows: `[R']` int32, the step that each goes on with.
    """
    model, length = writer.model, texts.length[parents]
    forked, pages = model.fork(texts.cache, parents), model.fork(steps.pages, rows)
    written = steps.length[rows]
    cache = paste_pages(model, forked, pages, length - 1, written)
    newest = jnp.maximum(written - 1, 0)[:, None]
    newest = jnp.take_along_axis(steps.ids[rows], newest, axis=1)[:, 0]
    return Texts(
        cache,
        jnp.where(written > 0, newest, texts.last[parents]),
        length + written,
        steps.search[rows],
    )


def write_steps(
    writer: StepWriter,
    texts: Texts,
    keys: Key,
    drawing: Drawing,
    *,
    count: int,
    room: Array,
    keep_pages: bool = True,
) -> Steps:
    """Write `count` next steps of every text.

    Args:
      writer: of steps.
      texts: R of them.
      keys: `[M]` of the rows (`node_keys`); consumed.
      drawing: how tokens are drawn.
      count: K.
      room: `[R]` int32, the most tokens that the next step of a text may have (at most
        C); 0: none is written.
      keep_pages: whether a text may be gone on with.
    """
    model, slots = writer.model, slots_of(writer.model, texts.cache)
    wants = room > 0
    hidden, cache = model.extend(
        writer.params,
        texts.last[:, None],
        (texts.length - 1)[:, None],
        wants[:, None],
        texts.cache,
        texts.length - 1,
    )
    read = Prefilled(model.logits(writer.params, hidden[:, 0]), cache, texts.length)
    repeat = lambda x: jnp.repeat(x, count)  # [M]
    limits = repeat(jnp.minimum(room, slots - texts.length))
    rows = Rows(
        _sampling(drawing, limits),
        None,
        keys,
        repeat(texts.length),
        Resumed(repeat(texts.length), repeat(texts.search)),
    )
    lanes = min(writer.lanes or len(limits), len(limits))
    refill_at = writer.refill_at or -(-lanes // 4)
    order = jnp.argsort(limits <= 0, stable=True)  # those with room come first
    wanted = jnp.sum(limits > 0, dtype=jnp.int32)
    queue = Queue(read, rows, count, refill_at, keep_pages, order, wanted)
    tokens = Writer(model, writer.params, writer.ends.table, 0, writer.pad_id)
    written = write_queue(tokens, queue, lanes, writer.step_tokens, slots)
    found = written.completions
    return Steps(
        found.ids,
        found.length,
        found.stop,
        jnp.sum(found.logps, axis=1),
        _search_after(writer.ends, repeat(texts.search), found.ids, found.mask),
        written.pages,
        written.steps,
        jnp.sum(jnp.maximum(found.length - 1, 0)),
    )


def _sampling(drawing: Drawing, limits: Array) -> SamplingParams:
    rows = lambda x, dtype: jnp.broadcast_to(jnp.asarray(x, dtype), limits.shape)
    return SamplingParams(
        rows(drawing.temperature, jnp.float32),
        rows(drawing.top_k, jnp.int32),
        rows(drawing.top_p, jnp.float32),
        rows(drawing.min_p, jnp.float32),
        limits,
    )


def _search_after(ends: StepEnds, state: Array, ids: Array, mask: Array) -> Array:
    """Return the states `[M]` of the search after the tokens `[M, C]`."""

    def read(state: Array, token: tuple[Array, Array]) -> tuple[Array, None]:
        after, _ = ends.table.read(state, token[0])
        return jnp.where(token[1], after, state), None

    return jax.lax.scan(read, state, (ids.T, mask.T))[0]


def first_of_kind(ids: Array, length: Array, count: int) -> tuple[Array, Array]:
    """Return which of a text's candidates stand for themselves, and how often.

    Args:
      ids: `[M, C]`.
      length: `[M]`.
      count: K.

    Returns:
      kept `[R, K]` bool: the first of those with the same tokens, and not empty; and
      multiplicity `[R, K]` int32, 0 where not kept.
    """
    inside = jnp.arange(ids.shape[1])[None] < length[:, None]
    tokens = jnp.where(inside, ids, -1).reshape(-1, count, ids.shape[1])
    same = (tokens[:, :, None] == tokens[:, None]).all(-1)  # [R, K, K]
    earlier = jnp.tril(jnp.ones((count, count), bool), -1)[None]
    kept = ~(same & earlier).any(-1) & (length.reshape(-1, count) > 0)
    return kept, jnp.where(kept, jnp.sum(same, axis=-1, dtype=jnp.int32), 0)


def score_places(ends: StepEnds, ids: Array, length: Array) -> Array:
    """Return where in each step `[M, C]` its score is read, `[M]`; -1: nowhere.

    At its last token that writes text.
    """
    places = jnp.arange(ids.shape[1])[None]
    good = ends.writes[ids] & (places < length[:, None])
    return jnp.max(jnp.where(good, places, -1), axis=1)
