# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import re
from dataclasses import replace

import pytest

from lrm_jax.config import apply_overrides, from_dict, from_json, to_dict, to_json
from lrm_jax.rl.config import CorrectionConfig, RlConfig, RolloutConfig
from lrm_jax.rl.refusals import BIASED, check_tokens, found_biases
from lrm_jax.rl.variants import VARIANTS, variant
from lrm_jax.types import UserError

BASE = RlConfig(aggregation="token_mean", truncated="keep")

WRONG = {
    "k1_in_loss": ["kl.coef=0.1", "kl.estimator=k1"],
    "k2_in_reward": ["kl.coef=0.1", "kl.estimator=k2", "kl.place=reward"],
    "k3_in_reward": ["kl.coef=0.1", "kl.estimator=k3", "kl.place=reward"],
    "k2_times_ratio": ["kl.coef=0.1", "kl.estimator=k2", "kl.weight=ratio"],
    "kl_in_group_std": [
        *("kl.coef=0.1", "kl.estimator=k1", "kl.place=reward"),
        "advantage.kind=group_std",
    ],
    "top_p_without_replay": ["rollout.top_p=0.9"],
    "top_k_without_replay": ["rollout.top_k=50"],
    "min_p_without_replay": ["rollout.min_p=0.1"],
    "dr_grpo_with_std": ["aggregation=constant", "advantage.kind=group_std"],
    "sequence_ratio_with_token_correction": [
        *("loss.kind=gspo", "aggregation=seq_mean_token_mean"),
        "correction.kind=token_truncate",
    ],
    "sequence_ratio_by_token": ["loss.kind=gspo", "correction.kind=none"],
    "sequence_sum_by_token": ["loss.kind=kimi"],
    "filter_on_shaped_reward": ["group_filter.kind=drop", "group_filter.on=reward"],
    "off_policy_without_ratio": ["loss.kind=reinforce", "epochs=2"],
    "current_ratio_off_policy": [
        *("loss.ratio_base=current", "minibatches=4", "correction.kind=none"),
    ],
    "stale_without_correction": ["rollout.max_staleness=1", "correction.kind=none"],
    "bootstrap_of_penalised": [
        *("advantage.kind=gae", "value.at_truncation=bootstrap"),
        "truncated=penalise",
    ],
}


def test_every_refusal_has_an_example():
    assert set(WRONG) == set(BIASED)


@pytest.mark.parametrize("name", BIASED)
def test_a_biased_combination_is_refused_unless_it_is_named(name):
    with pytest.raises(UserError) as caught:
        apply_overrides(BASE, WRONG[name])
    assert f"allow_biased={name}" in str(caught.value)
    assert "\n" not in str(caught.value)
    allowed = apply_overrides(BASE, [*WRONG[name], f"allow_biased={name}"])
    assert found_biases(allowed) == [name]
    assert to_dict(allowed)["allow_biased"] == [name]  # the run's config shows it


def test_current_over_sampler_corrects_later_updates():
    updates = ["loss.ratio_base=current", "epochs=2"]
    apply_overrides(BASE, updates)
    apply_overrides(BASE, [*updates, "loss.kind=reinforce"])


def test_a_ratio_to_the_sampler_corrects_old_weights():
    stale = ["rollout.max_staleness=2", "correction.kind=none"]
    apply_overrides(BASE, [*stale, "loss.ratio_base=sampler"])
    apply_overrides(BASE, [stale[0], "loss.kind=reinforce"])
    with pytest.raises(UserError, match="stale_without_correction"):
        apply_overrides(BASE, [*stale, "loss.kind=reinforce"])


def test_variants_with_old_weights_are_judged_as_a_whole():
    stale = RolloutConfig(max_staleness=1)
    assert variant("online_dpo", stale).rollout == stale
    with pytest.raises(UserError, match="stale_without_correction"):
        variant("grpo", stale)
    corrected = replace(variant("grpo"), rollout=stale, correction=CorrectionConfig())
    assert found_biases(corrected) == []


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'k1_in_loss'"):
        dataclasses.replace(BASE, allow_biased=("k1_in_los",))


def test_a_name_that_excuses_nothing_does_no_harm():
    assert found_biases(dataclasses.replace(BASE, allow_biased=("k1_in_loss",))) == []


@pytest.mark.parametrize("kind", ["group_centred", "group_std", "leave_one_out"])
def test_a_group_of_one_has_no_group_advantage(kind):
    with pytest.raises(UserError, match="group_size=1.*at least 2"):
        apply_overrides(BASE, ["rollout.group_size=1", f"advantage.kind={kind}"])
    for other in ("reward", "reinforce_pp", "gae"):
        apply_overrides(BASE, ["rollout.group_size=1", f"advantage.kind={other}"])


