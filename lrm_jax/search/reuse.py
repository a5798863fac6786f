# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What was found below an action is kept when that action is taken.

The new tree is packed in the order in which nodes were made, so that its root is node
0 and parents come before children. Shape letters: `B` trees, `N` nodes, `C` capacity.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.selection import pick
from lrm_jax.search.tree import NO_NODE, ROOT, Tree, rounded
from lrm_jax.types import Array, UserError

State = TypeVar("State")


class Kept(NamedTuple):
    """Trees to go on from, and how much of them could be kept.

    Attributes:
      tree: `capacity` + simulations nodes each.
      nodes: `[B]` int32, kept; 0 where the action was never expanded: that tree has
        no root and must be searched from the start.
      dropped: `[B]` int32, nodes beyond the capacity.
    """

    tree: Tree[Any]
    nodes: Array  # [B]
    dropped: Array  # [B]


def keep_subtree(
    tree: Tree[State], action: Array, config: SearchConfig, *, capacity: int
) -> Kept:
    """Return the trees below the root's action, with room for another search.

    Nodes are kept in the order of their making as far as there is room. Where one is
    dropped its subtree is too (what is below was made later): its parent gets the
    action back as one that nobody took, and the visits and the value of what is above
    are those that remain: V = (own + sum n q) / N, in which own is what the node's
    first visit gave. Proofs that rested on what was dropped are dropped.

    Args:
      tree: searched.
      action: `[B]` int32, taken; -1: keep nothing.
      config: of the search to come.
      capacity: nodes of each tree that may be kept, the root included.

    Raises:
      UserError: a capacity below 1 or above the nodes there are.
    """
    trees, nodes = tree.visits.shape
    if not 1 <= capacity <= nodes:
        raise UserError(f"capacity={capacity}: expected 1 to {nodes} nodes")
    root = jnp.take_along_axis(
        tree.children[:, ROOT], jnp.maximum(action, 0)[:, None], axis=1
    )[:, 0]
    root = jnp.where(action >= 0, root, NO_NODE)
    below = _below(tree, root)
    place = jnp.cumsum(below, axis=1, dtype=jnp.int32) - 1
    count = jnp.sum(below, axis=1, dtype=jnp.int32)
    kept = below & (place < capacity)
    tree = _without(tree, below & ~kept, config)
    order = jnp.argsort(~kept, axis=1, stable=True)[:, :capacity]  # kept ones first
    packed = _packed(tree, kept, jnp.where(kept, place, NO_NODE), order)
    room = jnp.minimum(count, capacity)
    return Kept(_with_room(packed, config.simulations), room, count - room)


def _below(tree: Tree[Any], root: Array) -> Array:
    """`[B, N]` bool, nodes of the subtree: a node is if its parent is."""
    nodes = tree.visits.shape[1]
    rows = jnp.arange(nodes)[None]
    start = (rows == root[:, None]) & (tree.visits > 0)

    def one(node: Array, below: Array) -> Array:
        parent = jnp.maximum(tree.parents[:, node], 0)
        of_parent = jnp.take_along_axis(below, parent[:, None], axis=1)[:, 0]
        inside = below[:, node] | (of_parent & (tree.visits[:, node] > 0))
        return below.at[:, node].set(inside)

    return jax.lax.fori_loop(1, nodes, one, start)


