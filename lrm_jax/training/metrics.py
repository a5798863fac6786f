# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Step metrics: (sum, weight) pairs that add up, and their lines on the disk.

A metric is `group/name -> (sum, weight)`; over a window its value is the sum of
sums over the sum of weights. In `metrics.jsonl` every line is one JSON object
with `step` and `time_s`; JSON has no NaN or infinity, so these are null there.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lrm_jax.types import Array

StepMetrics = Mapping[str, tuple[Array, Array]]
HostMetrics = dict[str, tuple[float, float]]


def start_copy(metrics: StepMetrics) -> None:
    """Ask the device to send metrics once they are there; does not wait."""
    for pair in metrics.values():
        for part in pair:
            if hasattr(part, "copy_to_host_async"):
                part.copy_to_host_async()


def to_host(metrics: StepMetrics) -> HostMetrics:
    """Wait for metrics and return them as Python floats."""
    return {
        name: (float(np.asarray(total)), float(np.asarray(weight)))
        for name, (total, weight) in metrics.items()
    }


def bad_loss(metrics: HostMetrics) -> str | None:
    """Name the first `loss/...` that is NaN or infinite."""
    for name, (total, _) in metrics.items():
        if name.startswith("loss/") and not math.isfinite(total):
            return name
    return None


class Window:
    """Metrics added up since the last record."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """Start empty, or where `to_json` left off."""
        self._sums: HostMetrics = {
            name: (float(total), float(weight))
            for name, (total, weight) in (saved or {}).items()
        }

    def add(self, metrics: HostMetrics) -> None:
        """Add one dispatch."""
        for name, (total, weight) in metrics.items():
            before = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (before[0] + total, before[1] + weight)

    def means(self) -> dict[str, float | None]:
        """Return each metric's value; None where nothing had weight."""
        return {
            name: total / weight if weight else None
            for name, (total, weight) in self._sums.items()
        }

    def clear(self) -> None:
        """Start the next window."""
        self._sums = {}

    def to_json(self) -> dict[str, list[str]]:
        """Return exact sums, also of infinities, for a checkpoint."""
        return {name: [repr(x) for x in pair] for name, pair in self._sums.items()}


def finite_or_none(value: Any) -> Any:
    """Return JSON's view of a number: None where it is NaN or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON."""
    clean = {name: finite_or_none(value) for name, value in record.items()}
    return json.dumps(clean, allow_nan=False) + "\n"


def kept_lines(text: str, step: float) -> str:
    """Return the lines of `metrics.jsonl` up to `step`, without torn ones."""
    kept = []
    for line in text.splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # A kill in the middle of a write leaves half a line.
    return "".join(kept)
