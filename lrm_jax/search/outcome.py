# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a finished tree says: the action to take, and a policy to train on.

Shape letters: `B` trees, `A` actions.
"""

from typing import Any

import jax
import jax.numpy as jnp

from lrm_jax.search import gumbel
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.gumbel import RootPlan
from lrm_jax.search.qtransform import Edges
from lrm_jax.search.selection import edges_at, pick
from lrm_jax.search.tree import NO_NODE, ROOT, Tree
from lrm_jax.types import Array


def recommend(
    tree: Tree[Any], plan: RootPlan | None, config: SearchConfig
) -> tuple[Array, Array, Edges]:
    """Return the action `[B]`, a policy `[B, A]` and what both rest on.

    By visits, the most visited action stands against those of which everything is
    known (simulations stopped going there); the highest value among them wins, then
    the lower number. A root that is proven takes its best action. Where nothing was
    tried the prior decides. -1 and zeros where no action is valid.
    """
    root = jnp.full_like(tree.visits[:, 0], ROOT)
    edges, children = edges_at(tree, root, config)
    valid = edges.prior_logits > -jnp.inf
    edges = edges._replace(allowed=valid)
    kid = jnp.maximum(children, 0)
    closed = edges.seen & (pick(tree.open_actions, kid) == 0)
    closed &= config.solved == "mask"
    by_value = _highest(edges.qvalues, edges.seen)
    if config.recommend == "value":
        action = by_value
    elif config.recommend == "auto" and plan is not None:
        action = gumbel.final_action(edges, plan, closed, config)
    else:
        open_visits = jnp.where(valid & ~closed, edges.visits, -1)
        top = jnp.max(open_visits, axis=-1, keepdims=True)
        stands = edges.seen & (closed | (open_visits == top))
        action = _highest(edges.qvalues, stands)
    proven = tree.open_actions[:, ROOT] == 0
    action = jnp.where(proven, by_value, action)
    prior = jnp.argmax(edges.prior_logits, axis=-1)
    action = jnp.where(jnp.any(edges.seen, axis=-1), action, prior)
    some = jnp.any(valid, axis=-1)
    action = jnp.where(some, action, NO_NODE).astype(jnp.int32)
    return action, jnp.where(some[:, None], _policy(edges, plan, config), 0), edges


def _highest(values: Array, among: Array) -> Array:
    return jnp.argmax(jnp.where(among, values, -jnp.inf), axis=-1)


def _policy(edges: Edges, plan: RootPlan | None, config: SearchConfig) -> Array:
    if plan is not None:
        return gumbel.improved_policy(edges, config)
    total = jnp.sum(edges.visits, axis=-1, keepdims=True)
    prior = jax.nn.softmax(edges.prior_logits, axis=-1)
    return jnp.where(total > 0, edges.visits / jnp.maximum(total, 1), prior)
