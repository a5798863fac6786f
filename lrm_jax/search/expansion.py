# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""New trees and new nodes: what a model said becomes statistics.

Shape letters: `B` trees, `N` nodes beside the root, `A` actions.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.selection import Selection, pick
from lrm_jax.search.tree import (
    NO_NODE,
    ROOT,
    Expansion,
    Tree,
    node_keys,
    rounded,
)
from lrm_jax.types import Array

State = TypeVar("State")
_RESAMPLE = 0x72657361
"""Folded into a node's key where its value is asked for again."""


class Facts(NamedTuple):
    """What a model said of nodes, made safe: no NaN, 0 below a terminal.

    Attributes:
      reward: `[B]`.
      discount: `[B]`.
      value: `[B]`, 0 where terminal.
      prior_logits: `[B, A]`, -inf where not valid.
      actions: `[B]` int32, valid ones; 0 where terminal.
      terminal: `[B]` bool, dead ends and bad nodes too.
      bad: `[B]` bool, NaN or infinity where a number was needed.
    """

    reward: Array  # [B]
    discount: Array  # [B]
    value: Array  # [B]
    prior_logits: Array  # [B, A]
    actions: Array  # [B]
    terminal: Array  # [B]
    bad: Array  # [B]


class Leaf(NamedTuple):
    """The leaf of one simulation of each tree, ready to be backed up.

    Attributes:
      node: `[B]` int32.
      value: `[B]`, this simulation's.
      value_above: `[B]`, r + gamma V as its parent sees it.
      active: `[B]` bool, whether there is something to back up.
      new: `[B]` bool, made just now; its own visit is counted already.
      closes: `[B]` bool, a terminal that was made just now.
    """

    node: Array  # [B]
    value: Array  # [B]
    value_above: Array  # [B]
    active: Array  # [B]
    new: Array  # [B]
    closes: Array  # [B]


def statistics_dtype(expansion: Expansion) -> Any:
    """Return float32, or float64 where values are."""
    return jnp.promote_types(expansion.value.dtype, jnp.float32)


def facts(expansion: Expansion, dtype: Any) -> Facts:
    """Cast what a model said and select away what must not count."""
    said = [expansion.reward, expansion.discount, expansion.value]
    reward, discount, value = (x.astype(dtype) for x in said)
    logits, valid = expansion.prior_logits.astype(dtype), expansion.valid
    terminal = expansion.terminal | ~jnp.any(valid, axis=-1)
    value = jnp.where(terminal, 0, value)
    wrong = valid & (jnp.isnan(logits) | (logits == jnp.inf)) & ~terminal[:, None]
    bad = jnp.any(wrong, axis=-1)
    for number in (reward, discount, value):
        bad |= ~jnp.isfinite(number)
    terminal |= bad
    least = jnp.finfo(dtype).min
    good = lambda x: jnp.where(bad, 0, x)
    return Facts(
        reward=good(reward),
        discount=good(discount),
        value=good(value),
        # -inf means that an action is not there: one of probability 0 is.
        prior_logits=jnp.where(
            valid & ~terminal[:, None], jnp.maximum(logits, least), -jnp.inf
        ),
        actions=jnp.where(terminal, 0, jnp.sum(valid, axis=-1)).astype(jnp.int32),
        terminal=terminal,
        bad=bad,
    )


def init_tree(root: Expansion, state: State, keys: Array, nodes: int) -> Tree[State]:
    """Return trees of their roots alone.

    Args:
      root: what the model said of them.
      state: of the roots, leaves `[B, ...]`.
      keys: `[B, W]`, `key_data` of the roots' keys.
      nodes: that a tree has room for, the root included.
    """
    dtype = statistics_dtype(root)
    trees, actions = root.prior_logits.shape
    made = facts(root, dtype)
    floats = lambda fill: jnp.full((trees, nodes), fill, dtype)
    ints = lambda fill: jnp.full((trees, nodes), fill, jnp.int32)
    first = lambda array, at_root: array.at[:, ROOT].set(at_root)
    wide = (trees, nodes, actions)
    room = lambda x: jnp.zeros((trees, nodes, *x.shape[1:]), x.dtype)
    return Tree(
        parents=ints(NO_NODE),
        actions=ints(NO_NODE),
        children=jnp.full(wide, NO_NODE, jnp.int32),
        prior_logits=first(jnp.full(wide, -jnp.inf, dtype), made.prior_logits),
        rewards=floats(0),
        discounts=first(floats(0), 1),
        raw_values=first(floats(0), made.value),
        values=first(floats(0), made.value),
        visits=first(ints(0), 1),
        open_actions=first(ints(0), made.actions),
        proven=first(floats(-jnp.inf), jnp.where(made.terminal, 0, -jnp.inf)),
        terminal=first(jnp.zeros((trees, nodes), bool), made.terminal),
        bad=first(jnp.zeros((trees, nodes), bool), made.bad),
        keys=first(jnp.zeros((trees, nodes, keys.shape[-1]), keys.dtype), keys),
        states=jax.tree.map(lambda x: room(x).at[:, ROOT].set(x), state),
    )


