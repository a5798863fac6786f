# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fresh parameters of a token policy, and the logical axes of every one."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrm_jax.models.attention import Context, make_context
from lrm_jax.models.layers import trunc_normal
from lrm_jax.models.mtp import MtpBlock
from lrm_jax.models.policy_config import PolicyConfig, stages
from lrm_jax.models.policy_module import PolicyBlock
from lrm_jax.types import Array, Key, Params


def init_policy(cfg: PolicyConfig, key: Key) -> Params:
    """Return fresh parameters, nested dicts of arrays; the key is consumed."""
    return nn.meta.unbox(_boxed(cfg, key))


def policy_axes(cfg: PolicyConfig) -> Params:
    """Return the tree of `init_policy` with a tuple of axis names a leaf."""
    abstract = jax.eval_shape(partial(_boxed, cfg), jax.random.key(0))
    is_boxed = lambda leaf: isinstance(leaf, nn.meta.AxisMetadata)
    axes = jax.tree.map(lambda leaf: tuple(leaf.names), abstract, is_leaf=is_boxed)
    is_names = lambda node: isinstance(node, tuple)
    stack = lambda leaf: ("layers", *leaf)
    return {
        name: jax.tree.map(stack, part, is_leaf=is_names)
        if name.startswith("stage_")
        else part
        for name, part in axes.items()
    }


def _boxed(cfg: PolicyConfig, key: Key) -> Params:
    """The parameters in Linen's boxes, which name their axes.

    Every part has a key of its own, so that a head more changes no other part.
    """
    dtype = jnp.dtype(cfg.param_dtype)
    keys = jax.random.split(key, 4 + cfg.n_layers + cfg.mtp_layers)
    outer, inner = keys[:4], keys[4:]
    spread = trunc_normal(1 / math.sqrt(cfg.d_model))

    def weight(
        i: int, init: Callable[..., Any], axes: tuple[str | None, ...], *shape: int
    ) -> Any:
        return nn.with_logical_partitioning(init, axes)(outer[i], shape, dtype)

    table = weight(0, spread, ("vocab", "embed"), cfg.rows, cfg.d_model)
    params: dict[str, Any] = {"embed_tokens": {"embedding": table}}
    if not cfg.tied_embeddings:
        head = weight(1, spread, ("embed", "vocab"), cfg.d_model, cfg.rows)
        params["lm_head"] = {"kernel": head}
    ones, zeros = nn.initializers.ones, nn.initializers.zeros
    params["final_norm"] = {"scale": weight(2, ones, ("embed",), cfg.d_model)}
    if cfg.value_head:
        kernel = weight(3, zeros, ("embed", None), cfg.d_model, 1)
        params["value_head"] = {"kernel": kernel}
    for stage in stages(cfg):
        stage_keys = inner[stage.first : stage.first + stage.n_layers]
        init = partial(_init_block, cfg, stage.moe)
        if cfg.scan_layers:
            params[stage.name] = jax.vmap(init)(stage_keys)
            continue
        for i in range(stage.n_layers):
            params[f"layers_{stage.first + i}"] = init(stage_keys[i])
    for k in range(cfg.mtp_layers):
        params[f"mtp_{k}"] = _init_mtp(cfg, k, inner[cfg.n_layers + k])
    return params


def _init_block(cfg: PolicyConfig, moe: bool, key: Key) -> Params:
    x, context = _nothing(cfg)
    return PolicyBlock(cfg, moe).init(key, x, context)["params"]


def _init_mtp(cfg: PolicyConfig, k: int, key: Key) -> Params:
    x, context = _nothing(cfg)
    moe = cfg.is_moe(cfg.n_layers + k)
    return MtpBlock(cfg, moe).init(key, x, x, context)["params"]


def _nothing(cfg: PolicyConfig) -> tuple[Array, Context]:
    """One token, to initialise with."""
    x = jnp.zeros((1, 1, cfg.d_model), cfg.dtype)
    one = jnp.ones((1, 1), bool)
    return x, make_context(cfg, jnp.zeros((1, 1), jnp.int32), one, one[None])
