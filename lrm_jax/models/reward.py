# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A reward model: a token policy whose value head says how a text goes.

The head reads the hidden state of a token, which has seen that token and those before
it; where steps end is `steps.py`'s to say. Every part is the backbone's own, so that
axes, adapters, checkpoints and imports are those of any policy.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lrm_jax.models.kv_cache import KVCache
from lrm_jax.models.policy import Policy, PolicyOutput, token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.types import Array, Key, Params, Semantics, UserError, at_least_float32


@dataclass(frozen=True)
class RewardModel:
    """Typed pure functions, as a policy's; it holds no arrays.

    Attributes:
      backbone: the policy whose `value_head` reads.
      semantics: what the scores mean.
    """

    backbone: Policy
    semantics: Semantics = "future_success"

    def __post_init__(self) -> None:
        """Refuse a policy that has nothing to read with."""
        if not self.backbone.cfg.value_head:
            raise UserError(
                "model.value_head=false: a reward model reads its scores there; "
                "expected true"
            )

    @property
    def cfg(self) -> PolicyConfig:
        """Of the backbone."""
        return self.backbone.cfg

    @property
    def axes(self) -> Params:
        """The tree of `init` with a tuple of logical axis names a leaf."""
        return self.backbone.axes

    def init(self, key: Key) -> Params:
        """Return fresh parameters; the head starts from 0, every score from 0.5."""
        return self.backbone.init(key)

    def read(self, params: Params, hidden: Array) -> Array:
        """Return logits `[...]`, float32 at least, of hidden states `[..., D]`.

        The head is linear; an imported one may have a bias, and a layer before it
        (`hidden`, as Qwen2.5-Math-PRM has: linear, ReLU, linear).
        """
        layer = params["value_head"].get("hidden")
        if layer is not None:
            wide = at_least_float32(hidden)
            kernel = layer["kernel"].astype(wide.dtype)
            bias = jnp.broadcast_to(layer["bias"].astype(wide.dtype), wide.shape)
            hidden = jax.nn.relu(wide @ kernel + bias)
        # One column: a product in float32 costs nothing, and keeps scores apart that
        # activations in bfloat16 would make equal.
        logit = self.backbone.value(params, at_least_float32(hidden))
        bias = params["value_head"].get("bias")
        return logit if bias is None else logit + bias.astype(logit.dtype)[0]

    def forward(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> Array:
        """Return logits at every token, `[B, T]`; arguments as of `Policy.forward`."""
        return self.run(params, ids, positions, mask, segment_ids)[0]

    def run(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> tuple[Array, PolicyOutput]:
        """Return `forward`'s logits and what the backbone made of the tokens."""
        output = self.backbone.forward(params, ids, positions, mask, segment_ids)
        return self.read(params, output.hidden), output

    # --- TokenModel ---

    @property
    def vocab_size(self) -> int:
        """Ids that exist."""
        return self.backbone.vocab_size

    def logits(self, params: Params, hidden: Array) -> Array:
        """Return the backbone's logits over tokens, `[..., rows]`."""
        return self.backbone.logits(params, hidden)

    def init_cache(self, batch: int, length: int) -> KVCache:
        """Return an empty cache of `length` slots for each of `batch` lanes."""
        return self.backbone.init_cache(batch, length)

    def extend(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        cache: KVCache,
        start: Array | int,
    ) -> tuple[Array, KVCache]:
        """Read tokens into the cache; see `Policy.extend`."""
        return self.backbone.extend(params, ids, positions, mask, cache, start)

    def fork(self, cache: KVCache, parents: Array) -> KVCache:
        """Return a cache whose lane i is a copy of lane `parents[i]`, `[B']`."""
        return self.backbone.fork(cache, parents)


def reward_model(cfg: PolicyConfig, semantics: Semantics) -> RewardModel:
    """Return the reward model on a policy of this config, a value head added."""
    return RewardModel(
        token_policy(dataclasses.replace(cfg, value_head=True)), semantics
    )


def with_head(params: Params, kernel: Array, bias: Any = None) -> Params:
    """Return a policy's parameters with a reward head.

    Args:
      params: of `Policy.init`, with or without a head.
      kernel: `[D]`.
      bias: `[]`, or None.
    """
    head = {"kernel": jnp.asarray(kernel)[:, None]}
    if bias is not None:
        head["bias"] = jnp.asarray(bias).reshape(1)
    return {**params, "value_head": head}
