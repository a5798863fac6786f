# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Expected gradients by enumeration of every group, against autodiff of J."""

import dataclasses
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.config import (
    AdvantageConfig,
    CorrectionConfig,
    EntropyConfig,
    KlConfig,
    PolicyLossConfig,
    RlConfig,
    RolloutConfig,
)
from tests.rl.tabular import Tabular, expected_gradient, objective_gradient

SMALL = Tabular(vocab=3, length=2)  # 7 completions of 1 and 2 tokens
LARGE = Tabular(vocab=3, length=4)  # 31 completions of 1 to 4 tokens
RAW = np.array([0.3, -1.0, 2.0, 0.5, 0.0, 1.5, -0.7])
BINARY = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
OFF = CorrectionConfig(kind="none")


@pytest.fixture(autouse=True)
def _x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def _config(kind="group_centred", group_size=2, loss="reinforce", **changes):
    advantage = {"kind": kind, "eps": 0.0, **changes.pop("advantage", {})}
    options = {
        "aggregation": "seq_mean_token_sum",
        "truncated": "keep",
        "rollout": RolloutConfig(group_size=group_size, max_new_tokens=4),
        "advantage": AdvantageConfig(**advantage),
        "loss": PolicyLossConfig(kind=loss),
        "correction": OFF,
    }
    return RlConfig(**{**options, **changes})


def _close(got, want, rtol=1e-12):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


def test_the_tables_are_what_they_say():
    assert len(SMALL.completions) == 7 and len(LARGE.completions) == 31
    _close(jnp.sum(LARGE.probs(LARGE.init(0))), 1)
    assert sorted(set(LARGE.mask.sum(1))) == [1, 2, 3, 4]


@pytest.mark.parametrize("loss", ["reinforce", "ppo", "cispo"])
@pytest.mark.parametrize("group_size", [2, 3, 4])
def test_leave_one_out_is_the_gradient(group_size, loss):
    theta = SMALL.init(0)
    cfg = _config("leave_one_out", group_size, loss)
    _close(
        expected_gradient(cfg, SMALL, theta, RAW), objective_gradient(SMALL, theta, RAW)
    )


@pytest.mark.parametrize("group_size", [2, 3, 4])
def test_centred_is_the_gradient_but_for_one_in_g(group_size):
    theta = SMALL.init(1)
    got = expected_gradient(_config("group_centred", group_size), SMALL, theta, RAW)
    factor = (group_size - 1) / group_size
    _close(got, factor * objective_gradient(SMALL, theta, RAW))


def test_longer_completions_leave_one_out():
    theta = LARGE.init(2)
    rewards = np.random.default_rng(0).normal(size=31)
    got = expected_gradient(_config("leave_one_out", 2), LARGE, theta, rewards)
    _close(got, objective_gradient(LARGE, theta, rewards))


def test_raw_rewards_of_single_samples_are_the_gradient():
    theta = LARGE.init(2)
    rewards = np.random.default_rng(0).normal(size=31)
    got = expected_gradient(_config("reward", 1), LARGE, theta, rewards)
    _close(got, objective_gradient(LARGE, theta, rewards))


def _sigma_factor(p: float, group_size: int) -> float:
    """E[std-normalised] / grad J: sum over how many of the group are right.

    With k right of G the centred rewards over sigma are sqrt((G-k)/k) for the right
    and -sqrt(k/(G-k)) for the wrong; grad log p of a right sample is grad p / p and
    of a wrong one -grad p / (1 - p).
    """
    total = 0.0
    for k in range(1, group_size):
        chance = math.comb(group_size, k) * p**k * (1 - p) ** (group_size - k)
        right, wrong = math.sqrt((group_size - k) / k), math.sqrt(k / (group_size - k))
        total += chance * (k * right / p + (group_size - k) * wrong / (1 - p))
    return total / group_size


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sigma_with_two_is_the_gradient_for_binary_rewards(seed):
    theta = SMALL.init(seed)
    got = expected_gradient(_config("group_std", 2), SMALL, theta, BINARY)
    _close(got, objective_gradient(SMALL, theta, BINARY))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sigma_with_three_is_root_two_of_it(seed):
    theta = SMALL.init(seed)
    got = expected_gradient(_config("group_std", 3), SMALL, theta, BINARY)
    _close(got, math.sqrt(2) * objective_gradient(SMALL, theta, BINARY))


