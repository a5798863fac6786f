# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Search trees on the host, a line of JSON each: what is shown and learned from.

A file of trees (`trees.jsonl`) is what `lrm search --trees FILE` writes, the tree page
shows, and the exporters of `recipes/tree_export.py` turn into training data.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np

from lrm_jax.search.tree import Tree
from lrm_jax.types import UserError

Worth = Literal["gold", "score", "likelihood"]
"""What values are: of verified answers, of what scores, or how likely a text was."""
VERSION = 1
KIND = "lrm-tree"
_COLUMNS = {
    "parents": int,
    "steps": str,
    "visits": int,
    "values": float,
    "priors": float,
    "rewards": float,
    "discounts": float,
    "terminal": bool,
    "closed": bool,
}


@dataclasses.dataclass(frozen=True)
class StepTree:
    """One tree; a column has an entry a node, and node 0 is the root.

    Attributes:
      prompt: of the problem, as text.
      gold: the true answer, empty where unknown.
      method: that grew it, and under which budget.
      separator: text between steps, "" where steps are no text.
      worth: what values are.
      parents: -1 for the root; a parent stands before its children.
      steps: what a node adds to its parent, separators included; "" at the root.
      visits: of each node.
      values: backed up, as the node sees it.
      priors: probability of the node among its siblings.
      rewards: of the edge into the node.
      discounts: of the node's value seen from its parent.
      terminal: no node can be below.
      closed: all below is known.
      answers: what a terminal node answers, None where it answers nothing.
      right: whether that is the true answer, None where unknown.
      boards: the board at each node, for puzzles.
    """

    prompt: str
    gold: str
    method: str
    separator: str
    worth: Worth
    parents: list[int]
    steps: list[str]
    visits: list[int]
    values: list[float]
    priors: list[float]
    rewards: list[float]
    discounts: list[float]
    terminal: list[bool]
    closed: list[bool]
    answers: list[str | None]
    right: list[bool | None]
    boards: list[str] | None = None

    def __post_init__(self) -> None:
        """Refuse columns that are no tree."""
        size = len(self.parents)
        optional = ["boards"] if self.boards is not None else []
        for name in (*_COLUMNS, "answers", "right", *optional):
            found = len(getattr(self, name))
            if found != size:
                raise UserError(f"tree: {name} has {found} entries, parents {size}")
        if self.worth not in get_args(Worth):
            raise UserError(f"tree: worth {self.worth!r}, expected one of {Worth}")
        if not size or self.parents[0] != -1:
            raise UserError("tree: node 0 must be the root, with parent -1")
        for node, parent in enumerate(self.parents[1:], 1):
            if not 0 <= parent < node:
                raise UserError(
                    f"tree: node {node} has parent {parent}; expected 0 to {node - 1}"
                )

    def __len__(self) -> int:
        """Return how many nodes there are."""
        return len(self.parents)

    def qvalue(self, node: int) -> float:
        """Return a node's value seen from its parent: r + gamma V."""
        return self.rewards[node] + self.discounts[node] * self.values[node]

    def children(self) -> list[list[int]]:
        """Return the children of every node, oldest first."""
        found: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents[1:], 1):
            found[parent].append(node)
        return found

    def path(self, node: int) -> list[int]:
        """Return the nodes from below the root to `node`."""
        found = []
        while node > 0:
            found.append(node)
            node = self.parents[node]
        return found[::-1]

    def text(self, node: int) -> str:
        """Return what has been written on the way to `node`, without the prompt."""
        return "".join(self.steps[i] for i in self.path(node))

    def to_json(self) -> str:
        """Return one line; numbers that JSON has not become null."""
        data = {"kind": KIND, "version": VERSION} | dataclasses.asdict(self)
        return json.dumps(_plain(data), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, line: str, where: str = "tree") -> "StepTree":
        """Read a line.

        Args:
          line: of JSON.
          where: it was read, for messages.

        Raises:
          UserError: it is no tree, or one of another version.
        """
        try:
            data = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON: {error}") from error
        if not isinstance(data, dict) or data.pop("kind", None) != KIND:
            raise UserError(f"{where}: not a search tree (kind {KIND!r})")
        version = data.pop("version", None)
        if version != VERSION:
            raise UserError(
                f"{where}: a tree of version {version}; this release reads {VERSION}"
            )
        names = {field.name for field in dataclasses.fields(cls)}
        missing, unknown = sorted(names - set(data)), sorted(set(data) - names)
        if missing or unknown:
            raise UserError(f"{where}: fields missing {missing}, unknown {unknown}")
        try:
            for name, read in _COLUMNS.items():
                blank = math.nan if read is float else None
                data[name] = [blank if x is None else read(x) for x in data[name]]
            return cls(**data)
        except (TypeError, ValueError, UserError) as error:
            raise UserError(f"{where}: {error}") from error


