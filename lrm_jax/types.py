# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Aliases, the shape-letter legend and the seams (Protocols) of the package.

Shape letters: `B` batch (lanes), `T` segments or query time, `S` sequence
(problem cells), `L` prefix + S, `D` model width, `F` feed-forward width,
`N` heads, `H` head width, `V` vocabulary, `P` puzzle-embedding width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp

Array = jax.Array
Key = jax.Array
"""A typed key of `jax.random.key`."""
Params = Any
"""A pytree of arrays: everything a model needs to be applied."""
Problem = Mapping[str, Array]
"""Arrays with a leading lane axis; puzzles have inputs, labels, puzzle_ids."""
Judge = Callable[[Array, Problem], Array]
"""`(ids [B, S], problem) -> right [B] bool`: pure, batched, jit-able."""
Semantics = Literal["step_correctness", "future_success", "progress", "implicit"]
"""What a step's score means; see `prm.semantics`."""
Carry = TypeVar("Carry")


class UserError(Exception):
    """What the user gave is wrong; the message is one line that says what to do.

    The command line turns it into exit code 2 without a traceback.
    """


class Signals(NamedTuple):
    """What one step of thought says about itself.

    Attributes:
      halt: `[B]` float, a logit; above 0 the reasoner would stop.
      value: `[B]` float in [0, 1], its own estimate of being right.
      done: `[B]` bool, whether the recipe's own rule has stopped the lane.
    """

    halt: Array  # [B]
    value: Array  # [B]
    done: Array  # [B]


class Answer(NamedTuple):
    """What a reasoner would say now.

    Attributes:
      ids: `[B, S]` int32 token ids.
      logits: `[B, S, V]` float.
      mask: `[B, S]` bool, true where an id is part of the answer.
    """

    ids: Array  # [B, S]
    logits: Array  # [B, S, V]
    mask: Array  # [B, S]


class Reasoner(Protocol[Carry]):
    """A step of thought that can be repeated under a budget.

    Batched, pure and jit-able; keys are `[B]`, one per lane, and are consumed.
    """

    def start(self, params: Params, problem: Problem, keys: Key) -> Carry:
        """Return the carry before the first step."""
        ...

    def think(self, params: Params, carry: Carry, keys: Key) -> tuple[Carry, Signals]:
        """Take one step (an ACT segment, a token or a written step)."""
        ...

    def answer(self, params: Params, carry: Carry) -> Answer:
        """Return what the reasoner would answer now."""
        ...


class TokenModel(Protocol[Carry]):
    """A causal token model that decoding can drive; `Carry` is its cache.

    Pure and jit-able. Slots are places in the cache, positions are what the rotary
    embedding sees; they differ where prompts are padded.
    """

    @property
    def vocab_size(self) -> int:
        """Ids that exist; rows of the logits beyond them are padding."""
        ...

    def init_cache(self, batch: int, length: int) -> Carry:
        """Return an empty cache of `length` slots for each of `batch` lanes."""
        ...

    def extend(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        cache: Carry,
        start: Array | int,
    ) -> tuple[Array, Carry]:
        """Read tokens into the cache and return what the model makes of them.

        Args:
          params: of the model.
          ids: `[B, T]` int32.
          positions: `[B, T]` int32.
          mask: `[B, T]` bool, false where a token is padding.
          cache: to be extended.
          start: slot of the first token, `[]` for all lanes or `[B]` for each.

        Returns:
          hidden `[B, T, D]` after the final norm, and the cache.
        """
        ...

    def fork(self, cache: Carry, parents: Array) -> Carry:
        """Return a cache whose lane i is a copy of lane `parents[i]`, `[B']`."""
        ...

    def logits(self, params: Params, hidden: Array) -> Array:
        """Return `[..., rows]` in float32 at least; rows >= `vocab_size` are unused."""
        ...


def first_of(items: Sequence[str], separator: str = ", ", *, limit: int = 5) -> str:
    """Return the first items in one line, and how many more there are."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return separator.join(items[:limit]) + more


def at_least_float32(x: Array) -> Array:
    """Cast to float32, or keep float64: for norms, softmax and losses."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
