# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A token model as a `Reasoner`: a step is one token of thought.

What the budget loops and evaluation drive; `decoding.generate` is the fast way to
the same texts. The thought's end is the halting signal; the answer is what the model
writes greedily once the thought has been closed for it.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.reasoning.decoding import Rows, begin_rows, prefill, write_token
from lrm_jax.reasoning.refill import cache_axes
from lrm_jax.reasoning.sampling import SamplingParams, sample
from lrm_jax.reasoning.stops import STOP_LENGTH, StopTable
from lrm_jax.reasoning.token_budget import CLOSE, END, WAIT, TokenBudget
from lrm_jax.types import Answer, Array, Key, Params, Problem, Signals, TokenModel


class TokenCarry(NamedTuple):
    """A thought so far; every leaf has its lanes first.

    Attributes:
      cache: of the model, lane axes moved to the front.
      logits: `[B, V]` after the newest token.
      slot: `[B]` int32, the next slot of the cache.
      position: `[B]` int32, the next position.
      thought: `[B, C]` int32, the tokens of the thought.
      length: `[B]` int32 of it.
      search: `[B]` int32, state of the search for the end tag.
      ended: `[B]` bool, the model has just tried to end its thought.
      waits: `[B]` int32, tokens of the wait still to be written.
      logp: `[B]`, summed over what was sampled.
      sampled: `[B]` int32, how many that were.
    """

    cache: Any
    logits: Array  # [B, V]
    slot: Array  # [B]
    position: Array  # [B]
    thought: Array  # [B, C]
    length: Array  # [B]
    search: Array  # [B]
    ended: Array  # [B]
    waits: Array  # [B]
    logp: Array  # [B]
    sampled: Array  # [B]


