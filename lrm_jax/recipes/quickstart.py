# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm quickstart`: train a small reasoner here and now, show what thinking buys."""

import dataclasses
import json
import resource
import time
from pathlib import Path
from typing import Any

from lrm_jax import presets
from lrm_jax.evaluation.report import write_report
from lrm_jax.recipes import latent
from lrm_jax.recipes.clock import Clock
from lrm_jax.recipes.latent_build import build
from lrm_jax.recipes.run import load
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.storage.paths import local_only
from lrm_jax.training.progress import Style
from lrm_jax.types import UserError

PARTS = ("latent", "policy", "all")


def run(
    part: str = "all",
    out_dir: str = "runs/quickstart",
    *,
    control: bool = False,
    config: RunConfig | None = None,
    progress: Style = "auto",
) -> dict[str, Any]:
    """Train, evaluate and draw; going on where an earlier call was stopped.

    Args:
      part: `latent`, `policy` (a cold start, then GRPO), or `all`, one after the
        other.
      out_dir: folder of the run folders and the report.
      control: also train the latent model to answer after one segment, for the same
        training time, and draw it beside.
      config: of the latent run; None for the preset `quickstart_latent`.
      progress: how training shows its progress.

    Returns:
      {time_s, split, peak_rss_bytes, report} with latent: {n, results, ...} and
      policy: {n, before, after, ...}, as asked for.
    """
    if part not in PARTS:
        raise UserError(f"--part {part}: accepted are {', '.join(PARTS)}")
    local_only(out_dir, "quickstart folder")
    started = time.monotonic()
    split: dict[str, float] = {}
    found: dict[str, Any] = {}
    if part in ("latent", "all"):
        found["latent"] = _latent(out_dir, split, control, config, progress)
    if part in ("policy", "all") and not _stopped(found):
        from lrm_jax.recipes import quickstart_policy

        found["policy"] = quickstart_policy.run(out_dir, split, progress=progress)
    if _stopped(found):
        return next(one for one in found.values() if one.get("stopped"))
    folders = [one["run_dir"] for one in found.values()]
    where = str(Path(out_dir) / "report") if len(folders) > 1 else None
    with Clock(split, "report_s", "drawing"):
        written = write_report(folders, where)
    page = next(f for f in written["files"] if f.endswith("index.html"))
    return {
        "time_s": round(time.monotonic() - started, 2),
        "split": {name: round(value, 2) for name, value in split.items()},
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        **found,
        "report": page,
    }


def _stopped(found: dict[str, Any]) -> bool:
    return any(one.get("stopped") for one in found.values())


def _latent(
    out_dir: str,
    split: dict[str, float],
    control: bool,
    config: RunConfig | None,
    progress: Style,
) -> dict[str, Any]:
    """The latent reasoner's part."""
    config = config or presets.quickstart_latent()
    folder = Path(out_dir) / "latent"
    with Clock(split, "data_s", "making 6x6 Sudokus"):
        parts = build(config)
        parts.source.train_arrays()
    with Clock(split, "train_s", "training"):
        trained = latent.train(config, str(folder), progress=progress, run=parts)
    if trained["reason"] in ("interrupted", "terminated"):
        return {**trained, "stopped": True}
    if trained["resumed_from"] is None:  # else the time counts earlier calls too
        split["compile_and_loop_s"] = split["train_s"] - trained["time_s"]
    report = _read(folder)
    if control:
        with Clock(split, "control_s", "training the control"):
            curve = _train_control(config, folder, trained["time_s"], progress)
        report["control"] = {
            "label": "same model trained at depth 1, equal time",
            "depth_curve": curve,
        }
        text = json.dumps(report, indent=1, allow_nan=False)
        (folder / "report" / "eval.json").write_text(text + "\n")
    return {**report, "run_dir": str(folder), "step": trained["step"]}


def _train_control(
    config: RunConfig, folder: Path, seconds: float, progress: Style
) -> list[dict[str, Any]]:
    """Return the depth curve of the model trained without recurrence over segments.

    Same parameters, same data, same time: every segment is a fresh problem, and a
    segment costs what it costs the other.
    """
    once = dataclasses.replace(
        config,
        name=f"{config.name}_control",
        halting=dataclasses.replace(config.halting, max_steps=1),
        train=dataclasses.replace(config.train, max_time_s=seconds),
    )
    where = folder.parent / "control"
    latent.train(once, str(where), progress=progress)
    # At its own depth, and iterated further than it was trained for.
    return load(str(where)).evaluate(budgets=["high"])["depth_curve"]


def _read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report" / "eval.json").read_text())
