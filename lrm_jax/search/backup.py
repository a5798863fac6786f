# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a leaf returned goes up the path to the root, and what is proven with it.

All trees climb at once, level by level from the deepest leaf. Shape letters: `B`
trees, `D` nodes on a path.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.expansion import Leaf
from lrm_jax.search.selection import Selection, pick
from lrm_jax.search.tree import Tree, rounded
from lrm_jax.types import Array

State = TypeVar("State")


class _Climb(NamedTuple):
    level: Array  # []
    above: Array  # [B], the return as the node at this level gets it
    values: Array  # [B, N+1]
    visits: Array  # [B, N+1]


class _Closing(NamedTuple):
    closing: Array  # [B], the child at depth + 1 was just closed
    depth: Array  # [B], of the node that is next
    above: Array  # [B]
    values: Array  # [B, N+1]
    visits: Array  # [B, N+1]
    open_actions: Array  # [B, N+1]
    proven: Array  # [B, N+1]


def backup(
    tree: Tree[State], selection: Selection, leaf: Leaf, config: SearchConfig
) -> Tree[State]:
    """Count a visit on every node of the path and take the leaf's return in.

    `mean`: V += (G - V) / n with G = r + gamma G'. `max`: V = max over the children
    there are of r + gamma V. A node whose last open action closes takes the best of
    them for its value, and hands that up.

    Args:
      tree: with the leaves in it.
      selection: the paths.
      leaf: what came back.
      config: of the search.
    """
    depth, above = selection.depth, leaf.value_above
    if config.solved == "count" or config.max_depth:
        tree = _visited_again(tree, leaf)
    if config.solved == "mask":
        tree, depth, above = _close(tree, selection, leaf)
    start = _Climb(
        level=jnp.max(jnp.where(leaf.active, depth, -1)),
        above=above,
        values=tree.values,
        visits=tree.visits,
    )

    def step(climb: _Climb) -> _Climb:
        node = jax.lax.dynamic_index_in_dim(
            selection.ancestors, climb.level, axis=1, keepdims=False
        )
        on = leaf.active & (climb.level <= depth)
        node = jnp.maximum(node, 0)
        put = _putter(node, on)
        count = pick(climb.visits, node) + 1
        old = pick(climb.values, node)
        value = old + (climb.above - old) / count.astype(old.dtype)
        target = climb.above
        if config.backup == "max":
            value = target = _best_child(tree, climb.values, node)
        product = pick(tree.discounts, node) * target
        above = pick(tree.rewards, node) + rounded(product)
        return _Climb(
            level=climb.level - 1,
            above=jnp.where(on, above, climb.above),
            values=put(climb.values, value),
            visits=put(climb.visits, count),
        )

    end = jax.lax.while_loop(lambda climb: climb.level >= 0, step, start)
    return tree._replace(values=end.values, visits=end.visits)


def _close(
    tree: Tree[State], selection: Selection, leaf: Leaf
) -> tuple[Tree[State], Array, Array]:
    """Climb from new terminals as far as nodes close; seldom more than nothing.

    Returns:
      The trees, and for the climb that goes on: the depth and what is handed up.
    """
    start = _Closing(
        closing=leaf.active & leaf.closes,
        depth=selection.depth,
        above=leaf.value_above,
        values=tree.values,
        visits=tree.visits,
        open_actions=tree.open_actions,
        proven=tree.proven,
    )

    def step(state: _Closing) -> _Closing:
        at = jnp.maximum(state.depth, 0)[:, None]
        node = jnp.take_along_axis(selection.ancestors, at, axis=1)[:, 0]
        node = jnp.maximum(node, 0)
        put = _putter(node, state.closing)
        left = pick(state.open_actions, node) - 1
        best = jnp.maximum(pick(state.proven, node), state.above)
        closed = state.closing & (left == 0)
        put_closed = _putter(node, closed)
        above = pick(tree.rewards, node) + rounded(pick(tree.discounts, node) * best)
        depth = state.depth - closed
        return _Closing(
            closing=closed & (depth >= 0),
            depth=depth,
            above=jnp.where(closed, above, state.above),
            values=put_closed(state.values, best),
            visits=put_closed(state.visits, pick(state.visits, node) + 1),
            open_actions=put(state.open_actions, left),
            proven=put(state.proven, best),
        )

    end = jax.lax.while_loop(lambda state: jnp.any(state.closing), step, start)
    tree = tree._replace(
        values=end.values,
        visits=end.visits,
        open_actions=end.open_actions,
        proven=end.proven,
    )
    return tree, end.depth, end.above


def _putter(node: Array, on: Array) -> Any:
    """A function that sets one entry a tree, where the tree takes part."""
    rows = jnp.arange(node.shape[0])

    def put(array: Array, new: Array) -> Array:
        new = jnp.where(on, new.astype(array.dtype), pick(array, node))
        return array.at[rows, node].set(
            new, mode="promise_in_bounds", unique_indices=True
        )

    return put


def _visited_again(tree: Tree[State], leaf: Leaf) -> Tree[State]:
    """Count the visit on leaves that were there: terminals and capped nodes."""
    put = _putter(leaf.node, leaf.active & ~leaf.new)
    count = pick(tree.visits, leaf.node) + 1
    old = pick(tree.values, leaf.node)
    value = old + (leaf.value - old) / count.astype(old.dtype)
    return tree._replace(values=put(tree.values, value), visits=put(tree.visits, count))


def _best_child(tree: Tree[Any], values: Array, node: Array) -> Array:
    children = pick(tree.children, node)
    kid = jnp.maximum(children, 0)
    product = pick(tree.discounts, kid) * pick(values, kid)
    qvalues = pick(tree.rewards, kid) + rounded(product)
    return jnp.max(jnp.where(children >= 0, qvalues, -jnp.inf), axis=-1)