IMPOSSIBLE = [
    (["rollout.temperature=0"], "rollout.temperature=0.*more than 0"),
    (["rollout.top_p=1.5"], "top_p=1.5.*at most 1"),
    (["rollout.max_staleness=-1"], "max_staleness=-1.*0 or more"),
    (["rollout.max_staleness=1", "group_filter.kind=refill"], "max_staleness=1: group"),
    (["rollout.n_prompts=0"], "n_prompts=0.*more than 0"),
    (["loss.clip_eps_low=-0.1"], "clip_eps_low=-0.1.*0 or more"),
    (["loss.clip_eps_low=1.5"], "clip_eps_low=1.5.*at most 1"),
    (["loss.negative_cap=1.1"], "negative_cap=1.1.*more than 1"),
    (["kl.coef=nan"], "kl.coef=nan.*finite"),
    (["kl.coef=-1"], "kl.coef=-1.*0 or more"),
    (
        ["kl.coef=1", "kl.estimator=k1", "kl.place=reward", "kl.weight=ratio"],
        "kl.weight=ratio",
    ),
    (["loss.ratio_base=sampler"], "correction.kind=token_truncate.*expected none"),
    (["reference.kind=reset"], "reference.kind=reset.*expected fixed"),
    (["advantage.length_adaptive_alpha=0.05"], "unless advantage.kind=gae"),
    (["correction.low=3"], "correction.low=3.0, high=2.0"),
    (["overlong.buffer_tokens=300"], "buffer_tokens=300.*at most"),
    (["minibatches=3"], "minibatches=3.*divisor"),
    (["entropy.coef=0.1"], "entropy.kind=none ignores it"),
    (["entropy.kind=adaptive", "entropy.coef=1"], "entropy.coef=1.*at most"),
    (["advantage.gamma=1.1"], "gamma=1.1.*at most 1"),
    (["loss.kind=online_dpo"], "advantage.kind=group_centred: online_dpo"),
    (["aggregation=mean"], "aggregation='mean'"),
]


@pytest.mark.parametrize(("overrides", "message"), IMPOSSIBLE)
def test_what_cannot_work_is_refused_whatever_is_allowed(overrides, message):
    allowed = dataclasses.replace(BASE, allow_biased=tuple(BIASED))
    with pytest.raises(UserError, match=message) as caught:
        apply_overrides(allowed, overrides)
    assert "\n" not in str(caught.value)


def test_online_dpo_says_what_has_no_effect():
    good = variant("online_dpo")
    for override, message in (
        ("advantage.kind=group_std", "advantages would have no effect"),
        ("aggregation=token_mean", "seq_mean_token_sum"),
        ("correction.kind=token_truncate", "expected none"),
        ("kl.coef=0.1", "dpo_beta"),
        ("rollout.group_size=1", "needs a pair"),
    ):
        with pytest.raises(UserError, match=message):
            apply_overrides(good, [override])


def test_aggregation_and_truncation_have_no_default():
    with pytest.raises(UserError, match="missing key 'aggregation'"):
        from_dict(RlConfig, {"truncated": "keep"})
    with pytest.raises(UserError, match="missing key 'truncated'"):
        from_dict(RlConfig, {"aggregation": "token_mean"})
    with pytest.raises(TypeError):
        RlConfig()  # pyright: ignore


def test_tokens_whose_end_cannot_be_told():
    good = {"pad_id": 0, "end_ids": (1, 2), "vocab_size": 3, "has_mask": True}
    check_tokens(**good)
    check_tokens(**{**good, "pad_id": 1})  # ours come with a mask
    for change, message in (
        ({"end_ids": ()}, "end_ids=()"),
        ({"end_ids": (3,)}, "from 0 to 2"),
        ({"pad_id": -1}, "pad_id=(-1,)"),
        ({"pad_id": 1, "has_mask": False}, "pad_id=1 is also an end id"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            check_tokens(**{**good, **change})


@pytest.mark.parametrize("name", VARIANTS)
def test_presets_are_valid_and_survive_json(name):
    cfg = variant(name, RolloutConfig(n_prompts=4, group_size=4, max_new_tokens=20))
    assert from_json(RlConfig, to_json(cfg)) == cfg
    assert set(found_biases(cfg)) == set(cfg.allow_biased)
    doc = VARIANTS[name].__doc__
    assert doc and re.search(r"arXiv \d{4}\.\d{5}", doc)


def test_the_presets_people_ask_for_are_there():
    wanted = """grpo dr_grpo dapo gspo cispo rloo reinforce_pp reinforce_pp_baseline
    ppo raft raft_pp em_pg kimi online_dpo lite_ppo magistral skywork""".split()
    assert set(wanted) <= set(VARIANTS)
    with pytest.raises(UserError, match="variant='grp'.*dr_grpo"):
        variant("grp")


def test_only_em_runs_biased():
    biased = {name for name in VARIANTS if variant(name).allow_biased}
    assert biased == {"em_pg"}


def test_what_a_config_needs():
    assert not BASE.needs_reference and BASE.needs_old_logps
    assert variant("grpo").needs_reference and variant("online_dpo").needs_reference
    assert variant("ppo").needs_values and not variant("grpo").needs_values
    assert not apply_overrides(BASE, ["loss.ratio_base=current"]).needs_old_logps
    assert variant("em_pg").updates_per_rollout == 2
