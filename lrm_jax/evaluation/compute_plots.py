# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Accuracy against compute: what `lrm search` wrote, as one picture and one table.

Rows are `results` of `lrm search --json`. Files of one label are seeds: their mean is
drawn with Student's interval over seeds; a single file has its own interval.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lrm_jax.evaluation import plots
from lrm_jax.evaluation.metrics import Interval
from lrm_jax.evaluation.paired import t_quantile
from lrm_jax.types import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = {
    "tokens": "tokens of a problem",
    "flops": "FLOPs of a problem",
    "time_s": "seconds of a problem",
}
"""Key of a row -> what the axis says; seconds are divided by the problems."""
BASELINES = ("one_pass", "greedy", "single")
"""Methods without a search, drawn in black."""
ORACLES = ("pass",)
"""Methods that know the answer, drawn faint: a bound, no rival."""


class ComputePoint(NamedTuple):
    """A method at a budget.

    Attributes:
      name: label and method.
      method: alone.
      budget: as it is spelled.
      seeds: files that it is the mean of.
      accuracy: their mean.
      ci95: see the module.
      compute: key of `AXES` -> mean of a problem; only what every seed has.
    """

    name: str
    method: str
    budget: str
    seeds: int
    accuracy: float
    ci95: Interval
    compute: dict[str, float]


def compute_points(
    files: Sequence[tuple[str, Mapping[str, Any]]],
) -> list[ComputePoint]:
    """Return one point for each label, method and budget, in the order of the files.

    Args:
      files: label and what `lrm search --json` wrote; one label for all is left out.

    Raises:
      UserError: a file is not that; names it and the row.
    """
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    one_label = len({label for label, _ in files}) == 1
    for label, data in files:
        for row in _rows(label, data):
            key = ("" if one_label else label, row["method"], str(row["budget"]))
            rows.setdefault(key, []).append(row)
    return [_point(*key, found) for key, found in rows.items()]


def compute_table(points: Sequence[ComputePoint]) -> str:
    """Return the points as a Markdown table; percent."""
    header = ["method", "budget", "seeds", "accuracy", "95 %", *AXES.values()]
    lines = [header, ["---"] * len(header)]
    for point in points:
        low, high = (100 * x for x in point.ci95)
        spent = [f"{point.compute[a]:.4g}" if a in point.compute else "-" for a in AXES]
        shown = [point.name, point.budget, str(point.seeds)]
        lines.append(
            [*shown, f"{100 * point.accuracy:.1f}", f"{low:.1f} - {high:.1f}", *spent]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def plot_accuracy_by_compute(
    points: Sequence[ComputePoint], *, title: str = ""
) -> bytes:
    """Draw a panel for each measure of compute that any point has; PNG.

    Raises:
      UserError: no point has any.
    """
    axes = [a for a in AXES if any(a in point.compute for point in points)]
    if not axes:
        raise UserError("no row has tokens, flops or time_s: nothing to draw against")
    names = list(dict.fromkeys(point.name for point in points))
    out = io.BytesIO()
    with plots.figure_axes(out, columns=len(axes), size=(5.2, 4.0)) as panels:
        for ax, axis in zip(panels, axes, strict=True):
            for i, name in enumerate(names):
                own = [p for p in points if p.name == name and axis in p.compute]
                _draw(ax, sorted(own, key=lambda p, a=axis: p.compute[a]), axis, i)
            _compute_axis(ax, axis)
            ax.set(xlabel=AXES[axis], ylabel="problems solved")
            plots.percent_axis(ax, full=False)
        panels[0].set_title(title or "Accuracy against compute")
        panels[-1].legend(
            loc="center left", bbox_to_anchor=(1.02, 0.5), title="bars: 95 % interval"
        )
    return out.getvalue()


def _rows(label: str, data: Mapping[str, Any]) -> list[dict[str, Any]]:
    results = data.get("results") if isinstance(data, Mapping) else None
    if not isinstance(results, list) or not results:
        raise UserError(f"{label}: no results; expected what lrm search --json wrote")
    found = []
    for i, row in enumerate(results):
        for key in ("method", "budget", "accuracy", "ci95"):
            if not isinstance(row, Mapping) or key not in row:
                raise UserError(f"{label}: row {i + 1} of results has no {key!r}")
        count = row.get("n", data.get("n"))
        time_s = row.get("time_s")
        each = None if time_s is None or not count else time_s / count
        found.append({**row, "time_s": each})
    return found


def _point(
    label: str, method: str, budget: str, rows: Sequence[Mapping[str, Any]]
) -> ComputePoint:
    accuracies = np.array([row["accuracy"] for row in rows], np.float64)
    mean = float(accuracies.mean())
    ci95 = Interval(*rows[0]["ci95"])
    if len(rows) > 1:
        spread = float(accuracies.std(ddof=1)) / math.sqrt(len(rows))
        half = t_quantile(len(rows) - 1) * spread
        ci95 = Interval(mean - half, mean + half)
    compute = {
        axis: math.fsum(row[axis] for row in rows) / len(rows)
        for axis in AXES
        if all((row.get(axis) or 0) > 0 for row in rows)
    }
    name = f"{label}: {method}" if label else method
    return ComputePoint(name, method, budget, len(rows), mean, ci95, compute)


def _compute_axis(ax: "Axes", axis: str) -> None:
    """Decades with prefixes (10k, 1M, 10ms), or 1-2-5 or powers of two of few."""
    from matplotlib.ticker import (
        EngFormatter,
        FuncFormatter,
        LogLocator,
        NullFormatter,
    )

    low, high = ax.dataLim.intervalx
    few = low > 0 and high / low < 100
    if few and low >= 1 and high < 50_000:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}"))
    else:
        ax.set_xscale("log")
        unit = "s" if axis == "time_s" else ""
        ax.xaxis.set_major_formatter(EngFormatter(unit, sep=""))
        if few:
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _draw(ax: "Axes", points: Sequence[ComputePoint], axis: str, i: int) -> None:
    """One method's line."""
    if not points:
        return
    color = plots.CYCLE[i % (len(plots.CYCLE) - 1)]  # black is the baselines'
    style = {"linestyle": plots.DASHES[i % len(plots.DASHES)], "alpha": 1.0}
    if points[0].method in BASELINES:
        color, style["linestyle"] = plots.BLACK, "-"
    if points[0].method in ORACLES:
        color, style["alpha"] = "#888888", 0.6
    y = np.array([p.accuracy for p in points])
    low, high = np.array([p.ci95 for p in points]).T
    ax.errorbar(
        [p.compute[axis] for p in points],
        y,
        yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)],
        color=color,
        marker=plots.MARKERS[i % len(plots.MARKERS)],
        markersize=4.5,
        linewidth=1.4,
        elinewidth=0.7,
        capsize=2,
        label=points[0].name,
        **style,
    )
