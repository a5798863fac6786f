# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a scored rollout to a batch: what each choice does to advantages and mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.config import apply_overrides
from lrm_jax.rl.batch import Rollout, prepare_batch
from lrm_jax.rl.config import RlConfig, RolloutConfig
from lrm_jax.rl.metric_names import TRL_NAMES, to_trl
from lrm_jax.rl.objective import loss_denominator, policy_loss

# Two prompts of two completions, of 3, 1, 2 and 2 tokens; the third was cut off.
LENGTHS = np.array([3, 1, 2, 2])
MASK = np.arange(3)[None, :] < LENGTHS[:, None]
LOGPS = np.full((4, 3), -1.0, np.float32)
ROLLOUT = Rollout(
    mask=MASK,
    sampler_logps=LOGPS,
    rewards=np.array([1, 0, 1, 1]),  # as a host has them: integers
    accuracy=np.array([1, 0, 1, 1]),
    truncated=np.array([False, False, True, False]),
    lengths=LENGTHS,
    old_logps=LOGPS,
    ref_logps=LOGPS - np.array([[0.1], [0.2], [0.3], [0.4]], np.float32),
    values=np.full((4, 3), 0.25, np.float32),
    last_values=np.full(4, 0.5, np.float32),
)
BASE = RlConfig(
    aggregation="token_mean",
    truncated="keep",
    rollout=RolloutConfig(n_prompts=2, group_size=2, max_new_tokens=4),
)


def _prepare(*overrides, rollout=ROLLOUT):
    return prepare_batch(apply_overrides(BASE, overrides), rollout)


def _advantages(*overrides, rollout=ROLLOUT):
    return np.asarray(_prepare(*overrides, rollout=rollout).batch.advantages)


def test_group_advantages_stand_at_each_token():
    got = _advantages()
    np.testing.assert_allclose(got, [[0.5] * 3, [-0.5, 0, 0], [0] * 3, [0] * 3])


def test_truncated_completions():
    kept = _prepare().batch
    masked = _prepare("truncated=mask").batch
    np.testing.assert_array_equal(kept.mask, MASK)
    np.testing.assert_array_equal(masked.mask.sum(1), [3, 1, 0, 2])
    # Their reward still counts for the others of the group.
    np.testing.assert_array_equal(masked.advantages[3], 0)
    penalised = _advantages("truncated=penalise")
    np.testing.assert_allclose(penalised[2:, 0], [-1, 1])


def test_overlong_penalty_counts_tokens():
    # max 4, buffer 2: lengths 3, 1, 2, 2 lose .5, 0, 0, 0
    got = _advantages("overlong.buffer_tokens=2")
    np.testing.assert_allclose(got[:2, 0], [0.25, -0.25])


def test_groups_without_signal_are_dropped_by_accuracy():
    batch = _prepare("group_filter.kind=drop").batch
    np.testing.assert_array_equal(batch.mask.sum(1), [3, 1, 0, 0])
    # Equal accuracy but another length penalty: still no signal.
    options = ["group_filter.kind=drop", "overlong.buffer_tokens=3"]
    cut = ROLLOUT._replace(lengths=np.array([3, 1, 4, 1]))
    batch = _prepare(*options, rollout=cut).batch
    np.testing.assert_array_equal(batch.mask.sum(1), [3, 1, 0, 0])
    options += ["group_filter.on=reward", "allow_biased=filter_on_shaped_reward"]
    batch = _prepare(*options, rollout=cut).batch
    np.testing.assert_array_equal(batch.mask, MASK)


def test_filler_groups_count_nowhere():
    filled = ROLLOUT._replace(valid_groups=np.array([True, False]))
    prepared = _prepare("aggregation=seq_mean_token_mean", rollout=filled)
    np.testing.assert_array_equal(prepared.batch.row_counts, [1, 1, 0, 0])
    assert not prepared.batch.mask[2:].any()
    total, weight = prepared.metrics["reward/mean"]
    assert (total, weight) == (1, 2)


def test_kl_in_the_reward():
    # k1 = log p - log r = .1, .2, .3, .4 a token
    options = ["kl.coef=1", "kl.estimator=k1", "kl.place=reward"]
    got = _advantages(*options, "advantage.kind=reward")
    np.testing.assert_allclose(got[:, 0], [1 - 0.3, -0.2, 1 - 0.6, 1 - 0.8], atol=1e-6)
    # REINFORCE++: only what is still to come, normalised over the batch
    got = _advantages(*options, "advantage.kind=reinforce_pp", "advantage.eps=0")
    raw = np.array([[0.7, 0.8, 0.9], [-0.2, 0, 0], [0.4, 0.7, 0], [0.2, 0.6, 0]])
    kept = raw[MASK]
    want = (raw - kept.mean()) / kept.std()
    np.testing.assert_allclose(got, np.where(MASK, want, 0), atol=1e-5)


