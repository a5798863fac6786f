# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every node of a small tree, and the true values there: what a search is held to.

Nodes are made level by level through the model itself, so that an environment's own
arithmetic can be checked against these values too. `n` nodes of one problem.
"""

import functools
from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.search.tree import NO_NODE, Expansion, NodeView, State, TreeModel
from lrm_jax.types import Key, Params, UserError

_DEPTH = 32  # columns that paths grow by
_ROWS = 256  # of a call of the model
_CAPACITY = 1024  # nodes of the store, at least


class Enumerated(NamedTuple, Generic[State]):
    """All nodes, parents before children (host arrays).

    Attributes:
      parent: `[n]` int32, -1 for the root.
      action: `[n]` int32, the parent's that leads here; -1 for the root.
      depth: `[n]` int32.
      reward: `[n]` of the edge into the node.
      discount: `[n]` of its value seen from the parent.
      terminal: `[n]` bool; dead ends too.
      best: `[n]` value under best play; 0 where terminal.
      uniform: `[n]` value where all valid actions are equally likely.
      states: leaves `[n, ...]`.
    """

    parent: np.ndarray
    action: np.ndarray
    depth: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    terminal: np.ndarray
    best: np.ndarray
    uniform: np.ndarray
    states: State


def enumerate_tree(
    model: TreeModel[State],
    params: Params,
    problem: Any,
    key: Key | None = None,
    *,
    limit: int = 100_000,
) -> Enumerated[State]:
    """Make all nodes of a problem's tree.

    Args:
      model: that grows it; its keys are those of a search: of a node, its parent's
        folded with the action.
      params: of the model.
      problem: leaves `[1, ...]`.
      key: of the problem.
      limit: nodes at most.

    Raises:
      UserError: there are more nodes than the limit.
    """
    root_key = jax.random.key(0) if key is None else key
    said, states = model.root(params, problem, root_key[None])
    levels, states = [jax.device_get(said)], jax.device_get(states)
    parent, action = [np.array([NO_NODE])], [np.array([NO_NODE])]
    keys = np.asarray(jax.random.key_data(root_key))[None]
    # Ids from the root to each node of a level, then -1.
    paths = np.full((1, _DEPTH), NO_NODE, np.int32)
    paths[:, 0] = 0
    impl = str(jax.random.key_impl(root_key))
    count = 1
    while True:
        level = levels[-1]
        node, act = np.nonzero(level.valid & ~level.terminal[:, None])
        if not len(node):
            break
        if count + len(node) > limit:
            raise UserError(
                f"more than limit={limit} nodes at depth {len(levels)}; take a "
                "smaller problem"
            )
        paths = paths[node]
        call = functools.partial(_step, model, impl, params)
        store = jax.tree.map(_stored, states)
        rows = (paths, act, keys[node])
        said, made, keys = _in_parts(call, (store, problem, len(levels)), rows)
        states = jax.tree.map(lambda a, b: np.concatenate([a, b]), states, made)
        parent.append(paths[:, len(levels) - 1])
        action.append(act)
        ids = np.arange(count, count + len(node), dtype=np.int32)
        if paths.shape[1] == len(levels):
            more = np.full((len(paths), _DEPTH), NO_NODE, np.int32)
            paths = np.concatenate([paths, more], axis=1)
        paths[:, len(levels)] = ids
        levels.append(said)
        count += len(node)
    return _backed_up(levels, parent, action, states)


def _in_parts(
    call: Callable[..., Any], whole: tuple[Any, ...], rows: tuple[np.ndarray, ...]
) -> Any:
    """What a function of rows says, a fixed number of them at a time."""
    count, parts = len(rows[0]), []
    for i in range(0, count, _ROWS):
        part = (_padded(x[i : i + _ROWS], _ROWS) for x in rows)
        parts.append(jax.device_get(call(*whole, *part)))
    return jax.tree.map(lambda *x: np.concatenate(x)[:count], *parts)


def _padded(x: np.ndarray, rows: int) -> np.ndarray:
    """Rows added that say nothing, so that few shapes are compiled."""
    return np.pad(x, [(0, rows - len(x)), *[(0, 0)] * (x.ndim - 1)])


def _stored(x: np.ndarray) -> Any:
    """States as a search stores them, `[1, capacity, ...]`, on the device."""
    capacity = _CAPACITY
    while capacity < len(x):
        capacity *= 4
    return jax.device_put(_padded(x, capacity)[None])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step(
    model: TreeModel[Any],
    impl: str,
    params: Params,
    store: Any,
    problem: Any,
    length: Any,
    paths: Any,
    action: Any,
    above: Any,
) -> Any:
    """The nodes below, their states and the data of their keys."""
    parents = jax.random.wrap_key_data(above, impl=impl)
    keys = jax.vmap(jax.random.fold_in)(parents, action)
    rows = len(paths)
    view = NodeView(
        states=store,
        tree=jnp.zeros(rows, jnp.int32),
        node=paths[:, length - 1],
        ancestors=paths,
        depth=jnp.full(rows, length - 1, jnp.int32),
        active=jnp.ones(rows, bool),
        problem=problem,
    )
    said, made = model.step(params, view, action.astype(jnp.int32), keys)
    return said, made, jax.random.key_data(keys)


def _backed_up(
    levels: list[Expansion],
    parents: list[np.ndarray],
    actions: list[np.ndarray],
    states: Any,
) -> Enumerated[Any]:
    """Values from the leaves up, in float64."""
    joined: Expansion = jax.tree.map(lambda *x: np.concatenate(x), *levels)
    parent = np.concatenate(parents).astype(np.int32)
    depth = np.repeat(np.arange(len(levels)), [len(x) for x in parents])
    reward, discount = (
        np.asarray(x, np.float64) for x in (joined.reward, joined.discount)
    )
    terminal = np.asarray(joined.terminal) | ~np.asarray(joined.valid).any(1)
    n = len(parent)
    best, uniform = np.full(n, -np.inf), np.zeros(n)
    best[terminal] = 0
    children = np.bincount(parent[1:], minlength=n)
    for node in range(n - 1, 0, -1):
        above = parent[node]
        seen = reward[node] + discount[node] * np.array([best[node], uniform[node]])
        best[above] = max(best[above], seen[0])
        uniform[above] += seen[1] / children[above]
    return Enumerated(
        parent,
        np.concatenate(actions).astype(np.int32),
        depth.astype(np.int32),
        reward,
        discount,
        terminal,
        best,
        uniform,
        jax.tree.map(np.asarray, states),
    )
