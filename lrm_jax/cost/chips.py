# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""TPU chips and the slices of them that can be rented.

Figures are the makers' own, per chip; `source` says which page. A *device* is what
JAX sees: a chip, except on tpu7x, whose chip is two devices; v4's two cores are one
device ("megacore").
"""

import dataclasses
import difflib
import math
from typing import Any

from lrm_jax.types import UserError

_DOCS = "https://docs.cloud.google.com/tpu/docs/"
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """A TPU chip.

    Attributes:
      name: as topologies are named.
      kind: `device_kind` of its devices.
      peak_flops: dense bfloat16 FLOP/s of a chip.
      hbm_bytes: memory of a chip.
      hbm_bandwidth: bytes/s between a chip and its memory.
      link_bandwidth: bytes/s over one inter-chip link in one direction.
      torus_dims: dimensions of the torus; a chip has two links in each.
      dcn_bandwidth: bytes/s of data-center network a chip has its share of; None
        where the page does not say.
      devices_per_chip: devices that JAX sees of one chip.
      chips_per_host: chips of one process in slices of several hosts.
      source: page the figures are from.
      topology_options: what the compiler must be told for one device a chip.
    """

    name: str
    kind: str
    peak_flops: float
    hbm_bytes: float
    hbm_bandwidth: float
    link_bandwidth: float
    torus_dims: int
    dcn_bandwidth: float | None
    source: str
    devices_per_chip: int = 1
    chips_per_host: int = 4
    topology_options: tuple[tuple[str, Any], ...] = ()


# The pages give ICI per chip over all links and both directions (v5p: 1,200 GB/s =
# 6 links x 2 x 100); v4's page has none, its 50 GB/s a link is the 2,400 Gb/s a chip
# of Jouppi et al. 2023 (arXiv 2304.01433, table 4) over 6 links.
CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip(
            *("v4", "TPU v4", 275e12, 32 * GIB, 1.2e12, 50e9, 3, None, _DOCS + "v4"),
            topology_options=(("chip_config_name", "megacore"),),
        ),
        Chip(
            *("v5e", "TPU v5 lite", 197e12, 16 * GIB, 819e9, 50e9, 2, 3.125e9),
            _DOCS + "v5e",
        ),
        Chip(
            *("v5p", "TPU v5", 459e12, 95 * GIB, 2.765e12, 100e9, 3, 6.25e9),
            _DOCS + "v5p",
        ),
        Chip(
            *("v6e", "TPU v6 lite", 918e12, 32 * GIB, 1.638e12, 100e9, 2, 12.5e9),
            _DOCS + "v6e",
        ),
        Chip(
            *("tpu7x", "TPU7x", 2307e12, 192 * GIB, 7.38e12, 100e9, 3, 12.5e9),
            _DOCS + "tpu7x",
            devices_per_chip=2,
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice that can be rented.

    Attributes:
      chip: what it is made of.
      topology: chips along each dimension.
      accelerator_type: its name where machines are created.
      hosts: virtual machines, each a process.
    """

    chip: Chip
    topology: tuple[int, ...]
    accelerator_type: str
    hosts: int

    @property
    def name(self) -> str:
        """As the compiler names it: `v5p:2x4x4`."""
        return f"{self.chip.name}:{'x'.join(map(str, self.topology))}"

    @property
    def chips(self) -> int:
        """Chips in it."""
        return math.prod(self.topology)

    @property
    def devices(self) -> int:
        """Devices that JAX sees."""
        return self.chips * self.chip.devices_per_chip


_2D = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
_3D = (
    *((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4), (4, 4, 4), (4, 4, 8), (4, 8, 8)),
    *((8, 8, 8), (8, 8, 16), (8, 16, 16), (16, 16, 16)),
)
_TYPES = {"v5e": "v5litepod"}
"""Accelerator types that are not named after the chip."""


def _slices(chip: Chip) -> list[Slice]:
    """The type's number counts chips on a 2D torus, cores (two a chip) on a 3D one."""
    flat = chip.torus_dims == 2
    found = []
    for topology in _2D if flat else _3D:
        chips = math.prod(topology)
        if chip.name == "v4" and chips > 2048:
            continue
        name = f"{_TYPES.get(chip.name, chip.name)}-{chips if flat else 2 * chips}"
        # Up to 8 chips of a 2D torus are one machine.
        hosts = 1 if flat and chips <= 8 else max(chips // chip.chips_per_host, 1)
        found.append(Slice(chip, topology, name, hosts))
    return found


SLICES: tuple[Slice, ...] = tuple(s for chip in CHIPS.values() for s in _slices(chip))


def find_slice(name: str) -> Slice:
    """Return the slice of a topology (`v5e:2x4`) or an accelerator type (`v5p-64`).

    Raises:
      UserError: there is none; lists those of the chip, or the chips.
    """
    for one in SLICES:
        if name in (one.name, one.accelerator_type):
            return one
    words = name.replace("v5litepod", "v5e").replace(":", "-")
    chip = words.partition("-")[0]
    if chip not in CHIPS:
        near = difflib.get_close_matches(chip, CHIPS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        known = ", ".join(CHIPS)
        raise UserError(
            f"--topology {name!r}: no such chip{hint}; expected CHIP:TOPOLOGY or an "
            f"accelerator type of {known}, for example v5e:2x4 or v5p-64"
        )
    known = ", ".join(f"{s.name} ({s.accelerator_type})" for s in of_chip(chip))
    raise UserError(f"--topology {name!r}: no such slice; there are {known}")


def of_chip(name: str) -> list[Slice]:
    """Return the slices of a chip, smallest first."""
    return [one for one in SLICES if one.chip.name == name]
