# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A tree over latent recursions for every problem of a data set, judged."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.evaluation.harness import gather, hide_labels
from lrm_jax.evaluation.judges import verdict
from lrm_jax.reasoning.budget import lane_keys
from lrm_jax.reasoning.shards import on_parts, rows_spec
from lrm_jax.recipes.latent_search_pass import OnBatch, run_batches
from lrm_jax.search.config import SearchConfig, check_config
from lrm_jax.search.latent_tree import (
    AnswerRule,
    LatentTree,
    Thought,
    answer_node,
    page_bytes,
)
from lrm_jax.search.mcts import search
from lrm_jax.search.tree import Tree
from lrm_jax.types import Array, Judge, Key, Params, Problem, UserError


@dataclass(frozen=True)
class TreePlan:
    """What is searched; static under `jax.jit`.

    Attributes:
      model: of the trees.
      search: simulations and selection.
      problems: trees of a device in a batch.
      answer: how a tree answers.
      judge: says what is right.
      keep: whether the trees themselves are handed out.
    """

    model: LatentTree
    search: SearchConfig
    problems: int
    answer: AnswerRule
    judge: Judge
    keep: bool = False


class TreesFound(NamedTuple):
    """What the trees said, in problem order (NumPy).

    Attributes:
      right: `[N]` bool.
      any_right: `[N]` bool, whether any node's answer was right.
      simulations: `[N]` int32, spent.
      depth: `[N]` int32, of the node that answers.
      time_s: by the clock, without compilation.
      trees: `[N, nodes]` leaves without carries and keys, and which nodes' answers
        are right; None unless kept.
    """

    right: np.ndarray
    any_right: np.ndarray
    simulations: np.ndarray
    depth: np.ndarray
    time_s: float
    trees: tuple[Tree[Thought], np.ndarray] | None = None


def run_trees(
    plan: TreePlan,
    params: Params,
    test_set: dict[str, np.ndarray],
    key: Key,
    *,
    on_batch: OnBatch | None = None,
) -> TreesFound:
    """Search a tree for every problem of a test set.

    Raises:
      UserError: a halting logit is not a number; names problem and node. Trees that
        exceed `search.memory_limit_bytes`, with how many simulations fit.
    """
    check_config(plan.search)
    _check_memory(plan, params, test_set)
    found, time_s = run_batches(
        partial(_batch, plan), params, test_set, key, plan.problems, on_batch
    )
    bad = found.pop("bad")
    if (bad >= 0).any():
        problem = int((bad >= 0).argmax())
        raise UserError(
            f"problem {problem}: the halting logit of node {int(bad[problem])} is not "
            f"finite; {int((bad >= 0).sum())} of {len(bad)} trees have such nodes"
        )
    return TreesFound(**found, time_s=time_s)


def node_bytes(plan: TreePlan, params: Params, cells: int) -> int:
    """Return the bytes of a node: its page and, by formula, its statistics."""
    problem: Any = {
        "inputs": jax.ShapeDtypeStruct((1, cells), jnp.int32),
        "puzzle_ids": jax.ShapeDtypeStruct((1,), jnp.int32),
    }
    # 9 numbers, a key of 2 words and 2 flags; an action has a child and a prior.
    return page_bytes(plan.model, params, problem) + 46 + 8 * plan.model.num_actions


def _check_memory(plan: TreePlan, params: Params, test_set: Any) -> None:
    limit = plan.search.memory_limit_bytes
    each = node_bytes(plan, params, np.shape(test_set["inputs"])[1])
    needed = plan.problems * (plan.search.simulations + 1) * each
    if limit and needed > limit:
        fits = limit // (plan.problems * each) - 1
        raise UserError(
            f"search.simulations={plan.search.simulations}: {plan.problems} trees of "
            f"{each} bytes a node need {needed} bytes, search.memory_limit_bytes is "
            f"{limit}; the largest that fits is {max(fits, 0)}"
        )


def _batch(
    plan: TreePlan,
    params: Params,
    arrays: Problem,
    key: Key,
    start: Array,
    *,
    batch: int,
) -> dict[str, Any]:
    """Search problems `start ..`; those past the end repeat the last one."""
    rows = jnp.minimum(start + jnp.arange(batch), arrays["inputs"].shape[0] - 1)
    mine = (gather(arrays, rows), lane_keys(key, rows))
    spec = rows_spec(batch)
    return on_parts(partial(_part, plan), params, mine, spec, spec)


def _part(plan: TreePlan, params: Params, mine: Any) -> dict[str, Any]:
    """Do a device's share of a batch."""
    problem, keys = mine
    result = search(plan.model, params, hide_labels(problem), keys, plan.search)
    tree = result.tree
    node = answer_node(result, plan.answer)
    trees, nodes = tree.visits.shape
    each = {name: jnp.repeat(x, nodes, axis=0) for name, x in problem.items()}
    ids = tree.states.ids.reshape(trees * nodes, -1)
    right = verdict("exact", plan.judge, ids, each).reshape(trees, nodes)
    bad = jnp.where(tree.bad.any(1), jnp.argmax(tree.bad, axis=1), -1)
    kept = {}
    if plan.keep:
        states = tree.states._replace(carry=None)
        kept["trees"] = (tree._replace(states=states, keys=None), right)
    return kept | {
        "right": right[jnp.arange(trees), node],
        "any_right": (right & (tree.visits > 0)).any(1),
        "simulations": result.simulations,
        "depth": _depth(tree.parents, node),
        "bad": bad,
    }


def _depth(parents: Array, node: Array) -> Array:
    """Return how many edges lie above the nodes, `[B]` int32."""
    rows = jnp.arange(len(node))

    def up(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        at, depth = state
        parent = parents[rows, at]
        return jnp.maximum(parent, 0), depth + (parent >= 0)

    start = (node, jnp.zeros_like(node))
    return jax.lax.fori_loop(0, parents.shape[1], up, start)[1]
