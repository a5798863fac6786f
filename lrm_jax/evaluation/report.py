# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables, plots and a page about runs, made from their folders alone.

Runs whose configs differ in nothing but the seed are one row: mean ± standard error.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lrm_jax.evaluation import metrics, plots, policy_plots, report_page
from lrm_jax.evaluation.run_records import RunGroup, group_runs, read_run
from lrm_jax.evaluation.tables import as_csv, latex, markdown, table_rows
from lrm_jax.storage.paths import to_read
from lrm_jax.types import UserError

FORMATS = ("md", "tex", "csv", "png", "html")


def write_report(
    run_dirs: Sequence[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str] | None = None,
    formats: Sequence[str] = FORMATS,
) -> dict[str, Any]:
    """Write table, plots and page; return {files, rows}.

    Args:
      run_dirs: run folders.
      out_dir: where to write. Default: `report/` in the only run, or here.
      formats: of `md`, `tex`, `csv`, `png`, `html`.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise UserError(f"report format {unknown[0]!r}: accepted: {', '.join(FORMATS)}")
    if not run_dirs:
        raise UserError("report: no run folder given")
    groups = group_runs([read_run(path) for path in run_dirs])
    default = to_read(run_dirs[0] if len(run_dirs) == 1 else ".") / "report"
    out = to_read(out_dir) if out_dir is not None else default
    rows = table_rows(groups)
    pictures = draw(groups) if {"png", "html"} & set(formats) else {}
    contents: dict[str, bytes] = {}
    for suffix, write in (("md", markdown), ("tex", latex), ("csv", as_csv)):
        if suffix in formats:
            contents[f"table.{suffix}"] = write(rows).encode()
    if "png" in formats:
        contents |= pictures
    if "html" in formats:
        contents["index.html"] = report_page.build(groups, rows, pictures).encode()
    files = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            (out / name).write_bytes(data)
            files.append(str(out / name))
    except OSError as error:
        raise UserError(f"report folder {str(out)!r}: {error.strerror}") from error
    return {"files": files, "rows": rows}


def draw(groups: Sequence[RunGroup]) -> dict[str, bytes]:
    """Return file name -> PNG; per group the pictures its first runs allow."""
    pictures = {}
    curves = _depth_curves(groups)
    if curves:
        only = groups[0].runs if len(groups) == 1 else []
        results = (
            only[0].evaluation["results"]
            if len(only) == 1 and only[0].evaluation
            else []
        )
        pictures["accuracy_by_budget.png"] = plots.plot_accuracy_by_budget(
            curves, results=results
        )
    by_tokens = {
        group.label: run.evaluation["results"]
        for group in groups
        for run in group.runs[:1]
        if group.is_policy and run.evaluation and len(run.evaluation["results"]) > 1
    }
    if by_tokens:
        png = policy_plots.plot_accuracy_by_tokens(by_tokens)
        pictures["accuracy_by_tokens.png"] = png
    for i, group in enumerate(groups):
        prefix = f"{i + 1}_" if len(groups) > 1 else ""
        run = next((r for r in group.runs if r.evaluation), group.runs[0])
        if run.metrics:
            draw_curves = (
                policy_plots.plot_learning_curves
                if run.is_policy
                else plots.plot_training_curves
            )
            pictures[f"{prefix}training.png"] = draw_curves(run.metrics)
        found = run.evaluation or {}
        if found.get("halting_histogram"):
            pictures[f"{prefix}halting.png"] = plots.plot_halting_histogram(
                found["halting_histogram"], found.get("never_halted", 0)
            )
        if found.get("calibration", {}).get("bins"):
            pictures[f"{prefix}calibration.png"] = plots.plot_reliability(
                found["calibration"]
            )
    return pictures


def _depth_curves(groups: Sequence[RunGroup]) -> dict[str, list[dict[str, Any]]]:
    """Label -> depth curve: a group's mean, then the controls its runs name."""
    curves: dict[str, list[dict[str, Any]]] = {}
    controls: dict[str, list[dict[str, Any]]] = {}
    for group in groups:
        found = [run.evaluation for run in group.runs if run.evaluation]
        own = [e["depth_curve"] for e in found if e.get("depth_curve")]
        if own:
            curves[group.label] = own[0] if len(own) == 1 else _mean_curve(own)
        for e in found[:1]:
            if e.get("control"):
                controls[e["control"]["label"]] = e["control"]["depth_curve"]
    return curves | controls


def _mean_curve(curves: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Mean over seeds at every depth all reached; the band is ± 1.96 s.e."""
    mean_curve = []
    for entries in zip(*curves, strict=False):
        mean, se, _ = metrics.mean_and_se([e["exact_accuracy"] for e in entries])
        half = metrics.Z95 * (se or 0.0)
        low, high = np.clip([mean - half, mean + half], 0, 1).tolist()
        mean_curve.append(
            {"steps": entries[0]["steps"], "exact_accuracy": mean, "ci95": [low, high]}
        )
    return mean_curve
