# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Multi-token prediction (DeepSeek-V3, arXiv 2412.19437 §2.2).

Block k reads what the last one made of token i and the embedding of token i + k, and
predicts token i + k + 1; embedding and head are the policy's own. For training and
for drafts; a policy decodes without.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from lrm_jax.models.attention import Context
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.models.policy_module import PolicyBlock
from lrm_jax.models.projection import Norm, Projection
from lrm_jax.types import Array


class Ahead(NamedTuple):
    """What one block predicts.

    Attributes:
      hidden: `[B, T, D]`, for the policy's head.
      targets: `[B, T]` int32, the token that is k + 1 after each.
      mask: `[B, T]` bool, where there is one, in the same segment.
    """

    hidden: Array  # [B, T, D]
    targets: Array  # [B, T]
    mask: Array  # [B, T]


class MtpBlock(nn.Module):
    """Join the hidden state with a later token's embedding, then one block (eq. 21)."""

    cfg: PolicyConfig
    moe: bool

    @nn.compact
    def __call__(self, hidden: Array, embedded: Array, context: Context) -> Array:
        """Return `[B, T, D]`, normed: for the head and for the next block."""
        cfg = self.cfg
        norm = lambda name: Norm(cfg.norm_eps, "embed", cfg.param_dtype, name=name)
        # The paper writes the hidden state first; the published weights want it last.
        both = [norm("embed_norm")(embedded), norm("hidden_norm")(hidden)]
        join = Projection(
            2 * cfg.d_model,
            cfg.d_model,
            ("embed", None),
            param_dtype=cfg.param_dtype,
            name="join_proj",
        )
        x = join(jnp.concatenate(both, axis=-1))
        x, _, _ = PolicyBlock(cfg, self.moe, name="block")(x, context)
        return norm("final_norm")(x)


def ahead(x: Array, steps: int) -> Array:
    """Return `x [B, T]` moved `steps` to the left, zeros (or false) at the end."""
    return jnp.pad(x[:, steps:], ((0, 0), (0, min(steps, x.shape[1]))))


def has_ahead(mask: Array, steps: int, segment_ids: Array | None = None) -> Array:
    """Return where a token and the one `steps` after it are real and together."""
    both = mask & ahead(mask, steps)
    if segment_ids is not None:
        both &= segment_ids == ahead(segment_ids, steps)
    return both
