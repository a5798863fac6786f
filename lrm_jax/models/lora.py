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

from lrm_jax.models.projection import ADAPTER, EXPERTS_ADAPTER
from lrm_jax.types import Array, Key, Params, UserError

TARGETS = r"(?<!/moe/)(q|k|v|o|gate|up|down)_proj"
"""Every projection of attention and feed-forward that is not latent or an expert."""

VALUE_HEAD = "value_head"
HEADS = ("lm_head", VALUE_HEAD)


@dataclass(frozen=True)
class LoraConfig:
    """Which projections get an adapter, and its size.

    Attributes:
      rank: width in the middle, r.
      alpha: the adapter counts alpha / rank times.
      targets: regular expression that a projection's path must contain, such as
        `q_proj|v_proj` or `layers_[01]/.*/(q|v)_proj`; paths are like
        `layers_0/attn/q_proj`, with stacked layers `stage_0/attn/q_proj`. Routed
        experts (`layers_0/moe/gate_proj`, one adapter for each expert) and an untied
        head (`lm_head`) get theirs where they are named. A value head always gets
        one: it starts from nothing, and its one column makes the adapter complete.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: str = TARGETS

    @property
    def scale(self) -> float:
        """What the adapter's product is multiplied by."""
        return self.alpha / self.rank


def init_lora(cfg: LoraConfig, weights: Params, key: Key) -> Params:
    """Return fresh adapters: A uniform as in the paper's code, B zero.

    Args:
      cfg: which and how wide.
      weights: of the policy; shapes are enough.
      key: consumed.

    Returns:
      The part of the tree that is adapted, `{"lora_a": [in, r], "lora_b": [r, out]}`
      in place of each projection, after the kernel's axes of layers and experts.

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


def adapter_axes(axes: tuple[str | None, ...], side: str) -> tuple[str | None, ...]:
    """Return logical axes of an adapter's `side`, from those of the kernel's."""
    *stack, fan_in, fan_out = axes
    return (*stack, fan_in, None) if side == "lora_a" else (*stack, None, fan_out)


def attach(cfg: LoraConfig, weights: Params, adapters: Params) -> Params:
    """Return weights with the adapters beside their kernels, for the forward pass.

    Gradients with respect to `adapters` flow through it; `weights` stay as they are.
    """

    def add(name: str, part: Any, a: Array, b: Array) -> Params:
        scale = jnp.full(a.shape[:-2], cfg.scale, a.dtype)
        adapter = dict(zip(ADAPTER, (a, b, scale), strict=True))
        if isinstance(part, Mapping):
            return {name: {**part, **adapter}}
        return {name: part, name + EXPERTS_ADAPTER: adapter}

    return _combine(weights, adapters, add)


def merge(cfg: LoraConfig, weights: Params, adapters: Params) -> Params:
    """Return weights with the adapters added to their kernels: W + alpha / r A B."""

    def add(name: str, part: Any, a: Array, b: Array) -> Params:
        kernel = _kernel(part)
        wide = jnp.promote_types(kernel.dtype, jnp.float32)
        update = cfg.scale * (a.astype(wide) @ b.astype(wide))
        merged = (kernel.astype(wide) + update).astype(kernel.dtype)
        whole = {**part, "kernel": merged} if isinstance(part, Mapping) else merged
        return {name: whole}

    return _combine(weights, adapters, add)


def _combine(weights: Params, adapters: Params, add: Any, path: str = "") -> Params:
    """Return weights in which `add` has put each adapter's entries."""
    combined = dict(weights)
    for name, adapter in adapters.items():
        if name not in weights:
            raise UserError(f"adapter {path}{name!r}: the policy has no such part")
        if "lora_a" in adapter:
            a, b = adapter["lora_a"], adapter["lora_b"]
            combined |= add(name, weights[name], a, b)
        else:
            combined[name] = _combine(weights[name], adapter, add, f"{path}{name}/")
    return combined


def _matching(cfg: LoraConfig, weights: Params) -> dict[tuple[str, ...], Array]:
    if cfg.rank < 1:
        raise UserError(f"lora.rank={cfg.rank}: expected 1 or more")
    try:
        pattern = re.compile(cfg.targets)
    except re.error as error:
        raise UserError(
            f"lora.targets={cfg.targets!r}: not a regular expression: {error}"
        ) from error
    there = _adaptable(weights)
    found = {p: kernel for p, kernel in there.items() if pattern.search("/".join(p))}
    if not found:
        names = sorted({path[-1] for path in there} - {VALUE_HEAD})
        raise UserError(
            f"lora.targets={cfg.targets!r}: matches no projection; there are "
            f"{', '.join(names)}"
        )
    critic = {p: kernel for p, kernel in there.items() if p == (VALUE_HEAD,)}
    return found | critic


def _kernel(part: Any) -> Array:
    return part["kernel"] if isinstance(part, Mapping) else part


def _adaptable(
    node: Mapping[str, Any], path: tuple[str, ...] = ()
) -> dict[tuple[str, ...], Array]:
    """Kernels that can have an adapter, by path; routed experts' are stacked."""
    found: dict[tuple[str, ...], Array] = {}
    for name, part in node.items():
        if name.endswith("_proj") or name in HEADS:
            found[(*path, name)] = _kernel(part)
        elif isinstance(part, Mapping):
            found |= _adaptable(part, (*path, name))
    return found


def _node(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        tree = tree.setdefault(name, {})
    return tree
