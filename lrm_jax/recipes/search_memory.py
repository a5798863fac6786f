# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How many bytes the trees of a search may take on a device of this machine."""

import os

import jax

from lrm_jax.types import UserError

SHARE = 0.9
"""Of what is free, left to trees; the rest is for what a step makes and drops."""


def trees_limit(memory_gib: float) -> int:
    """Return the most bytes of trees on a device.

    Args:
      memory_gib: as the user has set it, in GiB; 0 for `SHARE` of what is free: of a
        device that reports its memory, or of the host's, shared by its devices.

    Raises:
      UserError: below 0.
    """
    if not memory_gib >= 0:
        raise UserError(f"memory_gib={memory_gib}: expected 0 or more")
    if memory_gib:
        return int(memory_gib * 2**30)
    devices = jax.local_devices()
    stats = devices[0].memory_stats() or {}
    if "bytes_limit" in stats:
        free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        free //= len(devices)
    return int(SHARE * free)
