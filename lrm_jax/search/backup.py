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
    closing: Array  # [B], the child was just closed
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
    masks = config.solved == "mask"
    rows = jnp.arange(leaf.node.shape[0])
    tree, closing = _leaf(tree, leaf, rows, masks=masks)
    deepest = jnp.max(jnp.where(leaf.active, selection.depth, -1))
    start = _Climb(
        level=deepest,
        above=leaf.value_above,
        closing=closing,
        values=tree.values,
        visits=tree.visits,
        open_actions=tree.open_actions,
        proven=tree.proven,
    )

    def step(climb: _Climb) -> _Climb:
        node = jax.lax.dynamic_index_in_dim(
            selection.ancestors, climb.level, axis=1, keepdims=False
        )
        on = leaf.active & (node >= 0)
        node = jnp.maximum(node, 0)
        put = _putter(rows, node, on)
        count = pick(climb.visits, node) + 1
        old = pick(climb.values, node)
        value = old + (climb.above - old) / count.astype(old.dtype)
        target = climb.above
        if config.backup == "max":
            value = target = _best_child(tree, climb.values, node)
        open_actions, proven, closed = climb.open_actions, climb.proven, climb.closing
        if masks:
            left = pick(open_actions, node) - climb.closing
            best = pick(proven, node)
            best = jnp.where(climb.closing, jnp.maximum(best, climb.above), best)
            closed = climb.closing & (left == 0)
            value = jnp.where(closed, best, value)
            target = jnp.where(closed, best, target)
            open_actions, proven = put(open_actions, left), put(proven, best)
        product = pick(tree.discounts, node) * target
        above = pick(tree.rewards, node) + rounded(product)
        return _Climb(
            level=climb.level - 1,
            above=jnp.where(on, above, climb.above),
            closing=jnp.where(on, closed, climb.closing),
            values=put(climb.values, value),
            visits=put(climb.visits, count),
            open_actions=open_actions,
            proven=proven,
        )

    end = jax.lax.while_loop(lambda climb: climb.level >= 0, step, start)
    return tree._replace(
        values=end.values,
        visits=end.visits,
        open_actions=end.open_actions,
        proven=end.proven,
    )


def _putter(rows: Array, node: Array, on: Array) -> Any:
    """A function that sets one entry a tree, where the tree takes part."""

    def put(array: Array, new: Array) -> Array:
        new = jnp.where(on, new.astype(array.dtype), pick(array, node))
        return array.at[rows, node].set(
            new, mode="promise_in_bounds", unique_indices=True
        )

    return put


def _leaf(
    tree: Tree[State], leaf: Leaf, rows: Array, *, masks: bool
) -> tuple[Tree[State], Array]:
    """Count the visit on the leaf itself; a terminal closes when it is made."""
    put = _putter(rows, leaf.node, leaf.active)
    before = pick(tree.visits, leaf.node)
    old = pick(tree.values, leaf.node)
    value = old + (leaf.value - old) / (before + 1).astype(old.dtype)
    closing = leaf.active & (before == 0) & pick(tree.terminal, leaf.node)
    tree = tree._replace(
        values=put(tree.values, value), visits=put(tree.visits, before + 1)
    )
    return tree, closing & masks


def _best_child(tree: Tree[Any], values: Array, node: Array) -> Array:
    children = pick(tree.children, node)
    kid = jnp.maximum(children, 0)
    product = pick(tree.discounts, kid) * pick(values, kid)
    qvalues = pick(tree.rewards, kid) + rounded(product)
    return jnp.max(jnp.where(children >= 0, qvalues, -jnp.inf), axis=-1)
