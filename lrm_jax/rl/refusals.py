# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Combinations of choices that are refused, each with its reason.

`BIASED` ones run where `allow_biased` names them; the rest cannot mean anything.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from lrm_jax.types import UserError

if TYPE_CHECKING:
    from lrm_jax.rl.config import RlConfig

GROUP_KINDS = ("group_centred", "group_std", "leave_one_out", "batch_std")
GROUP_KINDS += ("reinforce_pp_baseline",)
"""Advantages that compare the completions of one prompt."""

STEP_KINDS = ("reward", "group_centred", "leave_one_out")
"""Advantages that are not scaled, which returns of steps can have."""

SEQUENCE_RATIO_KINDS = ("gspo", "gspo_token", "gmpo")
"""Losses whose ratio is one number a completion."""


class Bias(NamedTuple):
    """One refused combination."""

    found: Callable[[RlConfig], bool]
    reason: str


def _kl_in_loss(cfg: RlConfig, *estimators: str) -> bool:
    kl = cfg.kl
    return kl.coef > 0 and kl.place == "loss" and kl.estimator in estimators


def _kl_in_reward(cfg: RlConfig, *estimators: str) -> bool:
    kl = cfg.kl
    return kl.coef > 0 and kl.place == "reward" and kl.estimator in estimators


def _uncorrected_updates(cfg: RlConfig) -> bool:
    """Whether updates after the first see no weight current / sampler."""
    corrected = cfg.loss.ratio_base == "current" and cfg.correction.kind != "none"
    return cfg.updates_per_rollout > 1 and not corrected


def _stale_uncorrected(cfg: RlConfig) -> bool:
    """Whether old weights' tokens meet neither a weight nor a ratio to them.

    A pair of online DPO needs none: its loss is one of preferences, whoever wrote.
    """
    if cfg.rollout.max_staleness == 0 or cfg.loss.kind == "online_dpo":
        return False
    ratio = cfg.loss.ratio_base == "sampler" and cfg.loss.kind != "reinforce"
    return cfg.correction.kind == "none" and not ratio


_CUT = "the trainer scores all tokens, so every ratio is off by the kept probability"

