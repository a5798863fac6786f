# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The loss of an update, composed from the parts that a config names.

It is a sum over tokens over a denominator of the whole batch: losses, gradients and
metrics of micro-batches and devices add up to those of the batch.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

from lrm_jax.masked import masked_sum
from lrm_jax.rl.aggregate import aggregate, denominator
from lrm_jax.rl.config import RlConfig
from lrm_jax.rl.correction import (
    importance_weights,
    masked_range,
    mismatch_extremes,
    mismatch_sums,
)
from lrm_jax.rl.kl import kl_k3, kl_loss
from lrm_jax.rl.policy_losses import token_losses
from lrm_jax.rl.preference import dpo_pair_losses
from lrm_jax.rl.value import value_losses
from lrm_jax.types import Array

Metrics = dict[str, tuple[Array, Array]]


class PolicyBatch(NamedTuple):
    """What an update learns from; every leaf has the rows first, so parts are slices.

    Attributes:
      mask: `[B, C]` bool, tokens with a loss: first to end token, none that was
        forced. What the other arrays hold elsewhere does not matter.
      advantages: `[B, C]`.
      sampler_logps: `[B, C]` of the distribution that drew the tokens.
      row_weights: `[B]`, of `aggregate.row_weights`.
      row_counts: `[B]`, of `aggregate.row_weights`.
      old_logps: `[B, C]` of the trainer before its first update on the rollout;
        None where the config needs none.
      ref_logps: `[B, C]`; None without a reference.
      old_values: `[B, C]` at the rollout; None without a critic.
      returns: `[B, C]` the critic's targets; None without a critic.
      fresh: `[B]` bool, rows that the rollout's own weights wrote; None for all.
    """

    mask: Array
    advantages: Array
    sampler_logps: Array
    row_weights: Array
    row_counts: Array
    old_logps: Array | None = None
    ref_logps: Array | None = None
    old_values: Array | None = None
    returns: Array | None = None
    fresh: Array | None = None


class Denominators(NamedTuple):
    """Of the whole batch, for every part of it: two scalars."""

    loss: Array
    tokens: Array


class PolicyLoss(NamedTuple):
    """A part's share of the loss and what there is to say about it.

    Attributes:
      loss: scalar; shares of the parts of a batch add up to its loss.
      metrics: name -> (sum, weight); add both over parts.
      extremes: name -> scalar; take the largest of `...max` and the smallest of
        `...min` over parts (`merge_extremes`).
    """

    loss: Array
    metrics: Metrics
    extremes: dict[str, Array]


def loss_denominator(batch: PolicyBatch) -> Denominators:
    """Return the denominators of a whole batch, before it is cut into parts."""
    return Denominators(denominator(batch.row_counts), denominator(batch.mask))


def policy_loss(
    cfg: RlConfig,
    logps: Array,
    batch: PolicyBatch,
    *,
    denominators: Denominators,
    entropy: Array | None = None,
    entropy_coef: Array | float | None = None,
    values: Array | None = None,
) -> PolicyLoss:
    """Return the loss of these rows under the current policy.

    Args:
      cfg: the objective.
      logps: `[B, C]` of the policy at the sampling temperature, with gradient.
      batch: the same rows. For `online_dpo` these are pairs (`preference.py`).
      denominators: of the whole batch that the rows are a part of.
      entropy: `[B, C]` nats of the same distribution, with gradient where the
        config has a bonus; None leaves the entropy metrics out.
      entropy_coef: overrides `cfg.entropy.coef` (the adaptive controller's).
      values: `[B, C]` of the critic, with gradient.
    """
    shape = batch.mask.shape
    chex.assert_rank(batch.mask, 2)
    for rows in (logps, batch.advantages, batch.sampler_logps, entropy, values):
        if rows is not None:
            chex.assert_shape([rows], shape)
    # Zeros where nothing counts: garbage there reaches no value and no gradient.
    batch = jax.tree.map(lambda x: _only(batch.mask, x), batch)
    logps = _only(batch.mask, logps)
    part = _Part(cfg, batch, denominators)
    if cfg.loss.kind == "online_dpo":
        result = _pair_terms(part, logps)
    else:
        result = _token_terms(part, logps)
    terms = [result]
    if entropy is not None:
        coef = cfg.entropy.coef if entropy_coef is None else entropy_coef
        terms.append(_entropy_term(part, _only(batch.mask, entropy), coef))
    elif cfg.entropy.kind != "none":
        raise ValueError(f"entropy.kind={cfg.entropy.kind} needs the entropy")
    if cfg.needs_values:
        if values is None:
            raise ValueError("advantage.kind=gae needs the critic's values")
        terms.append(_value_term(part, _only(batch.mask, values)))
    total = sum(term.loss for term in terms[1:]) + terms[0].loss
    metrics = {name: pair for term in terms for name, pair in term.metrics.items()}
    metrics["loss/total"] = (total * denominators.loss, jnp.sum(batch.row_counts))
    return PolicyLoss(
        total, lax.stop_gradient(metrics), lax.stop_gradient(result.extremes)
    )


