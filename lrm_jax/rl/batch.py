# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a scored rollout to what an update learns from, over the whole batch at once.

Group statistics, normalisations and denominators see all rows; cut the result into
micro-batches afterwards.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from lrm_jax.masked import masked_sum
from lrm_jax.rl import advantages as adv
from lrm_jax.rl import gae
from lrm_jax.rl.aggregate import row_weights
from lrm_jax.rl.config import RlConfig
from lrm_jax.rl.dynamic_sampling import groups_with_signal, groups_with_spread
from lrm_jax.rl.kl import kl_estimate
from lrm_jax.rl.objective import Metrics, PolicyBatch
from lrm_jax.rl.overlong import judge_truncated, overlong_penalty
from lrm_jax.rl.preference import choose_pairs, take_pairs
from lrm_jax.rl.process_reward import Baseline, process_advantages, process_metrics
from lrm_jax.types import Array, at_least_float32


class Rollout(NamedTuple):
    """Completions with their scores; rows are group-major.

    Attributes:
      mask: `[B, C]` bool, first to end token, without forced ones.
      sampler_logps: `[B, C]` of the distribution that drew the tokens.
      rewards: `[B]`, shaped, before any KL and overlong term.
      accuracy: `[B]`, the verifier's raw score.
      truncated: `[B]` bool, whether a completion was cut off.
      lengths: `[B]` tokens, forced ones included.
      old_logps: `[B, C]` of the trainer; None where `cfg.needs_old_logps` is false.
      ref_logps: `[B, C]`; None where `cfg.needs_reference` is false.
      values: `[B, C]`, of the state each token was drawn in; None without a critic.
      last_values: `[B]`, of the state after the last token; for `bootstrap`.
      valid_groups: `[Q]` bool, groups that are not filler; None for all.
      fresh: `[B]` bool, rows that the newest weights wrote; None for all.
      step_scores: `[B, C]` in [0, 1] where steps end; None without `cfg.process`.
      step_ends: `[B, C]` bool, where steps end; None without `cfg.process`.
    """

    mask: Array
    sampler_logps: Array
    rewards: Array
    accuracy: Array
    truncated: Array
    lengths: Array
    old_logps: Array | None = None
    ref_logps: Array | None = None
    values: Array | None = None
    last_values: Array | None = None
    valid_groups: Array | None = None
    fresh: Array | None = None
    step_scores: Array | None = None
    step_ends: Array | None = None


class Prepared(NamedTuple):
    """A batch, which rows of the rollout it has, and metrics of the rollout.

    Attributes:
      batch: rows as in the rollout; for `online_dpo` pairs, `[2Q, ...]`.
      rows: `[B']` int32, row of the rollout of each row of the batch: take the
        token ids by it.
      metrics: name -> (sum, weight).
    """

    batch: PolicyBatch
    rows: Array
    metrics: Metrics


def prepare_batch(cfg: RlConfig, rollout: Rollout) -> Prepared:
    """Return the batch of a rollout (jit-able; `cfg` is static)."""
    rollout = jax.tree.map(jnp.asarray, rollout)
    chex.assert_equal_shape([rollout.mask, rollout.sampler_logps])
    rows = rollout.mask.shape[0]
    group_size = cfg.rollout.group_size
    mask = rollout.mask.astype(bool)
    rewards = rollout.rewards + overlong_penalty(
        rollout.lengths,
        max_tokens=cfg.rollout.max_new_tokens,
        buffer_tokens=cfg.overlong.buffer_tokens,
        scale=cfg.overlong.scale,
    )
    rewards, mask = judge_truncated(
        cfg.truncated,
        rewards,
        mask,
        rollout.truncated,
        truncated_reward=cfg.overlong.truncated_reward,
    )
    kept, signal = _kept_groups(cfg, rollout, rewards)
    mask = mask & jnp.repeat(kept, group_size)[:, None]
    metrics = _reward_metrics(cfg, rollout, rewards, signal)
    advantages, returns = _advantages(cfg, rollout, rewards, mask, kept)
    if rollout.step_scores is not None and rollout.step_ends is not None:
        counted = jnp.repeat(_valid_groups(cfg, rollout), group_size)
        ends = rollout.step_ends.astype(bool)
        metrics |= process_metrics(rollout.step_scores, ends, counted)
    metrics["advantage/abs_mean"] = _mean(jnp.abs(advantages), mask)
    weights = row_weights(
        cfg.aggregation,
        mask,
        group_size=group_size,
        max_length=cfg.rollout.max_new_tokens,
        empty_rows=cfg.empty_rows,
    )
    counted = jnp.repeat(_valid_groups(cfg, rollout), group_size)
    batch = PolicyBatch(
        mask=mask,
        advantages=advantages,
        sampler_logps=rollout.sampler_logps,
        row_weights=weights.weights,
        row_counts=jnp.where(counted, weights.counts, 0),
        old_logps=rollout.old_logps,
        ref_logps=rollout.ref_logps,
        old_values=rollout.values,
        returns=returns,
        fresh=rollout.fresh,
    )
    if cfg.loss.kind != "online_dpo":
        return Prepared(batch, jnp.arange(rows, dtype=jnp.int32), metrics)
    return _prepare_pairs(cfg, batch, rewards, kept, metrics)


