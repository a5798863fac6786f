# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Policy losses per token, before aggregation; each is minimised.

With ratio rho = policy / old policy at a token and A its advantage. All arrays are
`[B, C]` and finite: `objective.py` puts zeros where the mask is false. A loss of
whole completions stands at each of its tokens, so that the mean over a row's
tokens gives it back.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from lrm_jax.masked import masked_mean, masked_sum
from lrm_jax.rl.config import PolicyLossConfig
from lrm_jax.types import Array


class TokenLosses(NamedTuple):
    """Losses and where the clip acted, all `[B, C]`.

    Attributes:
      losses: to be aggregated.
      ratio: what was clipped (without gradient).
      clipped_low: bool, ratio below its bound with A < 0.
      clipped_high: bool, ratio above its bound with A > 0.
    """

    losses: Array  # [B, C]
    ratio: Array  # [B, C]
    clipped_low: Array  # [B, C] bool
    clipped_high: Array  # [B, C] bool


def reinforce_loss(logps: Array, advantages: Array) -> Array:
    """Return -A log pi (Williams 1992); its gradient is -A grad log pi.

    With raw 0/1 rewards for A this is RAFT (arXiv 2304.06767); on stored samples
    of an older policy it is EM policy gradient's M-step (arXiv 2504.18587).
    """
    return -advantages * logps


def clipped_loss(
    ratio: Array,
    advantages: Array,
    *,
    eps_low: float,
    eps_high: float,
    negative_cap: float = 0.0,
) -> Array:
    """Return -min(rho A, clip(rho, 1 - eps_low, 1 + eps_high) A).

    PPO (arXiv 1707.06347 eq. 7); with eps_high > eps_low DAPO's clip-higher (arXiv
    2503.14476 eq. 8); on ratios of sequences GSPO (arXiv 2507.18071 eq. 5). A
    `negative_cap` c > 1 + eps_high bounds it at -c A where A < 0: dual clip (arXiv
    1912.09729, c = 3), which is INTELLECT-2's two-sided clip (arXiv
    2505.07291, delta = 4) as min(rho, delta) A only differs where A < 0.
    """
    clipped = jnp.clip(ratio, 1 - eps_low, 1 + eps_high)
    objective = jnp.minimum(ratio * advantages, clipped * advantages)
    if negative_cap:
        bounded = jnp.maximum(objective, negative_cap * advantages)
        objective = jnp.where(advantages < 0, bounded, objective)
    return -objective


def cispo_loss(
    logps: Array, ratio: Array, advantages: Array, *, eps_low: float, eps_high: float
) -> Array:
    """Return -sg[clip(rho)] A log pi: every token keeps a gradient.

    CISPO (arXiv 2506.13585 eq. 4); eps_low = 1 for no lower bound, as published.
    """
    weight = lax.stop_gradient(jnp.clip(ratio, 1 - eps_low, 1 + eps_high))
    return -weight * advantages * logps


def sequence_log_ratio(log_ratio: Array, mask: Array) -> Array:
    """Return the mean log rho of each row at each of its tokens.

    GSPO (arXiv 2507.18071 eq. 7): s = (pi(y) / pi_old(y))^(1/|y|).
    """
    mean = masked_mean(log_ratio, mask, axis=1, keepdims=True)
    return jnp.where(mask, mean, 0)


def gspo_token_log_ratio(log_ratio: Array, mask: Array) -> Array:
    """Return GSPO-token's log ratio: the sequence's value, the token's gradient.

    arXiv 2507.18071 eq. 14: s_t = sg[s] pi_t / sg[pi_t]. Where A is the same for
    all tokens of a row, value and gradient of the loss are GSPO's.
    """
    value = lax.stop_gradient(sequence_log_ratio(log_ratio, mask) - log_ratio)
    return log_ratio + value


def gmpo_loss(
    log_ratio: Array,
    advantages: Array,
    mask: Array,
    *,
    eps_low: float,
    eps_high: float,
) -> Array:
    """Return -A prod_t min-clip(rho_t)^(1/|o|), the geometric mean of ratios.

    GMPO (arXiv 2507.20673), per token bounds exp(-eps_low), exp(eps_high);
    the paper's 0.4 for both. A is that of the row (mean over its tokens).
    """
    sign = jnp.sign(advantages)
    bounded = jnp.clip(log_ratio, -eps_low, eps_high)
    pessimistic = sign * jnp.minimum(sign * log_ratio, sign * bounded)
    ratio = jnp.exp(sequence_log_ratio(pessimistic, mask))
    return -ratio * advantages


def kimi_loss(
    logps: Array, log_ratio: Array, advantages: Array, mask: Array, *, tau: float
) -> Array:
    """Return -A log pi + (tau / 2) D^2 / |o|, D the row's sum of log rho.

    Kimi k1.5's policy mirror descent (arXiv 2501.12599 section 2.3.2) with A the reward
    less the mean of its group, up to a constant; the sum over a row's tokens is
    -A log pi(y) + (tau / 2) (log pi(y) / pi_i(y))^2. Exact form: `mirror.py`.
    """
    distance = masked_sum(log_ratio, mask, axis=1, keepdims=True)
    length = jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
    return reinforce_loss(logps, advantages) + 0.5 * tau * distance**2 / length


def token_losses(
    cfg: PolicyLossConfig,
    logps: Array,
    base_logps: Array,
    advantages: Array,
    mask: Array,
) -> TokenLosses:
    """Return the losses a config names (all but `online_dpo`, which needs pairs).

    Args:
      cfg: which loss, with its bounds.
      logps: `[B, C]` of the policy, with gradient.
      base_logps: `[B, C]` the ratio's denominator; no gradient reaches it.
      advantages: `[B, C]`.
      mask: `[B, C]` bool.
    """
    difference = logps - lax.stop_gradient(base_logps)
    log_ratio = jnp.clip(difference, -cfg.log_ratio_clamp, cfg.log_ratio_clamp)
    clip = {"eps_low": cfg.clip_eps_low, "eps_high": cfg.clip_eps_high}
    low, high = 1 - cfg.clip_eps_low, 1 + cfg.clip_eps_high
    if cfg.kind == "gspo":
        log_ratio = sequence_log_ratio(log_ratio, mask)
    elif cfg.kind == "gspo_token":
        log_ratio = gspo_token_log_ratio(log_ratio, mask)
    ratio = jnp.exp(log_ratio)
    if cfg.kind in ("ppo", "gspo", "gspo_token"):
        losses = clipped_loss(ratio, advantages, **clip, negative_cap=cfg.negative_cap)
    elif cfg.kind == "cispo":
        losses = cispo_loss(logps, ratio, advantages, **clip)
    elif cfg.kind == "gmpo":
        losses = gmpo_loss(log_ratio, advantages, mask, **clip)
        low, high = jnp.exp(-cfg.clip_eps_low), jnp.exp(cfg.clip_eps_high)
    elif cfg.kind == "reinforce":
        losses = reinforce_loss(logps, advantages)
        low, high = -jnp.inf, jnp.inf
    elif cfg.kind == "kimi":
        losses = kimi_loss(logps, difference, advantages, mask, tau=cfg.tau)
        low, high = -jnp.inf, jnp.inf
    else:
        raise ValueError(f"loss.kind={cfg.kind!r} is not a loss of single rows")
    ratio = lax.stop_gradient(ratio)
    return TokenLosses(
        losses,
        ratio,
        mask & (advantages < 0) & (ratio < low),
        mask & (advantages > 0) & (ratio > high),
    )
