# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm data check` of labelled steps: bad rows, records twice, problems shared.

PRM800K learns from 4,500 problems of MATH's test set: what a reward model is tested on
is to be compared with what it has learned from.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrm_jax.data.check import CheckReport
from lrm_jax.data.jsonl import Prompt, read_objects
from lrm_jax.data.step_files import StepCounts, StepFileConfig, stream_steps
from lrm_jax.types import UserError

PROBLEM_COLUMNS = ("prompt", "problem", "question", "input", "original_question")
"""Where files of any kind keep their problems."""

_SHOWN = 20  # pairs of lines that are named


def check_steps(
    path: str | Path,
    against: str | Path | None = None,
    cfg: StepFileConfig | None = None,
) -> CheckReport:
    """Check a JSONL of labelled steps, of any format of `step_formats`.

    Problems are equal where their letters and digits are, whatever their case.

    Args:
      path: the file.
      against: a JSONL with problems under one of `PROBLEM_COLUMNS` (or labelled
        steps) that should share none with it.
      cfg: how `path` is read.

    Raises:
      UserError: no such file, no known format, or no problems in `against`.
    """
    counts = StepCounts(keep=1 << 62)
    seen: set[str] = set()
    problems: dict[str, int] = {}
    duplicates, source = 0, ""
    for record in stream_steps(path, cfg, counts):
        source = record.source
        key = json.dumps([record.prompt, record.steps, record.labels])
        duplicates += key in seen
        seen.add(key)
        problems.setdefault(_letters(record.prompt), counts.rows)
    if not counts.rows:
        raise UserError(f"{path}: no rows")
    shared: list[list[int]] = []
    if against is not None:
        shared = [
            [problems[problem], line]
            for problem, line in _problems(against).items()
            if problem in problems
        ]
    return CheckReport(
        ok=not counts.refused and not duplicates and not shared,
        kind=f"steps ({source or 'none'})",
        rows=counts.rows,
        bad=counts.bad,
        duplicates=duplicates,
        details={
            "records": counts.records,
            "labels": counts.labels,
            "problems": len(problems),
            "problems_shared": len(shared),
            **{f"excluded: {why}": n for why, n in counts.excluded.items()},
            "pairs": shared[:_SHOWN],
        },
    )


def _problems(path: str | Path) -> dict[str, int]:
    """Return the problems of a file and the row of each, blank lines not counted."""
    found: dict[str, int] = {}
    column = None
    for number, (_, row) in enumerate(read_objects(path), 1):
        column = column or next((c for c in PROBLEM_COLUMNS if c in row), None)
        if column is None or column not in row:
            raise UserError(
                f"{path}, row {number}: no problem; expected a column "
                f"{', '.join(PROBLEM_COLUMNS)}"
            )
        found.setdefault(_letters(_inside(row[column])), number)
    return found


def _inside(value: Any) -> Prompt:
    """Return a problem, out of the object that PRM800K keeps it in."""
    return value["problem"] if isinstance(value, Mapping) else value


def _letters(prompt: Prompt) -> str:
    text = prompt if isinstance(prompt, str) else json.dumps(prompt)
    return re.sub(r"[\W_]+", "", text).lower()
