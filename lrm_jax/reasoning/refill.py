# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoding with lane refill (continuous batching): a lane that ends takes the next row.

For completions with a long tail: a fixed number of lanes works through a queue of
rows, so that a step seldom carries lanes that have ended. Every prompt is still read
once, shapes are static, and each row gets the draws `generate` gives it. Shape
letters as in `decoding.py`; `N` lanes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.reasoning.decoding import (
    Completions,
    Prefilled,
    Rows,
    RowState,
    Writer,
    Written,
    begin_rows,
    make_rows,
    prefill,
)
from lrm_jax.reasoning.lanes import select_lanes
from lrm_jax.reasoning.sampling import SamplingParams
from lrm_jax.reasoning.shards import Requests, batch_parts, on_batch_parts
from lrm_jax.reasoning.stops import StopTable
from lrm_jax.reasoning.token_budget import TokenBudget
from lrm_jax.types import Array, Key, Params, TokenModel


class Refilled(NamedTuple):
    """Completions in the order of their rows, and what they took.

    Attributes:
      completions: as `generate` returns them.
      steps: `[]` int32, calls of the model with one token a lane; of the part that
        took the most, where a mesh splits the batch.
    """

    completions: Completions
    steps: Array  # []


def cache_axes(model: TokenModel[Any]) -> tuple[Any, Any]:
    """Return the lane axis and the slot axis of every leaf of a cache; -1 for none."""
    leaves = lambda *size: jax.eval_shape(lambda: model.init_cache(*size))

    def differs(a: Any, b: Any) -> int:
        axes = (i for i in range(a.ndim) if a.shape[i] != b.shape[i])
        return next(axes, -1)

    base = leaves(2, 5)
    lanes = jax.tree.map(differs, base, leaves(3, 5))
    return lanes, jax.tree.map(differs, base, leaves(2, 7))


