# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The token loop: prompts in, groups of completions out, one program a bucket.

Every prompt is read once and its cache forked to the lanes of its completions; a
`while_loop` then writes one token a lane until every lane has ended. Shape letters:
`Q` prompts, `G` completions of each, B = Q * G rows (a prompt's are neighbours),
`P` prompt bucket, `C` completion length, `V` vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.reasoning.sampling import (
    SamplingParams,
    position_keys,
    sample,
    sequence_keys,
)
from lrm_jax.reasoning.shards import Requests, on_batch_parts
from lrm_jax.reasoning.stops import STOP_LENGTH, StopTable
from lrm_jax.reasoning.token_budget import (
    ThoughtState,
    TokenBudget,
    banned_ids,
    begin_thoughts,
    step_thoughts,
)
from lrm_jax.types import Array, Key, Params, TokenModel


class Completions(NamedTuple):
    """What was written, row by row.

    Attributes:
      ids: `[B, C]` int32, the pad id after the end.
      mask: `[B, C]` bool, from the first token to the end token, both included.
      logps: `[B, C]` of the distribution each token was really drawn from (of greedy
        rows see `sampling.Sample`); 0 for forced tokens and outside the mask.
      forced: `[B, C]` bool, tokens the thinking budget wrote: no loss on them.
      length: `[B]` int32, tokens inside the mask.
      stop: `[B]` int32, STOP_LENGTH, STOP_ID or STOP_STRING.
      thinking_tokens: `[B]` int32, tokens of the thought, tags not counted; 0
        without a budget.
    """

    ids: Array  # [B, C]
    mask: Array  # [B, C]
    logps: Array  # [B, C]
    forced: Array  # [B, C]
    length: Array  # [B]
    stop: Array  # [B]
    thinking_tokens: Array  # [B]


class Resumed(NamedTuple):
    """Where rows go on whose text was begun by another call.

    Attributes:
      slot: `[B]` int32, of the first token to be written.
      search: `[B]` int32, state of the search for stop strings.
    """

    slot: Array  # [B]
    search: Array  # [B]


class Rows(NamedTuple):
    """What a row decodes under, none of which it changes.

    Attributes:
      sampling: of each row.
      budget: of each row, or None.
      keys: `[B]`, of the sequences.
      prompt_length: `[B]` int32, tokens before the row's: the first position to fill.
      resumed: where rows go on, None where they begin behind prompts of one width.
    """

    sampling: SamplingParams
    budget: TokenBudget | None
    keys: Key  # [B]
    prompt_length: Array  # [B]
    resumed: Resumed | None = None


class RowState(NamedTuple):
    """Where each row is.

    Attributes:
      last: `[B]` int32, the newest token.
      length: `[B]` int32, tokens written.
      active: `[B]` bool, rows that have not ended.
      stop: `[B]` int32, why a row has ended.
      search: `[B]` int32, state of the search for stop strings.
      thought: of each row, or None without budgets.
    """

    last: Array  # [B]
    length: Array  # [B]
    active: Array  # [B]
    stop: Array  # [B]
    search: Array  # [B]
    thought: ThoughtState | None


class Written(NamedTuple):
    """One token of every row; `[B]` each, or `[C, B]` for all of them."""

    ids: Array
    mask: Array
    logps: Array
    forced: Array


def begin_rows(rows: Rows) -> RowState:
    """Return the state before the first token."""
    zeros = jnp.zeros_like(rows.prompt_length)
    thought = None if rows.budget is None else begin_thoughts(rows.budget)
    search = zeros if rows.resumed is None else rows.resumed.search
    return RowState(zeros, zeros, rows.sampling.max_new > 0, zeros, search, thought)


def write_token(
    logits: Array,
    rows: Rows,
    state: RowState,
    stops: StopTable | None,
    *,
    vocab_size: int,
    pad_id: int,
) -> tuple[RowState, Written]:
    """Write the next token of every row that has not ended; pad in the others.

    Args:
      logits: `[B, V]` after the newest token.
      rows: what the rows decode under.
      state: before the token.
      stops: what ends a row.
      vocab_size: ids that exist.
      pad_id: written in rows that have ended.
    """
    keys = position_keys(rows.keys, rows.prompt_length + state.length)
    banned = None
    if rows.budget is not None and state.thought is not None:
        banned = banned_ids(rows.budget, state.thought, stops, state.search)
    drawn = sample(logits, rows.sampling, keys, vocab_size=vocab_size, banned=banned)
    ids, logps, thought = drawn.ids, drawn.logps, state.thought
    search, stop = state.search, jnp.zeros_like(state.stop)
    forced = jnp.zeros_like(state.active)
    if stops is not None:
        search, stop = stops.read(state.search, ids)
    if rows.budget is not None and thought is not None:
        ids, forced, thought = step_thoughts(rows.budget, thought, ids, stop)
        # What a budget writes ends nothing, and no match goes through it.
        stop = jnp.where(forced, STOP_LENGTH, stop)
        search = jnp.where(forced, 0, search)
        logps = jnp.where(forced, 0, logps)
        keep = lambda new, old: jnp.where(state.active, new, old)
        thought = jax.tree.map(keep, thought, state.thought)
    length = state.length + state.active
    ends = (stop != STOP_LENGTH) | (length >= rows.sampling.max_new)
    written = Written(
        jnp.where(state.active, ids, pad_id),
        state.active,
        jnp.where(state.active, logps, 0),
        forced & state.active,
    )
    after = RowState(
        written.ids,
        length,
        state.active & ~ends,
        jnp.where(state.active, stop, state.stop),
        search,
        thought,
    )
    return after, written


class Prefilled(NamedTuple):
    """Prompts that have been read.

    Attributes:
      logits: `[Q, V]` after the last token of each.
      cache: of `Q` lanes.
      length: `[Q]` int32, tokens of each.
    """

    logits: Array  # [Q, V]
    cache: Any
    length: Array  # [Q]


def prefill(
    model: TokenModel[Any],
    params: Params,
    prompt_ids: Array,
    prompt_mask: Array,
    *,
    slots: int,
) -> Prefilled:
    """Read prompts `[Q, P]`, padded on either side, into a cache of `slots`."""
    mask = prompt_mask.astype(bool)
    count, width = mask.shape
    positions = jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)
    cache = model.init_cache(count, slots)
    hidden, cache = model.extend(params, prompt_ids, positions, mask, cache, 0)
    last = jnp.max(jnp.where(mask, jnp.arange(width)[None], 0), axis=1)  # [Q]
    hidden = jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]
    length = jnp.sum(mask, axis=1, dtype=jnp.int32)
    return Prefilled(model.logits(params, hidden), cache, length)


