# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How values of actions enter a score: scaled, and completed where nobody went.

Shape letters: `B` trees, `A` actions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.tree import rounded
from lrm_jax.types import Array

_TINY = 1e-8
"""Least difference that values are divided by, as in the papers' code."""


class Edges(NamedTuple):
    """What a choice between the actions of one node a tree rests on.

    Attributes:
      prior_logits: `[B, A]`, -inf where not valid.
      visits: `[B, A]` int32, of the children.
      seen: `[B, A]` bool, whether `qvalues` says anything.
      qvalues: `[B, A]`.
      allowed: `[B, A]` bool, may be chosen.
      node_visits: `[B]` int32.
      node_value: `[B]`.
      raw_value: `[B]`.
    """

    prior_logits: Array  # [B, A]
    visits: Array  # [B, A]
    seen: Array  # [B, A]
    qvalues: Array  # [B, A]
    allowed: Array  # [B, A]
    node_visits: Array  # [B]
    node_value: Array  # [B]
    raw_value: Array  # [B]


def transform(edges: Edges, config: SearchConfig) -> Array:
    """Return the actions' values as scores take them, `[B, A]`."""
    how = config.transform
    if how == "parent_siblings":
        return by_parent_and_siblings(edges)
    if how == "min_max":
        low, high = config.value_range
        return (jnp.where(edges.seen, edges.qvalues, low) - low) / (high - low)
    if how == "none":
        return jnp.where(edges.seen, edges.qvalues, edges.node_value[:, None])
    completed = jnp.where(edges.seen, edges.qvalues, mixed_value(edges)[:, None])
    if config.rescale_values:
        completed = _rescaled(completed, edges.prior_logits > -jnp.inf)
    most = jnp.max(edges.visits, axis=-1, keepdims=True)
    return rounded((config.maxvisit_init + most) * config.value_scale * completed)


def by_parent_and_siblings(edges: Edges) -> Array:
    """Scale by the least and greatest of a node's and its children's values.

    Actions that nobody tried get the least, 0.
    """
    own = edges.node_value[:, None]
    known = jnp.where(edges.seen, edges.qvalues, own)
    low = jnp.minimum(own, jnp.min(known, axis=-1, keepdims=True))
    high = jnp.maximum(own, jnp.max(known, axis=-1, keepdims=True))
    completed = jnp.where(edges.seen, edges.qvalues, low)
    return (completed - low) / jnp.maximum(high - low, _TINY)


def mixed_value(edges: Edges) -> Array:
    """Return `[B]`: raw value mixed with the prior's mean of known values.

    Appendix D of Danihelka et al., "Policy improvement by planning with Gumbel".
    """
    tiny = jnp.finfo(edges.qvalues.dtype).tiny
    probs = jnp.maximum(jax.nn.softmax(edges.prior_logits, axis=-1), tiny)
    probs = jnp.where(edges.seen, probs, 0)
    known = jnp.where(edges.seen, edges.qvalues, 0)
    total = jnp.sum(probs, axis=-1, keepdims=True)
    # Divided before it is multiplied: a share that underflows would be 0 / 0.
    shares = probs / jnp.where(total > 0, total, 1)
    mean = jnp.sum(rounded(shares * known), axis=-1)
    count = jnp.sum(edges.visits, axis=-1)
    return (edges.raw_value + rounded(count * mean)) / (count + 1)


def _rescaled(values: Array, valid: Array) -> Array:
    """Scale the valid actions' values to [0, 1]."""
    low = jnp.min(jnp.where(valid, values, jnp.inf), axis=-1, keepdims=True)
    high = jnp.max(jnp.where(valid, values, -jnp.inf), axis=-1, keepdims=True)
    scaled = (values - low) / jnp.maximum(high - low, _TINY)
    return jnp.where(valid, scaled, 0)
