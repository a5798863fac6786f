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

from lrm_jax.sharding import splits_model
from lrm_jax.types import Array, Key, at_least_float32

# std of a standard normal truncated to [-2, 2]
_TRUNCATED_STD = 0.87962566103423978

RELATION_STRENGTH = 3.0
"""Initial score of a related pair in the head that prefers the relation."""

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
    """A product with a `[in, out]` kernel, computed in the dtype of its input.

    With `parts` above 1 the kernel is `[in, parts, out]`: several matrices in one
    product, each with its own columns, so that sharding `out` splits every part
    alike and an optimizer of matrices (Muon) sees them one by one. `leading`
    contracts the first axis of the input instead of the last.
    """

    features: int
    axes: tuple[str | None, str | None]
    parts: int = 1
    leading: bool = False
    bias_init: Initializer | None = None
    kernel_init: Initializer | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return `[..., parts, out]`, or `[parts, out, ...]`; parts only if above 1."""
        fan_in = x.shape[0 if self.leading else -1]
        init = self.kernel_init or trunc_normal(1 / math.sqrt(fan_in))
        shape, axes = (fan_in, self.features), self.axes
        if self.parts > 1:
            shape = (fan_in, self.parts, self.features)
            axes = (self.axes[0], None, self.axes[1])
        init = nn.with_logical_partitioning(init, axes)
        kernel = jnp.asarray(self.param("kernel", init, shape), x.dtype)
        y = project_leading(x, kernel) if self.leading else project(x, kernel)
        if self.bias_init is not None:
            init = nn.with_logical_partitioning(self.bias_init, self.axes[1:])
            bias = jnp.asarray(self.param("bias", init, (self.features,)), x.dtype)
            y = y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
        return y


def project(x: Array, kernel: Array) -> Array:
    """Return `x [..., in]` times `kernel [in, (parts,) out]`, `[..., (parts,) out]`.

    Both are flattened to matrices first: the product of more axes costs a CPU a
    transposed copy of the cotangent in the backward pass. For the same reason a
    tall kernel is transposed before the product, so that its gradient comes out
    `[out, in]`. Where `out` is split over devices its parts must stay apart.
    """
    lead, features = x.shape[:-1], kernel.shape[1:]
    rows = x.reshape(-1, x.shape[-1])
    if len(features) > 1 and splits_model():
        y = jax.lax.dot_general(rows, kernel, (((1,), (0,)), ((), ())))
        return y.reshape(*lead, *features)
    flat = kernel.reshape(kernel.shape[0], -1)
    if flat.shape[0] > flat.shape[1]:
        tall = jax.lax.optimization_barrier(flat.T)
        y = jax.lax.dot_general(rows, tall, (((1,), (1,)), ((), ())))
    else:
        y = rows @ flat
    return y.reshape(*lead, *features)


def project_leading(x: Array, kernel: Array) -> Array:
    """Return `kernel [in, (parts,) out]` times `x [in, ...]`, `[(parts,) out, ...]`."""
    columns = x.reshape(x.shape[0], -1)
    contract = (((0,), (0,)), ((), ()))
    if kernel.ndim > 2 and splits_model():
        y = jax.lax.dot_general(kernel, columns, contract)
    else:
        flat = kernel.reshape(kernel.shape[0], -1)
        y = jax.lax.dot_general(flat, columns, contract)
    return y.reshape(*kernel.shape[1:], *x.shape[1:])


class SwiGLU(nn.Module):
    """SiLU(gate) * up, then down (arXiv 2002.05202); gate is the first part.

    `bounded` replaces the product by sigmoid(gate) * rms(gate * up), which cannot
    grow with the weights (arXiv 2601.19085); Muon needs it. `leading` mixes along
    the first axis (TRM's token mixer) instead of the last.
    """

    width: int
    bounded: bool = False
    norm_eps: float = 1e-5
    leading: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return the shape of `x`."""
        axis = 0 if self.leading else -1
        outer, inner = ("seq" if self.leading else "embed"), "mlp"
        project_in = Linear(
            self.width, (outer, inner), 2, self.leading, name="gate_up_proj"
        )
        both = project_in(x)
        gate, up = (both[0], both[1]) if self.leading else unstack_parts(both)
        if self.bounded:
            product = rms_norm(gate * up, eps=self.norm_eps, axis=axis)
            hidden = jax.nn.sigmoid(gate) * product
        else:
            hidden = jax.nn.silu(gate) * up
        return Linear(
            x.shape[axis], (inner, outer), leading=self.leading, name="down_proj"
        )(hidden)


def unstack_parts(x: Array) -> list[Array]:
    """Return the parts of `[..., parts, D]`."""
    return [x[..., i, :] for i in range(x.shape[-2])]


def grid_relations(
    grid_shape: tuple[int, int, int, int], prefix_len: int
) -> np.ndarray:
    """Return which pairs of positions are related, `[R, L, L]` of 0 and 1.

    The relations are same row, same column, same box and same cell; prefix
    positions stand in none of them. All four are symmetric.

    Args:
      grid_shape: rows, columns, rows of a box, columns of a box.
      prefix_len: positions before the cells.
    """
    rows, cols, box_rows, box_cols = grid_shape
    cell = np.arange(rows * cols)
    row, col = cell // cols, cell % cols
    box = (row // box_rows) * (cols // box_cols) + col // box_cols
    same = np.stack([unit[:, None] == unit for unit in (row, col, box, cell)])
    pad = ((0, 0), (prefix_len, 0), (prefix_len, 0))
    return np.pad(same, pad).astype(np.float32)


def one_relation_a_head(strength: float) -> Initializer:
    """Return an initialiser of `[N, R]`: head n prefers relation n modulo R."""

    def init(key: Key, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        del key
        return (
            strength * jnp.eye(shape[1], dtype=dtype)[jnp.arange(shape[0]) % shape[1]]
        )

    return init


class Attention(nn.Module):
    """Bidirectional multi-head self-attention with a fused q, k, v kernel.

    With `relations` a learned scalar per head and relation is added to the scores
    of related pairs (T5's relative bias, arXiv 1910.10683 §2.1, on the relations
    of a grid instead of distances).
    """

    n_heads: int
    rope_theta: float | None
    qk_norm: bool = False
    norm_eps: float = 1e-5
    relations: tuple[tuple[int, int, int, int], int] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return `[B, L, D]`."""
        batch, length, d_model = x.shape
        qkv = Linear(d_model, ("embed", "heads"), 3, name="qkv_proj")(x)
        heads = (batch, length, self.n_heads, -1)
        q, k, v = (part.reshape(heads) for part in unstack_parts(qkv))
        if self.qk_norm:
            q, k = rms_norm(q, eps=self.norm_eps), rms_norm(k, eps=self.norm_eps)
        if self.rope_theta is not None:
            cos, sin = rope_table(length, q.shape[-1], self.rope_theta, x.dtype)
            q, k = apply_rope(q, cos, sin), apply_rope(k, cos, sin)
        bias = None
        if self.relations is not None:
            init = nn.with_logical_partitioning(
                one_relation_a_head(RELATION_STRENGTH), ("heads", None)
            )
            relations = grid_relations(*self.relations)
            shape = (self.n_heads, relations.shape[0])
            per_head = self.param("relation_bias", init, shape)
            bias = jnp.einsum("nr,rts->nts", per_head, relations)
        out = attend(q, k, v, bias).reshape(batch, length, d_model)
        return Linear(d_model, ("heads", "embed"), name="o_proj")(out)


def attend(q: Array, k: Array, v: Array, bias: Array | None = None) -> Array:
    """Return softmax(q k^T / sqrt(H) + bias) v, all `[B, L, N, H]`.

    The softmax is in float32; `bias` is `[N, L, L]`.

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
    if bias is not None:
        by_head = scores.reshape(batch, heads, length, length)
        scores = (by_head + bias[None].astype(scores.dtype)).reshape(scores.shape)
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - top)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    out = jnp.einsum("nts,nsh->nth", weights.astype(v.dtype), v) / total
    out = out.astype(v.dtype).reshape(batch, heads, length, head_dim)
    return out.transpose(0, 2, 1, 3)
