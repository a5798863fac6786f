# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning curves of a token policy as one PNG: what is logged is drawn.

A panel without a number is left out, so that fine-tuning and reinforcement learning
share the picture; metric names are those of `metrics.jsonl`.
"""

import fnmatch
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lrm_jax.evaluation import plots

COLUMNS = 3


class Panel(NamedTuple):
    """One pair of axes.

    Attributes:
      title: of it.
      unit: of its values; `share` is drawn from 0 to 100 %.
      names: metric -> what the legend calls it; a name that ends in `*` stands for
        every metric that fits.
      log: whether values that span decades are drawn on such an axis.
    """

    title: str
    unit: str
    names: Mapping[str, str]
    log: bool = False


PANELS = (
    Panel("Reward", "reward", {"reward/mean": "mean", "reward/std": "spread"}),
    Panel(
        "Sampled while training",
        "share",
        {
            "accuracy/strict": "right (strict)",
            "accuracy/lenient": "right (lenient)",
            "reward/accuracy": "scored",
        },
    ),
    Panel(
        "Held out",
        "share",
        {
            "eval/greedy_accuracy": "greedy",
            "eval/greedy_lenient": "greedy (lenient)",
            "eval/sampled_accuracy": "sampled",
            "eval/pass_at_*": "",
            "eval/best_constant": "best constant answer",
        },
    ),
    Panel("Loss", "nats per token", {"loss/lm": "training", "eval/loss": "held out"}),
    Panel(
        "Entropy",
        "nats per token",
        {
            "entropy/mean": "policy",
            "entropy/sampled": "sampled",
            "policy/entropy": "policy",
        },
    ),
    Panel(
        "KL divergence",
        "nats per token",
        {
            "kl/ref_k1": "to reference (k1)",
            "kl/ref_k3": "to reference (k3)",
            "kl/old_k3": "within a rollout (k3)",
        },
        log=True,
    ),
    Panel(
        "Length of completions",
        "tokens",
        {
            "completions/mean_length": "all",
            "completions/mean_terminated_length": "those that ended",
            "eval/greedy_length": "greedy, held out",
            "eval/thinking_tokens": "its thought",
        },
    ),
    Panel(
        "Entropy of the answers, held out",
        "nats",
        {"eval/answer_entropy": "given", "eval/true_answer_entropy": "true"},
    ),
    Panel(
        "Groups without signal, cut completions",
        "share",
        {
            "groups/no_signal_mean": "all right or all wrong",
            "reward/frac_zero_std": "equal rewards",
            "completions/clipped_ratio": "cut off",
        },
    ),
    Panel(
        "Sampler against trainer",
        "|log-prob difference|",
        {
            "sampling/logp_difference_mean": "mean",
            "sampling/logp_difference_max": "largest",
            "sampling/fresh_logp_difference_max": "largest, same weights",
        },
        log=True,
    ),
    Panel(
        "Clipped tokens",
        "share of tokens",
        {
            "clip_ratio/low_mean": "from below",
            "clip_ratio/high_mean": "from above",
        },
    ),
    Panel(
        "Speed",
        "tokens per second",
        {
            "perf/rollout_tokens_per_s": "rollout",
            "perf/train_tokens_per_s": "training",
        },
    ),
)


def plot_learning_curves(
    records: Sequence[Mapping[str, Any]], panels: Sequence[Panel] = PANELS
) -> bytes:
    """Draw what a run logged, a panel a kind.

    Args:
      records: lines of `metrics.jsonl`, each with `step` and `group/name` numbers.
      panels: what to draw; those without a number are left out.
    """
    drawn = [(panel, series) for panel in panels if (series := _series(records, panel))]
    columns = min(COLUMNS, max(1, len(drawn)))
    rows = max(1, -(-len(drawn) // columns))
    out = io.BytesIO()
    with plots.figure_axes(out, columns=columns, rows=rows, size=(4.4, 3.1)) as axes:
        for ax in axes[len(drawn) :]:
            plots.say_empty(ax, "" if drawn else "no metrics yet")
        for ax, (panel, series) in zip(axes, drawn, strict=False):
            for i, (label, (steps, values)) in enumerate(series.items()):
                plots.draw_series(ax, steps, values, label, i)
            ax.set(title=panel.title, xlabel="training step", ylabel=panel.unit)
            ax.margins(x=0.02)
            if panel.unit == "share":
                plots.percent_axis(ax)
            elif panel.log and _spans_decades(series):
                ax.set_yscale("log")
            ax.legend()
    return out.getvalue()


def plot_accuracy_by_tokens(
    results: Mapping[str, Sequence[Mapping[str, Any]]],
) -> bytes:
    """Draw accuracy against tokens of thought, a point a budget, 95 % intervals.

    Args:
      results: label -> `results` of an evaluation at several budgets.
    """
    out = io.BytesIO()
    with plots.figure_axes(out) as (ax,):
        for i, (label, found) in enumerate(results.items()):
            found = sorted(found, key=lambda r: r["mean_steps"])
            x = [r["mean_steps"] for r in found]
            y = [r["exact_accuracy"] for r in found]
            low = [r["exact_accuracy"] - r["ci95"][0] for r in found]
            high = [r["ci95"][1] - r["exact_accuracy"] for r in found]
            ax.errorbar(
                x,
                y,
                yerr=[low, high],
                marker=plots.MARKERS[i % len(plots.MARKERS)],
                linestyle=plots.DASHES[i % len(plots.DASHES)],
                color=plots.CYCLE[i % len(plots.CYCLE)],
                capsize=3,
                label=label,
            )
            for r in found:
                at = (r["mean_steps"], r["exact_accuracy"])
                ax.annotate(
                    r["budget"], at, (5, -12), textcoords="offset points", fontsize=8
                )
        ax.set(
            title="Accuracy against thinking budget",
            xlabel="tokens of thought, mean",
            ylabel="problems solved",
        )
        plots.percent_axis(ax)
        ax.legend(title="beside a point: its budget", title_fontsize=8)
    return out.getvalue()


def _series(
    records: Sequence[Mapping[str, Any]], panel: Panel
) -> dict[str, tuple[list[int], list[float]]]:
    """Label -> steps and values, of the panel's metrics that were logged."""
    logged = sorted({name for record in records for name in record})
    found = {}
    for name, label in panel.names.items():
        for match in fnmatch.filter(logged, name):
            series = plots.series_of(records, match)
            if series[0]:
                found[label or match.partition("/")[2].replace("_", " ")] = series
    return found


def _spans_decades(series: Mapping[str, tuple[list[int], list[float]]]) -> bool:
    values = [value for _, values in series.values() for value in values]
    return min(values) > 0 and max(values) > 30 * min(values)
