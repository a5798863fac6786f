# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Monte Carlo tree search: select, expand and back up, fused into one loop.

Each step of the loop walks down every tree, asks the model once for all leaves, and
backs up. Shape letters: `B` trees, `N` simulations, `A` actions.
"""

import functools
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.reasoning.shards import mesh_parts
from lrm_jax.search.backup import backup
from lrm_jax.search.config import SearchConfig, check_config
from lrm_jax.search.expansion import expand, init_tree, leaf_keys
from lrm_jax.search.gumbel import RootPlan, root_noise_keys, root_plan
from lrm_jax.search.leaves import (
    Leaves,
    by_leaf,
    expand_leaves,
    select_leaves,
    view_of_leaves,
)
from lrm_jax.search.outcome import recommend
from lrm_jax.search.parts import on_lanes
from lrm_jax.search.reuse import Kept
from lrm_jax.search.selection import Selection, pick, select
from lrm_jax.search.sizes import check_size
from lrm_jax.search.tree import (
    ROOT,
    Expansion,
    NodeView,
    SearchResult,
    Tree,
    TreeModel,
    key_data,
    node_keys,
)
from lrm_jax.types import Array, Key, Params, UserError

State = TypeVar("State")


class SearchState(NamedTuple):
    """A search between two rounds.

    Attributes:
      tree: so far.
      plan: of the roots (gumbel only).
      budgets: `[B]` int32, simulations that each tree may spend.
      spent: `[B]` int32.
      collisions: `[B]` int32.
      round: `[]` int32.
      problem: as it was given, for the model to read.
    """

    tree: Tree[Any]
    plan: RootPlan | None
    budgets: Array  # [B]
    spent: Array  # [B]
    collisions: Array  # [B]
    round: Array  # []
    problem: Any = None


class Round(NamedTuple):
    """What was done in one round.

    Attributes:
      leaves: that were chosen, arrays `[K, B, ...]`.
      said: of them by the model, arrays `[K, B, ...]`.
    """

    leaves: Leaves
    said: Expansion


def search(
    model: TreeModel[State],
    params: Params,
    problem: Any,
    keys: Key,
    config: SearchConfig,
    *,
    budgets: Array | None = None,
) -> SearchResult[State]:
    """Search a tree for every row of a problem.

    Pure; `model` and `config` are static under `jax.jit` (`search_jit` is that).

    Args:
      model: grows the trees.
      params: of the model.
      problem: pytree with a leading axis of trees.
      keys: `[B]`, one a tree; everything drawn follows from it and the path.
      config: of the search.
      budgets: `[B]` int32, simulations of each tree, at most `config.simulations`.

    Raises:
      UserError: a config that cannot be, or trees that take more than
        `config.memory_limit_bytes`; said before anything compiles.
    """
    check_config(config)
    if config.memory_limit_bytes:
        check_size(model, params, problem, keys, config, parts=mesh_parts())

    def one(params: Params, rows: Any, budgets: Array) -> SearchResult[State]:
        problem, data = rows
        state = start(model, params, problem, node_keys(data), config, budgets=budgets)
        return run(model, params, state, config)

    rows = (problem, key_data(keys))
    return on_lanes(
        one, params, rows, initial_budgets(len(keys), budgets, config), config.lanes
    )


search_jit = functools.partial(jax.jit, static_argnames=("model", "config"))(search)


def search_on(
    model: TreeModel[State],
    params: Params,
    problem: Any,
    keys: Key,
    kept: Kept,
    config: SearchConfig,
    *,
    budgets: Array | None = None,
) -> SearchResult[State]:
    """Search on from what an action left of a tree; see `search`.

    Args:
      model: grows the trees.
      params: of the model.
      problem: as it is after the action; used where nothing was kept.
      keys: `[B]`, the old keys folded with the action; used likewise.
      kept: of `keep_subtree`, with the same config.
      config: of the search.
      budgets: see `search`.
    """
    check_config(config)

    def one(params: Params, rows: Any, budgets: Array) -> SearchResult[State]:
        problem, data, kept = rows
        root, made = model.root(params, problem, node_keys(data))
        fresh = init_tree(root, made, data, kept.tree.visits.shape[1])
        lost = kept.nodes == 0
        tree = jax.tree.map(
            lambda new, old: jnp.where(
                lost.reshape(lost.shape + (1,) * (old.ndim - 1)), new, old
            ),
            fresh,
            kept.tree,
        )
        state = begin(tree, config, budgets=budgets)._replace(problem=problem)
        return run(model, params, state, config)

    rows = (problem, key_data(keys), kept)
    return on_lanes(
        one, params, rows, initial_budgets(len(keys), budgets, config), config.lanes
    )


def run(
    model: TreeModel[State], params: Params, state: SearchState, config: SearchConfig
) -> SearchResult[State]:
    """Go on from a state until no tree is active, all rows at once."""
    state = jax.lax.while_loop(
        lambda state: jnp.any(active_trees(state, config)),
        lambda state: advance(model, params, state, config),
        state,
    )
    return finish(state, config)


def initial_budgets(trees: int, budgets: Array | None, config: SearchConfig) -> Array:
    """Return what each tree may spend, `[B]` int32: what is asked, cut to the most."""
    most = jnp.full((trees,), config.simulations, jnp.int32)
    if budgets is None:
        return most
    return jnp.clip(jnp.asarray(budgets).astype(jnp.int32), 0, most)


def start(
    model: TreeModel[State],
    params: Params,
    problem: Any,
    keys: Key,
    config: SearchConfig,
    *,
    budgets: Array | None = None,
) -> SearchState:
    """Return the state before the first round: roots, and what they plan."""
    data = key_data(keys)
    root, state = model.root(params, problem, keys)
    tree = init_tree(root, state, data, config.simulations + 1)
    return begin(tree, config, budgets=budgets)._replace(problem=problem)


def begin(
    tree: Tree[Any], config: SearchConfig, *, budgets: Array | None = None
) -> SearchState:
    """Return the state before the first round on trees that are there."""
    trees = tree.visits.shape[0]
    if config.dirichlet_fraction and config.method != "gumbel":
        tree = _with_noise(tree, config)
    budgets = initial_budgets(trees, budgets, config)
    plan = None
    if config.method == "gumbel":
        children = tree.children[:, ROOT]
        before = pick(tree.visits, jnp.maximum(children, 0))
        before = jnp.where(children >= 0, before, 0)
        valid = tree.prior_logits[:, ROOT] > -jnp.inf
        plan = root_plan(node_keys(tree.keys[:, ROOT]), valid, before, budgets, config)
    nothing = jnp.zeros((trees,), jnp.int32)
    return SearchState(tree, plan, budgets, nothing, nothing, jnp.zeros((), jnp.int32))


def active_trees(state: SearchState, config: SearchConfig) -> Array:
    """Return `[B]` bool: trees with budget left and something open below the root."""
    left = state.round * config.leaves < state.budgets
    return left & (state.tree.open_actions[:, ROOT] > 0)


def advance(
    model: TreeModel[Any], params: Params, state: SearchState, config: SearchConfig
) -> SearchState:
    """Run one round: a leaf (or `config.leaves`) in every tree that is active."""
    return advance_and_tell(model, params, state, config)[0]


def advance_and_tell(
    model: TreeModel[Any], params: Params, state: SearchState, config: SearchConfig
) -> tuple[SearchState, Round]:
    """Run one round, and return what was done in it."""
    tree, active = state.tree, active_trees(state, config)
    slot = first_slot(tree, config) + state.round * config.leaves
    if config.leaves > 1:
        number = state.round * config.leaves + jnp.arange(config.leaves)[:, None]
        active = active[None] & (number < state.budgets[None])
        leaves = select_leaves(tree, state.plan, active, slot, config)
        view, action, keys = view_of_leaves(tree, leaves)
        # Prompts are the problem's, not the nodes' (guided.py reads them there).
        view = view._replace(problem=state.problem)
        said, made = model.step(params, view, action, node_keys(keys))
        tree = expand_leaves(tree, leaves, slot, said, made, config)
        said = jax.tree.map(lambda x: by_leaf(x, config.leaves), said)
    else:
        selection = select(tree, state.plan, active, config)
        keys = leaf_keys(tree, selection, _judged(tree, selection), config)
        said, made = model.step(
            params,
            view_of(tree, selection)._replace(problem=state.problem),
            selection.action,
            node_keys(keys),
        )
        tree, leaf = expand(tree, selection, slot, said, made, keys, config)
        tree = backup(tree, selection, leaf, config)
        one = (selection, keys, jnp.zeros_like(active))
        leaves = Leaves(*jax.tree.map(lambda x: x[None], one))
        said = jax.tree.map(lambda x: x[None], said)
    count = lambda x: jnp.sum(x, axis=0, dtype=jnp.int32)
    after = state._replace(
        tree=tree,
        spent=state.spent + count(leaves.selection.active),
        collisions=state.collisions + count(leaves.collided),
        round=state.round + 1,
    )
    return after, Round(leaves, said)


def first_slot(tree: Tree[Any], config: SearchConfig) -> int:
    """Return the id of the first node that this search can make."""
    return tree.visits.shape[1] - config.simulations


def view_of(tree: Tree[State], selection: Selection) -> NodeView[State]:
    """Return what the model may read to make the selected leaves."""
    return NodeView(
        states=tree.states,
        tree=jnp.arange(len(selection.parent), dtype=jnp.int32),
        node=selection.parent,
        ancestors=selection.ancestors,
        depth=selection.depth,
        active=selection.active,
    )


def _judged(tree: Tree[Any], selection: Selection) -> Array:
    """How often each leaf was judged before, `[B]`."""
    there = selection.child >= 0
    return jnp.where(there, pick(tree.visits, jnp.maximum(selection.child, 0)), 0)


def _with_noise(tree: Tree[State], config: SearchConfig) -> Tree[State]:
    """Mix Dirichlet noise into the roots' priors."""
    logits = tree.prior_logits[:, ROOT]
    valid = logits > -jnp.inf
    alpha = jnp.full(logits.shape[1:], config.dirichlet_alpha, logits.dtype)
    draw = lambda key: jax.random.loggamma(key, alpha, dtype=logits.dtype)
    noise = jax.vmap(draw)(root_noise_keys(node_keys(tree.keys[:, ROOT])))
    # A Dirichlet draw over the valid actions alone: gammas over their sum.
    noise = jax.nn.softmax(jnp.where(valid, noise, -jnp.inf), axis=-1)
    share = config.dirichlet_fraction
    mixed = (1 - share) * jax.nn.softmax(logits, axis=-1) + share * noise
    least = jnp.finfo(logits.dtype).tiny
    mixed = jnp.where(valid, jnp.log(jnp.maximum(mixed, least)), -jnp.inf)
    return tree._replace(prior_logits=tree.prior_logits.at[:, ROOT].set(mixed))


