# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers of the latent core: norms, RoPE, attention, SwiGLU, token mixer.

After HRM (arXiv 2506.21734) and TRM (arXiv 2510.04871): no biases, RMS norms
without a learned scale, variance-corrected truncated-normal initialisation.
Every weight names its logical axes.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.types import Array, Key, at_least_float32

# std of a standard normal truncated to [-2, 2]
_TRUNCATED_STD = 0.87962566103423978

Initializer = Callable[..., Array]


def trunc_normal(std: float) -> Initializer:
    """Return an initialiser: normal cut at 2 sigma, corrected to have `std`."""

    def init(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        draws = jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32)
        return (draws * (std / _TRUNCATED_STD)).astype(dtype)

    return init


def rms_norm(x: Array, *, eps: float, axis: int = -1) -> Array:
    """Divide by the root mean square over `axis`, in float32 at least."""
    wide = at_least_float32(x)
    mean_square = jnp.mean(jnp.square(wide), axis=axis, keepdims=True)
    return (wide * jax.lax.rsqrt(mean_square + eps)).astype(x.dtype)


def rope_table(
    length: int, head_dim: int, theta: float, dtype: jnp.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Return cos and sin of the rotary embedding, `[length, head_dim]` each.

    Half-split layout (RoFormer, arXiv 2104.09864, in the form of GPT-NeoX): the
    angle of pair i is `position / theta**(2 i / head_dim)`, written twice side by
    side. Computed in float64 on the host and rounded once.
    """
    exponent = np.arange(0, head_dim, 2, dtype=np.float64) / head_dim
    angles = np.outer(np.arange(length, dtype=np.float64), theta**-exponent)
    angles = np.concatenate([angles, angles], axis=-1)
    wide = np.dtype(jnp.promote_types(dtype, jnp.float32))
    return np.cos(angles).astype(wide), np.sin(angles).astype(wide)


def apply_rope(x: Array, cos: np.ndarray, sin: np.ndarray) -> Array:
    """Rotate pairs of features by position.

    Args:
      x: `[B, L, N, H]`.
      cos: `[L, H]`, as `rope_table` makes it.
      sin: `[L, H]`.
    """
    wide = at_least_float32(x)
    first, second = jnp.split(wide, 2, axis=-1)
    rotated = jnp.concatenate([-second, first], axis=-1)
    out = wide * cos[None, :, None, :] + rotated * sin[None, :, None, :]
    return out.astype(x.dtype)


def swiglu_width(d_model: int, expansion: float, multiple: int = 256) -> int:
    """Return the inner width: 2/3 of `expansion * d_model`, rounded up."""
    return -(-round(expansion * d_model * 2 / 3) // multiple) * multiple


class Linear(nn.Module):
    """A product with a `[in, out]` kernel, computed in the dtype of its input."""

    features: int
    axes: tuple[str | None, str | None]
    bias_init: Initializer | None = None
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return `[..., features]`."""
        kernel_init = self.kernel_init or trunc_normal(1 / math.sqrt(x.shape[-1]))
        kernel = self.param(
            "kernel",
            nn.with_logical_partitioning(kernel_init, self.axes),
            (x.shape[-1], self.features),
        )
        y = x @ kernel.astype(x.dtype)
        if self.bias_init is not None:
            bias_init = nn.with_logical_partitioning(self.bias_init, self.axes[1:])
            bias = self.param("bias", bias_init, (self.features,))
            y = y + bias.astype(x.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
        return y


class SwiGLU(nn.Module):
    """SiLU(gate) * up, then down (arXiv 2002.05202); gate is the first half.

    `bounded` replaces the product by sigmoid(gate) * rms(gate * up), which cannot
    grow with the weights (arXiv 2601.19085); Muon needs it.
    """

    width: int
    bounded: bool = False
    norm_eps: float = 1e-5
    axes: tuple[str | None, str | None] = ("embed", "mlp")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return `[..., D]`, the shape of `x`."""
        outer, inner = self.axes
        both = Linear(2 * self.width, (outer, inner), name="gate_up_proj")(x)
        gate, up = jnp.split(both, 2, axis=-1)
        if self.bounded:
            hidden = jax.nn.sigmoid(gate) * rms_norm(gate * up, eps=self.norm_eps)
        else:
            hidden = jax.nn.silu(gate) * up
        return Linear(x.shape[-1], (inner, outer), name="down_proj")(hidden)


class Attention(nn.Module):
    """Bidirectional multi-head self-attention with a fused q, k, v kernel."""

    n_heads: int
    rope_theta: float | None
    qk_norm: bool = False
    norm_eps: float = 1e-5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return `[B, L, D]`."""
        batch, length, d_model = x.shape
        qkv = Linear(3 * d_model, ("embed", "heads"), name="qkv_proj")(x)
        qkv = qkv.reshape(batch, length, 3 * self.n_heads, -1)
        q, k, v = jnp.split(qkv, 3, axis=2)  # [B, L, N, H] each
        if self.qk_norm:
            q, k = rms_norm(q, eps=self.norm_eps), rms_norm(k, eps=self.norm_eps)
        if self.rope_theta is not None:
            cos, sin = rope_table(length, q.shape[-1], self.rope_theta, x.dtype)
            q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
        out = attend(q, k, v).reshape(batch, length, d_model)
        return Linear(d_model, ("heads", "embed"), name="o_proj")(out)


def attend(q: Array, k: Array, v: Array) -> Array:
    """Return softmax(q k^T / sqrt(H)) v, all `[B, L, N, H]`; softmax in float32.

    Heads are folded into the batch by hand and the weights are normalised after
    the second product (`[L, H]` divisions, not `[L, L]`): on a CPU this is several
    times faster than the einsum over `[B, L, N, H]`.
    """
    batch, length, heads, head_dim = q.shape

    def fold(x: Array) -> Array:
        return x.transpose(0, 2, 1, 3).reshape(batch * heads, length, head_dim)

    scale = 1 / math.sqrt(head_dim)
    q, k, v = fold(q * scale), fold(k), fold(v)
    scores = at_least_float32(jnp.einsum("nth,nsh->nts", q, k))
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - top)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    out = jnp.einsum("nts,nsh->nth", weights.astype(v.dtype), v) / total
    out = out.astype(v.dtype).reshape(batch, heads, length, head_dim)
    return out.transpose(0, 2, 1, 3)
