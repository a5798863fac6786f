# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The HTML page of a report: table, pictures, what was thought, and config."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lrm_jax.evaluation import completions_page, tables
from lrm_jax.evaluation import html as player
from lrm_jax.evaluation.run_records import RunGroup
from lrm_jax.evaluation.samples import read_samples
from lrm_jax.evaluation.trace import load_traces

CAPTIONS = {
    "accuracy_by_budget": "Puzzles solved against steps of thought",
    "accuracy_by_tokens": "Problems solved against tokens of thought",
    "training": "Training curves",
    "halting": "Step at which the halting head first fires",
    "calibration": "Halting probability against answers that were right",
}


def build(
    groups: Sequence[RunGroup],
    rows: Sequence[dict[str, Any]],
    pictures: Mapping[str, bytes],
) -> str:
    """Return the page; it needs no other file."""
    title = groups[0].label if len(groups) == 1 else f"{len(groups)} experiments"
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        _table(rows),
        _alarms(groups),
        _parts(groups),
        _player(groups),
        _pictures(groups, pictures),
        _completions(groups),
        _configs(groups),
    ]
    body = "\n".join(filter(None, sections))
    return player.page(f"Report: {title}", body, styles=completions_page.STYLES)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    names = tables.columns(rows)
    return _html_table(
        names,
        [tables.display_cells(row, names) for row in rows],
        "Accuracy by thinking budget",
        tables.note(names),
    )


def _alarms(groups: Sequence[RunGroup]) -> str:
    """What training warned of, once each."""
    items = [
        f"<li>{html.escape(run.path.name)}, step {int(record['step']):,}: "
        f"{html.escape(str(record.get('message', record['alarm'])))}</li>"
        for group in groups
        for run in group.runs
        for record in run.alarms
    ]
    return f"<h2>Alarms</h2>\n<ul>\n{''.join(items)}\n</ul>" if items else ""


def _completions(groups: Sequence[RunGroup]) -> str:
    """The completions of the first run that wrote some down."""
    for group in groups:
        for run in group.runs if group.is_policy else ():
            samples = read_samples(run.path)
            if samples.groups:
                heading = f"<h2>Completions: {html.escape(group.label)}</h2>"
                return heading + completions_page.completions_section(samples)
    return ""


def _html_table(
    header: Sequence[str], body: Sequence[Sequence[str]], title: str, note: str
) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    lines = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells in body
    )
    return (
        f"<h2>{html.escape(title)}</h2>\n<div class='scroll'><table class='results'>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>\n"
        f"<p class='soft'>{html.escape(note)}</p>"
    )


def _parts(groups: Sequence[RunGroup]) -> str:
    """Accuracy on named parts of the test set, where an evaluation has them."""
    body = []
    for group in groups:
        for run in group.runs:
            parts = (run.evaluation or {}).get("parts", {})
            for name, part in parts.items():
                for budget, found in part.items():
                    if not isinstance(found, Mapping):
                        continue
                    low, high = found["ci95"]
                    accuracy = (
                        f"{100 * found['exact_accuracy']:.1f} "
                        f"[{100 * low:.1f}, {100 * high:.1f}]"
                    )
                    n = f"{part['n']:,}"
                    body.append([run.path.name, name, budget, accuracy, n])
    header = ("run", "part", "budget", "solved", "puzzles")
    note = "Percent, 95 % Wilson interval."
    return _html_table(header, body, "Parts of the test set", note) if body else ""


def _player(groups: Sequence[RunGroup]) -> str:
    """The player, on the first run that kept traces."""
    for group in groups:
        for run in group.runs:
            if run.traces is None:
                continue
            traces, view = load_traces(run.traces)
            if traces:
                heading = f"<h2>Thinking, step by step: {html.escape(group.label)}</h2>"
                return heading + player.player_section(traces, view)
    return ""


def _pictures(groups: Sequence[RunGroup], pictures: Mapping[str, bytes]) -> str:
    if not pictures:
        return ""
    images = []
    for name, png in sorted(pictures.items(), key=lambda x: "training" in x[0]):
        number, _, kind = name.removesuffix(".png").rpartition("_")
        if number.isdigit():
            caption = f"{CAPTIONS[kind]}: {groups[int(number) - 1].label}"
        else:
            kind = name.removesuffix(".png")
            caption = CAPTIONS[kind]
        data = base64.b64encode(png).decode()
        wide = " class='wide'" if kind == "training" else ""
        images.append(
            f"<img{wide} alt='{html.escape(caption, quote=True)}' "
            f"src='data:image/png;base64,{data}'>"
        )
    return "<h2>Pictures</h2>\n<div class='plots'>\n" + "\n".join(images) + "\n</div>"


def _configs(groups: Sequence[RunGroup]) -> str:
    blocks = []
    for group in groups:
        text = html.escape(json.dumps(group.runs[0].config, indent=2))
        paths = html.escape(", ".join(run.path.name for run in group.runs))
        blocks.append(
            f"<details><summary>{html.escape(group.label)}: {paths}</summary>"
            f"<pre>{text}</pre></details>"
        )
    return "<h2>Configs</h2>\n" + "\n".join(blocks)