def _without(tree: Tree[State], gone: Array, config: SearchConfig) -> Tree[State]:
    """Take nodes out, and work the statistics above them out again, leaves first."""
    nodes = tree.visits.shape[1]

    def one(step: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        children, visits, values, open_actions, proven, touched = carry
        node = nodes - 1 - step
        kid = jnp.maximum(children[:, node], 0)
        there = children[:, node] >= 0
        lost = there & pick(gone, kid)
        changed = jnp.any(lost | (there & pick(touched, kid)), axis=1)
        children = children.at[:, node].set(jnp.where(lost, NO_NODE, children[:, node]))
        there &= ~lost
        seen = jnp.where(there, pick(visits, kid), 0)
        product = pick(tree.discounts, kid) * pick(values, kid)
        q = pick(tree.rewards, kid) + rounded(product)
        total = 1 + jnp.sum(seen, axis=1, dtype=jnp.int32)
        mean = jnp.sum(jnp.where(there, seen * q, 0), axis=1)
        value = (tree.raw_values[:, node] + mean) / total
        if config.backup == "max":
            best = jnp.max(jnp.where(there, q, -jnp.inf), axis=1)
            value = jnp.where(jnp.any(there, axis=1), best, tree.raw_values[:, node])
        closed = there & (pick(open_actions, kid) == 0)
        left = jnp.sum(tree.prior_logits[:, node] > -jnp.inf, axis=1, dtype=jnp.int32)
        left -= jnp.sum(closed, axis=1, dtype=jnp.int32)
        best = jnp.max(jnp.where(closed, q, -jnp.inf), axis=1)
        put = lambda array, new: array.at[:, node].set(
            jnp.where(changed, new, array[:, node])
        )
        if config.solved == "mask":
            open_actions, proven = put(open_actions, left), put(proven, best)
        return (
            children,
            put(visits, total),
            put(values, value.astype(values.dtype)),
            open_actions,
            proven,
            touched.at[:, node].set(changed),
        )

    start = (
        tree.children,
        tree.visits,
        tree.values,
        tree.open_actions,
        tree.proven,
        jnp.zeros_like(gone),
    )
    children, visits, values, open_actions, proven, _ = jax.lax.fori_loop(
        0, nodes, one, start
    )
    return tree._replace(
        children=children,
        visits=visits,
        values=values,
        open_actions=open_actions,
        proven=proven,
    )


def _packed(tree: Tree[State], kept: Array, place: Array, order: Array) -> Tree[State]:
    """Move kept nodes to their places; what is not there becomes empty."""
    here = jnp.take_along_axis(kept, order, axis=1)

    def move(array: Array, empty: Any = 0) -> Array:
        moved = pick(array, order)
        mask = here.reshape(here.shape + (1,) * (moved.ndim - 2))
        return jnp.where(mask, moved, jnp.asarray(empty, array.dtype))

    parents = move(tree.parents, NO_NODE)
    children = move(tree.children, NO_NODE)
    shape = children.shape
    flat = children.reshape((shape[0], -1))
    to = lambda ids: jnp.where(ids >= 0, pick(place, jnp.maximum(ids, 0)), NO_NODE)
    first = jnp.arange(order.shape[1])[None] == ROOT
    return Tree(
        parents=jnp.where(first, NO_NODE, to(parents)),
        actions=jnp.where(first, NO_NODE, move(tree.actions, NO_NODE)),
        children=to(flat).reshape(shape),
        prior_logits=move(tree.prior_logits, -jnp.inf),
        rewards=jnp.where(first, 0, move(tree.rewards)),
        discounts=jnp.where(first, 1, move(tree.discounts)),
        raw_values=move(tree.raw_values),
        values=move(tree.values),
        visits=move(tree.visits),
        open_actions=move(tree.open_actions),
        proven=move(tree.proven, -jnp.inf),
        terminal=move(tree.terminal, False),
        bad=move(tree.bad, False),
        keys=move(tree.keys),
        states=jax.tree.map(move, tree.states),
    )


def _with_room(tree: Tree[State], simulations: int) -> Tree[State]:
    """Add empty nodes for another search."""
    fills: dict[str, Any] = dict.fromkeys(Tree._fields, 0)
    fills |= dict.fromkeys(("parents", "actions", "children"), NO_NODE)
    fills |= dict.fromkeys(("prior_logits", "proven"), -jnp.inf)
    fills["states"] = jax.tree.map(lambda _: 0, tree.states)

    def add(array: Array, fill: Any) -> Array:
        shape = (array.shape[0], simulations, *array.shape[2:])
        return jnp.concatenate([array, jnp.full(shape, fill, array.dtype)], axis=1)

    return jax.tree.map(add, tree, Tree(**fills))