def make_rows(
    read: Prefilled,
    group_size: int,
    requests: Requests,
    key: Key,
) -> Rows:
    """Return what `group_size` completions of every prompt decode under."""
    length = jnp.repeat(read.length, group_size)  # [B]
    keys = sequence_keys(key, requests.sequence_ids)
    return Rows(requests.sampling, requests.budget, keys, length)


class Writer(NamedTuple):
    """What writes the tokens of all rows of a call.

    Attributes:
      model: the token model.
      params: its parameters.
      stops: what ends a row.
      width: of the prompts: the slot of the first token written, unless `Rows` says.
      pad_id: written in rows that have ended.
    """

    model: TokenModel[Any]
    params: Params
    stops: StopTable | None
    width: int
    pad_id: int

    def write(
        self, logits: Array, rows: Rows, state: RowState
    ) -> tuple[RowState, Written]:
        """Write a token of every row that has not ended; see `write_token`."""
        return write_token(
            logits,
            rows,
            state,
            self.stops,
            vocab_size=self.model.vocab_size,
            pad_id=self.pad_id,
        )

    def step(
        self, rows: Rows, state: RowState, cache: Any, at: Array
    ) -> tuple[RowState, Any, Written]:
        """Read the newest tokens, then write the next ones.

        Args:
          rows: what they decode under.
          state: of the rows.
          cache: of as many lanes.
          at: how many tokens of its row come before the newest, `[]` for all rows
            or `[B]` for each.
        """
        first = self.width if rows.resumed is None else rows.resumed.slot
        hidden, cache = self.model.extend(
            self.params,
            state.last[:, None],
            (rows.prompt_length + at)[:, None],
            state.active[:, None],
            cache,
            first + at,
        )
        logits = self.model.logits(self.params, hidden[:, 0])
        state, written = self.write(logits, rows, state)
        return state, cache, written