def step_tree(
    tree: Tree[Any],
    lane: int,
    *,
    prompt: str,
    step: Callable[[int], str],
    gold: str = "",
    method: str = "",
    separator: str = "",
    worth: Worth = "score",
    answer: Callable[[int], str | None] | None = None,
    right: Callable[[int], bool | None] | None = None,
    board: Callable[[int], str] | None = None,
) -> StepTree:
    """Return one tree of a batch; nodes that were never made are left out.

    Args:
      tree: arrays on the host or the device.
      lane: which tree.
      prompt: of its problem.
      step: from a node (a slot of the arrays) to what it adds.
      gold: the true answer.
      method: that grew it.
      separator: text between steps.
      worth: what values are.
      answer: from a terminal node to its answer.
      right: from a terminal node to whether that is true.
      board: from a node to its board.
    """
    column = lambda leaf: np.asarray(leaf[lane])
    parents, actions = column(tree.parents), column(tree.actions)
    visits, terminal = column(tree.visits), column(tree.terminal)
    logits = column(tree.prior_logits).astype(np.float64)
    slots = [int(i) for i in np.flatnonzero(visits > 0)]
    place = {slot: node for node, slot in enumerate(slots)}
    floats = lambda leaf: [float(x) for x in column(leaf)[slots]]
    ends = [bool(terminal[slot]) for slot in slots]
    at_end = lambda find: [
        find(slot) if find is not None and end else None
        for slot, end in zip(slots, ends, strict=True)
    ]
    return StepTree(
        prompt=prompt,
        gold=gold,
        method=method,
        separator=separator,
        worth=worth,
        parents=[place.get(int(parents[slot]), -1) for slot in slots],
        steps=[step(slot) if place[slot] else "" for slot in slots],
        visits=[int(visits[slot]) for slot in slots],
        values=floats(tree.values),
        priors=[_prior(logits, int(parents[s]), int(actions[s])) for s in slots],
        rewards=floats(tree.rewards),
        discounts=floats(tree.discounts),
        terminal=ends,
        closed=[bool(x) for x in column(tree.open_actions)[slots] == 0],
        answers=at_end(answer),
        right=at_end(right),
        boards=None if board is None else [board(slot) for slot in slots],
    )


def write_trees(path: str | os.PathLike[str], trees: Sequence[StepTree]) -> None:
    """Write trees, a line each; the file is complete or not there."""
    part = f"{os.fspath(path)}.part"
    with open(part, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(tree.to_json() + "\n" for tree in trees)
    os.replace(part, path)


def read_trees(path: str | os.PathLike[str]) -> Iterator[StepTree]:
    """Yield the trees of a file.

    Raises:
      UserError: the file cannot be read, or a line of it is no tree.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield StepTree.from_json(line, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from error


def _prior(logits: np.ndarray, parent: int, action: int) -> float:
    """The probability of an action among those of its parent, 1 at the root."""
    if parent < 0:
        return 1.0
    row = logits[parent]
    weights = np.exp(row - row[np.isfinite(row)].max(initial=-np.inf))
    return float(weights[action] / weights.sum())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(x) for name, x in value.items()}
    if isinstance(value, list):
        return [_plain(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
