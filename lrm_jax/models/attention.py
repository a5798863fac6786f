# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Causal grouped-query attention (arXiv 2305.13245), with and without a cache.

Shape letters: `T` queries, `S` keys or slots, `N` query heads, `K` key heads,
`G` = N / K, `H` head width.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrm_jax.models.flash import Flash, flash_attend
from lrm_jax.models.kv_cache import LayerCache, write_slots
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.models.projection import Norm, Projection
from lrm_jax.models.rope import rope_cos_sin, rotate
from lrm_jax.sharding import constrain
from lrm_jax.types import Array, at_least_float32


class Context(NamedTuple):
    """What every layer of one call shares.

    Attributes:
      cos: `[B, T, H / 2]` of the rotary angles.
      sin: `[B, T, H / 2]`.
      seen: `[B, T, S]` bool, which keys a query attends to.
      tokens: `[B, T]` bool, which tokens are real.
      start: slot of the first token, where there is a cache.
      flash: how whole sequences attend; `causal` leaves `seen` unread.
    """

    cos: Array  # [B, T, H / 2]
    sin: Array  # [B, T, H / 2]
    seen: Array  # [B, T, S]
    tokens: Array  # [B, T]
    start: Array | int = 0
    flash: Flash = "no"


def make_context(
    cfg: PolicyConfig,
    positions: Array,
    tokens: Array,
    seen: Array,
    start: Array | int = 0,
    flash: Flash = "no",
) -> Context:
    """Return the context of a call, the rotary angles computed once for all layers."""
    width = cfg.mla.d_rope if cfg.mla else cfg.head_dim
    dtype = jnp.dtype(cfg.dtype)
    cos, sin = rope_cos_sin(cfg.rope, width, cfg.max_seq_len, positions, dtype)
    return Context(cos, sin, seen, tokens.astype(bool), start, flash)


class GroupedAttention(nn.Module):
    """Queries share keys and values in groups."""

    cfg: PolicyConfig

    @nn.compact
    def __call__(
        self, x: Array, context: Context, cache: LayerCache | None = None
    ) -> tuple[Array, LayerCache | None]:
        """Return `[B, T, D]` and the cache with the new tokens in it.

        Args:
          x: `[B, T, D]`, normed.
          context: positions and masks; S = T without a cache.
          cache: `k` and `v`, `[B, K, slots, H]`; the first S slots are read.
        """
        cfg = self.cfg
        q, k, v = self._heads(x, context)
        scale = cfg.head_dim**-0.5
        if context.flash != "no":
            seen = context.seen if context.flash == "masked" else None
            out = flash_attend(q, k, v, seen, scale)
        else:
            k, v = k.swapaxes(1, 2), v.swapaxes(1, 2)  # [B, K, T, H]
            if cache is not None:
                k = write_slots(cache["k"], k, context.start, 2)
                v = write_slots(cache["v"], v, context.start, 2)
                cache = {"k": k, "v": v}
                slots = context.seen.shape[-1]
                k, v = k[:, :, :slots], v[:, :, :slots]
            out = attend_groups(q, k, v, context.seen, scale)
        out = out.reshape(*x.shape[:2], -1)
        o_proj = Projection(
            out.shape[-1],
            cfg.d_model,
            ("heads", "embed"),
            use_bias=cfg.o_bias,
            gain=(2 * cfg.n_layers) ** -0.5,
            param_dtype=cfg.param_dtype,
            name="o_proj",
        )
        return o_proj(out), cache

    def _heads(self, x: Array, context: Context) -> tuple[Array, Array, Array]:
        cfg = self.cfg
        width = cfg.head_dim

        def heads(name: str, count: int, axis: str) -> Array:
            y = Projection(
                cfg.d_model,
                count * width,
                ("embed", axis),
                use_bias=cfg.qkv_bias,
                param_dtype=cfg.param_dtype,
                name=name,
            )(x)
            y = y.reshape(*x.shape[:2], count, width)
            return constrain(y, "batch", "seq", axis, None)

        q = heads("q_proj", cfg.n_heads, "heads")
        k = heads("k_proj", cfg.kv_heads, "kv_heads")
        v = heads("v_proj", cfg.kv_heads, "kv_heads")
        if cfg.qk_norm:
            q = Norm(cfg.norm_eps, "head_dim", cfg.param_dtype, name="q_norm")(q)
            k = Norm(cfg.norm_eps, "head_dim", cfg.param_dtype, name="k_norm")(k)
        interleaved = cfg.rope.interleaved
        q = rotate(q, context.cos, context.sin, interleaved=interleaved)
        k = rotate(k, context.cos, context.sin, interleaved=interleaved)
        return q, k, v


def attend_groups(q: Array, k: Array, v: Array, seen: Array, scale: float) -> Array:
    """Return softmax(scale q k^T) v over the keys that are seen, `[B, T, N, H]`.

    The queries of a group are rows of one matrix, so that keys and values are read
    where they lie and never repeated; the softmax is in float32 at least and its
    sum is divided out at the end. A query that sees nothing gets some finite row.

    Args:
      q: `[B, T, N, H]`.
      k: `[B, K, S, H]`.
      v: `[B, K, S, H']`.
      seen: `[B, T, S]` bool.
      scale: of the scores.
    """
    batch, length, heads, width = q.shape
    groups, slots = k.shape[1], k.shape[2]
    group = heads // groups
    rows = (q * jnp.asarray(scale, q.dtype)).reshape(
        batch, length, groups, group, width
    )
    rows = rows.transpose(0, 2, 3, 1, 4).reshape(batch, groups, -1, width)
    # One new token: sums in float32 at least, of products in the cache's dtype, which
    # costs no memory to speak of. Of many tokens the scores are what costs.
    wide = jnp.promote_types(q.dtype, jnp.float32) if length == 1 else None
    # Keys and values keep their shape: reshaped, a cache would be copied whole.
    product = jnp.einsum("bkrh,bksh->bkrs", rows, k, preferred_element_type=wide)
    scores = at_least_float32(product)
    scores = scores.reshape(batch, groups, group, length, slots)
    hidden = jnp.finfo(scores.dtype).min
    scores = jnp.where(seen[:, None, None], scores, hidden)
    top = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - top)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.reshape(batch, groups, -1, slots).astype(v.dtype)
    product = jnp.einsum("bkrs,bksh->bkrh", weights, v, preferred_element_type=wide)
    out = at_least_float32(product)
    out = out.reshape(batch, groups, group, length, -1) / total
    out = out.astype(v.dtype).transpose(0, 3, 1, 2, 4)
    return out.reshape(batch, length, heads, -1)
