# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One row per experiment and budget, as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from lrm_jax.evaluation import metrics
from lrm_jax.evaluation.run_records import RunGroup


def table_rows(groups: Sequence[RunGroup]) -> list[dict[str, Any]]:
    """Return one row per group and budget; accuracies are means over seeds.

    A single seed has the Wilson interval of its test set, several have the standard
    error over seeds.
    """
    rows = []
    for group in groups:
        evaluations = [run.evaluation for run in group.runs if run.evaluation]
        budgets = dict.fromkeys(
            result["budget"] for e in evaluations for result in e["results"]
        )
        for budget in budgets:
            found = [
                (e["n"], result)
                for e in evaluations
                for result in e["results"]
                if result["budget"] == budget
            ]
            rows.append(_row(group, budget, found))
        if not budgets:
            rows.append(_row(group, "", []))
    return rows


def _row(
    group: RunGroup, budget: str, found: list[tuple[int, dict[str, Any]]]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": group.label,
        "seeds": len(found) or len(group.runs),
        "train_steps": max(
            (r.metrics[-1]["step"] for r in group.runs if r.metrics), default=0
        ),
        "budget": budget,
        "n": found[0][0] if found else None,
    }
    for name in ("exact_accuracy", "token_accuracy", "mean_steps"):
        values = [r[name] for _, r in found if r.get(name) is not None]
        mean = metrics.mean_and_se(values) if values else None
        row[name] = mean.mean if mean else None
        row[f"{name}_se"] = mean.se if mean else None
    row["ci95"] = found[0][1]["ci95"] if len(found) == 1 else None
    return row


COLUMNS = ("run", "seeds", "budget", "solved", "cells right", "mean steps", "puzzles")


def display_cells(row: dict[str, Any]) -> list[str]:
    """Return a row as text, in the order of `COLUMNS`."""
    puzzles = "" if row["n"] is None else f"{row['n']:,}"
    steps = "" if row["mean_steps"] is None else f"{row['mean_steps']:.2f}"
    return [
        row["run"],
        str(row["seeds"]),
        row["budget"] or "not evaluated",
        _percent(row, "exact_accuracy", row["ci95"]),
        _percent(row, "token_accuracy", None),
        steps,
        puzzles,
    ]


def _percent(row: dict[str, Any], name: str, ci95: list[float] | None) -> str:
    """A percentage with its interval or standard error, where it has one."""
    if row[name] is None:
        return ""
    text = f"{100 * row[name]:.1f}"
    if row[f"{name}_se"] is not None:
        return f"{text} ± {100 * row[f'{name}_se']:.1f}"
    return f"{text} [{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]" if ci95 else text


NOTE = "Percent; ± standard error over seeds, [ ] 95 % Wilson interval of one seed."


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |"]
    lines.append("| --- | ---: | --- |" + " ---: |" * (len(COLUMNS) - 3))
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in display_cells(row)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", NOTE]) + "\n"


def latex(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as a LaTeX tabular (booktabs)."""
    body = [" & ".join(map(_escape, COLUMNS)) + r" \\", r"\midrule"]
    body += [" & ".join(map(_escape, display_cells(row))) + r" \\" for row in rows]
    head = [f"% {NOTE}", r"\begin{tabular}{lrlrrrr}", r"\toprule"]
    return "\n".join([*head, *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escape(text: str) -> str:
    special = {c: "\\" + c for c in "&%$#_{}"}
    special |= {
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "[": "{[}",  # after a line break, "[" would start an optional argument
    }
    return "".join(special.get(c, c) for c in text)


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as CSV with full numbers."""
    out = io.StringIO()
    names = [name for name in rows[0] if name != "ci95"] + ["ci95_low", "ci95_high"]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        low, high = row["ci95"] or (None, None)
        plain = {name: value for name, value in row.items() if name != "ci95"}
        writer.writerow({**plain, "ci95_low": low, "ci95_high": high})
    return out.getvalue()
