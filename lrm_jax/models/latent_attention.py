# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434 §2.1; V3 the same).

Keys and values are low-rank: only their compressed form and one rotary key for all
heads are cached. One new token is decoded with the up-projections absorbed into
query and output, so that the cache is never expanded.
"""

import flax.linen as nn
import jax.numpy as jnp

from lrm_jax.models.attention import Context, attend_groups
from lrm_jax.models.flash import flash_attend
from lrm_jax.models.kv_cache import LayerCache, write_slots
from lrm_jax.models.policy_config import MlaConfig, PolicyConfig
from lrm_jax.models.projection import Norm, Projection
from lrm_jax.models.rope import rotate, softmax_scale
from lrm_jax.sharding import constrain
from lrm_jax.types import Array

LATENT_NORM_EPS = 1e-6
"""Of the norms of the compressed query and key, whatever the model's own is."""


class LatentAttention(nn.Module):
    """Attention over compressed keys and values."""

    cfg: PolicyConfig
    mla: MlaConfig

    @nn.compact
    def __call__(
        self, x: Array, context: Context, cache: LayerCache | None = None
    ) -> tuple[Array, LayerCache | None]:
        """Return `[B, T, D]` and the cache with the new tokens in it.

        Args:
          x: `[B, T, D]`, normed.
          context: positions and masks; S = T without a cache.
          cache: `latent` `[B, 1, slots, R + d_rope]`; the first S slots are read.
        """
        cfg, mla = self.cfg, self.mla
        query = self._query(x, context)
        latent = self._latent(x, context)[:, None]  # [B, 1, T, R + d_rope]
        if cache is not None:
            latent = write_slots(cache["latent"], latent, context.start, 2)
            cache = {"latent": latent}
            latent = latent[:, :, : context.seen.shape[-1]]
        kv_b = Projection(
            mla.kv_rank,
            cfg.n_heads * (mla.d_nope + mla.d_value),
            (None, "heads"),
            param_dtype=cfg.param_dtype,
            name="kv_b_proj",
        )
        scale = softmax_scale(cfg.rope, mla.d_nope + mla.d_rope)
        if cache is not None and x.shape[1] == 1:
            out = self._absorbed(query, latent, kv_b, context, scale)
        else:
            out = self._expanded(query, latent, kv_b, context, scale)
        o_proj = Projection(
            cfg.n_heads * mla.d_value,
            cfg.d_model,
            ("heads", "embed"),
            use_bias=cfg.o_bias,
            gain=(2 * cfg.n_layers) ** -0.5,
            param_dtype=cfg.param_dtype,
            name="o_proj",
        )
        return o_proj(out.reshape(*x.shape[:2], -1)), cache

    def _query(self, x: Array, context: Context) -> Array:
        """Return `[B, T, N, d_nope + d_rope]`."""
        cfg, mla = self.cfg, self.mla
        features = cfg.n_heads * (mla.d_nope + mla.d_rope)
        dtype = cfg.param_dtype
        if mla.q_rank:
            down = Projection(
                cfg.d_model,
                mla.q_rank,
                ("embed", None),
                use_bias=cfg.qkv_bias,
                param_dtype=dtype,
                name="q_a_proj",
            )
            x = Norm(LATENT_NORM_EPS, None, dtype, name="q_a_norm")(down(x))
            up = Projection(
                mla.q_rank,
                features,
                (None, "heads"),
                param_dtype=dtype,
                name="q_b_proj",
            )
        else:
            up = Projection(
                cfg.d_model,
                features,
                ("embed", "heads"),
                param_dtype=dtype,
                name="q_proj",
            )
        q = up(x).reshape(*x.shape[:2], cfg.n_heads, -1)
        q = constrain(q, "batch", "seq", "heads", None)
        plain, turned = jnp.split(q, [mla.d_nope], axis=-1)
        turned = rotate(
            turned, context.cos, context.sin, interleaved=cfg.rope.interleaved
        )
        return jnp.concatenate([plain, turned], axis=-1)

    def _latent(self, x: Array, context: Context) -> Array:
        """Return what is cached, `[B, T, R + d_rope]`."""
        cfg, mla = self.cfg, self.mla
        down = Projection(
            cfg.d_model,
            mla.kv_rank + mla.d_rope,
            ("embed", None),
            use_bias=cfg.qkv_bias,
            param_dtype=cfg.param_dtype,
            name="kv_a_proj",
        )
        latent, key = jnp.split(down(x), [mla.kv_rank], axis=-1)
        latent = Norm(LATENT_NORM_EPS, None, cfg.param_dtype, name="kv_a_norm")(latent)
        key = rotate(
            key[:, :, None],
            context.cos,
            context.sin,
            interleaved=cfg.rope.interleaved,
        )
        return jnp.concatenate([latent, key[:, :, 0]], axis=-1)

    def _expanded(
        self,
        query: Array,
        latent: Array,
        kv_b: Projection,
        context: Context,
        scale: float,
    ) -> Array:
        """Attend with every head's own keys and values, `[B, T, N, d_value]`."""
        cfg, mla = self.cfg, self.mla
        compressed, key = jnp.split(latent[:, 0], [mla.kv_rank], axis=-1)
        kv = kv_b(compressed)  # [B, S, N (d_nope + d_value)]
        kv = kv.reshape(*kv.shape[:2], cfg.n_heads, -1)
        if context.flash != "no":
            plain, value = jnp.split(kv, [mla.d_nope], axis=-1)
            shared = jnp.broadcast_to(key[:, :, None], (*plain.shape[:3], mla.d_rope))
            keys = jnp.concatenate([plain, shared], axis=-1)  # [B, S, N, H]
            seen = context.seen if context.flash == "masked" else None
            return flash_attend(query, keys, value, seen, scale)
        plain, value = jnp.split(kv.swapaxes(1, 2), [mla.d_nope], axis=-1)
        shared = jnp.broadcast_to(key[:, None], (*plain.shape[:3], mla.d_rope))
        keys = jnp.concatenate([plain, shared], axis=-1)
        return attend_groups(query, keys, value, context.seen, scale)

    def _absorbed(
        self,
        query: Array,
        latent: Array,
        kv_b: Projection,
        context: Context,
        scale: float,
    ) -> Array:
        """Attend to the compressed keys as they lie, `[B, T, N, d_value]`.

        q_n . (W_n c) = (W_n^T q_n) . c, and the same for the values.
        """
        cfg, mla = self.cfg, self.mla
        kernel = kv_b.kernel(query.dtype).reshape(mla.kv_rank, cfg.n_heads, -1)
        to_key, to_value = jnp.split(kernel, [mla.d_nope], axis=-1)
        plain, turned = jnp.split(query, [mla.d_nope], axis=-1)
        absorbed = jnp.einsum("btnh,rnh->btnr", plain, to_key)
        query = jnp.concatenate([absorbed, turned], axis=-1)
        # The rotary key rides along as if it were a value and is dropped after:
        # cutting it off the cache would copy the cache.
        mixed = attend_groups(query, latent, latent, context.seen, scale)
        return jnp.einsum("btnr,rnh->btnh", mixed[..., : mla.kv_rank], to_value)