def merge_extremes(first: dict[str, Array], second: dict[str, Array]) -> dict:
    """Combine the extremes of two parts of a batch."""
    return {
        name: (jnp.maximum if name.endswith("max") else jnp.minimum)(
            value, second[name]
        )
        for name, value in first.items()
    }


class _Part(NamedTuple):
    cfg: RlConfig
    batch: PolicyBatch
    denominators: Denominators

    def share(self, losses: Array) -> Array:
        weights = self.batch.row_weights
        return aggregate(losses, self.batch.mask, weights, self.denominators.loss)

    def loss_metric(self, share: Array) -> tuple[Array, Array]:
        return share * self.denominators.loss, jnp.sum(self.batch.row_counts)

    def token_metric(self, x: Array) -> tuple[Array, Array]:
        mask = self.batch.mask
        x = x.astype(jnp.result_type(float)) if x.dtype == bool else x
        return masked_sum(x, mask), jnp.sum(mask).astype(jnp.result_type(float))

    def base_logps(self, logps: Array) -> Array:
        base = self.cfg.loss.ratio_base
        if base == "current":
            return lax.stop_gradient(logps)
        if base == "sampler":
            return self.batch.sampler_logps
        if self.batch.old_logps is None:
            raise ValueError("loss.ratio_base=old needs batch.old_logps")
        return self.batch.old_logps


def _token_terms(part: _Part, logps: Array) -> PolicyLoss:
    """Policy and KL terms of losses of single rows."""
    cfg, batch, mask = part.cfg, part.batch, part.batch.mask
    base = lax.stop_gradient(part.base_logps(logps))
    tokens = token_losses(cfg.loss, logps, base, batch.advantages, mask)
    weights = importance_weights(cfg.correction, base, batch.sampler_logps, mask)
    loss = part.share(weights * tokens.losses)
    clipped = tokens.clipped_low | tokens.clipped_high
    log_ratio = lax.stop_gradient(logps) - base
    bounded = jnp.clip(log_ratio, -cfg.loss.log_ratio_clamp, cfg.loss.log_ratio_clamp)
    metrics = {
        "loss/policy": part.loss_metric(loss),
        "clip_ratio/low_mean": part.token_metric(tokens.clipped_low),
        "clip_ratio/high_mean": part.token_metric(tokens.clipped_high),
        "clip_ratio/region_mean": part.token_metric(clipped),
        "ratio/mean": part.token_metric(tokens.ratio),
        "kl/old_k3": part.token_metric(kl_k3(bounded)),
        "correction/weight_mean": part.token_metric(weights),
        "correction/dropped_mean": part.token_metric(mask & (weights == 0)),
        **mismatch_sums(base, batch.sampler_logps, mask),
    }
    if batch.ref_logps is not None:
        metrics |= _kl_metrics(part, logps)
        if cfg.kl.coef > 0 and cfg.kl.place == "loss":
            ratio = jnp.exp(jnp.clip(logps - base, -20.0, 20.0))
            kl = part.share(kl_loss(cfg.kl, logps, batch.ref_logps, ratio))
            metrics["loss/kl"] = part.loss_metric(kl)
            loss = loss + cfg.kl.coef * kl
    elif cfg.kl.coef > 0 and cfg.kl.place == "loss":
        raise ValueError(f"kl.coef={cfg.kl.coef} needs batch.ref_logps")
    extremes = {
        **masked_range("ratio/", tokens.ratio, mask),
        **mismatch_extremes(base, batch.sampler_logps, mask, batch.fresh),
    }
    return PolicyLoss(loss, metrics, extremes)


