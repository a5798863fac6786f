# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Search trees as training data: fine-tuning, preferences, step labels, values.

Each kind is JSONL in the form that trainers read: `{prompt, solution, answer}` (sft, as
`data.path` reads it), `{prompt, chosen, rejected}` (dpo), `{prompt, completions,
labels}` (prm, TRL's stepwise form with soft labels) and `{prompt, completions, value,
visits}` (value).
Paths that end nowhere are left out, as in the second training phase of
arXiv 2501.11223.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lrm_jax.evaluation.step_tree import StepTree, read_trees
from lrm_jax.types import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class ExportConfig:
    """What of a tree is worth learning.

    Attributes:
      min_visits: of a node whose value is taken for a label or a comparison; a
        terminal one is known after one visit.
      margin: least difference of values between a chosen and a rejected step.
      per_tree: the most rows of one tree, best first; 0 for all.
      wrong_paths: sft: learn the best path even where its answer is known to be
        wrong, or not known to be right.
      separator: between steps, taken off the steps that are written apart; None for
        the tree's own.
      scored: prm: take values for labels that no verified answer stands behind.
    """

    min_visits: int = 2
    margin: float = 0.2
    per_tree: int = 0
    wrong_paths: bool = False
    separator: str | None = None
    scored: bool = False

    def __post_init__(self) -> None:
        """Refuse what selects nothing or cannot be meant."""
        for name, least in {"min_visits": 1, "margin": 0, "per_tree": 0}.items():
            if not getattr(self, name) >= least:
                raise UserError(
                    f"--{name.replace('_', '-')} {getattr(self, name)}: expected"
                    f" {least} or more"
                )


def sft_rows(tree: StepTree, cfg: ExportConfig) -> Iterator[Row]:
    """Yield finished paths, the best first: right ones, or by value."""
    ends = [i for i in _ends(tree) if cfg.wrong_paths or tree.right[i]]
    seen = set()
    for node in sorted(ends, key=lambda i: _merit(tree, i), reverse=True):
        text = tree.text(node)
        if text not in seen:
            seen.add(text)
            answer = tree.answers[node]
            yield {"prompt": tree.prompt, "solution": text, "answer": answer}


def dpo_rows(tree: StepTree, cfg: ExportConfig) -> Iterator[Row]:
    """Yield pairs of sibling steps whose values differ, the widest apart first.

    The prompt of a pair holds the steps that both share (step-level preferences).
    """
    pairs = []
    for children in tree.children():
        known = [i for i in children if _known(tree, i, cfg)]
        if len(known) < 2:
            continue
        best = max(known, key=lambda i: (tree.qvalue(i), tree.visits[i], -i))
        worst = min(known, key=lambda i: (tree.qvalue(i), -tree.visits[i], i))
        gap = tree.qvalue(best) - tree.qvalue(worst)
        if gap >= cfg.margin and tree.steps[best] != tree.steps[worst]:
            pairs.append((gap, best, worst))
    for gap, best, worst in sorted(pairs, key=lambda p: (-p[0], p[1])):
        shared = tree.prompt + tree.text(tree.parents[best])
        yield {
            "prompt": shared,
            "chosen": tree.steps[best],
            "rejected": tree.steps[worst],
            "margin": gap,
        }


def prm_rows(tree: StepTree, cfg: ExportConfig) -> Iterator[Row]:
    """Yield finished paths with the value of every step, in [0, 1].

    Of verified answers only (`lrm search --outcome gold`), unless `scored`: values of
    a reward model's own scores would teach the next one its mistakes.

    A step that was hardly visited ends what is labelled of its path; a terminal one
    has its own reward.
    """
    if tree.worth != "gold" and not cfg.scored:
        raise UserError(
            f"tree of {tree.prompt!r}: its values are by {tree.worth}; step labels need"
            " those of lrm search --outcome gold, or --scored"
        )
    seen = set()
    for node in sorted(_ends(tree), key=lambda i: _merit(tree, i), reverse=True):
        labelled = []
        for i in tree.path(node):
            if not _known(tree, i, cfg):
                break
            labelled.append(i)
        if not labelled or labelled[-1] in seen:
            continue
        seen.add(labelled[-1])
        yield {
            "prompt": tree.prompt,
            "completions": [_apart(tree, i, cfg) for i in labelled],
            "labels": [_probability(tree, i) for i in labelled],
        }


def value_rows(tree: StepTree, cfg: ExportConfig) -> Iterator[Row]:
    """Yield every node with its value, the most visited first."""
    nodes = [i for i in range(1, len(tree)) if _known(tree, i, cfg)]
    for node in sorted(nodes, key=lambda i: (-tree.visits[i], i)):
        yield {
            "prompt": tree.prompt,
            "completions": [_apart(tree, i, cfg) for i in tree.path(node)],
            "value": tree.qvalue(node),
            "visits": tree.visits[node],
        }


KINDS: dict[str, Callable[[StepTree, ExportConfig], Iterator[Row]]] = {
    "sft": sft_rows,
    "dpo": dpo_rows,
    "prm": prm_rows,
    "value": value_rows,
}


def tree_rows(
    trees: Iterable[StepTree], kind: str, cfg: ExportConfig = ExportConfig()
) -> Iterator[Row]:
    """Yield the rows of trees.

    Args:
      trees: to learn from.
      kind: one of `KINDS`.
      cfg: what of them.

    Raises:
      UserError: no such kind.
    """
    if kind not in KINDS:
        raise UserError(f"kind {kind!r}: expected one of {', '.join(KINDS)}")
    for tree in trees:
        for count, row in enumerate(KINDS[kind](tree, cfg)):
            if cfg.per_tree and count >= cfg.per_tree:
                break
            yield row


def export_trees(
    kind: str,
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    cfg: ExportConfig = ExportConfig(),
) -> dict[str, Any]:
    """Write the rows of a file of trees; the new file is complete or not there.

    Returns:
      {kind, trees, rows, file}.

    Raises:
      UserError: the trees cannot be read, or hold nothing of this kind.
    """
    trees = list(read_trees(src))
    rows = list(tree_rows(trees, kind, cfg))
    if not rows:
        raise UserError(
            f"{src}: {len(trees)} trees, and no row of kind {kind} among them"
            f" (min_visits {cfg.min_visits}, margin {cfg.margin})"
        )
    part = f"{os.fspath(dst)}.part"
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        os.replace(part, dst)
    except OSError as error:
        raise UserError(f"{dst}: {error}") from error
    return {"kind": kind, "trees": len(trees), "rows": len(rows), "file": str(dst)}


def _ends(tree: StepTree) -> list[int]:
    """Nodes where a path is finished; a dead end answers nothing."""
    return [
        i
        for i in range(1, len(tree))
        if tree.terminal[i] and tree.answers[i] is not None
    ]


def _known(tree: StepTree, node: int, cfg: ExportConfig) -> bool:
    return tree.closed[node] or tree.visits[node] >= cfg.min_visits


def _merit(tree: StepTree, node: int) -> tuple[bool, float, int, int]:
    """Order of finished paths: right, then value, then visits, then the oldest."""
    return bool(tree.right[node]), tree.qvalue(node), tree.visits[node], -node


def _probability(tree: StepTree, node: int) -> float:
    """The label of a step; a search whose values are no probabilities has none."""
    value = tree.qvalue(node)
    if not -1e-6 <= value <= 1 + 1e-6:
        raise UserError(
            f"tree of {tree.prompt!r}: node {node} has value {value:.4g}; step labels"
            " need values in [0, 1]"
        )
    return min(max(value, 0.0), 1.0)


def _apart(tree: StepTree, node: int, cfg: ExportConfig) -> str:
    separator = tree.separator if cfg.separator is None else cfg.separator
    return tree.steps[node].removesuffix(separator)
