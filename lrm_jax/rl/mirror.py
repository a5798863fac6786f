# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Policy mirror descent of Kimi k1.5 (arXiv 2501.12599 section 2.3.2).

Iteration i solves max E[r] - tau KL(pi || pi_i); its optimum is pi_i exp(r / tau) / Z.
`policy_losses.kimi_loss` is what training uses: the reward less its group's mean,
whose fixed point is the optimum only up to the error of that mean as tau log Z.
"""

import jax
import jax.numpy as jnp

from lrm_jax.masked import masked_sum
from lrm_jax.types import Array


def log_partition(old_logps: Array, rewards: Array, tau: float) -> Array:
    """Return log Z = log sum_y pi_i(y) exp(r(y) / tau) over all completions y.

    Args:
      old_logps: `[Y]`, log pi_i of every completion there is.
      rewards: `[Y]`.
      tau: temperature.
    """
    return jax.nn.logsumexp(old_logps + rewards / tau)


def sampled_log_partition(rewards: Array, tau: float) -> Array:
    """Return log (1/G) sum_j exp(r_j / tau), `[Q, 1]`, from samples `[Q, G]` of pi_i.

    Consistent for log Z; the paper's mean of rewards over tau is its limit for
    large tau and a lower bound of it (Jensen).
    """
    group = jax.nn.logsumexp(rewards / tau, axis=1, keepdims=True)
    return group - jnp.log(rewards.shape[1])


def mirror_optimum(old_logps: Array, rewards: Array, tau: float) -> Array:
    """Return log pi* = log pi_i + r / tau - log Z, `[Y]`."""
    return old_logps + rewards / tau - log_partition(old_logps, rewards, tau)


def mirror_loss(
    logps: Array,
    old_logps: Array,
    rewards: Array,
    log_partition: Array,
    mask: Array,
    *,
    tau: float,
) -> Array:
    """Return (r - tau log Z - tau log pi / pi_i)^2 a row, `[B]`.

    Its gradient over 2 tau is that of `kimi_loss`, with r - tau log Z for A.

    Args:
      logps: `[B, C]`.
      old_logps: `[B, C]` of pi_i.
      rewards: `[B]`.
      log_partition: `[B]` or scalar.
      mask: `[B, C]` bool.
      tau: temperature.
    """
    distance = masked_sum(logps - jax.lax.stop_gradient(old_logps), mask, axis=1)
    return jnp.square(rewards - tau * log_partition - tau * distance)