def finish(state: SearchState, config: SearchConfig) -> SearchResult[Any]:
    """Return what a search found."""
    tree = state.tree
    action, weights, edges = recommend(tree, state.plan, config)
    new = tree.visits[:, first_slot(tree, config) :]
    made = jnp.sum(new > 0, axis=-1, dtype=jnp.int32)
    return SearchResult(
        tree=tree,
        action=action,
        weights=weights,
        value=tree.values[:, ROOT],
        qvalues=jnp.where(edges.seen, edges.qvalues, jnp.nan),
        visits=edges.visits,
        simulations=state.spent,
        expansions=made,
        collisions=state.collisions,
        closed=tree.closed[:, ROOT],
        bad=jnp.any(tree.bad, axis=-1),
    )


def check_result(result: SearchResult[Any]) -> None:
    """Refuse trees in which the model said NaN or infinity; waits for the device.

    Raises:
      UserError: names the lane, the node, and the actions that lead to it.
    """
    bad = np.asarray(result.bad)
    if not bad.any():
        return
    lane = int(np.flatnonzero(bad)[0])
    node = int(np.flatnonzero(np.asarray(result.tree.bad[lane]))[0])
    parents, actions = (
        np.asarray(x[lane]) for x in (result.tree.parents, result.tree.actions)
    )
    path: list[str] = []
    at = node
    while at > ROOT:
        path.insert(0, str(actions[at]))
        at = int(parents[at])
    raise UserError(
        f"search: the model's value, reward or prior is NaN or infinite in lane {lane} "
        f"at node {node} (actions {'-'.join(path) or 'none, the root'}); "
        f"{int(bad.sum())} of {len(bad)} lanes have such nodes"
    )