@pytest.mark.parametrize("group_size", [2, 3, 4])
def test_sigma_s_factor_depends_on_the_success_rate_from_four_on(group_size):
    factors = []
    for seed in (0, 1):
        theta = SMALL.init(seed)
        p = float(jnp.sum(SMALL.probs(theta) * BINARY))
        factor = _sigma_factor(p, group_size)
        got = expected_gradient(_config("group_std", group_size), SMALL, theta, BINARY)
        _close(got, factor * objective_gradient(SMALL, theta, BINARY))
        factors.append(factor)
    same = abs(factors[0] - factors[1]) < 1e-9
    assert same == (group_size < 4)


def test_sigma_s_factor_tends_to_the_arcsine():
    p = 0.3
    assert abs(_sigma_factor(p, 900) - 1 / math.sqrt(p * (1 - p))) < 5e-3


@pytest.mark.parametrize("group_size", [2, 3])
def test_ddof_one_multiplies_by_root_g_minus_one_over_g(group_size):
    theta = SMALL.init(3)
    got = expected_gradient(
        _config("group_std", group_size, advantage={"ddof": 1}), SMALL, theta, RAW
    )
    population = expected_gradient(_config("group_std", group_size), SMALL, theta, RAW)
    _close(got, math.sqrt((group_size - 1) / group_size) * population)


def test_raft_is_the_machinery_with_the_reward_for_an_advantage():
    # d/dtheta of sum_y pi_old(y) r(y) log pi(y), the likelihood of what was right.
    theta = SMALL.init(4)
    old = SMALL.probs(theta)
    want = jax.grad(lambda t: jnp.sum(old * BINARY * jnp.log(SMALL.probs(t))))(theta)
    _close(expected_gradient(_config("reward", 1), SMALL, theta, BINARY), want)


# KL: of one token and of completions of several.


def _token_kl(table, theta, ref_theta, *, reverse: bool, visits) -> jax.Array:
    """KL of each state's tokens, weighed by given visits, which have no gradient."""
    log_p, log_r = jax.nn.log_softmax(theta), jax.nn.log_softmax(ref_theta)
    first, second = (log_p, log_r) if reverse else (log_r, log_p)
    return jnp.sum(visits * jnp.sum(jnp.exp(first) * (first - second), axis=1))


def _visits(table: Tabular, theta) -> jax.Array:
    """How often each state is visited."""
    chance = table.probs(theta)[:, None] * table.mask
    return jnp.zeros(len(table.prefixes)).at[table.states].add(chance)


def _kl_config(estimator, **changes):
    allowed = ("k1_in_loss", "k3_in_reward", "k2_in_reward", "k2_times_ratio")
    kl = KlConfig(coef=1.0, estimator=estimator, **changes)
    return _config("reward", 1, kl=kl, allow_biased=allowed)


@pytest.mark.parametrize("table", [Tabular(vocab=4, length=1), SMALL, LARGE])
def test_the_three_estimators_have_three_gradients(table):
    theta, ref_theta = table.init(5), table.init(6)
    nothing = np.zeros(len(table.completions))
    visits = _visits(table, theta)

    def got(estimator):
        cfg = _kl_config(estimator)
        return -expected_gradient(cfg, table, theta, nothing, ref_theta=ref_theta)

    def want(reverse):
        kl = lambda t: _token_kl(table, t, ref_theta, reverse=reverse, visits=visits)
        return jax.grad(kl)(theta)

    _close(got("k1"), np.zeros(theta.shape))
    _close(got("k2"), want(reverse=True))
    _close(got("k3"), want(reverse=False))
    _close(got("k3_straight_through"), want(reverse=True))
    assert np.abs(want(True) - want(False)).max() > 0.01


