# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a reinforcement-learning run optimises: every choice by name.

Aggregation and the fate of truncated completions have no default. Combinations
known to be wrong are refused when the config is built (`refusals.py`).
"""

from dataclasses import dataclass, field
from typing import Literal

from lrm_jax.rl.refusals import validate

Aggregation = Literal[
    "token_mean",
    "seq_mean_token_mean",
    "seq_mean_token_sum",
    "constant",
    "group_token_mean",
]
AdvantageKind = Literal[
    "reward",
    "group_centred",
    "group_std",
    "leave_one_out",
    "batch_std",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "gae",
]
LossKind = Literal[
    "reinforce",
    "ppo",
    "gspo",
    "gspo_token",
    "cispo",
    "gmpo",
    "kimi",
    "online_dpo",
]
KlEstimator = Literal["k1", "k2", "k3", "k3_straight_through"]
CorrectionKind = Literal[
    "none",
    "decoupled",
    "token_truncate",
    "token_mask",
    "sequence_truncate",
    "sequence_mask",
]


@dataclass(frozen=True)
class RolloutConfig:
    """What one step samples and how; the loss sees the same temperature.

    Attributes:
      n_prompts: Q.
      group_size: G, completions of each prompt.
      max_new_tokens: C, and the constant aggregation's length.
      temperature: of sampling and of every log-probability the loss compares.
      top_k: keep only so many tokens; 0 keeps all.
      top_p: keep the smallest set of tokens with this probability; 1 keeps all.
      min_p: keep tokens of at least this share of the best one's; 0 keeps all.
      max_staleness: how many rollouts' updates the weights that wrote a rollout may
        lack when it is learned from; 0 writes each with the newest weights.
    """

    n_prompts: int = 16
    group_size: int = 8
    max_new_tokens: int = 256
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    max_staleness: int = 0


@dataclass(frozen=True)
class AdvantageConfig:
    """How rewards become advantages (`advantages.py`).

    Attributes:
      kind: `reward` (raw), `group_centred` (Dr. GRPO), `group_std` (GRPO),
        `leave_one_out` (RLOO), `batch_std` (centred by group, scaled by batch),
        `reinforce_pp`, `reinforce_pp_baseline` (normalised over the batch's
        tokens; the latter centred by group first) or `gae` (PPO).
      ddof: 0 divides a variance by its count (population), 1 by one less.
      eps: added to a standard deviation.
      equal_atol: rewards of a group closer than this are equal: advantage 0.
      gamma: discount per token, `gae` only.
      actor_lambda: of the policy's advantages, `gae` only.
      critic_lambda: of the value head's targets, `gae` only.
      length_adaptive_alpha: VAPO's alpha: the policy's lambda is
        max(0, 1 - 1 / (alpha * length)); 0 turns it off.
      whiten: bring the advantages of all tokens to mean 0, variance 1 at the end.
    """

    kind: AdvantageKind = "group_centred"
    ddof: Literal[0, 1] = 0
    eps: float = 1e-6
    equal_atol: float = 1e-6
    gamma: float = 1.0
    actor_lambda: float = 1.0
    critic_lambda: float = 1.0
    length_adaptive_alpha: float = 0.0
    whiten: Literal["none", "tokens"] = "none"


@dataclass(frozen=True)
class PolicyLossConfig:
    """The loss of a token or of a completion (`policy_losses.py`).

    Attributes:
      kind: `reinforce` (no ratio), `ppo` (clipped ratio), `gspo` and `gspo_token`
        (ratio of the sequence), `cispo` (clipped ratio as a weight), `gmpo`
        (geometric mean of ratios), `kimi` (mirror descent) or `online_dpo`.
      clip_eps_low: the ratio is clipped from below at 1 - this (`gmpo`: its log
        at -this); `cispo` has no lower bound at 1.
      clip_eps_high: the same from above.
      negative_cap: largest ratio that a negative advantage is multiplied with: 3
        is dual clip, 4 INTELLECT-2's two-sided clip; 0 for none.
      ratio_base: the denominator of the ratio: the trainer's `old` log-probs (one
        more forward pass a rollout), the `sampler`'s own, or the `current` ones
        (ratio 1: for a single update a rollout).
      log_ratio_clamp: bound of |log ratio| before exp.
      tau: strength of `kimi`'s pull to the old policy.
      dpo_beta: of `online_dpo`.
    """

    kind: LossKind = "ppo"
    clip_eps_low: float = 0.2
    clip_eps_high: float = 0.28
    negative_cap: float = 0.0
    ratio_base: Literal["old", "sampler", "current"] = "old"
    log_ratio_clamp: float = 20.0
    tau: float = 0.1
    dpo_beta: float = 0.1


@dataclass(frozen=True)
class KlConfig:
    """The pull to a reference policy (`kl.py`).

    Attributes:
      coef: its weight; 0 needs no reference.
      estimator: by its gradient in the loss: `k1` none on policy, `k2` that of
        KL(policy || reference), `k3` that of KL(reference || policy),
        `k3_straight_through` k3's value with k2's gradient.
      place: in the `loss`, or subtracted from the `reward`.
      weight: `ratio` multiplies a term of the loss by policy / old policy.
      log_ratio_clamp: bound of |log ratio| before exp.
      value_clamp: bound of an estimate; 0 for none.
    """

    coef: float = 0.0
    estimator: KlEstimator = "k2"
    place: Literal["loss", "reward"] = "loss"
    weight: Literal["none", "ratio"] = "none"
    log_ratio_clamp: float = 20.0
    value_clamp: float = 0.0


@dataclass(frozen=True)
class ReferenceConfig:
    """Which policy the KL term pulls to (`reference.py`).

    Attributes:
      kind: the first one (`fixed`), replaced by the policy every so many steps
        (`reset`), or moved towards it (`ema`).
      every: steps between two changes.
      decay: share of the reference that an `ema` change keeps.
    """

    kind: Literal["fixed", "reset", "ema"] = "fixed"
    every: int = 1
    decay: float = 0.99


@dataclass(frozen=True)
class EntropyConfig:
    """The reward for staying undecided (`entropy.py`).

    Attributes:
      kind: `none`, a constant `bonus`, or `adaptive` (Skywork-OR1).
      coef: of the bonus; the first one where adaptive.
      target: adaptive: nats per token below which the bonus works and grows.
      step: adaptive: change of the coefficient a step.
      coef_max: adaptive: its largest value.
    """

    kind: Literal["none", "bonus", "adaptive"] = "none"
    coef: float = 0.0
    target: float = 0.2
    step: float = 1e-4
    coef_max: float = 5e-3


@dataclass(frozen=True)
class CorrectionConfig:
    """What is done where sampler and trainer disagree (`correction.py`).

    Attributes:
      kind: weight w = trainer / sampler: `none`, `decoupled` (w itself),
        `token_truncate` (min(w, high)), `token_mask` (0 outside low .. high), or
        the same by `sequence`.
      low: below it a mask drops.
      high: above it a mask drops; where truncation cuts.
      sequence_norm: log w of a sequence is the `sum` or the `mean` over tokens.
      kept: what a mask leaves: the `weight`, or `one`.
    """

    kind: CorrectionKind = "token_truncate"
    low: float = 0.0
    high: float = 2.0
    sequence_norm: Literal["sum", "mean"] = "sum"
    kept: Literal["weight", "one"] = "weight"


@dataclass(frozen=True)
class ValueConfig:
    """The critic of `gae` (`value.py`).

    Attributes:
      coef: weight of its loss beside the policy's.
      clip: how far a value may move from the rollout's before its loss is cut; 0
        for no bound.
      at_truncation: value after a completion that was cut off: `zero`, or the
        critic's (`bootstrap`). After an end token it is 0 in any case.
    """

    coef: float = 0.5
    clip: float = 0.2
    at_truncation: Literal["zero", "bootstrap"] = "zero"


@dataclass(frozen=True)
class GroupFilterConfig:
    """Which groups are trained on (`dynamic_sampling.py`).

    Attributes:
      kind: `none`, `drop` (a group without signal has no loss), or `refill`
        (DAPO: sample on until the batch is full).
      on: the verifier's raw `accuracy`, or the shaped `reward`.
      max_rounds: rollouts at most a step, `refill` only.
    """

    kind: Literal["none", "drop", "refill"] = "none"
    on: Literal["accuracy", "reward"] = "accuracy"
    max_rounds: int = 4


@dataclass(frozen=True)
class OverlongConfig:
    """What length does to the reward, in tokens (`overlong.py`).

    Attributes:
      buffer_tokens: DAPO's soft punishment grows from 0 to -`scale` over the last
        so many of `max_new_tokens`; 0 turns it off.
      scale: of the punishment.
      truncated_reward: what `truncated="penalise"` puts in the place of the reward.
    """

    buffer_tokens: int = 0
    scale: float = 1.0
    truncated_reward: float = -1.0


@dataclass(frozen=True)
class ProcessConfig:
    """Scores of steps by a reward model as a dense reward (`process_reward.py`).

    Attributes:
      form: `none`; `potential`, differences of potentials, which leave the best
        policies the best; or `minimum`, the least score from a step on, which is
        another objective (not invariant).
      coef: what a score, in [0, 1], counts; `potential` needs at most 1.
    """

    form: Literal["none", "potential", "minimum"] = "none"
    coef: float = 1.0


@dataclass(frozen=True)
class RlConfig:
    """A reinforcement-learning objective.

    Attributes:
      aggregation: how token losses become one number (`aggregate.py`).
      truncated: completions without an end token: no loss (`mask`; they still count
        in their group's statistics), `overlong.truncated_reward` for a reward
        (`penalise`), or as any other (`keep`).
      rollout: what is sampled.
      advantage: from rewards.
      loss: of the policy.
      kl: to the reference.
      reference: its schedule.
      entropy: bonus.
      correction: between sampler and trainer.
      value: critic, `gae` only.
      group_filter: of prompts without signal.
      overlong: shaping by length.
      process: scores of steps.
      empty_rows: whether rows without a token `count` in the means over sequences
        and groups, or are left out (`skip`).
      epochs: passes over a rollout.
      minibatches: updates a pass.
      allow_biased: names of `refusals.BIASED` that this run does on purpose.
    """

    aggregation: Aggregation
    truncated: Literal["mask", "penalise", "keep"]
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: PolicyLossConfig = field(default_factory=PolicyLossConfig)
    kl: KlConfig = field(default_factory=KlConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    entropy: EntropyConfig = field(default_factory=EntropyConfig)
    correction: CorrectionConfig = field(default_factory=CorrectionConfig)
    value: ValueConfig = field(default_factory=ValueConfig)
    group_filter: GroupFilterConfig = field(default_factory=GroupFilterConfig)
    overlong: OverlongConfig = field(default_factory=OverlongConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    empty_rows: Literal["count", "skip"] = "count"
    epochs: int = 1
    minibatches: int = 1
    allow_biased: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work, and what is biased without saying so."""
        validate(self)

    @property
    def updates_per_rollout(self) -> int:
        """Optimiser steps on one rollout."""
        return self.epochs * self.minibatches

    @property
    def needs_reference(self) -> bool:
        """Whether a reference policy must be kept and scored."""
        return self.kl.coef > 0 or self.loss.kind == "online_dpo"

    @property
    def needs_old_logps(self) -> bool:
        """Whether the trainer must score a rollout before its first update."""
        return self.loss.ratio_base == "old" and self.loss.kind != "online_dpo"

    @property
    def needs_values(self) -> bool:
        """Whether the policy must have a value head."""
        return self.advantage.kind == "gae"
