# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stages of a longer command: said when they begin, timed when they end."""

import sys
import time


class Clock:
    """Times a stage (`with`), saying on standard error what it is."""

    def __init__(self, split: dict[str, float], name: str, what: str) -> None:
        """Write the seconds to `split[name]`."""
        self._split, self._name, self._what = split, name, what

    def __enter__(self) -> None:
        """Say what begins."""
        print(f"{self._what} ...", file=sys.stderr, flush=True)
        self._began = time.monotonic()

    def __exit__(self, *exc_info: object) -> None:
        """Note how long it took."""
        self._split[self._name] = time.monotonic() - self._began
