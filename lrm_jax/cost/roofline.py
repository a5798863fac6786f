# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The least time a step can take on given chips, and what bounds it.

Products, memory and each mesh axis' links are taken to work at their peaks and at
the same time: a bound from below, which real runs do not reach.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lrm_jax.cost.chips import Chip
from lrm_jax.cost.collectives import DCN, Collective


class Roofline(NamedTuple):
    """Seconds a step needs at the least, by what it needs them for.

    Attributes:
      seconds: `compute`, `memory`, `ici:AXIS` for each mesh axis, `dcn`.
      bound_by: the longest of them.
      step_s: its seconds.
    """

    seconds: dict[str, float]
    bound_by: str
    step_s: float


def roofline(
    chip: Chip,
    *,
    flops: float,
    memory_bytes: float,
    collectives: Sequence[Collective],
    links: Mapping[str, int],
) -> Roofline:
    """Return the bound of one device's work.

    Args:
      chip: what it runs on.
      flops: of matrix products on a device.
      memory_bytes: between a device and its memory.
      collectives: what a device sends.
      links: see `axis_links`.

    Raises:
      ValueError: it sends to other slices, at a rate that nobody says.
    """
    share = chip.devices_per_chip
    seconds = {
        "compute": flops / (chip.peak_flops / share),
        "memory": memory_bytes / (chip.hbm_bandwidth / share),
    }
    for one in collectives:
        if one.axis == DCN:
            if chip.dcn_bandwidth is None:
                raise ValueError(f"{chip.name}: no rate between slices is known")
            rate, name = chip.dcn_bandwidth, "dcn"
        else:
            # Over several axes: all their links at once.
            used = sum(links.get(axis, 0) for axis in one.axis.split("+"))
            rate, name = used * chip.link_bandwidth, f"ici:{one.axis}"
        if rate:  # none between devices of one chip
            sent = one.sent_bytes * one.count
            seconds[name] = seconds.get(name, 0.0) + sent / (rate / share)
    bound_by = max(seconds, key=lambda name: seconds[name])
    return Roofline(seconds, bound_by, seconds[bound_by])


def axis_links(mesh: Any) -> dict[str, int]:
    """Return how many links of a chip serve each mesh axis, one way.

    An axis that spans a dimension of the torus uses both links of a chip there, or
    the one link of a dimension of two chips.
    """
    devices = mesh.devices
    found = {}
    for i, name in enumerate(mesh.axis_names):
        line = np.moveaxis(devices, i, -1).reshape(-1, devices.shape[i])[0]
        places = np.array([device.coords for device in line])
        spans = [len(set(column.tolist())) for column in places.T]
        found[name] = sum(min(span - 1, 2) for span in spans)
    return found