def generate(
    model: TokenModel[Any],
    params: Params,
    prompt_ids: Array,
    prompt_mask: Array,
    *,
    group_size: int,
    max_new_tokens: int,
    sampling: SamplingParams,
    key: Key,
    sequence_ids: Array | None = None,
    stops: StopTable | None = None,
    budget: TokenBudget | None = None,
    pad_id: int = 0,
) -> Completions:
    """Write `group_size` completions of every prompt.

    To be jitted with `model`, `group_size`, `max_new_tokens` and `pad_id` static
    (`generate_jit`); everything else is traced, so one program serves a prompt
    bucket whatever the temperatures, limits, stops and budgets.

    The draw of a token is a function of (key, sequence id, position): the same
    wherever the sequence stands in whichever batch, on any mesh. A mesh splits the
    prompts where they divide, with their completions; see `shards.py`.

    Args:
      model: the token model.
      params: its parameters.
      prompt_ids: `[Q, P]` int32, see `pad_prompts`.
      prompt_mask: `[Q, P]` bool; padding may be on either side.
      group_size: completions of each prompt.
      max_new_tokens: the most tokens of any row; the width of what is returned.
      sampling: `[B]` each, B = Q * group_size.
      key: of the batch; consumed.
      sequence_ids: `[B]` int32, 0 to B - 1 by default.
      stops: what ends a completion; None for nothing but its limit.
      budget: thinking budgets `[B]`.
      pad_id: what follows the end.
    """
    if sequence_ids is None:
        sequence_ids = jnp.arange(len(prompt_ids) * group_size)

    def write(whole: _Whole, part: Requests) -> Completions:
        prompts, width = part.prompt_ids.shape
        slots = width + max_new_tokens
        read = prefill(
            model, whole.params, part.prompt_ids, part.prompt_mask, slots=slots
        )
        parents = jnp.repeat(jnp.arange(prompts), group_size)  # [B]
        rows = make_rows(read, group_size, part, whole.key)
        cache = model.fork(read.cache, parents)
        writer = Writer(model, whole.params, whole.stops, width, pad_id)
        return _write_all(writer, rows, read.logits[parents], cache, max_new_tokens)

    requests = Requests(prompt_ids, prompt_mask, sequence_ids, sampling, budget)
    return on_batch_parts(write, _Whole(params, key, stops), requests)


class _Whole(NamedTuple):
    """What no part of the rows has to itself."""

    params: Params
    key: Key
    stops: StopTable | None


class _Loop(NamedTuple):
    step: Array  # []
    state: RowState
    cache: Any
    written: Written  # [C, B]


def _write_all(
    writer: Writer, rows: Rows, logits: Array, cache: Any, max_new_tokens: int
) -> Completions:
    """Write every row to its end, all of them at once."""

    def wants_more(loop: _Loop) -> Array:
        return (loop.step < max_new_tokens) & loop.state.active.any()

    def body(loop: _Loop) -> _Loop:
        state, cache, written = writer.step(rows, loop.state, loop.cache, loop.step - 1)
        return _Loop(loop.step + 1, state, cache, put(loop.written, written, loop.step))

    def put(all_written: Written, written: Written, step: Array | int) -> Written:
        update = lambda a, x: jax.lax.dynamic_update_index_in_dim(a, x, step, 0)
        return jax.tree.map(update, all_written, written)

    state, first = writer.write(logits, rows, begin_rows(rows))
    shape = (max_new_tokens, len(state.length))
    empty = jax.tree.map(lambda x: jnp.zeros(shape, x.dtype), first)
    empty = empty._replace(ids=jnp.full(shape, writer.pad_id, first.ids.dtype))
    written = put(empty, first, 0)
    loop = _Loop(jnp.int32(1), state, cache, written)
    loop = jax.lax.while_loop(wants_more, body, loop)
    return completions(loop.written, loop.state)


generate_jit = jax.jit(
    generate, static_argnames=("model", "group_size", "max_new_tokens", "pad_id")
)
"""`generate`, compiled once for each (Q, G, P, C)."""


def completions(written: Written, state: RowState) -> Completions:
    """Return what was written `[C, B]`, rows first."""
    thinking = jnp.zeros_like(state.length)
    if state.thought is not None:
        thinking = state.thought.length
    return Completions(
        *(x.T for x in written),
        length=state.length,
        stop=state.stop,
        thinking_tokens=thinking,
    )
