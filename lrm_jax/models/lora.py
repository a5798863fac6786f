# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters on projections (LoRA, arXiv 2106.09685 §4.1).

y = x W + (alpha / r) x A B. Adapters are a tree of their own, so that they alone can
be trained and saved; `attach` puts them beside the kernels for the forward pass and
`merge` into them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lrm_jax.types import Array, Key, Params, UserError

TARGETS = r"(q|k|v|o|gate|up|down)_proj"
"""Every projection of attention and feed-forward that is not latent or an expert."""


@dataclass(frozen=True)
class LoraConfig:
    """Which projections get an adapter, and its size.

    Attributes:
      rank: width in the middle, r.
      alpha: the adapter counts alpha / rank times.
      targets: regular expression that a projection's path must contain, such as
        `q_proj|v_proj` or `layers_[01]/.*/(q|v)_proj`; paths are like
        `layers_0/attn/q_proj`, with stacked layers `stage_0/attn/q_proj`.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: str = TARGETS

    @property
    def scale(self) -> float:
        """What the adapter's product is multiplied by."""
        return self.alpha / self.rank


def projection_paths(weights: Params) -> list[str]:
    """Return the paths of every projection that can have an adapter."""
    return sorted("/".join(path) for path in _projections(weights))


def init_lora(cfg: LoraConfig, weights: Params, key: Key) -> Params:
    """Return fresh adapters: A uniform as in the paper's code, B zero.

    Args:
      cfg: which and how wide.
      weights: of the policy; shapes are enough.
      key: consumed.

    Returns:
      The part of the tree that is adapted, `{"lora_a": [in, r], "lora_b": [r, out]}`
      in place of each projection, with the layer axis where layers are stacked.

    Raises:
      UserError: nothing matches the targets, or they are no regular expression.
    """
    chosen = _matching(cfg, weights)
    adapters: dict[str, Any] = {}
    keys = jax.random.split(key, len(chosen))
    for (path, kernel), path_key in zip(chosen.items(), keys, strict=True):
        *stack, fan_in, fan_out = kernel.shape
        # PEFT and the paper's code: kaiming uniform with slope sqrt(5).
        bound = 1 / math.sqrt(fan_in)
        shape = (*stack, fan_in, cfg.rank)
        a = jax.random.uniform(path_key, shape, kernel.dtype, -bound, bound)
        b = jnp.zeros((*stack, cfg.rank, fan_out), kernel.dtype)
        _node(adapters, path).update(lora_a=a, lora_b=b)
    return adapters


def check_lora(cfg: LoraConfig, weights: Params) -> None:
    """Refuse adapters that `init_lora` would refuse.

    Args:
      cfg: which and how wide.
      weights: of the policy; shapes are enough.

    Raises:
      UserError: see `init_lora`.
    """
    _matching(cfg, weights)


def lora_axes(axes: Params, adapters: Params) -> Params:
    """Return logical axes of adapters, from those of the weights they adapt."""

    def one(axes: Params, node: Params) -> Params:
        if "lora_a" not in node:
            return {name: one(axes[name], node[name]) for name in node}
        *stack, fan_in, fan_out = axes["kernel"]
        return {"lora_a": (*stack, fan_in, None), "lora_b": (*stack, None, fan_out)}

    return one(axes, adapters)


def attach(cfg: LoraConfig, weights: Params, adapters: Params) -> Params:
    """Return weights with the adapters beside their kernels, for the forward pass.

    Gradients with respect to `adapters` flow through it; `weights` stay as they are.
    """

    def add(weights: Params, a: Array, b: Array) -> Params:
        scale = jnp.full(a.shape[:-2], cfg.scale, a.dtype)
        return {**weights, "lora_a": a, "lora_b": b, "lora_scale": scale}

    return _combine(weights, adapters, add)


def merge(cfg: LoraConfig, weights: Params, adapters: Params) -> Params:
    """Return weights with the adapters added to their kernels: W + alpha / r A B."""

    def add(weights: Params, a: Array, b: Array) -> Params:
        wide = jnp.promote_types(weights["kernel"].dtype, jnp.float32)
        update = cfg.scale * (a.astype(wide) @ b.astype(wide))
        kernel = weights["kernel"].astype(wide) + update
        return {**weights, "kernel": kernel.astype(weights["kernel"].dtype)}

    return _combine(weights, adapters, add)


def _combine(weights: Params, adapters: Params, add: Any, path: str = "") -> Params:
    if "lora_a" in adapters:
        return add(weights, adapters["lora_a"], adapters["lora_b"])
    unknown = sorted(set(adapters) - set(weights))
    if unknown:
        raise UserError(f"adapter {path}{unknown[0]!r}: the policy has no such part")
    return {
        name: _combine(part, adapters[name], add, f"{path}{name}/")
        if name in adapters
        else part
        for name, part in weights.items()
    }


def _matching(cfg: LoraConfig, weights: Params) -> dict[tuple[str, ...], Array]:
    if cfg.rank < 1:
        raise UserError(f"lora.rank={cfg.rank}: expected 1 or more")
    try:
        pattern = re.compile(cfg.targets)
    except re.error as error:
        raise UserError(
            f"lora.targets={cfg.targets!r}: not a regular expression: {error}"
        ) from error
    there = _projections(weights)
    found = {p: kernel for p, kernel in there.items() if pattern.search("/".join(p))}
    if not found:
        names = sorted({path[-1] for path in there})
        raise UserError(
            f"lora.targets={cfg.targets!r}: matches no projection; there are "
            f"{', '.join(names)}"
        )
    return found


def _projections(
    node: Mapping[str, Any], path: tuple[str, ...] = ()
) -> dict[tuple[str, ...], Array]:
    """Kernels of projections inside blocks, by path; heads and experts are none."""
    found: dict[tuple[str, ...], Array] = {}
    for name, part in node.items():
        if not isinstance(part, Mapping):
            continue
        if name.endswith("_proj") and "kernel" in part:
            found[(*path, name)] = part["kernel"]
        else:
            found |= _projections(part, (*path, name))
    return found


def _node(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        tree = tree.setdefault(name, {})
    return tree
