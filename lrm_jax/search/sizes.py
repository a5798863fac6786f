# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much memory a search takes, said before anything compiles.

Shape letters: `B` trees of a call, `N` nodes beside the root, `A` actions, `W` words of
a key. A tree takes (N + 1) * (8 A + 38 + 4 W + S) bytes in float32, S being the model's
state of a node (float64 statistics: (N + 1) * (4 A + 20) more), and for each leaf on
its way S and the path to it.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np

from lrm_jax.search.config import SearchConfig, check_config
from lrm_jax.search.tree import Expansion, TreeModel
from lrm_jax.types import Key, Params, UserError

_INTS, _FLOATS, _FLAGS = 4, 5, 2
"""Of a node: parent, action, visits, open actions; reward, discount, raw value, value,
proven; terminal, bad."""


class TreeSize(NamedTuple):
    """Bytes of trees on one device.

    Attributes:
      statistics: of one tree.
      states: of one tree, what the model stores.
      trees: on the device at once.
      total: all of it.
    """

    statistics: int
    states: int
    trees: int
    total: int


def node_bytes(actions: int, key_words: int, float_bytes: int = 4) -> int:
    """Return the bytes of one node's statistics.

    Args:
      actions: A.
      key_words: uint32 numbers of a key (threefry: 2).
      float_bytes: 4, or 8 where values are float64.
    """
    numbers = _INTS * 4 + _FLOATS * float_bytes + _FLAGS
    return numbers + 4 * key_words + actions * (4 + float_bytes)


def plan_bytes(actions: int, config: SearchConfig) -> int:
    """Return the bytes of one tree beside its nodes.

    Its budget and counters, its root's plan, and the paths to its leaves.
    """
    simulations = config.simulations
    plan = 8 * actions + 4 * simulations if config.method == "gumbel" else 0
    depth = min(config.max_depth or simulations, simulations)
    return plan + 3 * 4 + 4 * depth * config.leaves


def tree_size(
    model: TreeModel[Any],
    params: Params,
    problem: Any,
    keys: Key,
    config: SearchConfig,
    *,
    parts: int = 1,
) -> TreeSize:
    """Return what the trees of a search take; nothing is computed or compiled.

    Args:
      model: grows the trees.
      params: of the model, arrays or shapes.
      problem: rows, arrays or shapes.
      keys: `[B]`, or their shapes.
      config: of the search.
      parts: devices over which rows are split.
    """
    return _size(_facts(model, params, problem, keys, config, parts), config)


class _Facts(NamedTuple):
    """What a model's shapes say."""

    actions: int
    key_words: int
    float_bytes: int
    row_bytes: int
    trees: int


def _facts(
    model: TreeModel[Any],
    params: Params,
    problem: Any,
    keys: Key,
    config: SearchConfig,
    parts: int,
) -> _Facts:
    root, state = jax.eval_shape(model.root, params, problem, keys)
    words = jax.eval_shape(jax.random.key_data, keys).shape[-1]
    rows = -(-keys.shape[0] // parts)
    # Turns of `lanes` rows keep their results: all trees are there at the end.
    trees = -(-rows // config.lanes) * config.lanes if config.lanes else rows
    row = sum(_row_bytes(leaf) for leaf in jax.tree.leaves(state))
    return _Facts(model.num_actions, words, _float_bytes(root), row, trees)


def _size(facts: _Facts, config: SearchConfig) -> TreeSize:
    nodes = config.simulations + 1
    per_node = node_bytes(facts.actions, facts.key_words, facts.float_bytes)
    statistics = nodes * per_node + plan_bytes(facts.actions, config)
    states = (nodes + config.leaves) * facts.row_bytes
    total = facts.trees * (statistics + states)
    return TreeSize(statistics, states, facts.trees, total)


def check_size(
    model: TreeModel[Any],
    params: Params,
    problem: Any,
    keys: Key,
    config: SearchConfig,
    *,
    parts: int = 1,
) -> TreeSize:
    """Refuse trees above `config.memory_limit_bytes`; see `tree_size`.

    Raises:
      UserError: says what they take, and the most simulations that fit.
    """
    check_config(config)
    facts = _facts(model, params, problem, keys, config, parts)
    size = _size(facts, config)
    limit = config.memory_limit_bytes
    if not limit or size.total <= limit:
        return size
    most = config.simulations - config.leaves
    fits = "not one fits"
    while most > 0:
        fewer = dataclasses.replace(config, simulations=most)
        if _size(facts, fewer).total <= limit:
            fits = f"the most that fit are {most}"
            break
        most -= config.leaves
    raise UserError(
        f"search.simulations={config.simulations}: {size.trees} trees take "
        f"{size.total} bytes, search.memory_limit_bytes={limit}; {fits}"
    )


def _float_bytes(root: Expansion) -> int:
    return 8 if np.dtype(root.value.dtype) == np.float64 else 4


def _row_bytes(leaf: Any) -> int:
    return math.prod(leaf.shape[1:]) * np.dtype(leaf.dtype).itemsize
