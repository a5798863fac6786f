# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keep the host allocator from giving large blocks back between steps.

XLA's CPU backend asks for one block of temporaries per execution. Above 32 MB
glibc maps it afresh every time, so that every page faults again at every step:
5 to 12 % of a training step on two cores (docs/measurements.md).
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_large_blocks() -> bool:
    """Tell glibc to reuse large blocks; call it before JAX starts its threads.

    Memory is kept for the next step, not leaked: the peak stays what it was.

    Returns:
      Whether the allocator took the settings (elsewhere than glibc: no).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # One arena: otherwise worker threads' large blocks are mapped regardless.
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, 1 << 30))
    results = [mallopt(name, value) for name, value in settings]
    return all([*results, mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)])
