# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Machine-code compilation of the puzzle kernels (numba), cached between runs.

Imported only by the kernel files, which are imported only when a puzzle is made
or solved, so that `import lrm_jax` stays fast.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on first call; keep the result beside the file or in the user cache.

    Numba looks for a folder it may write (NUMBA_CACHE_DIR, the package, the
    user's cache); on a read-only machine it has none and compiles every time.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return numba.njit(nogil=True)(function)


@kernel
def next_random(state):
    """Advance a splitmix64 state (uint64 `[1]`) and return 32 random bits."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(32))


def in_threads(
    function: Callable[[np.ndarray], Any], parts: Sequence[np.ndarray]
) -> list[Any]:
    """Call a function of kernels (they let go of Python's lock) for every part."""
    if len(parts) == 1:
        return [function(parts[0])]
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(function, parts))
