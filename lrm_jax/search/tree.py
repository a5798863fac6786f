# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A batch of search trees as a struct of arrays, and the model that grows them.

Shape letters: `B` trees, `N` nodes beside the root (one for each simulation), `A`
actions, `M` rows of a call of the model (trees * leaves, tree by tree), `D` nodes on a
path. Node 0 is the root; simulation i makes node i + 1 or none, so that ids are times.
"""

from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp

from lrm_jax.types import Array, Key, Params, UserError

State = TypeVar("State")
ROOT = 0
NO_NODE = -1


def rounded(product: Array) -> Array:
    """Return a product as it is, 0 where it is not finite.

    What is added to it then is added to the rounded product in every program. A
    compiler that may fuse a product with a sum, and does so for some batch sizes,
    would give a tree other bits in other company.
    """
    return jnp.where(jnp.isfinite(product), product, 0)


class Expansion(NamedTuple):
    """What a model says of nodes when they are made; any float dtype.

    Attributes:
      reward: `[M]` of the edge into the node (0 for a root).
      discount: `[M]` of this node's value seen from its parent (-1: two players).
      prior_logits: `[M, A]`.
      valid: `[M, A]` bool, actions that exist here; a node without any is a dead end,
        which is treated as terminal.
      value: `[M]`; selected away (never multiplied) where terminal.
      terminal: `[M]` bool.
    """

    reward: Array  # [M]
    discount: Array  # [M]
    prior_logits: Array  # [M, A]
    valid: Array  # [M, A]
    value: Array  # [M]
    terminal: Array  # [M]


class NodeView(NamedTuple, Generic[State]):
    """What a model may read when it makes nodes.

    Attributes:
      states: leaves `[B, N+1, ...]`, what the model stored at every node.
      tree: `[M]` int32, which tree.
      node: `[M]` int32, the parent to expand from.
      ancestors: `[M, D]` int32, node ids from the root to `node`, -1 after the end.
      depth: `[M]` int32, of `node`.
      active: `[M]` bool; what the model says of other rows is dropped.
      problem: leaves `[B, ...]`, as the model's `root` was given them.
    """

    states: State  # leaves [B, N+1, ...]
    tree: Array  # [M]
    node: Array  # [M]
    ancestors: Array  # [M, D]
    depth: Array  # [M]
    active: Array  # [M]
    problem: Any = None  # leaves [B, ...]

    def state(self) -> State:
        """Return what is stored at `node`, leaves `[M, ...]`."""
        return jax.tree.map(lambda leaf: leaf[self.tree, self.node], self.states)


class TreeModel(Protocol[State]):
    """What grows a tree: an environment, a policy with its reward model, a latent.

    Pure, batched and jit-able; static under `jax.jit`, so it must hash. Keys are of
    the nodes to be made: the problem's own for a root, and below it the parent's
    folded with the action, so that a tree never depends on its neighbours. State
    stores everything that a node needs; a model that needs its ancestors' state reads
    it at `view.ancestors`.
    """

    @property
    def num_actions(self) -> int:
        """Actions of every node, valid or not."""
        ...

    def root(self, params: Params, problem: Any, keys: Key) -> tuple[Expansion, State]:
        """Return the roots, one a row of the problem: leaves `[B, ...]`."""
        ...

    def step(
        self, params: Params, view: NodeView[State], action: Array, keys: Key
    ) -> tuple[Expansion, State]:
        """Return the nodes that `action` `[M]` leads to: leaves `[M, ...]`."""
        ...


class Tree(NamedTuple, Generic[State]):
    """Trees; statistics are float32 (float64 where values are), whatever the model's.

    Attributes:
      parents: `[B, N+1]` int32, -1 for the root and for nodes that are not there.
      actions: `[B, N+1]` int32, the parent's action that leads here; -1 likewise.
      children: `[B, N+1, A]` int32, -1 where not expanded.
      prior_logits: `[B, N+1, A]`, -inf where an action is not valid.
      rewards: `[B, N+1]` of the edge into the node.
      discounts: `[B, N+1]` of the node's value seen from its parent.
      raw_values: `[B, N+1]`, what the model said; 0 where terminal.
      values: `[B, N+1]`, backed up; proven where closed.
      visits: `[B, N+1]` int32; 0: there is no such node.
      open_actions: `[B, N+1]` int32, valid actions that are not closed; 0 at terminals
        and at every node below which all is known.
      proven: `[B, N+1]`, the best value among closed actions, -inf without any.
      terminal: `[B, N+1]` bool, no node below: by the model, or a dead end.
      bad: `[B, N+1]` bool, the model said NaN or infinity; treated as a dead end.
      keys: `[B, N+1, W]` uint32, the nodes' keys as data: see `node_keys`.
      states: leaves `[B, N+1, ...]`.
    """

    parents: Array  # [B, N+1]
    actions: Array  # [B, N+1]
    children: Array  # [B, N+1, A]
    prior_logits: Array  # [B, N+1, A]
    rewards: Array  # [B, N+1]
    discounts: Array  # [B, N+1]
    raw_values: Array  # [B, N+1]
    values: Array  # [B, N+1]
    visits: Array  # [B, N+1]
    open_actions: Array  # [B, N+1]
    proven: Array  # [B, N+1]
    terminal: Array  # [B, N+1]
    bad: Array  # [B, N+1]
    keys: Array  # [B, N+1, W]
    states: State

    @property
    def num_actions(self) -> int:
        """Actions of every node, valid or not."""
        return self.children.shape[-1]

    @property
    def closed(self) -> Array:
        """`[B, N+1]` bool, nodes below which all is known."""
        return (self.open_actions == 0) & (self.visits > 0)

    @property
    def qvalues(self) -> Array:
        """`[B, N+1]`, each node's value seen from its parent: r + gamma V."""
        return self.rewards + rounded(self.discounts * self.values)


