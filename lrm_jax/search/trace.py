# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A search as the log of its operators (`replay` builds the tree from it again).

Trace-based supervision of "Reasoning Language Models: A Blueprint" (arXiv 2501.11223):
the operators in the order in which they were applied, with node ids, keys and scores.
Shape letters: `B` trees, `R` rounds, `K` leaves of a round, `A` actions.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.config import to_dict
from lrm_jax.search.config import SearchConfig, check_config
from lrm_jax.search.expansion import Facts, facts
from lrm_jax.search.mcts import (
    Round,
    SearchState,
    advance_and_tell,
    finish,
    initial_budgets,
    start,
)
from lrm_jax.search.parts import on_lanes
from lrm_jax.search.tree import ROOT, SearchResult, TreeModel, key_data, node_keys
from lrm_jax.types import Array, Key, Params, UserError

State = TypeVar("State")
FORMAT = "lrm-search-trace"
VERSION = 1
OPERATORS = ("select", "collide", "expand", "evaluate", "backpropagate", "prune")
"""All there are: a walk down; a walk that met a leaf on its way and was dropped; a new
node; what the model said; a climb; subtrees of which everything is known."""
Line = dict[str, Any]


def search_recorded(
    model: TreeModel[State],
    params: Params,
    problem: Any,
    keys: Key,
    config: SearchConfig,
    *,
    budgets: Array | None = None,
) -> tuple[SearchResult[State], Round]:
    """Search as `mcts.search` does, and tell every round.

    All rounds are run; those in which no tree is active change nothing.

    Returns:
      The result, and the rounds, arrays `[B, R, K, ...]`, for `trace_lines`.
    """
    check_config(config)

    def one(params: Params, rows: Any, budgets: Array) -> Any:
        problem, data = rows
        state = start(model, params, problem, node_keys(data), config, budgets=budgets)

        def step(state: SearchState, _: None) -> tuple[SearchState, Round]:
            return advance_and_tell(model, params, state, config)

        state, rounds = jax.lax.scan(step, state, None, length=config.rounds)
        by_tree = jax.tree.map(lambda x: jnp.moveaxis(x, 2, 0), rounds)
        return finish(state, config), by_tree

    budgets = initial_budgets(len(keys), budgets, config)
    return on_lanes(one, params, (problem, key_data(keys)), budgets, config.lanes)


def trace_lines(
    result: SearchResult[Any], rounds: Round, lane: int, config: SearchConfig
) -> list[Line]:
    """Return one tree's log, its header first; waits for the device.

    Args:
      result: of `search_recorded`.
      rounds: likewise.
      lane: which tree.
      config: of the search.
    """
    here = lambda x: np.asarray(x[lane])
    tree = jax.tree.map(here, result.tree._replace(states=None))
    leaves = jax.tree.map(here, rounds.leaves)
    flat = jax.tree.map(lambda x: x[lane].reshape((-1, *x.shape[3:])), rounds.said)
    said = jax.tree.map(np.asarray, facts(flat, tree.values.dtype))
    root = Facts(
        reward=tree.rewards[ROOT],
        discount=tree.discounts[ROOT],
        value=tree.raw_values[ROOT],
        prior_logits=tree.prior_logits[ROOT],
        actions=np.sum(tree.prior_logits[ROOT] > -np.inf),
        terminal=tree.terminal[ROOT],
        bad=tree.bad[ROOT],
    )
    header = {
        "format": FORMAT,
        "version": VERSION,
        "config": to_dict(config),
        "actions": tree.children.shape[-1],
        "dtype": str(tree.values.dtype),
        "root": {"node": ROOT, "key": tree.keys[ROOT].tolist()} | _numbers(root),
    }
    writer = _Writer(config, int(root.actions))
    for number in range(config.rounds):
        one = jax.tree.map(lambda x: x[number], leaves)  # noqa: B023
        first = number * config.leaves
        rows = [
            jax.tree.map(lambda x: x[first + k], said)  # noqa: B023
            for k in range(config.leaves)
        ]
        writer.round(first, one, rows)
    return [header, *writer.lines]


