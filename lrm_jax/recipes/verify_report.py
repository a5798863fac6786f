# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Comparison of our numbers with a fixture's, and the files of a fixture."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrm_jax.interop.tensors import read_safetensors
from lrm_jax.types import UserError


@dataclass
class Report:
    """What was compared so far.

    Attributes:
      max_diff: largest difference per output; see `Report.compare` for its unit.
      failed: outputs over tolerance, each with its difference and limit.
      notes: what a reader must know about how something was compared.
    """

    max_diff: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether something was compared and nothing was over tolerance."""
        return bool(self.max_diff) and not self.failed

    def compare(
        self,
        output: str,
        got: Any,
        want: Any,
        *,
        atol: float = 0.0,
        rtol: float = 0.0,
        of_max: float = 0.0,
        where: str = "",
    ) -> None:
        """Compare two arrays: |got - want| <= atol + rtol |want| + of_max max|want|.

        The difference kept under `output` is absolute where `atol` is given or
        nothing is (exact), relative to `want` for `rtol`, and relative to the
        largest magnitude of `want` for `of_max`. NaN, infinity where none is
        wanted, and another shape fail.

        Args:
          output: name in `max_diff`; several calls may share it.
          got: our array.
          want: the reference's.
          atol: absolute limit.
          rtol: limit relative to each element.
          of_max: limit relative to the largest element.
          where: which part of the output, for `failed`.
        """
        got, want = _wide(got), _wide(want)
        label = f"{output}[{where}]" if where else output
        if got.shape != want.shape:
            self.max_diff[output] = float("inf")
            self.failed.append(f"{label}: shape {got.shape}, expected {want.shape}")
            return
        if not want.size:
            self._note(output, 0.0)
            return
        same = got == want  # equal infinities are no difference
        with np.errstate(invalid="ignore"):
            diff = np.where(same, 0.0, np.abs(got - want))
        diff = np.where(np.isfinite(diff), diff, np.inf)
        sizes = np.where(np.isfinite(want), np.abs(want), 0.0)
        scale = np.max(sizes)
        limit = np.broadcast_to(atol + rtol * sizes + of_max * scale, diff.shape)
        shown = diff
        if not atol and (rtol or of_max):
            base = sizes if rtol else np.full_like(diff, scale)
            shown = np.divide(diff, base, out=diff.copy(), where=base > 0)
        self._note(output, float(np.max(shown)))
        over = (diff > limit) | np.isinf(diff)
        if np.any(over):
            excess = np.where(over, diff - limit, -1.0)
            worst = np.unravel_index(np.argmax(excess), diff.shape)
            self.failed.append(
                f"{label}: differs by {diff[worst]:.3g} at {[int(i) for i in worst]}, "
                f"limit {limit[worst]:.3g}"
            )

    def extend(self, other: "Report") -> None:
        """Take over what another report holds."""
        for output, diff in other.max_diff.items():
            self._note(output, diff)
        self.failed += other.failed
        self.notes += other.notes

    def expect(self, output: str, holds: bool, message: str) -> None:
        """Note a condition that is no comparison of arrays."""
        self._note(output, 0.0 if holds else float("inf"))
        if not holds:
            self.failed.append(f"{output}: {message}")

    def _note(self, output: str, diff: float) -> None:
        self.max_diff[output] = max(self.max_diff.get(output, 0.0), diff)


def read_json(path: Path) -> Any:
    """Read a fixture's JSON file.

    Raises:
      UserError: it is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; the fixture is incomplete")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error


class Tensors:
    """The arrays of one safetensors file; asking for one that is not there fails.

    Every array that was read is remembered, so that `unread` can tell what no
    check looked at.
    """

    def __init__(
        self, path: Path, rename: Callable[[str], str] = lambda name: name
    ) -> None:
        """Read the file; `rename` gives the name that an array is asked for by."""
        if not path.is_file():
            raise UserError(f"{path}: no such file; the fixture is incomplete")
        self.path = path
        arrays = read_safetensors(path)[0]
        self._arrays: Mapping[str, np.ndarray] = {
            rename(name): array for name, array in arrays.items()
        }
        if len(self._arrays) < len(arrays):
            twice = [name for name in arrays if rename(name) != name]
            raise UserError(f"{path}: {twice[0]!r} is there twice, with a prefix")
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array by name."""
        if name not in self._arrays:
            raise UserError(f"{self.path}: has no array {name!r}")
        self._read.add(name)
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        """Return whether the file has an array of that name."""
        return name in self._arrays

    def names(self, prefix: str = "") -> list[str]:
        """Return the names that start with `prefix`."""
        return [name for name in self._arrays if name.startswith(prefix)]

    def unread(self) -> list[str]:
        """Return the names that were never asked for."""
        return sorted(set(self._arrays) - self._read)


def need(table: Any, key: str, path: Path) -> Any:
    """Return `table[key]`, or say which file lacks it."""
    if not isinstance(table, Mapping) or key not in table:
        raise UserError(f"{path}: has no {key!r}")
    return table[key]


def _wide(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype == np.bool_ or np.issubdtype(x.dtype, np.integer):
        return x.astype(np.int64).astype(np.float64)
    return x.astype(np.float64)
