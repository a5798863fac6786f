# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm quickstart`: train a small reasoner here and now, show what thinking buys."""

import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrm_jax import presets
from lrm_jax.evaluation.report import write_report
from lrm_jax.recipes import latent
from lrm_jax.recipes.latent_build import build
from lrm_jax.recipes.run import load
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.training.progress import Style
from lrm_jax.types import UserError

PARTS = ("latent", "all")


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
      part: `latent`, or `all` there are.
      out_dir: folder of the run folders and the report.
      control: also train the same model to answer after one segment, for the same
        training time, and draw it beside.
      config: of the run; None for the preset `quickstart_latent`.
      progress: how training shows its progress.

    Returns:
      {time_s, split, peak_rss_bytes, latent: {n, results, ...}, report}.
    """
    if part not in PARTS:
        raise UserError(f"--part {part}: accepted are {', '.join(PARTS)}")
    started = time.monotonic()
    split: dict[str, float] = {}
    config = config or presets.quickstart_latent()
    folder = Path(out_dir) / "latent"
    with _Clock(split, "data_s", _say, "making 6x6 Sudokus"):
        parts = build(config)
        parts.source.train_arrays()
    with _Clock(split, "train_s", _say, "training"):
        trained = latent.train(config, str(folder), progress=progress, run=parts)
    if trained["reason"] in ("interrupted", "terminated"):
        return {**trained, "stopped": True}
    report = _read(folder)
    if control:
        with _Clock(split, "control_s", _say, "training the control"):
            curve = _train_control(config, folder, trained["time_s"], progress)
        report["control"] = {
            "label": "same model trained at depth 1, equal time",
            "depth_curve": curve,
        }
        text = json.dumps(report, indent=1, allow_nan=False)
        (folder / "report" / "eval.json").write_text(text + "\n")
    with _Clock(split, "report_s", _say, "drawing"):
        written = write_report([str(folder)])
    page = next(f for f in written["files"] if f.endswith("index.html"))
    if trained["resumed_from"] is None:  # else the time counts earlier calls too
        split["compile_and_loop_s"] = split["train_s"] - trained["time_s"]
    return {
        "time_s": round(time.monotonic() - started, 2),
        "split": {name: round(value, 2) for name, value in split.items()},
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "latent": {**report, "run_dir": str(folder), "step": trained["step"]},
        "report": page,
    }


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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _Clock:
    """Time a stage, saying what it is."""

    def __init__(
        self,
        split: dict[str, float],
        name: str,
        say: Callable[[str], None],
        what: str,
    ) -> None:
        self._split, self._name, self._say, self._what = split, name, say, what

    def __enter__(self) -> None:
        self._say(f"{self._what} ...")
        self._began = time.monotonic()

    def __exit__(self, *exc_info: object) -> None:
        self._split[self._name] = time.monotonic() - self._began
