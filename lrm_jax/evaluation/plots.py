# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run as PNG bytes: curves, budgets, halting, calibration.

Colours are those of Okabe and Ito, which stay apart for colour-blind readers;
lines also differ in dash and marker.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # matplotlib takes a while to import: only who draws pays
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00"),
    *("#CC79A7", "#56B4E9", "#222222"),
)
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX"

RC: Any = {
    "figure.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@contextmanager
def figure_axes(
    out: io.BytesIO,
    *,
    columns: int = 1,
    rows: int = 1,
    size: tuple[float, float] = (5.6, 3.6),
) -> Iterator[list["Axes"]]:
    """Give axes in our style, row by row; the figure is written to `out` at the end."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    apart: Any = {"figure.constrained_layout.h_pad": 0.12} if rows > 1 else {}
    with rc_context(RC | apart):
        figure = Figure(figsize=(size[0] * columns, size[1] * rows))
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        yield list(axes.ravel())
        # No software version inside: equal data gives equal bytes.
        figure.savefig(out, format="png", metadata={"Software": None})


def plot_training_curves(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw loss, training accuracy and evaluation over steps.

    Args:
      records: lines of `metrics.jsonl`, each with `step` and `group/name` numbers.
    """
    panels = [
        ("Loss", "loss per problem", ["loss/total", "loss/lm", "loss/q_halt"]),
        ("Training batch", "accuracy", ["accuracy/exact", "accuracy/token"]),
        ("Evaluation", "accuracy", ["eval/exact_accuracy", "eval/token_accuracy"]),
    ]
    names = [name for _, _, names in panels for name in names]
    series = {name: series_of(records, name) for name in names}
    panels = [p for p in panels if any(len(series[name][0]) for name in p[2])]
    out = io.BytesIO()
    with figure_axes(out, columns=max(1, len(panels)), size=(4.6, 3.4)) as axes:
        if not panels:
            say_empty(axes[0], "no metrics yet")
        for ax, (title, unit, names) in zip(axes, panels, strict=False):
            for i, name in enumerate(names):
                steps, values = series[name]
                if len(steps):
                    draw_series(ax, steps, values, _short(name), i)
            ax.set(title=title, xlabel="training step", ylabel=unit)
            ax.margins(x=0.02)
            if unit == "accuracy":
                percent_axis(ax)
            elif all(v > 0 for n in names for v in series[n][1]):
                ax.set_yscale("log")
            ax.legend()
    return out.getvalue()


def plot_accuracy_by_budget(
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    results: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """Draw exact accuracy against thinking, with 95 % intervals.

    Args:
      curves: label -> `depth_curve` of an evaluation; the first is the run's, the
        others are controls or rivals.
      results: `results` of the first; those that stop early are points at their
        mean steps.
    """
    out = io.BytesIO()
    with figure_axes(out) as (ax,):
        for i, (label, curve) in enumerate(curves.items()):
            _draw_curve(ax, curve, label, i)
        early = [r for r in results if r["budget"] == "-1" or "+halt" in r["budget"]]
        for i, result in enumerate(early):
            low, high = result["ci95"]
            y = result["exact_accuracy"]
            ax.errorbar(
                result["mean_steps"],
                y,
                yerr=[[y - low], [high - y]],
                fmt=MARKERS[(i + len(curves)) % len(MARKERS)],
                color=CYCLE[(i + len(curves)) % len(CYCLE)],
                markersize=7,
                capsize=3,
                label=f"budget {result['budget']} (mean steps)",
                zorder=3,
            )
        ax.set(
            title="Accuracy against thinking budget",
            xlabel="steps of thought",
            ylabel="puzzles solved",
        )
        _step_axis(ax, max(e["steps"] for curve in curves.values() for e in curve))
        percent_axis(ax)
        ax.legend(loc="best", title="shaded: 95 % interval", title_fontsize=8)
    return out.getvalue()


def plot_halting_histogram(counts: Sequence[int], never: int) -> bytes:
    """Draw at which step the halting head first fired; `never` gets its own bar."""
    total = sum(counts) + never
    out = io.BytesIO()
    with figure_axes(out) as (ax,):
        steps = np.arange(1, len(counts) + 1)
        share = np.asarray(counts) / max(total, 1)
        ax.bar(steps, share, width=0.85, color=BLUE)
        bars: list[tuple[float, float]]
        bars = [*zip(steps.tolist(), share.tolist(), strict=True)]
        if never:
            x = len(counts) + 1.6
            ax.bar([x], [never / total], width=0.85, color="#bbbbbb", hatch="///")
            bars.append((x, never / total))
        for x, y in bars if len(bars) <= 20 else []:
            if y > 0:
                text = f"{100 * y:.0f}%" if y >= 0.01 else "<1%"
                ax.annotate(
                    text,
                    (x, y),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7.5,
                    color=BLACK,
                )
        _step_axis(ax, len(counts))
        if never:
            ticks = [t for t in ax.get_xticks() if 1 <= t <= len(counts)]
            ax.set_xticks([*ticks, len(counts) + 1.6])
            ax.set_xticklabels([*(f"{t:.0f}" for t in ticks), "never"])
            ax.set_xlim(0.4, len(counts) + 2.2)
        ax.set(
            title=f"When the halting head first fires (n = {total:,})",
            xlabel="step of thought",
            ylabel="share of puzzles",
        )
        ax.grid(axis="x", visible=False)
        percent_axis(ax, full=False)
    return out.getvalue()


def plot_reliability(calibration: Mapping[str, Any]) -> bytes:
    """Draw how often the answer was right against the halting probability."""
    bins = [b for b in calibration["bins"] if b["n"]]
    out = io.BytesIO()
    with figure_axes(out, size=(4.6, 4.8)) as (ax,):
        ax.plot([0, 1], [0, 1], color=BLACK, linestyle="--", linewidth=1, label="ideal")
        if bins:
            _draw_bins(ax, bins)
        ax.set(
            title="Calibration of the halting head",
            xlabel="halting probability",
            ylabel="answers that were right",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        ax.set_aspect("equal", adjustable="box")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14))
        numbers = [
            f"{name} {calibration[key]:.3f}"
            for name, key in (("AUROC", "auroc"), ("ECE", "ece"))
            if calibration[key] is not None
        ]
        ax.text(
            0.03,
            0.97,
            "\n".join(numbers) or "undefined",
            transform=ax.transAxes,
            va="top",
        )
        percent_axis(ax, full=False)
    return out.getvalue()


def _draw_bins(ax: "Axes", bins: Sequence[Mapping[str, Any]]) -> None:
    """Bars of the share right; how many predictions a bin holds is its shade."""
    most = max(b["n"] for b in bins)
    for b in bins:
        ax.bar(
            (b["low"] + b["high"]) / 2,
            b["accuracy"],
            width=(b["high"] - b["low"]) * 0.92,
            color=BLUE,
            alpha=0.2 + 0.6 * (b["n"] / most) ** 0.5,
            linewidth=0,
        )
    ax.plot(
        [b["confidence"] for b in bins],
        [b["accuracy"] for b in bins],
        color=VERMILION,
        marker="o",
        markersize=4,
        linewidth=1.2,
        label="observed (darker bar: more predictions)",
    )


def series_of(
    records: Sequence[Mapping[str, Any]], name: str
) -> tuple[list[int], list[float]]:
    """Return the steps and the finite values at which a metric was logged."""
    points = [
        (r["step"], r[name])
        for r in records
        if isinstance(r.get(name), int | float) and np.isfinite(r[name])
    ]
    return [p[0] for p in points], [p[1] for p in points]


def draw_series(
    ax: "Axes", steps: Sequence[int], values: Sequence[float], label: str, i: int
) -> None:
    """Draw a line; where it is long and noisy, faint, under its running mean."""
    color, dash = CYCLE[i % len(CYCLE)], DASHES[i % len(DASHES)]
    marker = MARKERS[i % len(MARKERS)] if len(steps) <= 12 else None
    width = len(steps) // 25
    if width > 1:
        ax.plot(steps, values, color=color, alpha=0.2, linewidth=0.8)
        padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
        values = list(np.convolve(padded, np.full(width, 1 / width), mode="valid"))
    ax.plot(
        steps,
        values,
        color=color,
        linestyle=dash,
        marker=marker,
        markersize=4,
        label=label,
    )


def _draw_curve(
    ax: "Axes", curve: Sequence[Mapping[str, Any]], label: str, i: int
) -> None:
    """Accuracy by step with its interval as a band."""
    steps = [entry["steps"] for entry in curve]
    low, high = zip(*(entry["ci95"] for entry in curve), strict=True)
    color = CYCLE[i % len(CYCLE)]
    ax.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    ax.plot(
        steps,
        [entry["exact_accuracy"] for entry in curve],
        color=color,
        linestyle=DASHES[i % len(DASHES)],
        marker=MARKERS[i % len(MARKERS)],
        markersize=4,
        label=label,
    )


def _short(name: str) -> str:
    """The readable part of a metric's name."""
    names = {"lm": "cells", "q_halt": "halting", "q_continue": "continuing"}
    tail = name.partition("/")[2].removesuffix("_accuracy")
    return names.get(tail, tail)


def percent_axis(ax: "Axes", *, full: bool = True) -> None:
    """Write a share as percent; `full`: from 0 to 100."""
    from matplotlib.ticker import PercentFormatter

    if full:
        ax.set_ylim(-0.02, 1.02)
    low, high = ax.get_ylim()
    decimals = 0 if high - low > 0.06 else None
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def _step_axis(ax: "Axes", last: int) -> None:
    from matplotlib.ticker import MaxNLocator

    if last <= 20:
        ax.set_xticks(range(1, last + 1))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def say_empty(ax: "Axes", text: str = "") -> None:
    """Leave axes out; write what there is to say in their place."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)
