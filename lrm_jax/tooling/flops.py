# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Matrix-multiplication FLOPs of a traced function, loops counted in full.

XLA's own cost analysis counts the body of a loop once, and a reasoner is mostly
loops; a jaxpr knows their lengths. Recomputation (remat) counts as work done.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def count_flops(function: Callable[..., Any], *args: Any) -> int:
    """Return the FLOPs of all matrix products of one call; a product-sum is two.

    Args:
      function: to be traced; jitted or not.
      *args: arrays or `jax.ShapeDtypeStruct`.

    Raises:
      ValueError: a product inside a loop whose length is not static.
    """
    return jaxpr_flops(jax.make_jaxpr(function)(*args))


def jaxpr_flops(closed: core.ClosedJaxpr) -> int:
    """Return the FLOPs of a traced program (`jax.jit(f).trace(...).jaxpr`)."""
    return _of_jaxpr(closed.jaxpr)


def _of_jaxpr(jaxpr: core.Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _of_dot(equation)
    if name == "conv_general_dilated":
        raise ValueError("convolutions are not counted")
    inner = [_of_jaxpr(jaxpr) for jaxpr in _inner(params)]
    if name == "while":
        if any(inner):
            raise ValueError("a loop of unknown length holds matrix products")
        return 0
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "cond":
        return max(inner, default=0)
    if name in ("custom_jvp_call", "custom_vjp_call"):
        return max(inner, default=0)
    return sum(inner)


def _of_dot(equation: Any) -> int:
    left, right = (variable.aval for variable in equation.invars)
    (left_sum, _), (left_batch, _) = equation.params["dimension_numbers"]
    shared = {*left_sum, *left_batch}
    rows = math.prod(n for i, n in enumerate(left.shape) if i not in shared)
    summed = math.prod(left.shape[i] for i in left_sum)
    return 2 * rows * summed * math.prod(right.shape) // max(summed, 1)


def _inner(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item
