# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From trees on the device to trees that are read: texts, boards, answers, verdicts."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lrm_jax.data.tasks.base import Example
from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation.step_tree import StepTree, Worth, step_tree, write_trees
from lrm_jax.evaluation.tree_page import tree_page
from lrm_jax.search.guided import GuidedState
from lrm_jax.search.guided_steps import ANSWER
from lrm_jax.search.latent_tree import Thought
from lrm_jax.search.tree import ROOT, SearchResult, Tree
from lrm_jax.types import UserError

UNREAD = ("no_tag", "no_answer")
"""Verdicts on what answers nothing."""


def text_trees(
    result: SearchResult[GuidedState],
    examples: Sequence[Example],
    *,
    tokenizer: Any,
    source: Any,
    method: str,
    separator: str,
    worth: Worth,
) -> list[StepTree]:
    """Return the trees of written steps, every finished one judged.

    Args:
      result: of a guided search, pages left out; lanes after `len(examples)` are
        padding.
      examples: the problems, in order.
      tokenizer: of the policy.
      source: `data.text_source.TextSource`, which judges.
      method: that grew them.
      separator: text between steps.
      worth: what values are.
    """
    tree = jax.tree.map(np.asarray, result.tree._replace(keys=None))
    written = [_Written(tree, lane, tokenizer) for lane in range(len(examples))]
    ends = [(lane, node) for lane, one in enumerate(written) for node in one.finished]
    texts = [written[lane].text(node) for lane, node in ends]
    judged = source.judge(texts, [examples[lane] for lane, _ in ends]) if ends else []
    verdicts = dict(zip(ends, judged, strict=True))

    def answer(lane: int, node: int) -> str | None:
        said = verdicts.get((lane, node))
        return None if said is None or said.status in UNREAD else said.extracted

    def right(lane: int, node: int) -> bool | None:
        said = verdicts.get((lane, node))
        return None if said is None else said.strict >= 1

    found = []
    for lane, (example, one) in enumerate(zip(examples, written, strict=True)):
        prompt = example.prompt
        if not isinstance(prompt, str):
            prompt = source.encode.text(prompt)
        found.append(
            step_tree(
                tree,
                lane,
                prompt=prompt,
                step=one.step,
                gold=example.answer,
                method=method,
                separator=separator,
                worth=worth,
                answer=lambda node, lane=lane: answer(lane, node),
                right=lambda node, lane=lane: right(lane, node),
            )
        )
    return found


class _Written:
    """What stands at the nodes of one tree."""

    def __init__(self, tree: Tree[Any], lane: int, tokenizer: Any) -> None:
        self._parents, self._actions = tree.parents[lane], tree.actions[lane]
        self._states: GuidedState = tree.states
        self._lane, self._tokenizer = lane, tokenizer
        made = np.flatnonzero(tree.visits[lane] > 0)
        ends = tree.terminal[lane]
        self.finished = [
            int(i) for i in made if i != ROOT and ends[i] and self._answered(int(i))
        ]

    def step(self, node: int) -> str:
        """Return what a node adds to its parent.

        The end of the longer text: a tokenizer may write a token otherwise where it
        begins a text. Where it rewrites what came before, the token's own text.
        """
        whole, before = self.text(node), self.text(int(self._parents[node]))
        if whole.startswith(before):
            return whole[len(before) :]
        return self._tokenizer.decode(self._ids(node))

    def text(self, node: int) -> str:
        """Return what has been written on the way to a node."""
        ids: list[int] = []
        while node != ROOT:
            ids = self._ids(node) + ids
            node = int(self._parents[node])
        return self._tokenizer.decode(ids)

    def _place(self, node: int) -> tuple[int, int, int]:
        return self._lane, int(self._parents[node]), int(self._actions[node])

    def _answered(self, node: int) -> bool:
        return int(self._states.end[self._place(node)]) == ANSWER

    def _ids(self, node: int) -> list[int]:
        """The tokens of a node's step, without the end token."""
        place = self._place(node)
        ids = self._states.ids[place][: self._states.length[place]].tolist()
        return ids[:-1] if ids and ids[-1] in self._tokenizer.eos_ids else ids


def board_trees(
    tree: Tree[Thought],
    problems: Mapping[str, np.ndarray],
    right: np.ndarray,
    *,
    view: PuzzleView,
    method: str,
) -> list[StepTree]:
    """Return the trees over latent recursions, with the board at every node.

    The root has the puzzle's: nothing is thought there yet.

    Args:
      tree: `[B, N+1]` on the host, carries left out.
      problems: inputs and labels `[B, S]`.
      right: `[B, N+1]` bool, whether the board at a node is right.
      view: how boards are written.
      method: that grew them.
    """
    found = []
    for lane, inputs in enumerate(problems["inputs"]):
        ids = np.asarray(tree.states.ids[lane]).copy()
        ids[ROOT] = inputs  # nothing is thought there yet
        board = lambda node, ids=ids: view.render(ids[node])
        noise = lambda node, lane=lane: f"noise {int(tree.actions[lane, node])}\n"
        found.append(
            step_tree(
                tree,
                lane,
                prompt=view.render(inputs),
                step=noise,
                gold=view.render(problems["labels"][lane]),
                method=method,
                worth="score",
                answer=board,
                right=lambda node, lane=lane: bool(right[lane, node]),
                board=board,
            )
        )
    return found


def check_folder(path: str) -> None:
    """Refuse a file of trees whose folder is not there, before anything is searched.

    Raises:
      UserError: names the folder.
    """
    folder = Path(path).parent
    if path and not folder.is_dir():
        raise UserError(f"trees={path}: {folder} is no folder")


def save_trees(
    path: str | os.PathLike[str],
    trees: Sequence[StepTree],
    *,
    view: PuzzleView | None = None,
) -> list[str]:
    """Write trees and, beside them, the page that opens them; returns both names."""
    page = Path(path).with_suffix(".html")
    write_trees(path, trees)
    page.write_text(tree_page(trees, view=view), encoding="utf-8")
    return [str(path), str(page)]
