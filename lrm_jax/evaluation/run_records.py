# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What run folders say, and which runs are seeds of one experiment."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrm_jax.storage.logs import read_log
from lrm_jax.storage.paths import AnyPath, to_read
from lrm_jax.types import UserError

NOT_IDENTITY = ("seed", "name", "mesh")
"""Keys of a config that do not make it another experiment."""


@dataclass(frozen=True)
class RunRecord:
    """What a run folder says.

    Attributes:
      path: the folder.
      config: of config.json.
      metrics: lines of metrics.jsonl.
      evaluation: of report/eval.json, or None.
    """

    path: AnyPath
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluation: dict[str, Any] | None

    @property
    def recipe(self) -> str:
        """Which recipe trained it."""
        return str(self.config.get("recipe", "latent"))

    @property
    def is_policy(self) -> bool:
        """Whether it thinks in tokens."""
        return self.recipe != "latent"

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """What training warned of: records with `step`, `alarm` and `message`."""
        return [record for record in self.metrics if "alarm" in record]

    @property
    def traces(self) -> AnyPath | None:
        """The file of traces, where there is one."""
        path = self.path / "report" / "traces.npz"
        return path if path.exists() else None


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in their seed only."""

    label: str
    runs: list[RunRecord]

    @property
    def is_policy(self) -> bool:
        """Whether they think in tokens."""
        return self.runs[0].is_policy


def read_run(path: str | os.PathLike[str]) -> RunRecord:
    """Read a run folder; a metrics line torn by a crash is left out."""
    folder = to_read(path)
    config = _read_json(folder / "config.json")
    if config is None:
        raise UserError(f"{os.fspath(path)!r}: no config.json, so not a run folder")
    records = []
    text = (read_log(folder / "metrics.jsonl") or b"").decode("utf-8")
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    evaluation = _read_json(folder / "report" / "eval.json")
    return RunRecord(folder, config, records, evaluation)


def group_runs(runs: Sequence[RunRecord]) -> list[RunGroup]:
    """Put runs of one config, whatever their seed, together; first come, first."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        key = json.dumps(_identity(run.config), sort_keys=True)
        groups.setdefault(key, []).append(run)
    labels = [str(g[0].config.get("name") or g[0].path.name) for g in groups.values()]
    return [
        RunGroup(
            label if labels.count(label) == 1 else f"{label} ({runs[0].path.name})",
            runs,
        )
        for label, runs in zip(labels, groups.values(), strict=True)
    ]


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """What makes a config an experiment; of its source, the same, where it is there."""
    config = {k: v for k, v in config.items() if k not in NOT_IDENTITY}
    source = config.get("init_from")
    if source:
        folder, at, _ = source.rpartition("@")
        begun = _read_json(to_read(folder if at else source) / "config.json")
        if begun is not None:
            config["init_from"] = _identity(begun)
            config.pop("init_from_sha256", None)
    return config


def _read_json(path: AnyPath) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{str(path)!r}: not JSON ({error})") from error
