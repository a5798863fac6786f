# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One block of a token policy."""

import flax.linen as nn

from lrm_jax.models.attention import Context, GroupedAttention
from lrm_jax.models.kv_cache import LayerCache
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.models.projection import GatedMlp, Norm
from lrm_jax.types import Array


class PolicyBlock(nn.Module):
    """Attention, then feed-forward, each normed before and added after."""

    cfg: PolicyConfig
    moe: bool

    @nn.compact
    def __call__(
        self, x: Array, context: Context, cache: LayerCache | None = None
    ) -> tuple[Array, LayerCache | None]:
        """Return `[B, T, D]`, the cache with the new tokens in it."""
        cfg = self.cfg
        norm = lambda name: Norm(cfg.norm_eps, "embed", cfg.param_dtype, name=name)
        mixed, cache = GroupedAttention(cfg, name="attn")(
            norm("attn_norm")(x), context, cache
        )
        x = x + mixed
        mlp = GatedMlp(
            cfg.d_ff,
            use_bias=cfg.mlp_bias,
            gain=(2 * cfg.n_layers) ** -0.5,
            param_dtype=cfg.param_dtype,
            name="mlp",
        )
        return x + mlp(norm("mlp_norm")(x)), cache
