# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One block of a token policy."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from lrm_jax.models.attention import Context, GroupedAttention
from lrm_jax.models.kv_cache import LayerCache
from lrm_jax.models.latent_attention import LatentAttention
from lrm_jax.models.moe import MoeMlp, Routing
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
    ) -> tuple[Array, LayerCache | None, Routing | None]:
        """Return `[B, T, D]`, the cache with the new tokens in it, and the routing."""
        cfg = self.cfg
        norm = lambda name: Norm(cfg.norm_eps, "embed", cfg.param_dtype, name=name)
        if cfg.mla is not None:
            attention = LatentAttention(cfg, cfg.mla, name="attn")
        else:
            attention = GroupedAttention(cfg, name="attn")
        mixed, cache = attention(norm("attn_norm")(x), context, cache)
        x = x + mixed
        gain = (2 * cfg.n_layers) ** -0.5
        normed = norm("mlp_norm")(x)
        if self.moe:
            assert cfg.moe is not None
            experts = MoeMlp(cfg.moe, gain, cfg.param_dtype, name="moe")
            y, routing = experts(normed, context.tokens)
            return x + y, cache, routing
        mlp = GatedMlp(cfg.d_ff, cfg.mlp_bias, gain, cfg.param_dtype, name="mlp")
        return x + mlp(normed), cache, None


def rematerialised(run: Callable[..., Any], cfg: PolicyConfig) -> Callable[..., Any]:
    """Return a layer that keeps for the backward pass what `cfg.remat` says."""
    if cfg.remat == "none":
        return run
    keep = None
    if cfg.remat == "dots":
        keep = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    return jax.checkpoint(run, policy=keep, prevent_cse=not cfg.scan_layers)
