# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A self-contained page of completions: what a policy wrote, step by step.

Completions of one prompt stand side by side. A token is shaded by how unlikely it
was, a completion's frame is coloured by its advantage, and the verifier's verdict
stands above it. All text goes into the page as data, never as markup.
"""

import html
import json
import math
from collections import Counter
from typing import Any

from lrm_jax.evaluation import html as frame
from lrm_jax.evaluation.samples import (
    Sample,
    SampleGroup,
    SampleSet,
    reason,
    regions,
)

MAX_TOKENS = 3000
"""Tokens of one completion that are shown; the page says how many follow."""
STYLES = ("player.css", "completions.css")


def completions_page(samples: SampleSet, *, title: str = "Completions") -> str:
    """Return a whole HTML page around the completions.

    `#step=N&verdict=V` in the address opens the completions of one step.
    """
    body = f"<h1>{html.escape(title)}</h1>\n" + completions_section(samples)
    return frame.page(title, body, styles=STYLES)


def completions_section(samples: SampleSet) -> str:
    """Return the markup, data and script; one of them fits on a page.

    The page around it needs the styles of `STYLES`.
    """
    if not samples.groups:
        raise ValueError("completions_section: no completions")
    data = {
        "groups": [_encode_group(group) for group in samples.groups],
        "scale": _full_colour(samples.groups),
    }
    # "</" would end the script element, "<!--" would open a comment in it.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return (
        _MARKUP.format(note=html.escape(note(samples)))
        + f'<script type="application/json" id="completions">{text}</script>\n'
        + f"<script>\n{frame.asset('completions.js')}</script>\n"
    )


def note(samples: SampleSet) -> str:
    """Return what of the file the page shows."""
    shown, total = samples.shown, samples.total
    if shown == total:
        text = f"All {total:,} completions of samples.jsonl."
    else:
        text = (
            f"{shown:,} of the {total:,} completions of samples.jsonl, whole groups "
            "spread evenly over the run; the others are in the file."
        )
    if samples.unreadable:
        text += f" Lines left out because they cannot be read: {samples.unreadable:,}."
    return text


def _encode_group(group: SampleGroup) -> dict[str, Any]:
    right = Counter(sample.verdict for sample in group.samples)["right"]
    return {
        "step": group.step,
        "split": group.split,
        "prompt": group.prompt,
        "answer": group.answer,
        "right": right,
        "samples": [_encode(sample, group) for sample in group.samples],
    }


def _encode(sample: Sample, group: SampleGroup) -> dict[str, Any]:
    cut = slice(0, MAX_TOKENS)
    return {
        "tokens": sample.tokens[cut],
        "logps": [_finite(x, 3) for x in sample.logps[cut]],
        "forced": [i for i, x in enumerate(sample.forced[cut]) if x],
        "regions": regions(sample, group.prompt)[cut],
        "length": len(sample.tokens),
        "advantage": None if sample.advantage is None else _finite(sample.advantage, 3),
        "reward": _finite(sample.reward, 3),
        "parts": {name: _finite(value, 3) for name, value in sample.parts.items()},
        "verdict": sample.verdict,
        "reason": reason(sample, group.answer),
        "stop": sample.stop,
    }


def _full_colour(groups: list[SampleGroup]) -> float:
    """The advantage that has the full colour: nine in ten have that or less.

    A single right completion of a large group would leave the others without.
    """
    found = sorted(
        abs(sample.advantage)
        for group in groups
        for sample in group.samples
        if sample.advantage and math.isfinite(sample.advantage)
    )
    return found[round(0.9 * (len(found) - 1))] if found else 1.0


def _finite(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


_MARKUP = """\
<section class="completions" aria-label="Completions">
<p class="soft">{note}</p>
<div class="bar">
<div class="controls">
<button type="button" data-part="first" aria-label="First step">|◀</button>
<button type="button" data-part="back" aria-label="One step back">‹</button>
<button type="button" data-part="next" aria-label="One step on">›</button>
<button type="button" data-part="last" aria-label="Last step">▶|</button>
<label class="field">Verdict <select data-part="verdict"></select></label>
<label class="field">Split <select data-part="split"></select></label>
<label class="field"><input type="checkbox" data-part="shade" checked> shade</label>
</div>
<input type="range" min="0" value="0" data-part="slider" aria-label="Training step">
<div class="where" data-part="where" role="status"></div>
<div class="soft token-line" data-part="token">Point at a token to read it.</div>
<ul class="legend" aria-label="Legend">
<li><span class="ramp surprise"></span>token certain … 2 % likely or less</li>
<li><span class="edge pos"></span>advantage above 0</li>
<li><span class="edge neg"></span>below 0</li>
<li><span class="tok forced">wait</span>forced by the thinking budget</li>
</ul>
</div>
<div data-part="groups"></div>
<p class="soft"><kbd>←</kbd> <kbd>→</kbd> other step · <kbd>Home</kbd>
<kbd>End</kbd></p>
<noscript>These completions need JavaScript.</noscript>
</section>
"""