def _numbers(said: Facts) -> Line:
    """What a model said, as JSON has it; None where an action is not valid."""
    logits = [float(x) if x > -np.inf else None for x in said.prior_logits]
    return {
        "reward": float(said.reward),
        "discount": float(said.discount),
        "value": float(said.value),
        "prior_logits": logits,
        "terminal": bool(said.terminal),
        "bad": bool(said.bad),
    }


class _Writer:
    """Lines of one tree, and which of its nodes are closed so far."""

    def __init__(self, config: SearchConfig, root_actions: int):
        self.lines: list[Line] = []
        self._config = config
        self._open = {ROOT: root_actions}
        self._terminal: set[int] = set()

    def round(self, first: int, leaves: Any, rows: Sequence[Facts]) -> None:
        """Write one round: all walks, then all new nodes, then all climbs."""
        selection = leaves.selection
        going = []
        for k in range(len(rows)):
            path = [int(x) for x in selection.ancestors[k] if x >= 0]
            child, action = int(selection.child[k]), int(selection.action[k])
            if leaves.collided[k]:
                self._add("collide", first + k, path=path, action=action, node=child)
            elif selection.active[k]:
                self._add("select", first + k, path=path, action=action, node=child)
                going.append((k, path, action, child))
        climbs = []
        for k, path, action, child in going:
            node, key = child, leaves.keys[k].tolist()
            if child < 0:
                node = first + k + 1
                fields = {"parent": path[-1], "action": action, "key": key}
                self._add("expand", first + k, node=node, **fields)
                self._open[node] = int(rows[k].actions)
                if rows[k].terminal:
                    self._terminal.add(node)
            asked = self._config.capped == "resample" and child not in self._terminal
            if child < 0 or asked:
                self._add(
                    "evaluate", first + k, node=node, key=key, **_numbers(rows[k])
                )
            climbs.append((k, [*path, node], child < 0))
        for k, path, new in climbs:
            self._add("backpropagate", first + k, path=path[::-1])
            closed = self._closed(path, new)
            if closed:
                self._add("prune", first + k, nodes=closed)

    def _closed(self, path: list[int], new: bool) -> list[int]:
        """Nodes that this climb closed, from the leaf up."""
        closed: list[int] = []
        if self._config.solved == "mask" and new and path[-1] in self._terminal:
            closed = [path[-1]]
            for node in path[-2::-1]:
                self._open[node] -= 1
                if self._open[node]:
                    break
                closed.append(node)
        return closed

    def _add(self, op: str, simulation: int, **fields: Any) -> None:
        self.lines.append({"op": op, "simulation": simulation, **fields})


def write_trace(path: str | Path, lines: Sequence[Line]) -> None:
    """Write a log as JSON lines; floats are written so that they are read exactly."""
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    Path(path).write_text(text, encoding="utf-8")


def read_trace(path: str | Path) -> list[Line]:
    """Read what `write_trace` wrote.

    Raises:
      UserError: no trace, one of another version, or a line that is none; names it.
    """
    lines = list(_parsed(Path(path)))
    check_trace(lines, str(path))
    return lines


def check_trace(lines: Sequence[Line], name: str = "trace") -> None:
    """Refuse what is no trace of this version.

    Raises:
      UserError: in one line, naming what was found.
    """
    if not lines or lines[0].get("format") != FORMAT:
        raise UserError(f"{name}: not a search trace (line 1 has no format {FORMAT})")
    version = lines[0].get("version")
    if version != VERSION:
        raise UserError(
            f"{name}: a trace of version {version}; this release reads version "
            f"{VERSION} only"
        )
    for number, line in enumerate(lines[1:], start=2):
        if line.get("op") not in OPERATORS:
            raise UserError(
                f"{name}:{number}: operator {line.get('op')!r}; expected one of "
                f"{', '.join(OPERATORS)}"
            )


def _parsed(path: Path) -> Iterator[Line]:
    if not path.is_file():
        raise UserError(f"{path}: no such trace")
    for number, text in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: not JSON ({error})") from None
        if not isinstance(line, dict):
            raise UserError(f"{path}:{number}: expected an object, got {text[:40]}")
        yield line
