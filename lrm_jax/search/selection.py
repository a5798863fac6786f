# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which leaf a simulation goes to: one walk from the root down in every tree.

All trees walk at once, each step is one level, and the loop ends when the deepest has
arrived. Shape letters: `B` trees, `A` actions, `D` nodes on a path.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.search import gumbel
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.gumbel import RootPlan
from lrm_jax.search.qtransform import Edges, transform
from lrm_jax.search.tree import NO_NODE, ROOT, Tree, rounded
from lrm_jax.types import Array


class Selection(NamedTuple):
    """Where one simulation of each tree ended.

    Attributes:
      parent: `[B]` int32, the last node but the leaf.
      action: `[B]` int32, its action to the leaf.
      child: `[B]` int32, the leaf where it is there already (terminal, or at the
        greatest depth), -1 where it is to be made.
      depth: `[B]` int32, of `parent`.
      ancestors: `[B, D]` int32, from the root to `parent`, -1 after the end.
      active: `[B]` bool, whether the tree takes part.
    """

    parent: Array  # [B]
    action: Array  # [B]
    child: Array  # [B]
    depth: Array  # [B]
    ancestors: Array  # [B, D]
    active: Array  # [B]


class _Walk(NamedTuple):
    level: Array  # []
    walking: Array  # [B]
    node: Array  # [B]
    parent: Array  # [B]
    action: Array  # [B]
    child: Array  # [B]
    depth: Array  # [B]
    ancestors: Array  # [B, D]


def pick(leaf: Array, index: Array) -> Array:
    """Return `leaf[b, index[b]]` for every tree b: ids a tree, in bounds."""
    trees, nodes = leaf.shape[:2]
    first = nodes * jnp.arange(trees, dtype=jnp.int32)
    flat = index + first.reshape((trees,) + (1,) * (index.ndim - 1))
    return (
        leaf.reshape((trees * nodes, *leaf.shape[2:]))
        .at[flat]
        .get(mode="promise_in_bounds")
    )


class Digest(NamedTuple):
    """What choices read of every node, worked out once a walk.

    Attributes:
      qvalues: `[B, N+1]`.
      marks: `[B, N+1]` int32, twice the visits, plus 1 where nothing is open below.
    """

    qvalues: Array  # [B, N+1]
    marks: Array  # [B, N+1]


def digest(tree: Tree[Any]) -> Digest:
    """Return what choices read of every node."""
    return Digest(tree.qvalues, 2 * tree.visits + tree.closed)


def edges_at(
    tree: Tree[Any],
    node: Array,
    config: SearchConfig,
    pending: Array | None = None,
    read: Digest | None = None,
) -> tuple[Edges, Array]:
    """Return what the choice at `node` `[B]` rests on, and its children `[B, A]`.

    Args:
      tree: the trees.
      node: one of each.
      config: of the search.
      pending: `[B, N+1]` int32, leaves below each node that the model has not judged
        yet; they count as visits, each lower by `virtual_loss`.
      read: `digest(tree)`, where it is known.
    """
    read = digest(tree) if read is None else read
    children = pick(tree.children, node)
    logits = pick(tree.prior_logits, node)
    there = children >= 0
    kid = jnp.maximum(children, 0)
    marks = jnp.where(there, pick(read.marks, kid), 0)
    known = marks >> 1
    qvalues = pick(read.qvalues, kid)
    allowed = logits > -jnp.inf
    if config.solved == "mask":
        allowed &= (marks & 1) == 0
    visits, node_visits = known, pick(tree.visits, node)
    if pending is not None:
        waiting = jnp.where(there, pick(pending, kid), 0)
        visits = known + waiting
        loss = rounded(config.virtual_loss * waiting / jnp.maximum(visits, 1))
        qvalues = qvalues - loss.astype(qvalues.dtype)
        node_visits = node_visits + pick(pending, node)
    edges = Edges(
        prior_logits=logits,
        visits=visits,
        seen=known > 0,
        qvalues=qvalues,
        allowed=allowed,
        node_visits=node_visits,
        node_value=pick(tree.values, node),
        raw_value=pick(tree.raw_values, node),
    )
    return edges, children


