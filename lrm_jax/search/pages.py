# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a token model remembers of steps, kept apart and put together again.

A page is what it remembers of one step's tokens; the texts of a tree share the pages
of the steps they share, so that no token is read twice and no node holds a whole
cache. In a text's cache the tokens lie without holes: slot = position. Shape letters:
`R` texts, `S` slots of a text, `C` slots of a page, `L` pages of a path.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lrm_jax.reasoning.refill import cache_axes, cut_pages
from lrm_jax.types import Array, TokenModel

__all__ = [
    "cut_pages",
    "join_pages",
    "lanes_first",
    "lanes_last",
    "paste_pages",
    "slots_of",
]


def slots_of(model: TokenModel[Any], cache: Any) -> int:
    """Return how many slots each lane of a cache has."""
    _, axes = cache_axes(model)
    found = jax.tree.map(lambda leaf, axis: leaf.shape[axis], cache, axes)
    return jax.tree.leaves(found)[0]


def lanes_first(model: TokenModel[Any], cache: Any) -> Any:
    """Return a cache with its lanes, then its slots, as the first axes of all leaves.

    So it can be an array of a tree's nodes.

    Raises:
      ValueError: it remembers something that no slot holds.
    """

    def move(leaf: Array, lane_axis: int, slot_axis: int) -> Array:
        if slot_axis < 0:
            raise ValueError("a model that remembers more than tokens has no pages")
        return jnp.moveaxis(leaf, (lane_axis, slot_axis), (0, 1))

    return jax.tree.map(move, cache, *cache_axes(model))


def lanes_last(model: TokenModel[Any], leaves: Any) -> Any:
    """Return the cache whose `lanes_first` is `leaves`."""
    move = lambda leaf, lane, slot: jnp.moveaxis(leaf, (0, 1), (lane, slot))
    return jax.tree.map(move, leaves, *cache_axes(model))


def paste_pages(
    model: TokenModel[Any], cache: Any, pages: Any, first: Array, count: Array
) -> Any:
    """Return the texts' caches with a page written into each.

    Args:
      model: the token model.
      cache: of R lanes, S slots.
      pages: of R lanes, C slots.
      first: `[R]` int32, the slot of a page's first token.
      count: `[R]` int32, tokens of the page that are meant, 0 for none.
    """
    lane_axes, slot_axes = cache_axes(model)

    def paste(leaf: Array, page: Array, lane_axis: int, slot_axis: int) -> Array:
        place = jnp.arange(leaf.shape[slot_axis])[None] - first[:, None]  # [R, S]
        meant = (place >= 0) & (place < count[:, None])
        shape = [1] * leaf.ndim
        shape[lane_axis], shape[slot_axis] = place.shape
        put = lambda x: (x if lane_axis < slot_axis else x.T).reshape(shape)
        place = jnp.clip(place, 0, page.shape[slot_axis] - 1)
        new = jnp.take_along_axis(page, put(place), axis=slot_axis)
        return jnp.where(put(meant), new, leaf)

    return jax.tree.map(paste, cache, pages, lane_axes, slot_axes)


def join_pages(
    model: TokenModel[Any],
    prompts: Any,
    prompt_length: Array,
    take: Callable[[Array, Array, Array], Array],
    pages: Any,
    lengths: Array,
) -> Any:
    """Return the texts' caches: prompts, then the pages of their paths.

    Args:
      model: the token model.
      prompts: a cache of R lanes, S slots; what lies behind the prompts is unset.
      prompt_length: `[R]` int32.
      take: from a leaf of `pages`, which of a path's pages and which of its slots,
        `[R, S]` each, to what is there, `[R, S, ...]`.
      pages: leaves as of `lanes_first`, behind axes that `take` knows.
      lengths: `[R, L]` int32, tokens of each page of the path, 0 for none.
    """
    ends = prompt_length[:, None] + jnp.cumsum(lengths, axis=1)  # [R, L]
    first = lanes_first(model, prompts)
    slots = jax.tree.leaves(first)[0].shape[1]
    slot = jnp.arange(slots)[None]  # [1, S]
    # The page a slot lies in: as many as have ended before it.
    page = jnp.sum(slot[:, :, None] >= ends[:, None, :], axis=-1)  # [R, S]
    written = (slot >= prompt_length[:, None]) & (page < lengths.shape[1])
    page = jnp.minimum(page, lengths.shape[1] - 1)
    begins = jnp.take_along_axis(ends - lengths, page, axis=1)
    place = jnp.where(written, slot - begins, 0)

    def join(prompt: Array, leaf: Array) -> Array:
        new = take(leaf, page, place)
        more = (1,) * (new.ndim - 2)
        return jnp.where(written.reshape(*written.shape, *more), new, prompt)

    return lanes_last(model, jax.tree.map(join, first, pages))
