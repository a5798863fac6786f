# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a policy remembers of the tokens it has read, in static shapes.

One buffer per layer, not one for all: a product can read it as it lies, and an
update in a loop is written in place.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.types import Array

LayerCache = dict[str, Array]
"""Grouped-query attention: `k`, `v` `[B, K, S, H]`. Latent attention: `latent`
`[B, 1, S, R + d_rope]`."""


class KVCache(NamedTuple):
    """Keys and values of every layer.

    Attributes:
      layers: one `LayerCache` a layer.
      valid: `[B, S]` bool, slots that hold a real token.
      positions: `[B, S]` int32 of the tokens, where a sliding window needs them.
    """

    layers: tuple[LayerCache, ...]
    valid: Array  # [B, S]
    positions: Array | None  # [B, S]


def write_slots(buffer: Array, update: Array, start: Array | int, axis: int) -> Array:
    """Return `buffer` with `update` written from slot `start` on.

    Args:
      buffer: `[B, ..., S, ...]`.
      update: the same with T in place of S.
      start: `[]` for all lanes, or `[B]` for each.
      axis: of the slots.
    """
    update = update.astype(buffer.dtype)
    if jnp.ndim(start) == 0:
        return jax.lax.dynamic_update_slice_in_dim(buffer, update, start, axis)

    def one(lane: Array, new: Array, at: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(lane, new, at, axis - 1)

    return jax.vmap(one)(buffer, update, jnp.asarray(start))


def visible_slots(valid: Array, start: Array | int, length: int, slots: int) -> Array:
    """Return which slots each of `length` new tokens may see, `[B, T, slots]`.

    Valid ones that are not after its own.
    """
    first = jnp.asarray(start, jnp.int32).reshape(-1, 1)
    own = first + jnp.arange(length, dtype=jnp.int32)[None]  # [1 or B, T]
    slot = jnp.arange(slots, dtype=jnp.int32)
    causal = slot[None, None] <= own[:, :, None]
    return valid[:, None, :slots] & causal


def fork_lanes(cache: Any, parents: Array) -> Any:
    """Return a cache whose lane i is a copy of lane `parents[i]`."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, parents, axis=0), cache)