def _sequence_kl_gradient(table, theta, ref_theta):
    log_ref = jnp.sum(table.logps(ref_theta), axis=1)

    def kl(theta):
        log_p = jnp.sum(table.logps(theta), axis=1)
        return jnp.sum(jnp.exp(log_p) * (log_p - log_ref))

    return jax.grad(kl)(theta)


@pytest.mark.parametrize("table", [Tabular(vocab=4, length=1), SMALL, LARGE])
def test_k1_in_the_reward_is_the_gradient_of_the_whole_kl(table):
    theta, ref_theta = table.init(5), table.init(6)
    nothing = np.zeros(len(table.completions))
    cfg = _kl_config("k1", place="reward")
    got = -expected_gradient(cfg, table, theta, nothing, ref_theta=ref_theta)
    _close(got, _sequence_kl_gradient(table, theta, ref_theta))


def test_k1_in_the_reward_is_k2_in_the_loss_for_one_token():
    table = Tabular(vocab=4, length=1)
    theta, ref_theta = table.init(5), table.init(6)
    one = expected_gradient(
        _kl_config("k1", place="reward"), table, theta, np.zeros(4), ref_theta=ref_theta
    )
    two = expected_gradient(
        _kl_config("k2"), table, theta, np.zeros(4), ref_theta=ref_theta
    )
    _close(one, two)


def test_k3_in_the_reward_is_off_by_the_term_its_refusal_names():
    # E[s k3] = E[s (e^d - 1 - d)] = grad KL + E[s (e^d - 1)]
    table = Tabular(vocab=4, length=1)
    theta, ref_theta = table.init(5), table.init(6)
    cfg = _kl_config("k3", place="reward")
    got = -expected_gradient(cfg, table, theta, np.zeros(4), ref_theta=ref_theta)
    p, r = table.probs(theta), table.probs(ref_theta)
    extra = jax.grad(lambda t: jnp.sum(jax.lax.stop_gradient(r - p) * _log(table, t)))
    _close(got, _sequence_kl_gradient(table, theta, ref_theta) + extra(theta))
    assert np.abs(extra(theta)).max() > 0.01


def _log(table, theta):
    return jnp.sum(table.logps(theta), axis=1)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_the_ratio_makes_k1_and_k3_right_off_policy(estimator):
    table = SMALL
    theta, old_theta, ref_theta = table.init(5), table.init(7), table.init(6)
    cfg = _kl_config(estimator, weight="ratio")
    got = -expected_gradient(
        cfg, table, theta, np.zeros(7), old_theta=old_theta, ref_theta=ref_theta
    )
    visits = _visits(table, old_theta)
    want = jax.grad(
        lambda t: _token_kl(table, t, ref_theta, reverse=True, visits=visits)
    )(theta)
    _close(got, want)


def test_coefficient_zero_is_no_kl():
    theta, ref_theta = SMALL.init(5), SMALL.init(6)
    cfg = _kl_config("k2")
    cfg = dataclasses.replace(cfg, kl=KlConfig(coef=0.0))
    got = expected_gradient(cfg, SMALL, theta, RAW, ref_theta=ref_theta)
    plain = expected_gradient(_config("reward", 1), SMALL, theta, RAW)
    np.testing.assert_array_equal(got, plain)


# Off policy.


def test_em_s_first_step_is_reinforce_and_its_second_lacks_the_ratio():
    theta, old_theta = SMALL.init(8), SMALL.init(9)
    em = _config("leave_one_out", 2, "reinforce")
    first = expected_gradient(em, SMALL, theta, RAW)
    _close(first, objective_gradient(SMALL, theta, RAW))
    # PPO without bounds off policy: rho A s; EM: A s. Token by token in
    # test_policy_losses; here both against their sums over completions.
    wide = PolicyLossConfig(kind="ppo", clip_eps_low=1.0, clip_eps_high=1e6)
    ppo = dataclasses.replace(em, loss=wide)
    tables = SMALL.logps(old_theta)
    chance = SMALL.probs(old_theta)
    centred = RAW - jnp.sum(chance * RAW)  # E over the other of leave-one-out

    def em_objective(t):
        return jnp.sum(chance * centred * jnp.sum(SMALL.logps(t), axis=1))

    def ppo_objective(t):
        ratio = jnp.where(SMALL.mask, jnp.exp(SMALL.logps(t) - tables), 0)
        return jnp.sum(chance * centred * jnp.sum(ratio, axis=1))

    # REINFORCE with the weight current / sampler is that PPO, by another way.
    weighed = dataclasses.replace(
        em,
        loss=PolicyLossConfig(kind="reinforce", ratio_base="current"),
        correction=CorrectionConfig(kind="decoupled"),
    )
    pairs = ((em, em_objective), (ppo, ppo_objective), (weighed, ppo_objective))
    for cfg, objective in pairs:
        got = expected_gradient(cfg, SMALL, theta, RAW, old_theta=old_theta)
        _close(got, jax.grad(objective)(theta))


