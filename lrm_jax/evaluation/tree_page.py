# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A self-contained page that opens search trees, node by node.

Rows are nodes: their step, visits, value and prior. What stands on the way to the
chosen node, and the board there where there is one, stands beside them. All text goes
into the page as data, never as markup.
"""

import html
import json
import math
from collections.abc import Sequence
from typing import Any

from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation import html as frame
from lrm_jax.evaluation.step_tree import StepTree

MAX_TREES = 200
MAX_NODES = 60_000
"""What a page shows, at most; it says how many trees are left out."""
STYLES = ("player.css", "tree.css")


def tree_page(
    trees: Sequence[StepTree],
    *,
    title: str = "Search trees",
    view: PuzzleView | None = None,
) -> str:
    """Return a whole HTML page around the trees.

    `#tree=I&node=J` in the address opens one node.

    Args:
      trees: to be shown.
      title: of the page.
      view: how boards are drawn, where the trees have boards.
    """
    body = f"<h1>{html.escape(title)}</h1>\n" + tree_section(trees, view=view)
    return frame.page(title, body, styles=STYLES)


def tree_section(trees: Sequence[StepTree], *, view: PuzzleView | None = None) -> str:
    """Return the markup, data and script; one of them fits on a page.

    The page around it needs the styles of `STYLES`.
    """
    if not trees:
        raise ValueError("tree_section: no trees")
    shown = _that_fit(trees)
    data: dict[str, Any] = {"trees": [_encode(tree) for tree in shown]}
    if view is not None:
        data["view"] = {
            "rows": view.rows,
            "cols": view.cols,
            "box_rows": view.box_rows,
            "box_cols": view.box_cols,
        }
    # "</" would end the script element, "<!--" would open a comment in it.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    note = f"{len(trees):,} trees."
    if len(shown) < len(trees):
        note = f"The first {len(shown):,} of {len(trees):,} trees."
    return (
        _MARKUP.format(note=note)
        + f'<script type="application/json" id="trees">{text}</script>\n'
        + f"<script>\n{frame.asset('tree.js')}</script>\n"
    )


def _that_fit(trees: Sequence[StepTree]) -> list[StepTree]:
    """The first trees within the page's bounds; always one."""
    shown, nodes = [trees[0]], len(trees[0])
    for tree in trees[1:MAX_TREES]:
        nodes += len(tree)
        if nodes > MAX_NODES:
            break
        shown.append(tree)
    return shown


def _encode(tree: StepTree) -> dict[str, Any]:
    nodes = range(len(tree))
    return {
        "prompt": tree.prompt,
        "gold": tree.gold,
        "method": tree.method,
        "parents": tree.parents,
        "steps": tree.steps,
        "visits": tree.visits,
        "values": [_finite(tree.values[i]) for i in nodes],
        "qvalues": [_finite(tree.qvalue(i)) for i in nodes],
        "priors": [_finite(x) for x in tree.priors],
        "terminal": [int(x) for x in tree.terminal],
        "closed": [int(x) for x in tree.closed],
        "answers": tree.answers,
        "right": tree.right,
        "boards": tree.boards,
    }


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


_MARKUP = """\
<section class="trees" aria-label="Search trees">
<p class="soft">{note} A row is a node: the bar is its share of the root's visits,
the number its value.</p>
<div class="bar">
<div class="controls">
<label class="field">Tree <select data-part="tree"></select></label>
<button type="button" data-part="best">Best path</button>
<button type="button" data-part="open">Open all</button>
<button type="button" data-part="close">Close all</button>
<label class="field">Order <select data-part="order">
<option value="visits">by visits</option><option value="values">by value</option>
<option value="age">oldest first</option></select></label>
</div>
<div class="where" data-part="where" role="status"></div>
</div>
<div class="columns">
<div class="nodes" data-part="nodes" role="tree" aria-label="Nodes"></div>
<div class="detail" data-part="detail" aria-live="polite"></div>
</div>
<p class="soft"><kbd>↑</kbd> <kbd>↓</kbd> other node · <kbd>→</kbd> open ·
<kbd>←</kbd> close, then to the parent</p>
<noscript>These trees need JavaScript.</noscript>
</section>
"""
