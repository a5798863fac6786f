# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Masked statistics: the only place that divides by a mask sum.

Masked-out entries never reach the result nor the gradient, not even when they
are NaN or infinite; where nothing is left, a statistic is 0. Everything is at
least float32, and float64 when the input is.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lrm_jax.types import Array

Axis = int | Sequence[int] | None


def masked_sum(
    x: Array, mask: Array, axis: Axis = None, *, keepdims: bool = False
) -> Array:
    """Sum `x` where `mask` holds."""
    return jnp.sum(_select(x, mask), axis=_axis(axis), keepdims=keepdims)


def masked_count(
    x: Array, mask: Array, axis: Axis = None, *, keepdims: bool = False
) -> Array:
    """Count the entries of `x` that `mask` keeps, at least 1, as a float."""
    kept = jnp.broadcast_to(mask.astype(bool), x.shape).astype(_wide(x))
    return jnp.maximum(jnp.sum(kept, axis=_axis(axis), keepdims=keepdims), 1)


def masked_mean(
    x: Array, mask: Array, axis: Axis = None, *, keepdims: bool = False
) -> Array:
    """Average `x` where `mask` holds; 0 where it holds nowhere.

    Args:
      x: any shape.
      mask: boolean (or 0/1), broadcastable to `x`.
      axis: axes to reduce; None reduces all.
      keepdims: whether reduced axes stay with length 1.
    """
    total = masked_sum(x, mask, axis, keepdims=keepdims)
    return total / masked_count(x, mask, axis, keepdims=keepdims)


def masked_var(
    x: Array,
    mask: Array,
    axis: Axis = None,
    *,
    ddof: int = 0,
    keepdims: bool = False,
) -> Array:
    """Variance of `x` where `mask` holds, divided by max(1, count - ddof)."""
    mean = masked_mean(x, mask, axis, keepdims=True)
    squares = jnp.square(_select(x, mask) - mean)
    count = masked_count(x, mask, axis, keepdims=keepdims)
    total = masked_sum(squares, mask, axis, keepdims=keepdims)
    return total / jnp.maximum(count - ddof, 1)


def masked_whiten(
    x: Array, mask: Array, axis: Axis = None, *, ddof: int = 0, eps: float = 1e-8
) -> Array:
    """Shift and scale `x` to mean 0 and variance 1 over `mask`; 0 elsewhere."""
    mean = masked_mean(x, mask, axis, keepdims=True)
    var = masked_var(x, mask, axis, ddof=ddof, keepdims=True)
    return _select((_select(x, mask) - mean) * jax.lax.rsqrt(var + eps), mask)


def masked_softmax(logits: Array, mask: Array, axis: int = -1) -> Array:
    """Softmax over the entries that `mask` keeps; all 0 where it keeps none."""
    kept = jnp.broadcast_to(mask.astype(bool), logits.shape)
    wide = logits.astype(_wide(logits))
    lowest = jnp.finfo(wide.dtype).min
    top = jnp.max(jnp.where(kept, wide, lowest), axis=axis, keepdims=True)
    # The shifted argument is masked before exp, so no inf reaches the gradient.
    shifted = jnp.where(kept, wide - jax.lax.stop_gradient(top), 0)
    weights = jnp.where(kept, jnp.exp(shifted), 0)
    total = jnp.sum(weights, axis=axis, keepdims=True)
    return weights / jnp.where(total > 0, total, 1)


def masked_log_softmax(logits: Array, mask: Array, axis: int = -1) -> Array:
    """Log of `masked_softmax`; the dtype's lowest finite value where masked."""
    kept = jnp.broadcast_to(mask.astype(bool), logits.shape)
    wide = logits.astype(_wide(logits))
    lowest = jnp.finfo(wide.dtype).min
    top = jnp.max(jnp.where(kept, wide, lowest), axis=axis, keepdims=True)
    shifted = jnp.where(kept, wide - jax.lax.stop_gradient(top), 0)
    total = jnp.sum(jnp.where(kept, jnp.exp(shifted), 0), axis=axis, keepdims=True)
    log_total = jnp.log(jnp.where(total > 0, total, 1))
    return jnp.where(kept, shifted - log_total, lowest)


def _wide(x: Array) -> jnp.dtype:
    """Float32 at least."""
    return jnp.promote_types(x.dtype, jnp.float32)


def _axis(axis: Axis) -> int | tuple[int, ...] | None:
    return axis if axis is None or isinstance(axis, int) else tuple(axis)


def _select(x: Array, mask: Array) -> Array:
    """`x` where `mask` holds and 0 elsewhere, at least float32."""
    kept = jnp.broadcast_to(mask.astype(bool), x.shape)
    wide = x.astype(_wide(x))
    return jnp.where(kept, wide, jnp.zeros((), wide.dtype))