BIASED: dict[str, Bias] = {
    "k1_in_loss": Bias(
        lambda c: _kl_in_loss(c, "k1") and c.kl.weight == "none",
        "kl.estimator=k1 in the loss has zero expected gradient on policy: it adds "
        "only noise; use k2, k1 in the reward, or kl.weight=ratio",
    ),
    "k2_in_reward": Bias(
        lambda c: _kl_in_reward(c, "k2"),
        "kl.estimator=k2 in the reward: its mean is not the KL; use k1",
    ),
    "k3_in_reward": Bias(
        lambda c: _kl_in_reward(c, "k3", "k3_straight_through"),
        "kl.estimator=k3 in the reward: the gradient gains a term that is not the "
        "KL's (1 - reference / policy times the score); use k1",
    ),
    "k2_times_ratio": Bias(
        lambda c: (
            _kl_in_loss(c, "k2", "k3_straight_through") and c.kl.weight == "ratio"
        ),
        "kl.weight=ratio differentiates the ratio too: right with k1 and k3, not "
        "with an estimator whose own gradient is already the KL's",
    ),
    "kl_in_group_std": Bias(
        lambda c: _kl_in_reward(c, "k1") and c.advantage.kind == "group_std",
        "a KL term in the reward is divided by each group's standard deviation, so "
        "kl.coef differs from prompt to prompt",
    ),
    "top_p_without_replay": Bias(
        lambda c: c.rollout.top_p < 1, f"rollout.top_p < 1: {_CUT}"
    ),
    "top_k_without_replay": Bias(
        lambda c: c.rollout.top_k > 0, f"rollout.top_k > 0: {_CUT}"
    ),
    "min_p_without_replay": Bias(
        lambda c: c.rollout.min_p > 0, f"rollout.min_p > 0: {_CUT}"
    ),
    "dr_grpo_with_std": Bias(
        lambda c: c.aggregation == "constant" and c.advantage.kind == "group_std",
        "aggregation=constant is Dr. GRPO's remedy of biases, of which dividing by "
        "the group's standard deviation is the other; use group_centred",
    ),
    "sequence_ratio_with_token_correction": Bias(
        lambda c: (
            c.loss.kind in SEQUENCE_RATIO_KINDS
            and c.correction.kind in ("token_truncate", "token_mask", "decoupled")
        ),
        "a loss with one ratio a completion and a correction a token: use "
        "correction.kind=sequence_truncate, sequence_mask or none",
    ),
    "sequence_ratio_by_token": Bias(
        lambda c: (
            c.loss.kind in SEQUENCE_RATIO_KINDS
            and c.aggregation != "seq_mean_token_mean"
        ),
        "a loss of whole completions is defined with "
        "aggregation=seq_mean_token_mean; any other weighs it by length",
    ),
    "sequence_sum_by_token": Bias(
        lambda c: (
            c.loss.kind == "kimi"
            and c.aggregation not in ("seq_mean_token_sum", "constant")
        ),
        "loss.kind=kimi is a sum over a completion's tokens: use "
        "aggregation=seq_mean_token_sum or constant",
    ),
    "filter_on_shaped_reward": Bias(
        lambda c: c.group_filter.kind != "none" and c.group_filter.on == "reward",
        "group_filter.on=reward keeps groups that differ only in length or format; "
        "use accuracy",
    ),
    "off_policy_without_ratio": Bias(
        lambda c: c.loss.kind == "reinforce" and _uncorrected_updates(c),
        "loss.kind=reinforce has no ratio: from the second update on a rollout its "
        "gradient is no longer that of the reward; use another loss, or "
        "loss.ratio_base=current with a correction",
    ),
    "current_ratio_off_policy": Bias(
        lambda c: (
            c.loss.kind not in ("reinforce", "online_dpo")
            and c.loss.ratio_base == "current"
            and _uncorrected_updates(c)
        ),
        "loss.ratio_base=current makes every ratio 1: from the second update on a "
        "rollout nothing is clipped or corrected",
    ),
    "stale_without_correction": Bias(
        _stale_uncorrected,
        "rollout.max_staleness > 0: older weights than the trainer's write the "
        "tokens, and nothing weighs them by trainer / sampler; use a correction, or "
        "a ratio with loss.ratio_base=sampler",
    ),
    "bootstrap_of_penalised": Bias(
        lambda c: (
            c.needs_values
            and c.value.at_truncation == "bootstrap"
            and c.truncated == "penalise"
        ),
        "value.at_truncation=bootstrap says that a cut completion goes on, "
        "truncated=penalise that it failed",
    ),
}
"""What `allow_biased` may name."""


