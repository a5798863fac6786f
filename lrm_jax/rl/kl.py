# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Estimates of KL(policy || reference) from sampled tokens.

With d = log reference - log policy at a token the policy drew (Schulman 2020,
"Approximating KL divergence"): k1 = -d, k2 = d^2 / 2, k3 = exp(d) - 1 - d. k1 and
k3 are unbiased as values. As losses they are different things (arXiv 2506.09477,
2510.01555): E[grad k1] = 0, E[grad k2] = grad KL(policy || reference),
E[grad k3] = grad KL(reference || policy), each of a token given what precedes it.
"""

import jax.numpy as jnp
from jax import lax

from lrm_jax.rl.config import KlConfig, KlEstimator
from lrm_jax.types import Array


def kl_k1(d: Array) -> Array:
    """Return k1 = -d; may be negative."""
    return -d


def kl_k2(d: Array) -> Array:
    """Return k2 = d^2 / 2; slightly biased as a value."""
    return 0.5 * jnp.square(d)


def kl_k3(d: Array) -> Array:
    """Return k3 = exp(d) - 1 - d >= 0, without cancellation near 0."""
    return jnp.expm1(d) - d


def kl_estimate(
    estimator: KlEstimator,
    logps: Array,
    ref_logps: Array,
    *,
    log_ratio_clamp: float = 20.0,
    value_clamp: float = 0.0,
) -> Array:
    """Return an estimate of the KL per token, elementwise.

    Args:
      estimator: `k3_straight_through` has k3's value and k2's gradient.
      logps: of the policy.
      ref_logps: of the reference; no gradient reaches them.
      log_ratio_clamp: bound of |d| before exp (k3 only): beyond it exp(d) has no
        gradient, the linear part still has.
      value_clamp: bound of |estimate|, without gradient beyond; 0 for none.
    """
    d = lax.stop_gradient(ref_logps) - logps
    bounded = jnp.clip(d, -log_ratio_clamp, log_ratio_clamp)
    k3 = jnp.expm1(bounded) - d
    if estimator == "k1":
        value = kl_k1(d)
    elif estimator == "k2":
        value = kl_k2(d)
    elif estimator == "k3":
        value = k3
    elif estimator == "k3_straight_through":
        k2 = kl_k2(d)
        value = k2 + lax.stop_gradient(k3 - k2)
    else:
        raise ValueError(f"unknown {estimator=}")
    return jnp.clip(value, -value_clamp, value_clamp) if value_clamp else value


def kl_loss(cfg: KlConfig, logps: Array, ref_logps: Array, ratio: Array) -> Array:
    """Return the KL term of the loss per token, without its coefficient.

    With `weight="ratio"` it is multiplied by policy / old policy, gradient and all
    (DeepSeek-V3.2, arXiv 2512.02556, section 3.1): with k1 or k3 the expected
    gradient over old samples is then that of KL(policy || reference).

    Args:
      cfg: which.
      logps: `[B, C]`.
      ref_logps: `[B, C]`.
      ratio: `[B, C]`, policy / old policy.
    """
    value = kl_estimate(
        cfg.estimator,
        logps,
        ref_logps,
        log_ratio_clamp=cfg.log_ratio_clamp,
        value_clamp=cfg.value_clamp,
    )
    return ratio * value if cfg.weight == "ratio" else value