def _prepare_pairs(
    cfg: RlConfig, batch: PolicyBatch, rewards: Array, kept: Array, metrics: Metrics
) -> Prepared:
    groups = rewards.reshape(-1, cfg.rollout.group_size)
    pairs = choose_pairs(groups, atol=cfg.advantage.equal_atol)
    rows = jnp.arange(rewards.shape[0], dtype=jnp.int32)
    rows, batch = take_pairs((rows, batch), pairs)
    both = jnp.all(jnp.any(batch.mask, axis=1).reshape(-1, 2), axis=1)
    valid = pairs.valid & kept & both
    half = jnp.repeat(valid, 2) / 2
    metrics["dpo/valid_pairs_mean"] = _mean(valid, jnp.ones_like(valid))
    batch = batch._replace(
        mask=batch.mask & jnp.repeat(valid, 2)[:, None],
        row_weights=jnp.ones_like(half),
        row_counts=half,
    )
    return Prepared(batch, rows, metrics)


def _valid_groups(cfg: RlConfig, rollout: Rollout) -> Array:
    if rollout.valid_groups is not None:
        return rollout.valid_groups.astype(bool)
    return jnp.ones(rollout.mask.shape[0] // cfg.rollout.group_size, bool)


def _kept_groups(
    cfg: RlConfig, rollout: Rollout, rewards: Array
) -> tuple[Array, Array]:
    """`[Q]` whether a group is trained on, and whether it carries signal."""
    valid = _valid_groups(cfg, rollout)
    shape = (-1, cfg.rollout.group_size)
    if cfg.group_filter.on == "accuracy":
        signal = groups_with_signal(rollout.accuracy.reshape(shape))
    else:
        atol = cfg.advantage.equal_atol
        signal = groups_with_spread(rewards.reshape(shape), atol=atol)
    return (valid if cfg.group_filter.kind == "none" else valid & signal), signal


def _advantages(
    cfg: RlConfig, rollout: Rollout, rewards: Array, mask: Array, kept: Array
) -> tuple[Array, Array | None]:
    """Advantages `[B, C]` and, with a critic, its targets `[B, C]`."""
    cfg_a = cfg.advantage
    penalty = jnp.zeros_like(rollout.sampler_logps)
    if cfg.kl.coef > 0 and cfg.kl.place == "reward":
        penalty = -cfg.kl.coef * _reward_kl(cfg, rollout)
    returns = None
    if cfg_a.kind == "gae":
        advantages, returns = _gae(cfg, rollout, rewards, penalty, mask)
    elif cfg_a.kind in ("reinforce_pp", "reinforce_pp_baseline"):
        if cfg_a.kind == "reinforce_pp_baseline":
            groups = rewards.reshape(-1, cfg.rollout.group_size)
            rewards = adv.group_centred(groups, equal_atol=cfg_a.equal_atol)
        advantages = adv.normalise_tokens(
            adv.rewards_to_go(rewards, penalty, mask),
            mask,
            ddof=cfg_a.ddof,
            eps=cfg_a.eps,
        )
    elif cfg.process.form != "none":
        advantages = jnp.where(mask, _by_step(cfg, rollout, rewards), 0)
    else:
        rewards = rewards + masked_sum(penalty, rollout.mask, axis=1)
        groups = rewards.reshape(-1, cfg.rollout.group_size)
        advantages = adv.to_tokens(_group_advantages(cfg, groups, kept), mask)
    if cfg_a.whiten == "tokens":
        advantages = adv.whiten_tokens(advantages, mask)
    return advantages, returns


def _group_advantages(cfg: RlConfig, rewards: Array, kept: Array) -> Array:
    """Advantages `[Q, G]` of kinds that give one to a completion."""
    cfg_a = cfg.advantage
    if cfg_a.kind == "reward":
        return rewards
    if cfg_a.kind == "group_centred":
        return adv.group_centred(rewards, equal_atol=cfg_a.equal_atol)
    if cfg_a.kind == "leave_one_out":
        return adv.leave_one_out(rewards, equal_atol=cfg_a.equal_atol)
    options = {"ddof": cfg_a.ddof, "eps": cfg_a.eps, "equal_atol": cfg_a.equal_atol}
    if cfg_a.kind == "group_std":
        return adv.group_std(rewards, **options)
    if cfg_a.kind == "batch_std":
        return adv.batch_std(rewards, groups=kept, **options)
    raise ValueError(f"unknown advantage.kind={cfg_a.kind!r}")


_BASELINES: dict[str, Baseline] = {
    "reward": "none",
    "group_centred": "group",
    "leave_one_out": "others",
}


def _by_step(cfg: RlConfig, rollout: Rollout, rewards: Array) -> Array:
    """Advantages `[B, C]` of the tokens of scored steps."""
    if rollout.step_scores is None or rollout.step_ends is None:
        raise ValueError(
            f"process.form={cfg.process.form} needs step_scores, step_ends"
        )
    form, kind = cfg.process.form, cfg.advantage.kind
    return process_advantages(
        "minimum" if form == "minimum" else "potential",
        at_least_float32(rewards),
        rollout.step_scores,
        rollout.step_ends.astype(bool),
        coef=cfg.process.coef,
        group_size=cfg.rollout.group_size,
        baseline=_BASELINES[kind],
    )


def _reward_kl(cfg: RlConfig, rollout: Rollout) -> Array:
    """The KL estimate per token, `[B, C]`, of the policy that drew it."""
    if rollout.ref_logps is None:
        raise ValueError(f"kl.coef={cfg.kl.coef} needs rollout.ref_logps")
    logps = rollout.old_logps
    logps = rollout.sampler_logps if logps is None else logps
    estimate = kl_estimate(
        cfg.kl.estimator,
        jnp.where(rollout.mask, logps, 0),
        jnp.where(rollout.mask, rollout.ref_logps, 0),
        log_ratio_clamp=cfg.kl.log_ratio_clamp,
        value_clamp=cfg.kl.value_clamp,
    )
    return jnp.where(rollout.mask, estimate, 0)


def _gae(
    cfg: RlConfig, rollout: Rollout, rewards: Array, penalty: Array, mask: Array
) -> gae.Estimates:
    cfg_a = cfg.advantage
    if rollout.values is None:
        raise ValueError("advantage.kind=gae needs rollout.values")
    last = jnp.zeros_like(rewards)
    if cfg.value.at_truncation == "bootstrap":
        if rollout.last_values is None:
            raise ValueError("value.at_truncation=bootstrap needs rollout.last_values")
        last = jnp.where(rollout.truncated, rollout.last_values, 0)
    actor_lambda = cfg_a.actor_lambda
    if cfg_a.length_adaptive_alpha:
        lengths = jnp.sum(mask, axis=1)
        actor_lambda = gae.length_adaptive_lambda(lengths, cfg_a.length_adaptive_alpha)
    return gae.actor_critic_estimates(
        penalty + gae.at_last_token(rewards, mask),
        jnp.where(mask, rollout.values, 0),
        mask,
        last,
        gamma=cfg_a.gamma,
        actor_lambda=actor_lambda,
        critic_lambda=cfg_a.critic_lambda,
    )


def _reward_metrics(
    cfg: RlConfig, rollout: Rollout, rewards: Array, signal: Array
) -> Metrics:
    groups = rewards.reshape(-1, cfg.rollout.group_size)
    valid = _valid_groups(cfg, rollout)
    rows = jnp.repeat(valid, cfg.rollout.group_size)
    equal = adv.groups_are_equal(groups, cfg.advantage.equal_atol)
    ended = rows & ~rollout.truncated
    return {
        "reward/mean": _mean(rewards, rows),
        "reward/std": _mean(jnp.std(groups, axis=1), valid),
        "reward/frac_zero_std": _mean(equal, valid),
        "reward/accuracy": _mean(rollout.accuracy, rows),
        "groups/no_signal_mean": _mean(~signal, valid),
        "completions/mean_length": _mean(rollout.lengths, rows),
        "completions/clipped_ratio": _mean(rollout.truncated, rows),
        "completions/mean_terminated_length": _mean(rollout.lengths, ended),
    }


def _mean(x: Array, mask: Array) -> tuple[Array, Array]:
    number = jnp.result_type(float)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(number)
    return masked_sum(x, mask), jnp.sum(mask).astype(number)
