# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights for tokens that another distribution than the trainer's has drawn.

w = trainer's probability / sampler's at a token. The two differ by numerics, by
another decoding engine, or by weights that are some updates old. All weights are
without gradient and multiply the policy loss only.
"""

import jax.numpy as jnp
from jax import lax

from lrm_jax.masked import masked_mean, masked_sum
from lrm_jax.rl.config import CorrectionConfig
from lrm_jax.types import Array

LOG_WEIGHT_MAX = 20.0
"""Bound of |log w| before exp."""


def importance_weights(
    cfg: CorrectionConfig, logps: Array, sampler_logps: Array, mask: Array
) -> Array:
    """Return `[B, C]` weights of token losses; 0 outside the mask.

    - `none`: 1.
    - `decoupled`: w, as in decoupled PPO (AReaL, arXiv 2505.24298), whose
      ratio's denominator is the trainer's own old policy.
    - `token_truncate`: min(w, high), truncated importance sampling (Yao et al. 2025,
      "Your efficient RL framework secretly brings you off-policy RL training").
    - `token_mask`: w inside low .. high, else 0: IcePop (arXiv 2510.18855).
    - `sequence_truncate`, `sequence_mask`: the same with one w a row, the product
      over its tokens or, with `sequence_norm="mean"`, its geometric mean.

    Args:
      cfg: which.
      logps: `[B, C]` of the trainer, before the update.
      sampler_logps: `[B, C]` of the distribution that drew the tokens.
      mask: `[B, C]` bool.
    """
    if cfg.kind == "none":
        return jnp.where(mask, jnp.ones_like(logps), 0)
    log_w = jnp.where(mask, lax.stop_gradient(logps - sampler_logps), 0)
    if cfg.kind in ("sequence_truncate", "sequence_mask"):
        reduce = masked_sum if cfg.sequence_norm == "sum" else masked_mean
        log_w = reduce(log_w, mask, axis=1, keepdims=True)
    w = jnp.exp(jnp.clip(log_w, -LOG_WEIGHT_MAX, LOG_WEIGHT_MAX))
    if cfg.kind in ("token_truncate", "sequence_truncate"):
        w = jnp.minimum(w, cfg.high)
    elif cfg.kind in ("token_mask", "sequence_mask"):
        inside = (w >= cfg.low) & (w <= cfg.high)
        w = jnp.where(inside, w if cfg.kept == "weight" else 1.0, 0)
    elif cfg.kind != "decoupled":
        raise ValueError(f"unknown correction.kind={cfg.kind!r}")
    return jnp.where(mask, w, 0)


def mismatch_sums(
    logps: Array, sampler_logps: Array, mask: Array
) -> dict[str, tuple[Array, Array]]:
    """Return (sum, weight) of what differs between trainer and sampler, untruncated.

    Args:
      logps: `[B, C]` of the trainer on the sampler's weights.
      sampler_logps: `[B, C]`.
      mask: `[B, C]` bool.
    """
    difference = jnp.where(mask, logps - sampler_logps, 0)
    bounded = jnp.clip(difference, -LOG_WEIGHT_MAX, LOG_WEIGHT_MAX)
    tokens = jnp.sum(mask).astype(difference.dtype)
    gap = jnp.abs(difference)
    return {
        "sampling/logp_difference_mean": (jnp.sum(gap), tokens),
        "sampling/ratio_mean": (masked_sum(jnp.exp(bounded), mask), tokens),
        "sampling/mult_prob_error": (masked_sum(jnp.exp(abs(bounded)), mask), tokens),
        "kl/sampler_k3": (masked_sum(jnp.expm1(bounded) - bounded, mask), tokens),
    }


def mismatch_extremes(
    logps: Array, sampler_logps: Array, mask: Array, fresh: Array | None = None
) -> dict[str, Array]:
    """Return the largest and smallest of what `mismatch_sums` averages.

    A name ends in `max` or `min`, and that is how parts of a batch combine; where
    the mask is empty a difference is 0 and a ratio 1.

    Args:
      logps: `[B, C]` of the trainer.
      sampler_logps: `[B, C]`.
      mask: `[B, C]` bool.
      fresh: `[B]` bool, rows that the trainer's very weights wrote: there the
        difference is one of numerics alone. None for all.
    """
    difference = jnp.where(mask, logps - sampler_logps, 0)
    fresh = jnp.ones_like(mask[:, 0]) if fresh is None else fresh
    numerics = jnp.where(fresh[:, None], difference, 0)
    ratio = jnp.exp(jnp.clip(difference, -LOG_WEIGHT_MAX, LOG_WEIGHT_MAX))
    return {
        "sampling/logp_difference_max": jnp.max(jnp.abs(difference)),
        "sampling/fresh_logp_difference_max": jnp.max(jnp.abs(numerics)),
        **masked_range("sampling/ratio_", ratio, mask),
    }


def masked_range(prefix: str, ratio: Array, mask: Array) -> dict[str, Array]:
    """Return `{prefix}min` and `{prefix}max` over the mask; 1 where it is empty."""
    some = jnp.any(mask)
    least = jnp.min(jnp.where(mask, ratio, jnp.inf))
    most = jnp.max(jnp.where(mask, ratio, -jnp.inf))
    return {
        f"{prefix}min": jnp.where(some, least, 1),
        f"{prefix}max": jnp.where(some, most, 1),
    }