def test_kl_in_the_reward_on_the_way_to_gae():
    # delta_t = -.1 + V' - V with gamma = 1, lambda = 0; 1 and no V' at the end
    got = _prepare(
        *("kl.coef=1", "kl.estimator=k1", "kl.place=reward"),
        *("advantage.kind=gae", "advantage.actor_lambda=0"),
    ).batch
    np.testing.assert_allclose(
        got.advantages[0], [-0.1, -0.1, 1 - 0.1 - 0.25], atol=1e-6
    )
    np.testing.assert_allclose(got.returns[0], [0.7, 0.8, 0.9], atol=1e-6)


def test_bootstrap_only_after_truncation():
    options = ["advantage.kind=gae", "value.at_truncation=bootstrap"]
    got = _prepare(*options).batch
    np.testing.assert_allclose(got.returns[:, 0], [1, 0, 1.5, 1])
    np.testing.assert_allclose(_prepare(options[0]).batch.returns[:, 0], [1, 0, 1, 1])


def test_length_adaptive_lambda_uses_each_row_s_length():
    # alpha .5: lambda = 1/3, 0, 0 for lengths 3, 1, 2; deltas 0, 0, .75
    got = _advantages("advantage.kind=gae", "advantage.length_adaptive_alpha=0.5")
    np.testing.assert_allclose(got[0], [0.75 / 9, 0.75 / 3, 0.75], atol=1e-6)
    np.testing.assert_allclose(got[3, :2], [0, 0.75], atol=1e-6)


def test_whitening():
    got = _advantages("advantage.kind=reward", "advantage.whiten=tokens")[MASK]
    np.testing.assert_allclose([got.mean(), got.std()], [0, 1], atol=1e-6)


def test_online_dpo_takes_pairs():
    options = ["loss.kind=online_dpo", "aggregation=seq_mean_token_sum"]
    options += ["advantage.kind=reward", "correction.kind=none"]
    prepared = _prepare(*options)
    np.testing.assert_array_equal(prepared.rows[:2], [0, 1])
    np.testing.assert_array_equal(prepared.batch.row_counts, [0.5, 0.5, 0, 0])
    total, weight = prepared.metrics["dpo/valid_pairs_mean"]
    assert (total, weight) == (1, 2)
    cfg = apply_overrides(BASE, options)
    loss = policy_loss(
        cfg, LOGPS, prepared.batch, denominators=loss_denominator(prepared.batch)
    )
    # D = .3 for the chosen, .2 for the rejected one; beta .1
    np.testing.assert_allclose(loss.loss, np.log1p(np.exp(-0.01)), rtol=1e-6)
    assert loss.metrics["dpo/accuracy_mean"] == (1, 1)


def test_metrics_of_the_rollout():
    metrics = _prepare("truncated=penalise").metrics
    got = {name: float(s / w) for name, (s, w) in metrics.items()}
    want = {
        "reward/mean": 0.25,
        "reward/std": 0.75,  # of 1, 0 and of -1, 1
        "reward/frac_zero_std": 0,
        "reward/accuracy": 0.75,
        "groups/no_signal_mean": 0.5,
        "completions/mean_length": 2,
        "completions/clipped_ratio": 0.25,
        "completions/mean_terminated_length": 2,
        "advantage/abs_mean": (4 * 0.5 + 4 * 1) / 8,
    }
    assert got == pytest.approx(want)
    zero = _prepare().metrics["reward/frac_zero_std"]
    assert zero == (1, 2)


def test_trl_s_names_are_of_metrics_that_exist():
    prepared = _prepare()
    result = policy_loss(
        BASE,
        LOGPS,
        prepared.batch,
        denominators=loss_denominator(prepared.batch),
        entropy=LOGPS,
    )
    ours = prepared.metrics.keys() | result.metrics.keys() | result.extremes.keys()
    assert set(TRL_NAMES) <= ours
    assert all(name.count("/") == 1 for name in ours)
    assert to_trl({"reward/mean": 1.0, "loss/policy": 2.0}) == {
        "reward": 1.0,
        "loss/policy": 2.0,
    }


@pytest.mark.parametrize(
    ("overrides", "drop", "message"),
    [
        (
            ["kl.coef=1", "kl.estimator=k1", "kl.place=reward"],
            "ref_logps",
            "rollout.ref_logps",
        ),
        (["advantage.kind=gae"], "values", "rollout.values"),
        (
            ["advantage.kind=gae", "value.at_truncation=bootstrap"],
            "last_values",
            "rollout.last_values",
        ),
    ],
)
def test_a_missing_part_is_named(overrides, drop, message):
    with pytest.raises(ValueError, match=message):
        _prepare(*overrides, rollout=ROLLOUT._replace(**{drop: None}))


def test_a_batch_can_be_prepared_under_jit():
    for overrides in ([], ["advantage.kind=gae"], ["advantage.kind=reinforce_pp"]):
        cfg = apply_overrides(BASE, overrides)
        eager = prepare_batch(cfg, ROLLOUT)
        jitted = jax.jit(prepare_batch, static_argnums=0)(cfg, ROLLOUT)
        for one, two in zip(*map(jax.tree.leaves, (eager, jitted)), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)
            assert jnp.asarray(one).dtype == two.dtype
