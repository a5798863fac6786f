# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as a request to finish the step and save.

With several processes a signal reaches one of them: JAX's preemption service
tells the others, and all stop after the same dispatch.
"""

import os
import signal
import threading
from types import FrameType
from typing import Any, Literal, Self

from jax.experimental import multihost_utils

from lrm_jax import processes

Reason = Literal["interrupted", "terminated"]

_REASONS: dict[int, Reason] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
}


class StopRequests:
    """Notes the first SIGINT or SIGTERM; a second SIGINT stops at once.

    Handlers are set on entering `with` (in the main thread only, as Python
    wants it) and given back on leaving.

    Attributes:
      reason: None until a signal came.
    """

    def __init__(self) -> None:
        """Listen from `with` on."""
        self.reason: Reason | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Set the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in _REASONS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Give the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def poll(self) -> Reason | None:
        """Return why to stop; called once a dispatch."""
        return self.reason

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.reason = self.reason or _REASONS[number]
        # Not print: a handler may run inside a half-done write.
        os.write(2, b"\nfinishing this step and saving; Ctrl-C stops at once\n")


class SharedStopRequests(StopRequests):
    """SIGTERM to any process, as all of them see it after the same dispatch.

    No handler is set: the runtime has its own, and one beside it never runs.
    """

    def __init__(self) -> None:
        """Count from here: all processes poll equally often."""
        super().__init__()
        self._polls = 0

    def __enter__(self) -> Self:
        """Leave the runtime's handlers alone."""
        return self

    def poll(self) -> Reason | None:
        """Return why to stop, at the dispatch after which all do."""
        self._polls += 1
        if multihost_utils.reached_preemption_sync_point(self._polls):
            self.reason = "terminated"
        return self.reason


def stop_requests() -> StopRequests:
    """Return what listens for signals in this run."""
    return SharedStopRequests() if processes.several() else StopRequests()
