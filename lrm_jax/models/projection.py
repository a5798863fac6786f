# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learned norms, projections and the SwiGLU of the token policies.

A projection uses a low-rank adapter where its parameters hold one (`lora.py`).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrm_jax.models.layers import project, rms_norm, trunc_normal
from lrm_jax.types import Array

ADAPTER = ("lora_a", "lora_b", "lora_scale")
"""Leaves of an adapter beside a kernel: `[in, r]`, `[r, out]`, `[]`."""


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
      features: width of the result.
      axes: logical axes of the kernel.
      use_bias: add a bias.
      gain: times the usual initial size, 1 / sqrt(in).
      param_dtype: of the weights.
    """

    features: int
    axes: tuple[str | None, str | None]
    use_bias: bool = False
    gain: float = 1.0
    param_dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return `[..., out]` in the dtype of `x`."""
        shape = (x.shape[-1], self.features)
        init = trunc_normal(self.gain / math.sqrt(shape[0]))
        init = nn.with_logical_partitioning(init, self.axes)
        dtype = jnp.dtype(self.param_dtype)
        kernel = self.param("kernel", init, shape, dtype)
        y = project(x, jnp.asarray(kernel, x.dtype))
        if self.has_variable("params", "lora_a"):
            a, b, scale = (self.get_variable("params", name) for name in ADAPTER)
            low = project(x, a.astype(x.dtype)) * scale.astype(x.dtype)
            y = y + project(low, b.astype(x.dtype))
        if self.use_bias:
            init = nn.with_logical_partitioning(nn.initializers.zeros, self.axes[1:])
            bias = self.param("bias", init, (self.features,), dtype)
            y = y + jnp.asarray(bias, x.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
        return y


class GatedMlp(nn.Module):
    """down(SiLU(gate(x)) * up(x)) (arXiv 2002.05202)."""

    width: int
    use_bias: bool = False
    gain: float = 1.0
    param_dtype: str = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return the shape of `x`."""

        def linear(name: str, features: int, gain: float, *axes: str) -> Projection:
            named = (axes[0], axes[1])
            return Projection(
                features, named, self.use_bias, gain, self.param_dtype, name=name
            )

        gate = linear("gate_proj", self.width, 1.0, "embed", "mlp")(x)
        up = linear("up_proj", self.width, 1.0, "embed", "mlp")(x)
        down = linear("down_proj", x.shape[-1], self.gain, "mlp", "embed")
        return down(jax.nn.silu(gate) * up)
