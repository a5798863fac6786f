# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the loop times: steps per second, and a profiler trace when asked."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax

from lrm_jax.training import files


class Rate:
    """Steps per second, without compilation, evaluation and saving."""

    def __init__(self) -> None:
        """Wait for the first step."""
        self._since: tuple[float, int] | None = None

    def count(self, step: int) -> None:
        """Start at the first step that was read: it waited for the compiler."""
        if self._since is None:
            self._since = (time.monotonic(), step)

    def take(self, step: int) -> float | None:
        """Return the rate since the last call, None where nothing was timed."""
        now = time.monotonic()
        (then, before), self._since = self._since or (now, step), (now, step)
        return (step - before) / (now - then) if step > before and now > then else None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time spent in `with`."""
        began = time.monotonic()
        try:
            yield
        finally:
            if self._since is not None:
                then, step = self._since
                self._since = (then + time.monotonic() - began, step)


class Profile:
    """A profiler trace of a few steps, begun once the first is compiled."""

    def __init__(self, folder: files.Path, first: int, steps: int) -> None:
        """Trace `steps` steps from step `first` on into `folder`; 0 = none."""
        self._folder = folder
        self._written = str(folder)
        self._first, self._end = first, first + steps
        self._running = False

    def before(self, step: int) -> None:
        """Begin before the dispatch that starts at `step`, if it is time."""
        if step == self._first < self._end:
            if files.is_remote(self._folder):  # the profiler writes files
                self._written = tempfile.mkdtemp(prefix="profile-")
            jax.profiler.start_trace(self._written)
            self._running = True

    def after(self, step: int, metrics: Any) -> None:
        """End after the dispatch that ended at `step`, if it is time."""
        if self._running and step >= self._end:
            jax.block_until_ready(metrics)
            jax.profiler.stop_trace()
            self._running = False
            if files.is_remote(self._folder):
                files.move_tree(self._written, self._folder)