def _kl_metrics(part: _Part, logps: Array) -> Metrics:
    assert part.batch.ref_logps is not None
    d = part.batch.ref_logps - logps
    bound = part.cfg.kl.log_ratio_clamp
    return {
        "kl/ref_k1": part.token_metric(-d),
        "kl/ref_k3": part.token_metric(kl_k3(jnp.clip(d, -bound, bound))),
    }


def _pair_terms(part: _Part, logps: Array) -> PolicyLoss:
    """DPO's loss; `row_counts` are a half for rows of a valid pair, else 0."""
    if part.batch.ref_logps is None:
        raise ValueError("loss.kind=online_dpo needs batch.ref_logps")
    losses, implicit = dpo_pair_losses(
        logps, part.batch.ref_logps, part.batch.mask, beta=part.cfg.loss.dpo_beta
    )
    valid = part.batch.row_counts.reshape(-1, 2)[:, 0] > 0
    loss = masked_sum(losses, valid) / part.denominators.loss.astype(losses.dtype)
    pairs = jnp.sum(valid).astype(losses.dtype)
    margin = implicit[:, 0] - implicit[:, 1]
    metrics = {
        "loss/policy": part.loss_metric(loss),
        "dpo/accuracy_mean": (jnp.sum(valid & (margin > 0)).astype(pairs.dtype), pairs),
        "dpo/margin_mean": (masked_sum(margin, valid), pairs),
        "dpo/chosen_mean": (masked_sum(implicit[:, 0], valid), pairs),
        "dpo/rejected_mean": (masked_sum(implicit[:, 1], valid), pairs),
        **_kl_metrics(part, logps),
    }
    return PolicyLoss(loss, metrics, {})


def _entropy_term(part: _Part, entropy: Array, coef: Array | float) -> PolicyLoss:
    metrics = {"entropy/mean": part.token_metric(entropy)}
    if part.cfg.entropy.kind == "none":
        return PolicyLoss(jnp.zeros((), entropy.dtype), metrics, {})
    share = part.share(-entropy)
    metrics["loss/entropy"] = part.loss_metric(share)
    return PolicyLoss(coef * share, metrics, {})


def _value_term(part: _Part, values: Array) -> PolicyLoss:
    """The critic's loss, always a mean over the batch's tokens."""
    batch, cfg = part.batch, part.cfg
    if batch.old_values is None or batch.returns is None:
        raise ValueError("advantage.kind=gae needs batch.old_values and batch.returns")
    losses, clipped = value_losses(
        values, batch.old_values, batch.returns, clip=cfg.value.clip
    )
    total = masked_sum(losses, batch.mask)
    loss = total / part.denominators.tokens.astype(total.dtype)
    error = jnp.square(values - batch.returns)
    metrics = {
        "loss/value": part.token_metric(losses),
        "value/mean": part.token_metric(values),
        "value/clip_ratio_mean": part.token_metric(clipped),
        "value/squared_error_mean": part.token_metric(error),
    }
    return PolicyLoss(cfg.value.coef * loss, metrics, {})


def _only(mask: Array, x: Array) -> Array:
    """Zeros outside the mask for `[B, C]` floats; anything else as it is."""
    if x.shape != mask.shape or x.dtype == mask.dtype:
        return x
    return jnp.where(mask, x, jnp.zeros((), x.dtype))
