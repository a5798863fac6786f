# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ablations as expressions: grid, zip_, chain, seeds; `*` multiplies them."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lrm_jax.config.tree import replace

C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class Ablation:
    """Points of an ablation: each a `{dotted key: value}` of what it changes."""

    points: tuple[Mapping[str, Any], ...]

    def __mul__(self, other: "Ablation") -> "Ablation":
        """Return every pair of points of the two, merged."""
        pairs = itertools.product(self.points, other.points)
        return Ablation(tuple({**a, **b} for a, b in pairs))

    def configs(self, base: C) -> dict[str, C]:
        """Return `{row name: config}`, named by what each point changes."""
        rows = {_point_name(p): replace(base, p) for p in self.points}
        if len(rows) != len(self.points):
            raise ValueError("two points of the ablation change the same things")
        return rows


Axis = tuple[str, Sequence[Any]]


def grid(*axes: Axis) -> Ablation:
    """Return every combination of `(key, values)` axes, the last varying fastest."""
    keys = [key for key, _ in axes]
    combinations = itertools.product(*(values for _, values in axes))
    return Ablation(tuple(dict(zip(keys, c, strict=True)) for c in combinations))


def zip_(*axes: Axis) -> Ablation:
    """Return the axes walked together; they have the same length."""
    lengths = {key: len(values) for key, values in axes}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"zip_ needs axes of one length, got {lengths}")
    return chain(*(grid(*((k, [v]) for k, v in row)) for row in _transpose(axes)))


def chain(*ablations: Ablation) -> Ablation:
    """Return the points of several ablations, one after the other."""
    return Ablation(tuple(itertools.chain(*(a.points for a in ablations))))


def seeds(count: int, first: int = 0) -> Ablation:
    """Return one point a seed; multiply an ablation by it."""
    return grid(("seed", range(first, first + count)))


def _transpose(axes: Sequence[Axis]) -> list[list[tuple[str, Any]]]:
    columns = zip(*(values for _, values in axes), strict=True)
    return [[(k, v) for (k, _), v in zip(axes, c, strict=True)] for c in columns]


def _point_name(point: Mapping[str, Any]) -> str:
    return ",".join(f"{k.rpartition('.')[2]}={v}" for k, v in point.items()) or "base"
