# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""CPU time of a call, as a bound on it can be tested on a busy machine."""

import time
from collections.abc import Callable
from typing import Any


def quickest(call: Callable[[], Any], *, limit: float, tries: int = 5) -> float:
    """The least CPU seconds of a few calls; stops at the first within `limit`."""
    best = float("inf")
    for _ in range(tries):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
        if best < limit:
            break
    return best
