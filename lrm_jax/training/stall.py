# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A step that does not come back is reported, with the stack of every thread."""

import faulthandler
import sys
import threading
import time
from typing import Self

DEFAULT_S = 600.0
_limit_s = DEFAULT_S


def set_limit(seconds: float) -> None:
    """Report after so many seconds without a step, in this process; 0 = never."""
    global _limit_s
    _limit_s = seconds


class StallWatch:
    """A thread that speaks when nothing was heard for the limit.

    It speaks once for every silence and ends nothing: what is slow may come back.
    """

    def __init__(self, name: str) -> None:
        """Watch from `with` on; `name` begins what is said."""
        self._name = name
        self._limit_s = _limit_s
        self._heard: tuple[float, int] | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def heard(self, step: int) -> None:
        """Note that `step` steps are done; the first call begins the watch.

        So the time that the first step takes to compile is no stall.
        """
        self._heard = (time.monotonic(), step)

    def __enter__(self) -> Self:
        """Start."""
        if self._limit_s > 0:
            self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        told = None
        while not self._end.wait(min(self._limit_s / 4, 1.0)):
            heard = self._heard
            if heard is None or heard == told:
                continue
            silent = time.monotonic() - heard[0]
            if silent > self._limit_s:
                told = heard
                print(
                    f"{self._name}: no step for {silent:.0f} s, since step {heard[1]};"
                    " where every thread is:",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(file=2, all_threads=True)
