# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""FLOPs of the matrix products of a traced program, loops counted in full.

XLA's own cost analysis counts the body of a loop once, and a reasoner is mostly
loops; a jaxpr knows their lengths. Recomputation (remat) counts as work done. A
product-sum is two FLOPs; what is no product counts nothing.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def count_flops(
    function: Callable[..., Any],
    *args: Any,
    platform: str = "tpu",
    while_bound: int | None = None,
    ragged_share: float = 1.0,
) -> int:
    """Return the FLOPs of one call over all devices.

    Args:
      function: to be traced; jitted or not.
      *args: arrays or `jax.ShapeDtypeStruct`.
      platform: see `jaxpr_flops`.
      while_bound: see `jaxpr_flops`.
      ragged_share: see `jaxpr_flops`.

    Raises:
      ValueError: products inside a loop whose length is not known.
    """
    closed = jax.make_jaxpr(function)(*args)
    return jaxpr_flops(
        closed, platform=platform, while_bound=while_bound, ragged_share=ragged_share
    )


def jaxpr_flops(
    closed: core.ClosedJaxpr,
    *,
    platform: str = "tpu",
    while_bound: int | None = None,
    ragged_share: float = 1.0,
) -> int:
    """Return the FLOPs of a traced program (`jax.jit(f).trace(...).jaxpr`).

    Args:
      closed: the program.
      platform: whose branch counts where `lax.platform_dependent` chooses.
      while_bound: turns of a `while` loop whose end depends on data.
      ragged_share: of the rows of a ragged product, those in any of its groups;
        the others are not multiplied, and shapes do not tell how many they are.

    Raises:
      ValueError: products inside a loop whose length is not known.
    """
    return _Counter(platform, while_bound, ragged_share).of_jaxpr(closed.jaxpr)


@dataclasses.dataclass(frozen=True)
class _Counter:
    platform: str
    while_bound: int | None
    ragged_share: float

    def of_jaxpr(self, jaxpr: core.Jaxpr) -> int:
        return sum(self._of_equation(equation) for equation in jaxpr.eqns)

    def _of_equation(self, equation: Any) -> int:
        name, params = equation.primitive.name, equation.params
        if name == "ragged_dot_general":
            return round(self.ragged_share * _of_ragged_dot(equation))
        leaf = _LEAVES.get(name)
        if leaf is not None:
            return leaf(equation)
        if name == "pallas_call":
            return self._of_kernel(params)
        inner = [self.of_jaxpr(jaxpr) for jaxpr in _inner(params)]
        if name == "while":
            return self._of_while(sum(inner))
        if name == "scan":
            return params["length"] * sum(inner)
        if name == "cond":
            return self._of_branches(inner, params.get("branches_platforms"))
        if name in ("custom_jvp_call", "custom_vjp_call"):
            return max(inner, default=0)
        if name == "shard_map":  # shapes inside are those of one device
            axes = params["newly_manual_axes"]
            return sum(inner) * math.prod(params["mesh"].shape[a] for a in axes)
        return sum(inner)

    def _of_branches(self, inner: list[int], platforms: Any) -> int:
        """The branch of the platform; where data choose, the dearest."""
        for flops, names in zip(inner, platforms or (), strict=False):
            if names is None or self.platform in names:
                return flops
        return max(inner, default=0)

    def _of_while(self, body: int) -> int:
        if not body:
            return 0
        if self.while_bound is None:
            raise ValueError("a loop of unknown length holds matrix products")
        return self.while_bound * body

    def _of_kernel(self, params: dict[str, Any]) -> int:
        estimate = params.get("cost_estimate")
        if estimate is not None:
            return int(estimate.flops)
        grid = math.prod(params["grid_mapping"].grid)
        return grid * self.of_jaxpr(params["jaxpr"])


def _of_dot(equation: Any) -> int:
    left, right = (variable.aval for variable in equation.invars)
    (left_sum, _), (left_batch, _) = equation.params["dimension_numbers"]
    shared = {*left_sum, *left_batch}
    rows = math.prod(n for i, n in enumerate(left.shape) if i not in shared)
    summed = math.prod(left.shape[i] for i in left_sum)
    return 2 * rows * summed * math.prod(right.shape) // max(summed, 1)


def _of_ragged_dot(equation: Any) -> int:
    """Every row meets one group's matrix: `[m, k]` by `[g, k, n]`, or by `[m, n]`."""
    left, right = (variable.aval for variable in equation.invars[:2])
    out = equation.outvars[0].aval
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (left_sum, _), _ = numbers.dot_dimension_numbers
    if set(numbers.lhs_ragged_dimensions) & set(left_sum):
        # Summed over the ragged rows: each gives one outer product to its group.
        return 2 * math.prod(left.shape) * (math.prod(right.shape) // left.shape[0])
    return 2 * math.prod(out.shape) * math.prod(left.shape[i] for i in left_sum)


def _of_convolution(equation: Any) -> int:
    kernel, out = equation.invars[1].aval, equation.outvars[0].aval
    features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2 * math.prod(out.shape) * math.prod(kernel.shape) // features


_LEAVES: dict[str, Callable[[Any], int]] = {
    "dot_general": _of_dot,
    "conv_general_dilated": _of_convolution,
}


def _inner(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item
