# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tree that a trace tells of, built again without the model: the same bits.

Shape letters: `N` simulations, `K` leaves of a round, `A` actions, `D` nodes on a path.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.config import from_dict
from lrm_jax.search.backup import backup
from lrm_jax.search.config import SearchConfig, check_config
from lrm_jax.search.expansion import expand, init_tree
from lrm_jax.search.selection import Selection, depth_limit
from lrm_jax.search.trace import Line, check_trace
from lrm_jax.search.tree import NO_NODE, Expansion, Tree
from lrm_jax.types import Array, UserError


def replay(lines: Sequence[Line]) -> Tree[None]:
    """Apply a log's operators; return its tree, arrays `[1, ...]`, without states.

    Raises:
      UserError: a trace of another version, or one that contradicts itself.
    """
    check_trace(lines)
    header = lines[0]
    config = from_dict(SearchConfig, header["config"])
    check_config(config)
    steps = _Steps(config, header)
    for number, line in enumerate(lines[1:], start=2):
        try:
            steps.read(line)
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"trace:{number}: {line['op']} lacks {error}") from None
    root = _expansion([header["root"]], header)
    key = np.array([header["root"]["key"]], np.uint32)
    tree = jax.device_get(_apply(root, jnp.asarray(key), steps.arrays(), config))
    closed = (tree.open_actions[0] == 0) & (tree.visits[0] > 0)
    wrong = [node for node in steps.pruned if not closed[node]]
    if wrong:
        raise UserError(f"trace: node {wrong[0]} is pruned, but not all below is known")
    return tree


class _Steps:
    """The arrays of a log's simulations; those it has none of are not active."""

    def __init__(self, config: SearchConfig, header: Line):
        self._header, count = header, config.simulations
        depth = min(config.max_depth or count, count)
        self._said: list[Line | None] = [None] * count
        self._keys = np.zeros((count, 1, len(header["root"]["key"])), np.uint32)
        self.pruned: list[int] = []
        ints = lambda fill: np.full((count, 1), fill, np.int32)
        self._selection = Selection(
            parent=ints(0),  # type: ignore[arg-type]
            action=ints(0),  # type: ignore[arg-type]
            child=ints(NO_NODE),  # type: ignore[arg-type]
            depth=ints(0),  # type: ignore[arg-type]
            ancestors=np.full((count, 1, depth), NO_NODE, np.int32),  # type: ignore[arg-type]
            active=np.zeros((count, 1), bool),  # type: ignore[arg-type]
        )

    def read(self, line: Line) -> None:
        """Take one operator in."""
        at, op, to = line["simulation"], line["op"], self._selection
        if op == "select":
            path = line["path"]
            to.ancestors[at, 0, : len(path)] = path  # type: ignore[index]
            for field, value in (
                (to.parent, path[-1]),
                (to.action, line["action"]),
                (to.child, line["node"]),
                (to.depth, len(path) - 1),
                (to.active, True),
            ):
                field[at, 0] = value  # type: ignore[index]
        elif op == "expand":
            if line["node"] != at + 1 or line["parent"] != to.parent[at, 0]:
                raise UserError(f"trace: simulation {at} expands what it did not reach")
            self._keys[at, 0] = line["key"]
        elif op == "evaluate":
            self._said[at] = line
        elif op == "prune":
            self.pruned += line["nodes"]

    def arrays(self) -> tuple[Selection, Expansion, np.ndarray]:
        """Return selections, what the model said, and keys: `[N, 1, ...]`."""
        nothing = self._header["root"]
        said = _expansion([line or nothing for line in self._said], self._header)
        rows = jax.tree.map(lambda x: x[:, None], said)
        return self._selection, rows, self._keys


def _expansion(lines: Sequence[Line], header: Line) -> Expansion:
    dtype = np.dtype(header["dtype"])
    column = lambda name: np.array([line[name] for line in lines], dtype)
    bad = np.array([line["bad"] for line in lines])
    logits = [
        [np.nan if x is None else x for x in row["prior_logits"]] for row in lines
    ]
    logits = np.array(logits, dtype)
    return Expansion(
        reward=np.where(bad, np.nan, column("reward")),  # type: ignore[arg-type]
        discount=column("discount"),  # type: ignore[arg-type]
        prior_logits=np.nan_to_num(logits),  # type: ignore[arg-type]
        valid=~np.isnan(logits),  # type: ignore[arg-type]
        value=column("value"),  # type: ignore[arg-type]
        terminal=np.array([line["terminal"] for line in lines]),  # type: ignore[arg-type]
    )


@functools.partial(jax.jit, static_argnames=("config",))
def _apply(root: Expansion, key: Array, steps: Any, config: SearchConfig) -> Tree[None]:
    tree = init_tree(root, None, key, config.simulations + 1)
    assert steps[0].ancestors.shape[-1] == depth_limit(tree, config)

    def one(tree: Tree[None], step: Any) -> tuple[Tree[None], None]:
        (selection, said, keys), slot = step
        tree, leaf = expand(tree, selection, slot, said, None, keys, config)
        return backup(tree, selection, leaf, config), None

    slots = 1 + jnp.arange(config.simulations, dtype=jnp.int32)
    return jax.lax.scan(one, tree, (steps, slots))[0]