def generate_refilled(
    model: TokenModel[Any],
    params: Params,
    prompt_ids: Array,
    prompt_mask: Array,
    *,
    group_size: int,
    max_new_tokens: int,
    lanes: int,
    sampling: SamplingParams,
    key: Key,
    sequence_ids: Array | None = None,
    stops: StopTable | None = None,
    budget: TokenBudget | None = None,
    pad_id: int = 0,
    refill_at: Array | int = 1,
) -> Refilled:
    """Write completions as `generate` does, `lanes` at a time.

    To be jitted with `model`, `group_size`, `max_new_tokens`, `lanes` and `pad_id`
    static (`generate_refilled_jit`). Where a mesh splits the prompts, each part has
    lanes and a queue of its own.

    Args:
      model: the token model; `extend` is called with one start a lane.
      params: as the other arguments, see `generate`.
      prompt_ids: `[Q, P]`.
      prompt_mask: `[Q, P]`.
      group_size: completions of each prompt.
      max_new_tokens: the most tokens of any row.
      lanes: rows at work at a time; rounded up to the parts of a mesh.
      sampling: `[B]` each.
      key: of the batch.
      sequence_ids: `[B]`.
      stops: what ends a completion.
      budget: thinking budgets `[B]`.
      pad_id: what follows the end.
      refill_at: how many lanes must be free before the loop pauses to refill them;
        more means fewer copies of prompts and more idle lanes.
    """
    parts = batch_parts(len(prompt_ids))
    if sequence_ids is None:
        sequence_ids = jnp.arange(len(prompt_ids) * group_size)

    def write(whole: _Whole, part: Requests) -> Refilled:
        width = part.prompt_ids.shape[1]
        read = prefill(
            model, whole.params, part.prompt_ids, part.prompt_mask, slots=width
        )
        rows = make_rows(read, group_size, part, whole.key)
        queue = Queue(read, rows, group_size, whole.refill_at)
        writer = Writer(model, whole.params, whole.stops, width, pad_id)
        slots = width + max_new_tokens
        last = write_queue(writer, queue, -(-lanes // parts), max_new_tokens, slots)
        return Refilled(last.completions, last.steps[None])

    requests = Requests(prompt_ids, prompt_mask, sequence_ids, sampling, budget)
    whole = _Whole(params, key, stops, -(-jnp.asarray(refill_at) // parts))
    found = on_batch_parts(write, whole, requests)
    return found._replace(steps=jnp.max(found.steps))


class _Whole(NamedTuple):
    """What no part of the rows has to itself."""

    params: Params
    key: Key
    stops: StopTable | None
    refill_at: Array


generate_refilled_jit = jax.jit(
    generate_refilled,
    static_argnames=("model", "group_size", "max_new_tokens", "lanes", "pad_id"),
)
"""`generate_refilled`, compiled once for each (Q, G, P, C, lanes)."""


class Queue(NamedTuple):
    """Rows to be written, and the prompts they begin with.

    Attributes:
      read: the prompts.
      rows: `[B]`, those of a prompt are neighbours.
      group_size: rows of a prompt.
      refill_at: see `generate_refilled`.
      keep_pages: of rows that go on (`Rows.resumed`), keep what the model remembers
        of them, see `WrittenQueue`.
      order: `[B]` int32, the rows as they are taken; None: as they come.
      wanted: `[]` int32, how many of the first are written; None for all.
    """

    read: Prefilled
    rows: Rows  # [B]
    group_size: int
    refill_at: Array | int
    keep_pages: bool = False
    order: Array | None = None
    wanted: Array | None = None

    @property
    def size(self) -> int:
        """Rows, B."""
        return self.rows.prompt_length.shape[0]

    @property
    def end(self) -> Array | int:
        """How many rows are written."""
        return self.size if self.wanted is None else self.wanted

    def row(self, place: Array) -> Array:
        """Return which rows are taken at `place` `[N]`."""
        place = jnp.minimum(place, self.size - 1)
        return place if self.order is None else self.order[place]

    def take(self, index: Array) -> Rows:
        """Return what rows `[N]` decode under."""
        rows = self.rows
        of = lambda tree: jax.tree.map(lambda x: x[index], tree)
        return Rows(
            of(rows.sampling),
            None if rows.budget is None else rows.budget.take(index),
            rows.keys[index],
            rows.prompt_length[index],
            of(rows.resumed),
        )


class WrittenQueue(NamedTuple):
    """Rows of a queue once they are written.

    Attributes:
      completions: `[B]`.
      steps: `[]` int32, calls of the model with one token a lane.
      pages: a cache of B lanes and C slots: what the model remembers of the token
        before each row's first and of the row's, but for the newest, which it has
        not read: as many as the row has tokens. None where they are not kept.
    """

    completions: Completions
    steps: Array  # []
    pages: Any


def write_queue(
    writer: Writer, queue: Queue, lanes: int, max_new_tokens: int, slots: int
) -> WrittenQueue:
    """Write all rows of a queue, `lanes` at a time, in caches of `slots`."""
    last = jax.lax.while_loop(
        lambda now: now.state.active.any() | (now.next_row < queue.end),
        lambda now: _write_on(writer, *_refill(writer, queue, now)),
        _no_lanes(writer, queue, lanes, max_new_tokens, slots),
    )
    last = _keep_pages(writer, queue, last)
    return WrittenQueue(last.out, last.steps, last.pages)


class _Lanes(NamedTuple):
    row: Array  # [N], B where a lane has none
    next_row: Array  # []
    state: RowState  # [N]
    cache: Any
    out: Completions  # [B, C]
    steps: Array  # []
    pages: Any  # [B, C]


def _no_lanes(
    writer: Writer, queue: Queue, lanes: int, max_new_tokens: int, slots: int
) -> _Lanes:
    """Return free lanes, before the first row."""
    nobody = jnp.full(lanes, queue.size, jnp.int32)
    state = begin_rows(queue.take(nobody - 1))
    dtype = queue.read.logits.dtype
    make = writer.model.init_cache
    return _Lanes(
        nobody,
        jnp.int32(0),
        state._replace(active=jnp.zeros(lanes, bool)),
        make(lanes, slots),
        _empty(queue.size, max_new_tokens, writer.pad_id, dtype),
        jnp.int32(0),
        make(queue.size, max_new_tokens) if queue.keep_pages else None,
    )


def _keep_pages(writer: Writer, queue: Queue, now: _Lanes) -> _Lanes:
    """Return lanes with the pages kept of rows that have ended."""
    if not queue.keep_pages:
        return now
    row = jnp.where(now.state.active, queue.size, now.row)  # the others' are dropped
    resumed = queue.take(jnp.minimum(now.row, queue.size - 1)).resumed
    if resumed is None:
        raise ValueError("pages are kept of rows that go on from a slot of their own")
    first, width = resumed.slot - 1, now.out.ids.shape[1]
    pages = cut_pages(writer.model, now.cache, first, width)
    lane_axes, _ = cache_axes(writer.model)

    def keep(kept: Array, new: Array, lane_axis: int) -> Array:
        lanes_first = jnp.moveaxis(kept, lane_axis, 0)
        put = lanes_first.at[row].set(jnp.moveaxis(new, lane_axis, 0), mode="drop")
        return jnp.moveaxis(put, 0, lane_axis)

    return now._replace(pages=jax.tree.map(keep, now.pages, pages, lane_axes))


def cut_pages(model: TokenModel[Any], cache: Any, first: Array, length: int) -> Any:
    """Return slots `first[i]` to `first[i] + length` of every lane `i` as a cache.

    What would lie beyond the last slot repeats it.
    """
    lane_axes, slot_axes = cache_axes(model)

    def cut(leaf: Array, lane_axis: int, slot_axis: int) -> Array:
        slots = first[:, None] + jnp.arange(length)[None]  # [N, length]
        slots = jnp.minimum(slots, leaf.shape[slot_axis] - 1)
        shape = [1] * leaf.ndim
        shape[lane_axis], shape[slot_axis] = slots.shape
        ordered = slots if lane_axis < slot_axis else slots.T
        return jnp.take_along_axis(leaf, ordered.reshape(shape), axis=slot_axis)

    return jax.tree.map(cut, cache, lane_axes, slot_axes)


def _refill(writer: Writer, queue: Queue, now: _Lanes) -> tuple[Queue, Rows, _Lanes]:
    """Give every free lane the next row, and write that row's first token."""
    now = _keep_pages(writer, queue, now)
    free, last = ~now.state.active, queue.size - 1
    place = now.next_row + jnp.cumsum(free) - 1
    fills = free & (place < queue.end)
    row = jnp.where(fills, queue.row(place), jnp.where(free, queue.size, now.row))
    seats = jnp.minimum(row, last)
    rows, parents = queue.take(seats), seats // queue.group_size
    cache = _seat(writer.model, queue.read, parents, fills, now.cache)
    begun = begin_rows(rows)
    begun = begun._replace(active=begun.active & fills)
    after, written = writer.write(queue.read.logits[parents], rows, begun)
    lanes = _Lanes(
        row,
        now.next_row + jnp.sum(fills, dtype=jnp.int32),
        select_lanes(fills, after, now.state),
        cache,
        _record(now.out, begun, after, written, row),
        now.steps,
        now.pages,
    )
    return queue, rows, lanes


def _write_on(writer: Writer, queue: Queue, rows: Rows, now: _Lanes) -> _Lanes:
    """Write tokens until as many lanes are free as a refill needs."""

    def goes_on(now: _Lanes) -> Array:
        free = jnp.sum(~now.state.active)
        waits = (now.next_row >= queue.end) | (free < queue.refill_at)
        return now.state.active.any() & waits

    def step(now: _Lanes) -> _Lanes:
        before = now.state
        state, cache, written = writer.step(rows, before, now.cache, before.length - 1)
        out = _record(now.out, before, state, written, now.row)
        return now._replace(state=state, cache=cache, out=out, steps=now.steps + 1)

    return jax.lax.while_loop(goes_on, step, now)


def _seat(
    model: TokenModel[Any], read: Prefilled, parents: Array, fills: Array, cache: Any
) -> Any:
    """Return the lanes' cache with prompts in the lanes that are filled.

    What else these lanes held is cleared, so the row before leaves no trace.
    """
    lane_axes, slot_axes = cache_axes(model)
    fresh = model.fork(read.cache, parents)  # [N, P]

    def seat(old: Array, new: Array, lane_axis: int, slot_axis: int) -> Array:
        if slot_axis >= 0:
            room = [(0, 0)] * old.ndim
            room[slot_axis] = (0, old.shape[slot_axis] - new.shape[slot_axis])
            new = jnp.pad(new, room)
        shape = [1] * old.ndim
        shape[lane_axis] = -1
        return jnp.where(fills.reshape(shape), new, old)

    return jax.tree.map(seat, cache, fresh, lane_axes, slot_axes)


def _empty(batch: int, length: int, pad_id: int, dtype: Any) -> Completions:
    dtype = jnp.promote_types(dtype, jnp.float32)
    no = jnp.zeros((batch, length), bool)
    zeros = jnp.zeros(batch, jnp.int32)
    ids = jnp.full((batch, length), pad_id, jnp.int32)
    logps = jnp.zeros((batch, length), dtype)
    return Completions(ids, no, logps, no, zeros, zeros, zeros)


def _record(
    out: Completions, before: RowState, after: RowState, written: Written, row: Array
) -> Completions:
    """Return `out` with the token that every active lane wrote for its row."""
    row = jnp.where(before.active, row, out.ids.shape[0])  # the others' are dropped
    place = (row, before.length)
    thinking = jnp.zeros_like(after.length)
    if after.thought is not None:
        thinking = after.thought.length
    put = lambda array, x: array.at[place].set(x, mode="drop")
    note = lambda array, x: array.at[row].set(x, mode="drop")
    return Completions(
        put(out.ids, written.ids),
        put(out.mask, written.mask),
        put(out.logps, written.logps),
        put(out.forced, written.forced),
        note(out.length, after.length),
        note(out.stop, after.stop),
        note(out.thinking_tokens, thinking),
    )
