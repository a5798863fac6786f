# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published algorithms by name, each with its source and how it differs here.

A preset fixes the objective (and the paper's coefficients where it prints them); it
leaves the sizes of a rollout, learning rates and lengths to the run. Sampler
correction is off unless the paper has one. The fate of truncated completions is
`keep` unless the paper says otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from lrm_jax.rl.config import (
    AdvantageConfig,
    Aggregation,
    CorrectionConfig,
    EntropyConfig,
    GroupFilterConfig,
    KlConfig,
    OverlongConfig,
    PolicyLossConfig,
    ReferenceConfig,
    RlConfig,
    RolloutConfig,
    ValueConfig,
)
from lrm_jax.types import UserError

ROLLOUT = RolloutConfig()
REINFORCE = PolicyLossConfig(kind="reinforce", ratio_base="current")
"""No ratio, so no log-probs of an older policy."""
SYMMETRIC = PolicyLossConfig(clip_eps_low=0.2, clip_eps_high=0.2)
"""PPO's clip: .2 on both sides."""


def _published(rollout: RolloutConfig, aggregation: Aggregation) -> RlConfig:
    """Return what holds unless a paper says otherwise."""
    off = CorrectionConfig(kind="none")
    return RlConfig(aggregation, rollout=rollout, truncated="keep", correction=off)


def grpo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """GRPO, DeepSeekMath (arXiv 2402.03300 eq. 3, 4): A / sigma, 1/|o|, k3 in the loss.

    beta .04 and G 64 as there; R1-Zero (arXiv 2501.12948) has beta .001, G 16 and a
    reference replaced every 400 steps (`r1_zero`).
    """
    return replace(
        _published(rollout, "seq_mean_token_mean"),
        advantage=AdvantageConfig(kind="group_std"),
        loss=SYMMETRIC,
        kl=KlConfig(coef=0.04, estimator="k3"),
    )


def r1_zero(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """DeepSeek-R1-Zero (arXiv 2501.12948): GRPO with clip 10 and reference resets.

    An upper clip of 10 and beta .001. Its lower bound is off (1 - 10 < 0).
    """
    return replace(
        grpo(rollout),
        loss=PolicyLossConfig(clip_eps_low=1.0, clip_eps_high=10.0),
        kl=KlConfig(coef=0.001, estimator="k3"),
        reference=ReferenceConfig(kind="reset", every=400),
        minibatches=16 if rollout.n_prompts * rollout.group_size % 16 == 0 else 1,
    )


def dr_grpo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """Dr. GRPO (arXiv 2503.20783): no sigma, no 1/|o| but a constant, no KL."""
    return replace(
        _published(rollout, "constant"),
        advantage=AdvantageConfig(kind="group_centred"),
        loss=SYMMETRIC,
    )


def dapo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """DAPO (arXiv 2503.14476): clip-higher, refilled batches, token mean, overlong.

    The token mean is over the global batch, as its code has it (the paper's eq. 8
    is per group: `aggregation="group_token_mean"`). The punishment's buffer is a
    fifth of the longest completion, as 4,096 of 20,480 there.
    """
    return replace(
        _published(rollout, "token_mean"),
        advantage=AdvantageConfig(kind="group_std"),
        loss=PolicyLossConfig(clip_eps_low=0.2, clip_eps_high=0.28),
        group_filter=GroupFilterConfig(kind="refill"),
        overlong=OverlongConfig(buffer_tokens=rollout.max_new_tokens // 5),
    )


def gspo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """GSPO (arXiv 2507.18071 eq. 5): the ratio of the sequence, clip 3e-4 / 4e-4."""
    return replace(
        _published(rollout, "seq_mean_token_mean"),
        advantage=AdvantageConfig(kind="group_std"),
        loss=PolicyLossConfig(kind="gspo", clip_eps_low=3e-4, clip_eps_high=4e-4),
    )


def cispo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """CISPO, MiniMax-M1 (arXiv 2506.13585 eq. 4): clipped ratio as a weight.

    No lower bound; the paper does not print its upper one. 5 is ScaleRL's (arXiv
    2510.13786), that is eps_high = 4. No KL.
    """
    return replace(
        _published(rollout, "token_mean"),
        advantage=AdvantageConfig(kind="group_std"),
        loss=PolicyLossConfig(kind="cispo", clip_eps_low=1.0, clip_eps_high=4.0),
    )


def gmpo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """GMPO (arXiv 2507.20673): geometric mean of ratios in exp(+-.4)."""
    return replace(
        _published(rollout, "seq_mean_token_mean"),
        advantage=AdvantageConfig(kind="group_std"),
        loss=PolicyLossConfig(kind="gmpo", clip_eps_low=0.4, clip_eps_high=0.4),
    )


def rloo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """RLOO (arXiv 2402.14740): REINFORCE against the mean of the others.

    The paper's KL is in the reward (k1); its weight is per task, here .05.
    """
    return replace(
        _published(rollout, "seq_mean_token_sum"),
        advantage=AdvantageConfig(kind="leave_one_out"),
        loss=REINFORCE,
        kl=KlConfig(coef=0.05, estimator="k1", place="reward"),
    )


def reinforce_pp(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """REINFORCE++ (arXiv 2501.03262): k1 to go, normalised over the batch.

    PPO's clip; a value-free PPO with gamma = 1. beta .01 (the paper varies it).
    """
    return replace(
        _published(rollout, "token_mean"),
        advantage=AdvantageConfig(kind="reinforce_pp", eps=1e-8),
        loss=SYMMETRIC,
        kl=KlConfig(coef=0.01, estimator="k1", place="reward"),
    )


def reinforce_pp_baseline(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """REINFORCE++-baseline (arXiv 2501.03262): group mean first, k2 in the loss."""
    return replace(
        reinforce_pp(rollout),
        advantage=AdvantageConfig(kind="reinforce_pp_baseline", eps=1e-8),
        kl=KlConfig(coef=0.01, estimator="k2", place="loss"),
    )


def ppo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """PPO (arXiv 1707.06347) as Open-Reasoner-Zero (arXiv 2503.24290) sets it.

    gamma = lambda = 1, no KL, whitened advantages, value clip .2. One optimiser for
    policy and critic here (12 critic updates to one of the policy there).
    """
    return replace(
        _published(rollout, "token_mean"),
        advantage=AdvantageConfig(kind="gae", whiten="tokens"),
        loss=SYMMETRIC,
    )


def vapo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """VAPO (arXiv 2504.05118): decoupled and length-adaptive GAE, clip-higher.

    Without value pretraining and the likelihood term on right completions.
    """
    return replace(
        ppo(rollout),
        advantage=AdvantageConfig(
            kind="gae", critic_lambda=1.0, length_adaptive_alpha=0.05
        ),
        loss=PolicyLossConfig(clip_eps_low=0.2, clip_eps_high=0.28),
        value=ValueConfig(clip=0.0),
    )


def raft(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """RAFT (arXiv 2304.06767, as in 2504.11343): likelihood of what was right.

    With 0/1 rewards A = r is the selection; divided by all tokens sampled, not by
    those of the selected ones.
    """
    return replace(
        _published(rollout, "token_mean"),
        advantage=AdvantageConfig(kind="reward"),
        loss=REINFORCE,
    )


def raft_pp(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """RAFT++ (arXiv 2504.11343): RAFT with the ratio and its clip."""
    return replace(raft(rollout), loss=SYMMETRIC)


def reinforce_rej(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """Reinforce-Rej (arXiv 2504.11343): drop all-right and all-wrong groups.

    Policy gradient on the raw reward of the other prompts, with ratio and clip.
    """
    return replace(raft_pp(rollout), group_filter=GroupFilterConfig(kind="drop"))


def em_pg(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """EM policy gradient (arXiv 2504.18587): the M-step has no ratio and no clip.

    Its several passes over a rollout (two here) are off policy on purpose, which
    `allow_biased` shows.
    """
    return replace(
        _published(rollout, "seq_mean_token_sum"),
        advantage=AdvantageConfig(kind="group_centred"),
        loss=REINFORCE,
        epochs=2,
        allow_biased=("off_policy_without_ratio",),
    )


def kimi(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """Kimi k1.5 (arXiv 2501.12599 section 2.3.2): mirror descent, mean for log Z.

    tau is not published: .1. The optimiser state is not reset between iterations.
    """
    return replace(
        _published(rollout, "seq_mean_token_sum"),
        advantage=AdvantageConfig(kind="group_centred"),
        loss=PolicyLossConfig(kind="kimi", tau=0.1),
    )


def online_dpo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """Online DPO (arXiv 2402.04792): best against worst of a group, by the verifier."""
    return replace(
        _published(rollout, "seq_mean_token_sum"),
        advantage=AdvantageConfig(kind="reward"),
        loss=PolicyLossConfig(kind="online_dpo", dpo_beta=0.1),
    )


def lite_ppo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """Lite PPO (arXiv 2508.08221): group mean, batch sigma, token mean; no more tricks.

    sigma is of the centred rewards (there of the rewards).
    """
    return replace(
        _published(rollout, "token_mean"),
        advantage=AdvantageConfig(kind="batch_std"),
        loss=SYMMETRIC,
    )


def magistral(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """Magistral (arXiv 2506.10910 section 2): per-group tokens, batch sigma, no KL.

    sigma over the whole batch, not a minibatch; eps_high .28 of its .26 to .28.
    """
    return replace(
        _published(rollout, "group_token_mean"),
        advantage=AdvantageConfig(kind="batch_std"),
        loss=PolicyLossConfig(clip_eps_low=0.2, clip_eps_high=0.28),
        group_filter=GroupFilterConfig(kind="drop"),
        empty_rows="skip",
    )


def skywork(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """Skywork-OR1, MAGIC (arXiv 2505.22312): adaptive entropy, token mean, no KL.

    Target .2 nats, step 1e-4, at most 5e-3 (its 7B script); groups without signal
    are dropped; truncated completions stay in the loss.
    """
    return replace(
        _published(rollout, "token_mean"),
        advantage=AdvantageConfig(kind="group_std"),
        loss=SYMMETRIC,
        entropy=EntropyConfig(kind="adaptive", target=0.2, step=1e-4, coef_max=5e-3),
        group_filter=GroupFilterConfig(kind="drop"),
    )


def mimo(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """MiMo-7B (arXiv 2505.07608): per-group tokens, clip-higher, refill.

    Without its test-difficulty reward and easy-data pool.
    """
    return replace(
        dapo(rollout), aggregation="group_token_mean", overlong=OverlongConfig()
    )


def intellect_2(rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """INTELLECT-2 (arXiv 2505.07291): GRPO with a two-sided clip, delta 4."""
    return replace(
        grpo(rollout),
        aggregation="token_mean",
        loss=replace(SYMMETRIC, negative_cap=4.0),
        kl=KlConfig(coef=0.001, estimator="k3"),
    )


VARIANTS: Mapping[str, Callable[[RolloutConfig], RlConfig]] = {
    build.__name__: build
    for build in (
        *(grpo, r1_zero, dr_grpo, dapo, gspo, cispo, gmpo, rloo, reinforce_pp),
        *(reinforce_pp_baseline, ppo, vapo, raft, raft_pp, reinforce_rej, em_pg),
        *(kimi, online_dpo, lite_ppo, magistral, skywork, mimo, intellect_2),
    )
}
"""Every preset by its name."""


def variant(name: str, rollout: RolloutConfig = ROLLOUT) -> RlConfig:
    """Return the preset of a name; refuse an unknown one with the list."""
    if name not in VARIANTS:
        raise UserError(f"variant={name!r}: expected one of {', '.join(VARIANTS)}")
    built = VARIANTS[name](replace(rollout, max_staleness=0))
    return replace(built, rollout=rollout)  # refused only now: as a whole