def validate(cfg: RlConfig) -> None:
    """Raise `UserError` for a config that cannot work or is biased unawares."""
    for name in cfg.allow_biased:
        if name not in BIASED:
            near = difflib.get_close_matches(name, BIASED, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(
                f"allow_biased={name!r}: expected one of {', '.join(BIASED)}{hint}"
            )
    for problem in _impossible(cfg):
        raise UserError(problem)
    for name in found_biases(cfg):
        if name not in cfg.allow_biased:
            raise UserError(
                f"{BIASED[name].reason}. To run it all the same: allow_biased={name}"
            )


def found_biases(cfg: RlConfig) -> list[str]:
    """Return the names of the biases a config has, allowed or not."""
    return [name for name, bias in BIASED.items() if bias.found(cfg)]


def check_tokens(
    *, pad_id: int, end_ids: tuple[int, ...], vocab_size: int, has_mask: bool
) -> None:
    """Refuse tokens among which the end of a completion cannot be told.

    Args:
      pad_id: fills rows after their end.
      end_ids: tokens that end a completion.
      vocab_size: ids that exist.
      has_mask: whether completions come with a mask (ours do), or would have to
        be found by looking for the pad.
    """
    if not end_ids:
        raise UserError(
            "end_ids=(): without an end token every completion is truncated; "
            "expected at least one id"
        )
    for name, ids in (("pad_id", (pad_id,)), ("end_ids", end_ids)):
        if not all(0 <= i < vocab_size for i in ids):
            raise UserError(f"{name}={ids}: expected ids from 0 to {vocab_size - 1}")
    if pad_id in end_ids and not has_mask:
        raise UserError(
            f"pad_id={pad_id} is also an end id: without a mask of the completion its "
            "end token would be taken for padding and never trained"
        )


def _impossible(cfg: RlConfig) -> Iterator[str]:
    """Yield what has no meaning under any circumstances."""
    yield from _out_of_range(cfg)
    rollout, loss = cfg.rollout, cfg.loss
    if rollout.group_size == 1 and cfg.advantage.kind in GROUP_KINDS:
        yield (
            f"rollout.group_size=1: advantage.kind={cfg.advantage.kind} compares the "
            "completions of a prompt, so it would be 0; expected at least 2"
        )
    if loss.kind == "online_dpo":
        yield from _not_online_dpo(cfg)
    if cfg.process.form != "none":
        yield from _not_by_step(cfg)
    if rollout.max_staleness > 0 and cfg.group_filter.kind == "refill":
        yield (
            f"rollout.max_staleness={rollout.max_staleness}: group_filter.kind=refill "
            "begins a rollout by what the one before was scored, so none is begun "
            "ahead; expected 0, or group_filter.kind=drop"
        )
    if loss.negative_cap and loss.negative_cap <= 1 + loss.clip_eps_high:
        yield (
            f"loss.negative_cap={loss.negative_cap}: expected 0 or more than "
            f"1 + clip_eps_high={1 + loss.clip_eps_high}"
        )
    if loss.ratio_base == "sampler" and cfg.correction.kind != "none":
        yield (
            f"correction.kind={cfg.correction.kind}: with loss.ratio_base=sampler the "
            "ratio's denominator is the sampler already, the weight would be 1; "
            "expected none"
        )
    if cfg.kl.place == "reward" and cfg.kl.weight == "ratio":
        yield "kl.weight=ratio: a KL term in the reward has no ratio to be weighed by"
    if cfg.reference.kind != "fixed" and not cfg.needs_reference:
        yield (
            f"reference.kind={cfg.reference.kind}: kl.coef=0 uses no reference; "
            "expected fixed"
        )
    if cfg.advantage.length_adaptive_alpha and cfg.advantage.kind != "gae":
        yield "advantage.length_adaptive_alpha: expected 0 unless advantage.kind=gae"
    low, high = cfg.correction.low, cfg.correction.high
    if low >= high or high <= 0:
        yield f"correction.low={low}, high={high}: expected 0 <= low < high"
    if cfg.overlong.buffer_tokens > rollout.max_new_tokens:
        yield (
            f"overlong.buffer_tokens={cfg.overlong.buffer_tokens}: expected at most "
            f"rollout.max_new_tokens={rollout.max_new_tokens}"
        )
    if rollout.n_prompts * rollout.group_size % cfg.minibatches:
        yield (
            f"minibatches={cfg.minibatches}: expected a divisor of the "
            f"{rollout.n_prompts} x {rollout.group_size} rows of a rollout"
        )


def _not_by_step(cfg: RlConfig) -> Iterator[str]:
    """What scores of steps cannot be combined with."""
    form, kind = cfg.process.form, cfg.advantage.kind
    if kind not in STEP_KINDS or cfg.advantage.whiten != "none":
        yield (
            f"process.form={form}: returns of steps are compared as they are, and "
            f"advantage.kind={kind}, whiten={cfg.advantage.whiten} scales them or has "
            f"a critic; expected one of {', '.join(STEP_KINDS)}, not whitened"
        )
    if cfg.loss.kind in (*SEQUENCE_RATIO_KINDS, "kimi", "online_dpo"):
        yield (
            f"process.form={form}: loss.kind={cfg.loss.kind} has one advantage a "
            "completion, not one a step; expected reinforce, ppo or cispo"
        )
    if form == "potential" and not cfg.process.coef <= 1:
        yield f"process.coef={cfg.process.coef}: a potential's is at most 1"
    if cfg.kl.coef > 0 and cfg.kl.place == "reward":
        yield (
            f"process.form={form}: a KL term in the reward is of tokens, which steps' "
            "returns leave out; expected kl.place=loss"
        )


def _not_online_dpo(cfg: RlConfig) -> Iterator[str]:
    if cfg.rollout.group_size < 2:
        yield "rollout.group_size=1: online_dpo needs a pair; expected at least 2"
    if cfg.advantage.kind != "reward" or cfg.advantage.whiten != "none":
        yield (
            f"advantage.kind={cfg.advantage.kind}: online_dpo only ranks the rewards "
            "of a group, advantages would have no effect; expected reward, not whitened"
        )
    if cfg.aggregation != "seq_mean_token_sum":
        yield (
            f"aggregation={cfg.aggregation}: online_dpo is a mean over pairs of sums "
            "over tokens; expected seq_mean_token_sum"
        )
    if cfg.correction.kind != "none":
        yield (
            f"correction.kind={cfg.correction.kind}: online_dpo has no sampler's "
            "probability to correct; expected none"
        )
    if cfg.kl.coef > 0:
        yield (
            f"kl.coef={cfg.kl.coef}: online_dpo has its KL in loss.dpo_beta; expected 0"
        )


_POSITIVE = """rollout.n_prompts rollout.group_size rollout.max_new_tokens
rollout.temperature rollout.top_p loss.clip_eps_high loss.log_ratio_clamp loss.dpo_beta
loss.tau kl.log_ratio_clamp reference.every group_filter.max_rounds epochs minibatches
correction.high""".split()
_NOT_NEGATIVE = """rollout.top_k rollout.min_p rollout.max_staleness advantage.eps
advantage.equal_atol advantage.length_adaptive_alpha loss.clip_eps_low
loss.negative_cap kl.coef kl.value_clamp entropy.coef entropy.target entropy.step
entropy.coef_max correction.low value.coef value.clip overlong.buffer_tokens
overlong.scale process.coef""".split()
_AT_MOST_ONE = """rollout.top_p rollout.min_p advantage.gamma advantage.actor_lambda
advantage.critic_lambda reference.decay""".split()
_NOT_NEGATIVE += [key for key in _AT_MOST_ONE if key not in _POSITIVE + _NOT_NEGATIVE]


def _out_of_range(cfg: RlConfig) -> Iterator[str]:
    for key, value in _numbers(cfg):
        if not math.isfinite(value) and key != "correction.high":
            yield f"{key}={value}: expected a finite number"
        if key in _POSITIVE and not value > 0:
            yield f"{key}={value}: expected more than 0"
        if key in _NOT_NEGATIVE and value < 0:
            yield f"{key}={value}: expected 0 or more"
        if key in _AT_MOST_ONE and value > 1:
            yield f"{key}={value}: expected at most 1"
    loss = cfg.loss
    if loss.kind != "gmpo" and loss.clip_eps_low > 1:
        yield f"loss.clip_eps_low={loss.clip_eps_low}: expected at most 1"
    entropy = cfg.entropy
    if entropy.kind == "adaptive" and entropy.coef > entropy.coef_max:
        yield (
            f"entropy.coef={entropy.coef}: expected at most "
            f"entropy.coef_max={entropy.coef_max}"
        )
    if entropy.kind == "none" and entropy.coef > 0:
        yield f"entropy.coef={entropy.coef}: entropy.kind=none ignores it; expected 0"


def _numbers(node: object, where: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a config with its dotted key."""
    for part in dataclasses.fields(node):  # pyright: ignore[reportArgumentType]
        value = getattr(node, part.name)
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, f"{where}{part.name}.")
        elif isinstance(value, int | float):
            yield f"{where}{part.name}", value