def test_whole_sequence_weights_make_old_samples_unbiased():
    # REINFORCE on samples of another policy, times the untruncated product of w.
    theta, sampler_theta = SMALL.init(8), SMALL.init(9)
    loss = PolicyLossConfig(kind="reinforce", ratio_base="current")
    whole = CorrectionConfig(kind="sequence_truncate", high=math.inf)
    cfg = _config("reward", 1, correction=whole)
    cfg = dataclasses.replace(cfg, loss=loss)
    got = expected_gradient(cfg, SMALL, theta, RAW, old_theta=sampler_theta)
    _close(got, objective_gradient(SMALL, theta, RAW))


# Others.


def test_kimi_on_policy_is_the_centred_gradient():
    theta = SMALL.init(1)
    cfg = _config("group_centred", 3, loss="kimi")
    got = expected_gradient(cfg, SMALL, theta, RAW)
    _close(got, 2 / 3 * objective_gradient(SMALL, theta, RAW))


def test_gspo_on_policy_weighs_completions_by_one_over_their_length():
    theta = SMALL.init(1)
    lengths = SMALL.mask.sum(1)
    chance = SMALL.probs(theta)
    cfg = _config(
        "reward", 1, loss="gspo", aggregation="seq_mean_token_mean", allow_biased=()
    )
    # The harness replaces row weights; 1/|o| of a loss that stands at each token is
    # put into the rewards instead.
    got = expected_gradient(cfg, SMALL, theta, RAW / lengths)
    want = jax.grad(
        lambda t: jnp.sum(chance * RAW / lengths * jnp.sum(SMALL.logps(t), axis=1))
    )(theta)
    _close(got, want)


def test_entropy_bonus_is_the_gradient_of_the_visited_entropy():
    theta = SMALL.init(1)
    visits = _visits(SMALL, theta)

    def entropy(theta):
        log_p = jax.nn.log_softmax(theta)
        return jnp.sum(visits * -jnp.sum(jnp.exp(log_p) * log_p, axis=1))

    cfg = _config("reward", 1, entropy=EntropyConfig(kind="bonus", coef=0.3))
    got = expected_gradient(cfg, SMALL, theta, np.zeros(7), entropy_coef=0.3)
    _close(got, 0.3 * jax.grad(entropy)(theta))


def test_a_step_along_the_bonus_raises_a_bandit_s_entropy():
    table = Tabular(vocab=5, length=1)
    theta = table.init(0, scale=2.0)
    cfg = _config("reward", 1, entropy=EntropyConfig(kind="bonus", coef=1.0))
    nothing = np.zeros(5)
    step = expected_gradient(cfg, table, theta, nothing, entropy_coef=1.0)

    def entropy(theta):
        p = table.probs(theta)
        return -float(jnp.sum(p * jnp.log(p)))

    assert entropy(theta + 0.1 * step) > entropy(theta) + 1e-3


def test_group_advantages_sum_to_zero():
    # One prompt's gradient does not change when a constant is added to rewards.
    theta = SMALL.init(2)
    for kind in ("group_centred", "leave_one_out", "group_std", "batch_std"):
        cfg = _config(kind, 2)
        plain = expected_gradient(cfg, SMALL, theta, RAW)
        _close(expected_gradient(cfg, SMALL, theta, RAW + 5), plain, 1e-9)
