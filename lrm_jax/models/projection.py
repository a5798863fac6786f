# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learned norms, projections and the SwiGLU of the token policies.

A projection uses a low-rank adapter where its parameters hold one (`lora.py`).
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrm_jax.models.layers import project, rms_norm, trunc_normal
from lrm_jax.types import Array

ADAPTER = ("lora_a", "lora_b", "lora_scale")
"""Leaves of an adapter beside a kernel: `[in, r]`, `[r, out]`, `[]`."""

Adapter = tuple[Array, Array, Array]
"""A, B and the scale of their product."""

EXPERTS_ADAPTER = "_lora"
"""Ends the name of the node beside stacked experts' kernels that holds theirs."""


class Norm(nn.Module):
    """RMS norm with a learned scale, the mean square in float32 at least."""

    eps: float
    axis: str | None = "embed"
    param_dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return the shape of `x`."""
        init = nn.with_logical_partitioning(nn.initializers.ones, (self.axis,))
        dtype = jnp.dtype(self.param_dtype)
        scale = jnp.asarray(self.param("scale", init, (x.shape[-1],), dtype), x.dtype)
        normed = rms_norm(x, eps=self.eps)
        return normed * scale.reshape((1,) * (x.ndim - 1) + (-1,))


class Projection(nn.Module):
    """A product with a `[in, out]` kernel, plus bias and adapter where there are.

    Attributes:
      fan_in: width of the input.
      features: width of the result.
      axes: logical axes of the kernel.
      use_bias: add a bias.
      gain: times the usual initial size, 1 / sqrt(in).
      param_dtype: of the weights.
    """

    fan_in: int
    features: int
    axes: tuple[str | None, str | None]
    use_bias: bool = False
    gain: float = 1.0
    param_dtype: str = "float32"

    def setup(self) -> None:
        """Declare the weights; adapters are used where they are, never made."""
        dtype = jnp.dtype(self.param_dtype)
        init = trunc_normal(self.gain / math.sqrt(self.fan_in))
        init = nn.with_logical_partitioning(init, self.axes)
        shape = (self.fan_in, self.features)
        self.weight = self.param("kernel", init, shape, dtype)
        if self.use_bias:
            init = nn.with_logical_partitioning(nn.initializers.zeros, self.axes[1:])
            self.offset = self.param("bias", init, (self.features,), dtype)

    def __call__(self, x: Array) -> Array:
        """Return `[..., out]` in the dtype of `x`."""
        y = project(x, jnp.asarray(self.weight, x.dtype))
        y = plus_adapter(y, x, self._adapter(x.dtype))
        if self.use_bias:
            bias = jnp.asarray(self.offset, x.dtype)
            y = y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
        return y

    def kernel(self, dtype: jnp.dtype) -> Array:
        """Return the `[in, out]` kernel with the adapter in it."""
        return with_adapter(jnp.asarray(self.weight, dtype), self._adapter(dtype))

    def _adapter(self, dtype: jnp.dtype) -> Adapter | None:
        return adapter_leaves(self.variables["params"], dtype)


def adapter_leaves(params: Mapping[str, Any], dtype: jnp.dtype) -> Adapter | None:
    """Return A, B and their scale in `dtype` where `params` hold an adapter."""
    if ADAPTER[0] not in params:
        return None
    a, b, scale = (jnp.asarray(params[name], dtype) for name in ADAPTER)
    return a, b, scale


def plus_adapter(y: Array, x: Array, adapter: Adapter | None) -> Array:
    """Return `y`, a kernel's product with `x`, plus what its adapter makes of `x`."""
    if adapter is None:
        return y
    a, b, scale = adapter
    return y + project(project(x, a) * scale, b)


def with_adapter(kernel: Array, adapter: Adapter | None) -> Array:
    """Return a kernel, `[..., in, out]`, with its adapter in it."""
    if adapter is None:
        return kernel
    a, b, scale = adapter
    return kernel + (a * scale[..., None, None]) @ b


class GatedMlp(nn.Module):
    """down(SiLU(gate(x)) * up(x)) (arXiv 2002.05202)."""

    width: int
    use_bias: bool = False
    gain: float = 1.0
    param_dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return the shape of `x`."""
        outer, inner = x.shape[-1], self.width
        rest = (self.use_bias, 1.0, self.param_dtype)
        gate = Projection(outer, inner, ("embed", "mlp"), *rest, name="gate_proj")(x)
        up = Projection(outer, inner, ("embed", "mlp"), *rest, name="up_proj")(x)
        rest = (self.use_bias, self.gain, self.param_dtype)
        down = Projection(inner, outer, ("mlp", "embed"), *rest, name="down_proj")
        return down(jax.nn.silu(gate) * up)
