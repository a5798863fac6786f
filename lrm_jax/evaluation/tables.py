# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One row per experiment and budget, as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from lrm_jax.evaluation import metrics
from lrm_jax.evaluation.run_records import RunGroup

NUMBERS = ("exact_accuracy", "token_accuracy", "mean_steps")
POLICY_NUMBERS = ("lenient_accuracy", "mean_tokens", "truncated")
"""What a row holds, and what it holds beside where it is of a token policy."""

COLUMNS = ("run", "seeds", "budget", "solved", "cells right", "mean steps", "puzzles")
POLICY_COLUMNS = ("run", "seeds", "budget", "solved", "lenient", "thought", "tokens")
POLICY_COLUMNS += ("cut off", "problems")
MIXED_COLUMNS = ("run", "seeds", "budget", "solved", "mean steps", "problems")

NOTE = "Percent; ± standard error over seeds, [ ] 95 % Wilson interval of one seed."
POLICY_NOTE = (
    "Solved by the most likely completion, strictly read; thought and tokens are means "
    "over completions."
)

WHILE_TRAINING = "in training"
"""In the place of a budget: by the evaluation during training."""
GREEDY = "eval/greedy_accuracy"
MEASURED = {
    "exact_accuracy": GREEDY,
    "lenient_accuracy": "eval/greedy_lenient",
    "mean_steps": "eval/thinking_tokens",
    "mean_tokens": "eval/greedy_length",
}


def table_rows(groups: Sequence[RunGroup]) -> list[dict[str, Any]]:
    """Return one row per group and budget; accuracies are means over seeds.

    A single seed has the Wilson interval of its test set, several have the standard
    error over seeds. Policies that `lrm eval` has not measured have a row of what
    training measured last.
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
            found = _while_training(group)
            rows.append(_row(group, WHILE_TRAINING if found else "", found))
    return rows


def _while_training(group: RunGroup) -> list[tuple[int | None, dict[str, Any]]]:
    """Return each run's last evaluation in training; [] where one has none."""
    found = []
    for run in group.runs if group.is_policy else ():
        last = next((r for r in reversed(run.metrics) if GREEDY in r), None)
        if last is None:
            return []
        named = {name: last.get(key) for name, key in MEASURED.items()}
        found.append((None, {**named, "ci95": None}))
    return found


def _row(
    group: RunGroup,
    budget: str,
    found: Sequence[tuple[int | None, dict[str, Any]]],
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
    for name in NUMBERS + (POLICY_NUMBERS if group.is_policy else ()):
        values = [r[name] for _, r in found if r.get(name) is not None]
        mean = metrics.mean_and_se(values) if values else None
        row[name] = mean.mean if mean else None
        row[f"{name}_se"] = mean.se if mean else None
    row["ci95"] = found[0][1]["ci95"] if len(found) == 1 else None
    return row


def columns(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the names of the cells: of policies, of latent reasoners, or of both."""
    policies = [_is_policy(row) for row in rows]
    if policies and all(policies):
        return POLICY_COLUMNS
    return MIXED_COLUMNS if any(policies) else COLUMNS


def display_cells(row: dict[str, Any], columns: Sequence[str] = COLUMNS) -> list[str]:
    """Return a row as text, a cell a column."""
    cells = {
        "run": lambda: row["run"],
        "seeds": lambda: str(row["seeds"]),
        "budget": lambda: row["budget"] or "not evaluated",
        "solved": lambda: _percent(row, "exact_accuracy", row["ci95"]),
        "cells right": lambda: _percent(row, "token_accuracy", None),
        "lenient": lambda: _percent(row, "lenient_accuracy", None),
        "mean steps": lambda: _mean(row, "mean_steps", 2),
        "thought": lambda: _mean(row, "mean_steps", 1),
        "tokens": lambda: _mean(row, "mean_tokens", 1),
        "cut off": lambda: _percent(row, "truncated", None),
        "puzzles": lambda: "" if row["n"] is None else f"{row['n']:,}",
        "problems": lambda: "" if row["n"] is None else f"{row['n']:,}",
    }
    return [cells[column]() for column in columns]


def _is_policy(row: dict[str, Any]) -> bool:
    return POLICY_NUMBERS[0] in row


def _mean(row: dict[str, Any], name: str, digits: int) -> str:
    value = row.get(name)
    return "" if value is None else f"{value:.{digits}f}"


def _percent(row: dict[str, Any], name: str, ci95: list[float] | None) -> str:
    """A percentage with its interval or standard error, where it has one."""
    if row.get(name) is None:
        return ""
    text = f"{100 * row[name]:.1f}"
    if row[f"{name}_se"] is not None:
        return f"{text} ± {100 * row[f'{name}_se']:.1f}"
    return f"{text} [{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]" if ci95 else text


def note(names: Sequence[str]) -> str:
    """Return what stands under a table with these columns."""
    return f"{NOTE} {POLICY_NOTE}" if "thought" in names else NOTE


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    names = columns(rows)
    lines = ["| " + " | ".join(names) + " |"]
    lines.append("| --- | ---: | --- |" + " ---: |" * (len(names) - 3))
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in display_cells(row, names)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", note(names)]) + "\n"


def latex(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as a LaTeX tabular (booktabs)."""
    names = columns(rows)
    cells = [names, *(display_cells(row, names) for row in rows)]
    head_row, *body = (" & ".join(map(_escape, line)) + r" \\" for line in cells)
    body = [head_row, r"\midrule", *body]
    align = "lrl" + "r" * (len(names) - 3)
    head = [f"% {note(names)}", rf"\begin{{tabular}}{{{align}}}", r"\toprule"]
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
    held = dict.fromkeys(name for row in rows for name in row if name != "ci95")
    names = [*held, "ci95_low", "ci95_high"]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        low, high = row["ci95"] or (None, None)
        plain = {name: value for name, value in row.items() if name != "ci95"}
        writer.writerow({**plain, "ci95_low": low, "ci95_high": high})
    return out.getvalue()