def key_data(keys: Key) -> Array:
    """Return keys as numbers, `[..., W]` uint32, the way trees store them.

    Raises:
      UserError: keys of a generator that `node_keys` would not take them for.
    """
    data = jax.random.key_data(keys)
    expected, given = _impl(data.shape[-1]), str(jax.random.key_impl(keys))
    if given != expected:
        raise UserError(
            f"search keys are of the generator {given}; expected {expected}, the "
            "default of this process (jax_default_prng_impl)"
        )
    return data


def node_keys(data: Array) -> Key:
    """Return numbers `[..., W]` as the keys they are of."""
    return jax.random.wrap_key_data(data, impl=_impl(data.shape[-1]))


def _impl(width: int) -> str:
    return "threefry2x32" if width == 2 else str(jax.random.key_impl(jax.random.key(0)))


class SearchResult(NamedTuple, Generic[State]):
    """What a search found, tree by tree.

    Attributes:
      tree: all of it.
      action: `[B]` int32, the root's action to take; -1 where it has no valid one.
      weights: `[B, A]`, a distribution over the root's actions to train a policy on:
        shares of visits, for gumbel the improved policy.
      value: `[B]` of the root.
      qvalues: `[B, A]` of the root's actions, NaN where not expanded.
      visits: `[B, A]` int32 of the root's actions.
      simulations: `[B]` int32, spent: at most the lane's budget.
      expansions: `[B]` int32, nodes made, the root not counted.
      collisions: `[B]` int32, simulations that met a leaf on its way to the model and
        were dropped; 0 where `leaves` is 1.
      closed: `[B]` bool, the root's value is proven.
      bad: `[B]` bool, some node is bad: see `mcts.check_result`.
    """

    tree: Tree[State]
    action: Array  # [B]
    weights: Array  # [B, A]
    value: Array  # [B]
    qvalues: Array  # [B, A]
    visits: Array  # [B, A]
    simulations: Array  # [B]
    expansions: Array  # [B]
    collisions: Array  # [B]
    closed: Array  # [B]
    bad: Array  # [B]