def choose(
    edges: Edges, plan: RootPlan | None, config: SearchConfig, *, at_root: bool
) -> Array:
    """Return the action `[B]` to walk; ties go to the lower number.

    Args:
      edges: of the node in each tree.
      plan: of the roots (gumbel only).
      config: of the search.
      at_root: whether these nodes are the roots.
    """
    if config.method == "gumbel":
        if at_root and plan is not None:
            return gumbel.root_action(edges, plan, config).astype(jnp.int32)
        return gumbel.interior_action(edges, config).astype(jnp.int32)
    score = puct_scores if config.method == "puct" else uct_scores
    scores = jnp.where(edges.allowed, score(edges, config), -jnp.inf)
    return jnp.argmax(scores, axis=-1).astype(jnp.int32)


def puct_scores(edges: Edges, config: SearchConfig) -> Array:
    """Return q + P sqrt(N) (c1 + log((N + c2 + 1) / c2)) / (1 + n), `[B, A]`."""
    count = edges.node_visits[:, None].astype(edges.qvalues.dtype)
    base = config.pb_c_base
    factor = config.pb_c_init + jnp.log((count + base + 1) / base)
    prior = jax.nn.softmax(edges.prior_logits, axis=-1)
    explore = jnp.sqrt(count) * factor * prior / (edges.visits + 1)
    return transform(edges, config) + rounded(explore)


def uct_scores(edges: Edges, config: SearchConfig) -> Array:
    """Return q + c sqrt(ln N / n), `[B, A]`; infinite where never tried."""
    count = edges.node_visits[:, None].astype(edges.qvalues.dtype)
    tried = jnp.maximum(edges.visits, 1)
    explore = config.uct_c * jnp.sqrt(jnp.log(count) / tried)
    score = transform(edges, config) + rounded(explore)
    return jnp.where(edges.visits > 0, score, jnp.inf)


def depth_limit(tree: Tree[Any], config: SearchConfig) -> int:
    """Return the depth of the deepest node there can be."""
    room = tree.visits.shape[1] - 1
    return min(config.max_depth or room, room)


def select(
    tree: Tree[Any],
    plan: RootPlan | None,
    active: Array,
    config: SearchConfig,
    pending: Array | None = None,
) -> Selection:
    """Walk down every tree to a leaf.

    A walk ends at an action that nobody took, at a terminal (nothing is expanded
    below), at the greatest depth, or at a leaf that is on its way to the model.

    Args:
      tree: the trees.
      plan: of the roots (gumbel only).
      active: `[B]` bool, which trees take part; their roots are not terminal.
      config: of the search.
      pending: see `edges_at`.
    """
    limit = depth_limit(tree, config)
    nobody = jnp.full_like(tree.visits[:, 0], NO_NODE)
    start = _Walk(
        level=jnp.zeros((), jnp.int32),
        walking=active,
        node=jnp.full_like(nobody, ROOT),
        parent=jnp.zeros_like(nobody),
        action=jnp.zeros_like(nobody),
        child=nobody,
        depth=jnp.zeros_like(nobody),
        ancestors=jnp.full((len(nobody), limit), NO_NODE, jnp.int32),
    )

    read = digest(tree)

    def step(walk: _Walk, *, at_root: bool) -> _Walk:
        edges, children = edges_at(tree, walk.node, config, pending, read)
        action = choose(edges, plan, config, at_root=at_root)
        child = jnp.take_along_axis(children, action[:, None], axis=1)[:, 0]
        below = jnp.maximum(child, 0)
        ends = (child < 0) | pick(tree.terminal, below) | (walk.level + 1 == limit)
        if pending is not None:
            ends |= pick(tree.visits, below) == 0
        on = walk.walking
        column = jnp.where(on, walk.node, NO_NODE)
        keep = lambda new, old: jnp.where(on, new, old)
        return _Walk(
            level=walk.level + 1,
            walking=on & ~ends,
            node=keep(below, walk.node),
            parent=keep(walk.node, walk.parent),
            action=keep(action, walk.action),
            child=keep(child, walk.child),
            depth=keep(walk.level, walk.depth),
            ancestors=jax.lax.dynamic_update_slice_in_dim(
                walk.ancestors, column[:, None], walk.level, axis=1
            ),
        )

    end = jax.lax.while_loop(
        lambda walk: jnp.any(walk.walking),
        functools.partial(step, at_root=False),
        step(start, at_root=True),
    )
    return Selection(
        end.parent, end.action, end.child, end.depth, end.ancestors, active
    )
