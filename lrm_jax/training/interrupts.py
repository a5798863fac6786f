# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as a request to finish the step and save."""

import os
import signal
import threading
from types import FrameType
from typing import Any, Literal, Self

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

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.reason = self.reason or _REASONS[number]
        # Not print: a handler may run inside a half-done write.
        os.write(2, b"\nfinishing this step and saving; Ctrl-C stops at once\n")