def leaf_keys(
    tree: Tree[Any], selection: Selection, again: Array, config: SearchConfig
) -> Array:
    """Return the keys of the leaves to be judged as data, `[B, W]`.

    The parent's key folded with the action; for the n-th judgement of a node that is
    there (`again` is n, 0 the first), its own key folded with that.
    """
    parents = node_keys(pick(tree.keys, selection.parent))
    keys = jax.vmap(jax.random.fold_in)(parents, selection.action)
    data = jax.random.key_data(keys)
    if not (config.capped == "resample" and config.max_depth):
        return data  # nothing is judged again
    apart = jax.vmap(lambda key: jax.random.fold_in(key, _RESAMPLE))(node_keys(data))
    other = jax.random.key_data(jax.vmap(jax.random.fold_in)(apart, again))
    return jnp.where((again > 0)[:, None], other, data)


def expand(
    tree: Tree[State],
    selection: Selection,
    slot: Array,
    expansion: Expansion,
    state: State,
    keys: Array,
    config: SearchConfig,
) -> tuple[Tree[State], Leaf]:
    """Store what the model said of the leaves.

    Args:
      tree: the trees.
      selection: where each simulation ended.
      slot: `[]` int32, the id that new nodes get.
      expansion: of the leaves.
      state: of the leaves.
      keys: `[B, W]` of the leaves, from `leaf_keys`.
      config: of the search.
    """
    made = facts(expansion, tree.values.dtype)
    made_above = made.reward + rounded(made.discount * made.value)
    new = selection.active & (selection.child < 0)
    there = jnp.maximum(selection.child, 0)
    again = selection.active & ~new & ~pick(tree.terminal, there)
    if config.capped == "keep":
        value, above = pick(tree.values, there), pick(tree.qvalues, there)
    else:
        value = jnp.where(again, made.value, 0)
        above = jnp.where(again, made_above, pick(tree.rewards, there))
    leaf = Leaf(
        node=jnp.where(new, slot, there),
        value=jnp.where(new, made.value, value),
        value_above=jnp.where(new, made_above, above),
        active=selection.active,
        new=new,
        closes=new & made.terminal,
    )
    if config.capped == "resample" and config.max_depth:
        tree = _average(tree, leaf, again, made.bad)
    return _write(tree, selection, slot, new, made, state, keys), leaf


def _write(
    tree: Tree[State],
    selection: Selection,
    slot: Array,
    new: Array,
    made: Facts,
    state: State,
    keys: Array,
) -> Tree[State]:
    """Put new nodes in column `slot`, which nobody has used."""

    def column(array: Array, values: Array, empty: Any) -> Array:
        mask = new.reshape(new.shape + (1,) * (values.ndim - 1))
        filled = jnp.where(mask, values, jnp.asarray(empty, array.dtype))
        filled = filled[:, None].astype(array.dtype)
        return jax.lax.dynamic_update_slice_in_dim(array, filled, slot, axis=1)

    trees, nodes = tree.visits.shape
    parent = jnp.where(new, selection.parent, nodes)  # out of bounds: dropped
    rows = jnp.arange(trees)
    return tree._replace(
        parents=column(tree.parents, selection.parent, NO_NODE),
        actions=column(tree.actions, selection.action, NO_NODE),
        children=tree.children.at[rows, parent, selection.action].set(
            slot, mode="drop", unique_indices=True
        ),
        prior_logits=column(tree.prior_logits, made.prior_logits, -jnp.inf),
        rewards=column(tree.rewards, made.reward, 0),
        discounts=column(tree.discounts, made.discount, 0),
        raw_values=column(tree.raw_values, made.value, 0),
        values=column(tree.values, made.value, 0),
        visits=column(tree.visits, jnp.ones_like(selection.parent), 0),
        open_actions=column(tree.open_actions, made.actions, 0),
        proven=column(tree.proven, jnp.where(made.terminal, 0, -jnp.inf), -jnp.inf),
        terminal=column(tree.terminal, made.terminal, False),
        bad=column(tree.bad, made.bad, False),
        keys=jax.lax.dynamic_update_slice_in_dim(
            tree.keys, keys[:, None], slot, axis=1
        ),
        states=jax.tree.map(lambda store, x: column(store, x, 0), tree.states, state),
    )


def _average(tree: Tree[State], leaf: Leaf, again: Array, bad: Array) -> Tree[State]:
    """Let a capped node's q be the mean of what its judgements returned.

    Its value becomes their mean in the backup. Its reward takes up what is left, so
    that r + gamma V is the mean of r_i + gamma_i V_i.
    """
    rows, node = jnp.arange(leaf.node.shape[0]), leaf.node
    count = (pick(tree.visits, node) + 1).astype(tree.values.dtype)
    value, above = pick(tree.values, node), pick(tree.qvalues, node)
    mean = value + (leaf.value - value) / count
    mean_above = above + (leaf.value_above - above) / count
    reward = mean_above - rounded(pick(tree.discounts, node) * mean)
    where = jnp.where(again, node, tree.visits.shape[1])
    was_bad = pick(tree.bad, node)
    return tree._replace(
        rewards=tree.rewards.at[rows, where].set(reward, mode="drop"),
        bad=tree.bad.at[rows, where].set(was_bad | bad, mode="drop"),
    )
