# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A self-contained page that plays a puzzle being solved, step by step.

The page asks nothing of the network: style, script, traces and pictures are inside,
and its content policy forbids everything else.
"""

import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation.judges import FREE
from lrm_jax.evaluation.trace import ThoughtTrace, cell_marks

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:"
)
NO_LABEL = "\x01"
"""Stands for a cell that is not supervised; no charset holds it."""


def player_page(
    traces: Sequence[ThoughtTrace],
    view: PuzzleView,
    *,
    title: str = "A puzzle being solved",
    names: Sequence[str] | None = None,
) -> str:
    """Return a whole HTML page around the player.

    `#puzzle=I&step=T` (or `step=last`) in the address opens one frame; without it
    the page plays.
    """
    intro = (
        f"<h1>{html.escape(title)}</h1>\n<p class='soft'>Each frame is what the "
        "reasoner would answer after one more step of thought.</p>\n"
    )
    return page(title, intro + player_section(traces, view, names=names))


def page(title: str, body: str, *, styles: Sequence[str] = ("player.css",)) -> str:
    """Return a self-contained page.

    Args:
      title: of the window.
      body: markup.
      styles: style sheets among the assets; the common one is `player.css`.
    """
    style = "".join(asset(name) for name in styles)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>\n{style}</style>\n</head>\n<body>\n"
        f"{body}\n</body>\n</html>\n"
    )


def player_section(
    traces: Sequence[ThoughtTrace],
    view: PuzzleView,
    *,
    names: Sequence[str] | None = None,
) -> str:
    """Return the player's markup, data and script; one of them fits on a page."""
    if not traces:
        raise ValueError("player_section: no traces")
    names = names or [_name(i, trace) for i, trace in enumerate(traces)]
    data = {
        "view": {
            "kind": view.kind,
            "rows": view.rows,
            "cols": view.cols,
            "box_rows": view.box_rows,
            "box_cols": view.box_cols,
        },
        "traces": [
            _encode(trace, view, name)
            for trace, name in zip(traces, names, strict=True)
        ],
    }
    # "</" would end the script element, "<!--" would open a comment in it.
    text = json.dumps(data).replace("<", "\\u003c")
    known = any(trace.labels is not None for trace in traces)
    return (
        _MARKUP.format(kind=html.escape(view.kind), legend=_legend(view, known=known))
        + f'<script type="application/json" id="traces">{text}</script>\n'
        + f"<script>\n{asset('player.js')}</script>\n"
    )


def givens(inputs: np.ndarray, view: PuzzleView) -> np.ndarray:
    """Return `[S]` bool: cells that the puzzle states and the answer must keep."""
    if view.kind == "sudoku":
        return inputs > 1
    if view.kind == "maze":
        return inputs != FREE
    return np.zeros(inputs.shape, bool)


def _encode(trace: ThoughtTrace, view: PuzzleView, name: str) -> dict[str, Any]:
    """One trace as strings, a character a cell (confidence: two digits)."""
    steps = range(trace.preds.shape[0])
    sure = np.rint(np.clip(np.nan_to_num(trace.confidence), 0, 1) * 99).astype(int)
    labels = None
    if trace.labels is not None:
        chars = view.render(trace.labels)
        labels = "".join(
            NO_LABEL if token < 0 else char
            for token, char in zip(trace.labels, chars, strict=True)
        )
    return {
        "name": name,
        "inputs": view.render(trace.inputs),
        "givens": "".join("01"[int(g)] for g in givens(trace.inputs, view)),
        "preds": [view.render(ids) for ids in trace.preds],
        "confidence": ["".join(f"{c:02d}" for c in row) for row in sure],
        "marks": ["".join(".rw"[m] for m in cell_marks(trace, t)) for t in steps],
        "halt": [round(float(h), 4) for h in np.nan_to_num(trace.halt_prob)],
        "labels": labels,
    }


def _name(i: int, trace: ThoughtTrace) -> str:
    """A puzzle's entry in the list: its number, and how its thought ended."""
    if trace.labels is None or not len(trace.preds):
        return f"Puzzle {i + 1}"
    wrong = [int((cell_marks(trace, t) < 0).sum()) for t in range(len(trace.preds))]
    if wrong[-1]:
        return f"Puzzle {i + 1}: {wrong[-1]} wrong at the end"
    since = max((t + 1 for t, n in enumerate(wrong) if n), default=0) + 1
    return f"Puzzle {i + 1}: solved from step {since}"


def _legend(view: PuzzleView, *, known: bool) -> str:
    """What shades and marks mean."""
    ramp = "<li><span class='ramp'></span>more shade: more confident</li>"
    if view.kind == "maze":
        items = ["<li><span class='cell path' style='--c:1'></span>path</li>", ramp]
        wrong = (
            "<li><span class='cell wrong'></span>wrong</li>"
            "<li><span class='cell missing'></span>path not found</li>"
        )
        right = ""
    else:
        items = ["<li><span class='cell given'>5</span>given</li>", ramp]
        right = "<li><span class='cell right'>5</span>right</li>"
        wrong = "<li><span class='cell wrong'>5</span>wrong</li>"
    if view.kind == "arc":
        items, right = [], ""
    items.append("<li><span class='cell changed'></span>just changed</li>")
    return "".join(items) + (right + wrong if known else "")


def asset(name: str) -> str:
    """Return the text of a script or a style sheet of this package."""
    return (
        resources.files("lrm_jax.evaluation")
        .joinpath("assets", name)
        .read_text("utf-8")
    )


_MARKUP = """\
<section class="player {kind}" aria-label="Puzzle player">
<div class="board-side">
<div class="board" data-part="board" role="grid" aria-label="Answer"></div>
<ul class="legend" aria-label="Legend">{legend}</ul>
</div>
<div class="panel">
<label class="field">Puzzle <select data-part="puzzle"></select></label>
<div class="status" data-part="status" role="status"></div>
<div class="controls">
<button type="button" data-part="first" aria-label="To the puzzle">|◀</button>
<button type="button" data-part="back" aria-label="One step back">‹</button>
<button type="button" class="play" data-part="play">▶ Play</button>
<button type="button" data-part="next" aria-label="One step on">›</button>
<button type="button" data-part="last" aria-label="To the last step">▶|</button>
<label class="field">Speed <select data-part="speed"><option value="0.5">½×</option>
<option value="1" selected>1×</option><option value="2">2×</option>
<option value="4">4×</option></select></label>
</div>
<input type="range" min="0" value="0" data-part="slider" aria-label="Step of thought">
<figure>
<svg class="chart" data-part="chart" role="img"></svg>
<figcaption>Above the dotted half the reasoner would stop.
Click to go to a step.</figcaption>
</figure>
<p class="soft"><kbd>Space</kbd> play or pause · <kbd>←</kbd> <kbd>→</kbd> step ·
<kbd>Home</kbd> <kbd>End</kbd> · <kbd>[</kbd> <kbd>]</kbd> other puzzle</p>
</div>
<noscript>This player needs JavaScript.</noscript>
</section>
"""
