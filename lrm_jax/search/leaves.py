# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several leaves of a tree at once: one call of the model for all of them.

Leaves are chosen one after the other; those on their way to the model count as visits
(Liu et al., "Watch the Unobserved", arXiv 1810.11755), each `virtual_loss` lower. Who
meets a new leaf that is on its way is dropped: a collision. Shape letters: `B` trees,
`K` leaves of a tree, `M` = B * K rows of the model.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.search.backup import backup
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.expansion import expand, leaf_keys
from lrm_jax.search.gumbel import RootPlan
from lrm_jax.search.selection import Selection, pick, select
from lrm_jax.search.tree import Expansion, NodeView, Tree
from lrm_jax.types import Array


class Leaves(NamedTuple):
    """The leaves of a round, the k-th of every tree at `[k]`.

    Attributes:
      selection: arrays `[K, B, ...]`; a collision is not active.
      keys: `[K, B, W]`.
      collided: `[K, B]` bool.
    """

    selection: Selection  # arrays [K, B, ...]
    keys: Array  # [K, B, W]
    collided: Array  # [K, B]


def select_leaves(
    tree: Tree[Any],
    plan: RootPlan | None,
    active: Array,
    slot: Array,
    config: SearchConfig,
) -> Leaves:
    """Choose the leaves of a round.

    Args:
      tree: the trees.
      plan: of the roots (gumbel only).
      active: `[K, B]` bool, which trees take a k-th leaf.
      slot: `[]` int32, the id of the first new node; the k-th gets that plus k.
      config: of the search.
    """
    rows = jnp.arange(active.shape[1])
    room = tree.visits.shape[1]

    def one(carry: tuple[Array, Array], turn: tuple[Array, Array]) -> Any:
        children, pending = carry
        active, new_id = turn
        now = tree._replace(children=children)
        found = select(now, plan, active, config, pending)
        there = jnp.maximum(found.child, 0)
        judged = pick(tree.visits, there) + pick(pending, there)
        collided = active & (found.child >= 0) & (pick(tree.visits, there) == 0)
        on = active & ~collided
        new = on & (found.child < 0)
        judged = jnp.where(found.child >= 0, judged, 0)
        keys = leaf_keys(tree, found, judged, config)
        children = children.at[
            rows, jnp.where(new, found.parent, room), found.action
        ].set(new_id, mode="drop")
        path = jnp.concatenate(
            [found.ancestors, jnp.where(new, new_id, there)[:, None]], axis=1
        )
        path = jnp.where((path >= 0) & on[:, None], path, room)
        pending = pending.at[rows[:, None], path].add(1, mode="drop")
        out = Leaves(found._replace(active=on), keys, collided)
        return (children, pending), out

    start = (tree.children, jnp.zeros_like(tree.visits))
    ids = slot + jnp.arange(active.shape[0], dtype=jnp.int32)
    return jax.lax.scan(one, start, (active, ids))[1]


def view_of_leaves(tree: Tree[Any], leaves: Leaves) -> tuple[NodeView, Array, Array]:
    """Return the view `[M]`, actions `[M]` and keys `[M, W]`, tree by tree."""
    flat = jax.tree.map(by_tree, leaves)
    count, trees = leaves.collided.shape
    view = NodeView(
        states=tree.states,
        tree=jnp.repeat(jnp.arange(trees, dtype=jnp.int32), count),
        node=flat.selection.parent,
        ancestors=flat.selection.ancestors,
        depth=flat.selection.depth,
        active=flat.selection.active,
    )
    return view, flat.selection.action, flat.keys


def by_tree(array: Array) -> Array:
    """`[K, B, ...]` to `[M, ...]`."""
    return jnp.swapaxes(array, 0, 1).reshape((-1, *array.shape[2:]))


def by_leaf(array: Array, count: int) -> Array:
    """`[M, ...]` to `[K, B, ...]`."""
    return jnp.swapaxes(array.reshape((-1, count, *array.shape[1:])), 0, 1)


def expand_leaves(
    tree: Tree[Any],
    leaves: Leaves,
    slot: Array,
    expansion: Expansion,
    state: Any,
    config: SearchConfig,
) -> Tree[Any]:
    """Store what the model said of a round's leaves, and back each up in turn.

    Args:
      tree: the trees.
      leaves: of the round.
      slot: `[]` int32, the id of the first new node.
      expansion: rows `[M]`.
      state: leaves `[M, ...]`.
      config: of the search.
    """
    count, trees = leaves.collided.shape
    new = leaves.selection.active & (leaves.selection.child < 0)

    def store(all_states: Array, made: Array) -> Array:
        made = made.reshape((trees, count, *made.shape[1:]))
        mask = jnp.swapaxes(new, 0, 1)
        mask = mask.reshape(mask.shape + (1,) * (made.ndim - 2))
        made = jnp.where(mask, made, jnp.zeros((), made.dtype)).astype(all_states.dtype)
        return jax.lax.dynamic_update_slice_in_dim(all_states, made, slot, axis=1)

    states = jax.tree.map(store, tree.states, state)

    def one(tree: Tree[Any], turn: Any) -> tuple[Tree[Any], None]:
        selection, keys, said, new_id = turn
        tree, leaf = expand(tree, selection, new_id, said, None, keys, config)
        return backup(tree, selection, leaf, config), None

    ids = slot + jnp.arange(count, dtype=jnp.int32)
    said = jax.tree.map(lambda x: by_leaf(x, count), expansion)
    turns = (leaves.selection, leaves.keys, said, ids)
    tree, _ = jax.lax.scan(one, tree._replace(states=None), turns)
    return tree._replace(states=states)
