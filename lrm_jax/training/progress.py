# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

from lrm_jax.types import UserError

Style = Literal["auto", "bar", "plain", "off"]


class Progress(Protocol):
    """Shows how far a run is."""

    def advance(self, step: int) -> None:
        """Say that `step` steps are done."""
        ...

    def show(self, step: int, values: Mapping[str, Any]) -> None:
        """Show a record's metrics."""
        ...

    def say(self, line: str) -> None:
        """Print a line that stays."""
        ...

    def close(self) -> None:
        """Give the terminal back."""
        ...


def check_style(style: str) -> None:
    """Refuse a style that is none."""
    accepted = get_args(Style)
    if style not in accepted:
        raise UserError(f"progress={style!r}: accepted are {', '.join(accepted)}")


def make_progress(style: Style, *, name: str, start: int, total: int) -> Progress:
    """Return the progress of a run that begins at step `start`."""
    check_style(style)
    if style == "auto":
        style = "bar" if sys.stderr.isatty() else "plain"
    if style == "bar":
        return _Bar(name, start, total)
    return _Lines(name, total, quiet=style == "off")


class _Lines:
    """One line a record."""

    def __init__(self, name: str, total: int, *, quiet: bool) -> None:
        self._name = name
        self._total = total
        self._quiet = quiet

    def advance(self, step: int) -> None:
        del step

    def show(self, step: int, values: Mapping[str, Any]) -> None:
        rate = values.get("perf/steps_per_s")
        left = (self._total - step) / rate if rate else None
        parts = [f"step {step}/{self._total}", *_shown(values)]
        if left is not None:
            parts.append(f"ETA {_clock(left)}")
        self.say("  ".join(parts))

    def say(self, line: str) -> None:
        if not self._quiet:
            print(f"{self._name}: {line}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class _Bar:
    """A rich bar; refreshes in its own thread."""

    def __init__(self, name: str, start: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import (
            Progress as RichProgress,
        )

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(
            name[:20], total=total, completed=start, shown=""
        )
        self._bar.start()

    def advance(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def show(self, step: int, values: Mapping[str, Any]) -> None:
        shown = "  ".join(_shown(values))
        if shown:
            self._bar.update(self._task, completed=step, shown=shown)

    def say(self, line: str) -> None:
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


_SHOWN = {
    "loss/total": "loss {:.4f}",
    "accuracy/exact": "exact {:.1%}",
    "reward/mean": "reward {:.3f}",
    "eval/loss": "eval loss {:.4f}",
    "eval/exact_accuracy": "eval exact {:.1%}",
    "eval/greedy_accuracy": "eval greedy {:.1%}",
    "perf/steps_per_s": "{:.3g} steps/s",
}


def _shown(values: Mapping[str, Any]) -> list[str]:
    if "loss/total" not in values and "loss/lm" in values:  # has that part alone
        values = {**values, "loss/total": values["loss/lm"]}
    return [
        form.format(values[name])
        for name, form in _SHOWN.items()
        if values.get(name) is not None
    ]


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