@dataclasses.dataclass(frozen=True, eq=False)
class TokenReasoner:
    """Thinks in tokens; a problem has `prompt_ids` and `prompt_mask`, `[B, P]`.

    An end that nothing stopped at (an exact budget) turns into the tags' wait, or,
    where they have none, into another draw without the ids that end the thought.

    Attributes:
      model: the token model.
      tags: a budget of one row, for its tags alone (`token_budgets(["-1"], ...)`).
      stops: what ends the answer, and the thought.
      max_thought: the most steps that will be asked for.
      max_answer: tokens of an answer.
      temperature: of the thought; 0 = greedy.
      opened: the prompt ends inside a thought.
    """

    model: TokenModel[Any]
    tags: TokenBudget
    stops: StopTable
    max_thought: int
    max_answer: int
    temperature: float = 1.0
    opened: bool = False

    def start(self, params: Params, problem: Problem, keys: Key) -> TokenCarry:
        """Read the prompts and open the thought."""
        ids, mask = problem["prompt_ids"], problem["prompt_mask"]
        batch, width = ids.shape
        script = self.tags.scripts.shape[1]
        slots = width + 2 * script + self.max_thought + self.max_answer
        read = prefill(self.model, params, ids, mask, slots=slots)
        zeros = jnp.zeros(batch, jnp.int32)
        carry = TokenCarry(
            self._lanes_first(read.cache),
            read.logits,
            zeros + width,
            read.length,
            jnp.zeros((batch, self.max_thought), jnp.int32),
            *(zeros, zeros, zeros > 0, zeros),
            jnp.zeros(batch, read.logits.dtype),
            zeros,
        )
        if self.opened:
            return carry
        opening = jnp.broadcast_to(self.tags.scripts[0], (batch, script))
        return self._read(params, carry, opening, zeros + self.tags.lengths[0])

    def think(
        self, params: Params, carry: TokenCarry, keys: Key
    ) -> tuple[TokenCarry, Signals]:
        """Write one token of the thought, unless the model would end it now."""
        tags, count = self.tags, carry.slot.shape[0]
        can_wait = tags.lengths[WAIT] > 0
        begins = carry.ended & can_wait
        waits = jnp.where(begins, tags.lengths[WAIT], carry.waits)
        flags = tags.automaton.flags[carry.search] > 1  # [B, V]
        flags |= self.stops.automaton.flags[:1] > 0
        drawn = sample(
            carry.logits,
            _alike(count, self.temperature, 1),
            keys,
            vocab_size=self.model.vocab_size,
            banned=flags & carry.ended[:, None],
        )
        waiting = waits > 0
        wait = tags.scripts[WAIT, jnp.maximum(tags.lengths[WAIT] - waits, 0)]
        search, found = tags.automaton.read(carry.search, drawn.ids)
        _, stop = self.stops.read(jnp.zeros_like(search), drawn.ids)
        ended = ~waiting & ((found > 1) | (stop != STOP_LENGTH))
        ids = jnp.where(waiting, wait, drawn.ids)
        lane = jnp.where(ended, count, jnp.arange(count))  # nothing is written there
        thought = carry.thought.at[lane, carry.length].set(ids, mode="drop")
        after = self._read(params, carry, ids[:, None], jnp.where(ended, 0, 1))
        drew = ~waiting
        after = after._replace(
            thought=thought,
            length=carry.length + ~ended,
            search=jnp.where(waiting, 0, jnp.where(ended, carry.search, search)),
            ended=ended,
            waits=jnp.maximum(waits - 1, 0),
            logp=carry.logp + jnp.where(drew, drawn.logps, 0),
            sampled=carry.sampled + drew,
        )
        value = jnp.exp(after.logp / jnp.maximum(after.sampled, 1))
        return after, Signals(jnp.where(ended, 1.0, -1.0), value, ended)

    def answer(self, params: Params, carry: TokenCarry) -> Answer:
        """Close the thought and write the answer, greedily."""
        tags, count = self.tags, carry.slot.shape[0]
        begun = jnp.where(carry.waits > 0, 0, tags.partial_ids[carry.search])
        script = jnp.where(carry.ended | (begun > 0), CLOSE, END)
        places = jnp.arange(tags.scripts.shape[1])[None] + begun[:, None]
        places = jnp.minimum(places, tags.scripts.shape[1] - 1)
        ids = jnp.take_along_axis(tags.scripts[script], places, axis=1)
        carry = self._read(params, carry, ids, tags.lengths[script] - begun)
        keys = jax.vmap(jax.random.key)(jnp.zeros(count, jnp.uint32))  # greedy: unused
        sampling = _alike(count, 0.0, self.max_answer)
        rows = Rows(sampling, None, keys, carry.position)

        def step(now: tuple[TokenCarry, Any], _: None) -> tuple[Any, Any]:
            carry, state = now
            after, written = write_token(
                carry.logits,
                rows,
                state,
                self.stops,
                vocab_size=self.model.vocab_size,
                pad_id=0,
            )
            tokens = state.active.astype(jnp.int32)
            read = self._read(params, carry, written.ids[:, None], tokens)
            return (read, after), (written.ids, carry.logits, written.mask)

        first = (carry, begin_rows(rows))
        _, (ids, logits, mask) = jax.lax.scan(step, first, None, self.max_answer)
        return Answer(ids.T, logits.swapaxes(0, 1), mask.T)

    def _read(
        self, params: Params, carry: TokenCarry, ids: Array, count: Array
    ) -> TokenCarry:
        """Read the first `count` `[B]` of `ids` `[B, T]`; none changes nothing."""
        places = jnp.arange(ids.shape[1])[None]
        mask = places < count[:, None]  # [B, T]
        hidden, cache = self.model.extend(
            params,
            ids,
            carry.position[:, None] + places,
            mask,
            self._lanes_back(carry.cache),
            carry.slot,
        )
        last = jnp.maximum(count - 1, 0)[:, None, None]
        hidden = jnp.take_along_axis(hidden, last, axis=1)[:, 0]
        logits = self.model.logits(params, hidden)
        return carry._replace(
            cache=self._lanes_first(cache),
            logits=jnp.where(count[:, None] > 0, logits, carry.logits),
            slot=carry.slot + count,
            position=carry.position + count,
        )

    def _lanes_first(self, cache: Any) -> Any:
        axes, _ = cache_axes(self.model)
        return jax.tree.map(lambda x, axis: jnp.moveaxis(x, axis, 0), cache, axes)

    def _lanes_back(self, cache: Any) -> Any:
        axes, _ = cache_axes(self.model)
        return jax.tree.map(lambda x, axis: jnp.moveaxis(x, 0, axis), cache, axes)


def _alike(count: int, temperature: float, max_new: int) -> SamplingParams:
    row = lambda value, dtype: jnp.full(count, value, dtype)
    return SamplingParams(
        row(temperature, jnp.float32),
        row(0, jnp.int32),
        row(1, jnp.float32),
        row(0, jnp.float32),
        row(max_new, jnp.int32),
    )
