# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Advantages from rewards of groups `[Q, G]`, and their normalisation over tokens.

With mu, sigma of a prompt's group. What the expected unclipped on-policy gradient
of a sum over tokens is, exactly: leave-one-out grad J; centred (G-1)/G grad J;
with binary rewards, centred over the population's sigma grad J at G = 2 and
sqrt(2) grad J at G = 3, beyond that a factor that depends on the success rate.
"""

import jax.numpy as jnp
from jax import lax

from lrm_jax.masked import masked_mean, masked_var, masked_whiten
from lrm_jax.types import Array, at_least_float32


def groups_are_equal(rewards: Array, atol: float) -> Array:
    """Return `[Q]` bool: whether a group's rewards lie within `atol`.

    Rewards are sums of floats: .1 + .2 and .3 are meant to be the same, and a
    standard deviation would blow their difference up.
    """
    return jnp.max(rewards, axis=1) - jnp.min(rewards, axis=1) <= atol


def group_centred(rewards: Array, *, equal_atol: float) -> Array:
    """Return r - mu, `[Q, G]`; exactly 0 where a group's rewards are equal.

    Dr. GRPO (arXiv 2503.20783).
    """
    rewards = at_least_float32(rewards)
    centred = rewards - jnp.mean(rewards, axis=1, keepdims=True)
    equal = groups_are_equal(rewards, equal_atol)[:, None]
    return jnp.where(equal, 0, centred)


def group_std(rewards: Array, *, ddof: int, eps: float, equal_atol: float) -> Array:
    """Return (r - mu) / (sigma + eps), `[Q, G]`; 0 where the rewards are equal.

    GRPO (arXiv 2402.03300 section 4.1.2). `ddof=0` is the population's sigma, the
    paper's; `ddof=1` (the default of torch.std) multiplies by sqrt((G-1)/G).
    """
    centred = group_centred(rewards, equal_atol=equal_atol)
    group_size = rewards.shape[1]
    count = max(1, group_size - ddof)
    var = jnp.sum(jnp.square(centred), axis=1, keepdims=True) / count
    equal = groups_are_equal(rewards, equal_atol)[:, None]
    sigma = jnp.sqrt(jnp.where(equal, 1, var))
    return jnp.where(equal, 0, centred / (sigma + eps))


def leave_one_out(rewards: Array, *, equal_atol: float) -> Array:
    """Return r_i - mean of the others, `[Q, G]`; 0 in a group of one.

    RLOO (arXiv 2402.14740): G / (G - 1) times the centred reward.
    """
    group_size = rewards.shape[1]
    centred = group_centred(rewards, equal_atol=equal_atol)
    return centred * (group_size / max(1, group_size - 1))


def batch_std(
    rewards: Array,
    *,
    ddof: int,
    eps: float,
    equal_atol: float,
    groups: Array | None = None,
) -> Array:
    """Return (r - mu) / (sigma of all centred rewards + eps), `[Q, G]`.

    Lite PPO (arXiv 2508.08221) takes sigma over the batch's rewards, Magistral
    (arXiv 2506.10910 section 2.1) over the advantages of a minibatch; here it is
    over the centred rewards of the whole batch. 0 where all groups are equal.

    Args:
      rewards: `[Q, G]`.
      ddof: of the variance.
      eps: added to sigma.
      equal_atol: of equal rewards.
      groups: `[Q]` bool, the groups that sigma is taken over; None for all.
    """
    centred = group_centred(rewards, equal_atol=equal_atol)
    groups = jnp.ones(centred.shape[0], bool) if groups is None else groups
    var = masked_var(centred, groups[:, None], ddof=ddof)
    return jnp.where(var > 0, centred / (jnp.sqrt(var) + eps), 0)


def to_tokens(row_values: Array, mask: Array) -> Array:
    """Return `[B, C]`: a value a completion (any shape of B) at each of its tokens."""
    return jnp.where(mask, row_values.reshape(-1, 1), 0)


def rewards_to_go(row_rewards: Array, token_rewards: Array, mask: Array) -> Array:
    """Return sum_{j >= t} token_rewards_j + the row's reward, `[B, C]`; 0 unmasked.

    REINFORCE++ (arXiv 2501.03262) with token_rewards = -beta k1.
    """
    kept = jnp.where(mask, token_rewards, 0)
    onward = lax.cumsum(kept, axis=1, reverse=True)
    return jnp.where(mask, onward + row_rewards.reshape(-1, 1), 0)


def normalise_tokens(advantages: Array, mask: Array, *, ddof: int, eps: float) -> Array:
    """Return (A - mean) / (sigma + eps) over all tokens of the batch, `[B, C]`.

    REINFORCE++'s global normalisation (arXiv 2501.03262). All 0 where the
    tokens' advantages are equal.
    """
    # By extremes: a variance of equal numbers is the noise of their mean.
    most = jnp.max(jnp.where(mask, advantages, -jnp.inf))
    least = jnp.min(jnp.where(mask, advantages, jnp.inf))
    noise = 8 * jnp.finfo(advantages.dtype).eps * jnp.maximum(abs(most), abs(least))
    differ = most - least > noise  # false where the mask is empty: -inf > inf
    mean = masked_mean(advantages, mask)
    sigma = jnp.sqrt(masked_var(advantages, mask, ddof=ddof))
    scaled = (advantages - mean) / (jnp.where(differ, sigma, 1) + eps)
    return jnp.where(mask & differ, scaled, 0)


def whiten_tokens(advantages: Array, mask: Array) -> Array:
    """Return `[B, C]` brought to mean 0 and variance 1 over the batch's tokens."""
    return masked_whiten(advantages, mask)
