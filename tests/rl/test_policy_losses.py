# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl import policy_losses as pl
from lrm_jax.rl.config import PolicyLossConfig

CLIP = {"eps_low": 0.2, "eps_high": 0.28}


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope"),
    [
        # slope: of the objective in the ratio
        (1.0, 2.0, 2.0, 2.0),
        (1.2, 2.0, 2.4, 2.0),
        (1.5, 2.0, 2.56, 0.0),  # clipped high
        (0.5, 2.0, 1.0, 2.0),  # below the bound, but pessimism keeps it
        (1.5, -2.0, -3.0, -2.0),  # above the bound, kept
        (0.5, -2.0, -1.6, 0.0),  # clipped low
        (0.9, -2.0, -1.8, -2.0),
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_ppo_by_hand(ratio, advantage, objective, slope):
    run = lambda r: pl.clipped_loss(r, jnp.array(advantage), **CLIP)
    value, grad = jax.value_and_grad(run)(jnp.array(ratio))
    np.testing.assert_allclose([-value, -grad], [objective, slope], atol=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope"),
    [
        (2.0, -1.0, -2.0, -1.0),
        (5.0, -1.0, -3.0, 0.0),  # capped
        (5.0, 1.0, 1.28, 0.0),  # as before
        (0.5, -1.0, -0.8, 0.0),  # as before
    ],
)
def test_dual_clip_by_hand(ratio, advantage, objective, slope):
    run = lambda r: pl.clipped_loss(r, jnp.array(advantage), **CLIP, negative_cap=3.0)
    value, grad = jax.value_and_grad(run)(jnp.array(ratio))
    np.testing.assert_allclose([-value, -grad], [objective, slope], atol=1e-6)


def test_dual_clip_is_the_two_sided_clip():
    rng = np.random.default_rng(0)
    ratio = np.exp(rng.normal(0, 2, 1000)).astype(np.float32)
    advantages = rng.normal(size=1000).astype(np.float32)
    got = pl.clipped_loss(ratio, advantages, **CLIP, negative_cap=4.0)
    # INTELLECT-2 as printed: min(min(rho, delta) A, clip(rho) A)
    clipped = np.clip(ratio, 0.8, 1.28) * advantages
    want = -np.minimum(np.minimum(ratio, 4) * advantages, clipped)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def _random(seed=0, shape=(5, 6), spread=0.4):
    rng = np.random.default_rng(seed)
    logps = jnp.array(rng.normal(-1, 1, shape))
    old = logps + jnp.array(rng.normal(0, spread, shape))
    advantages = jnp.array(np.repeat(rng.normal(size=(shape[0], 1)), shape[1], 1))
    mask = jnp.arange(shape[1])[None, :] < jnp.array(rng.integers(1, 7, (shape[0], 1)))
    return logps, old, advantages, mask


def _run(kind, logps, old, advantages, mask, **options):
    """Sum over tokens of the loss, its gradient and the rest."""
    cfg = PolicyLossConfig(kind=kind, **options)

    def total(logps):
        result = pl.token_losses(cfg, logps, old, advantages, mask)
        return jnp.sum(jnp.where(mask, result.losses, 0)), result

    (_, result), grad = jax.value_and_grad(total, has_aux=True)(logps)
    return result, np.asarray(grad)


def test_cispo_differs_from_ppo_where_the_ratio_is_out_of_bounds_only():
    arrays = _random()
    mask = np.asarray(arrays[-1])
    cispo, cispo_grad = _run("cispo", *arrays, clip_eps_low=0.2, clip_eps_high=0.28)
    ppo, ppo_grad = _run("ppo", *arrays, clip_eps_low=0.2, clip_eps_high=0.28)
    ratio = np.asarray(ppo.ratio)
    outside = (ratio < 0.8) | (ratio > 1.28)
    same = np.isclose(cispo_grad, ppo_grad, rtol=1e-6)
    np.testing.assert_array_equal(same[mask], ~outside[mask])
    assert outside[mask].any() and (~outside[mask]).any()
    # Where PPO clips, it has no gradient; CISPO keeps the bound's.
    clipped = np.asarray(ppo.clipped_low | ppo.clipped_high)
    np.testing.assert_array_equal(ppo_grad[clipped], 0)
    bound = np.clip(ratio, 0.8, 1.28) * -np.asarray(arrays[2])
    np.testing.assert_allclose(cispo_grad[mask], bound[mask], rtol=1e-6)
    np.testing.assert_array_equal(cispo.clipped_high, ppo.clipped_high)


def test_cispo_without_a_lower_bound():
    arrays = _random(spread=2.0)
    result, grad = _run("cispo", *arrays, clip_eps_low=1.0, clip_eps_high=4.0)
    mask = np.asarray(arrays[-1])
    assert not result.clipped_low.any()
    want = -np.minimum(result.ratio, 5) * arrays[2]
    np.testing.assert_allclose(grad[mask], want[mask], rtol=1e-5)


def test_ppo_without_bounds_is_reinforce_times_the_ratio():
    # EM policy gradient's second step against PPO's, token by token.
    arrays = _random()
    ppo, ppo_grad = _run("ppo", *arrays, clip_eps_low=1.0, clip_eps_high=1e6)
    _, em_grad = _run("reinforce", *arrays)
    np.testing.assert_allclose(ppo_grad, np.asarray(ppo.ratio) * em_grad, rtol=1e-5)
    assert not np.allclose(ppo_grad, em_grad, rtol=1e-2)


def test_the_first_update_is_reinforce_for_every_ratio():
    logps, _, advantages, mask = _random()
    lengths = np.asarray(jnp.sum(mask, axis=1, keepdims=True))
    _, want = _run("reinforce", logps, logps, advantages, mask)
    for kind in ("ppo", "cispo", "kimi", "gspo", "gspo_token", "gmpo"):
        result, grad = _run(kind, logps, logps, advantages, mask)
        np.testing.assert_allclose(grad, want, rtol=1e-5, atol=1e-7, err_msg=kind)
        np.testing.assert_array_equal(result.ratio, 1)
        if kind not in ("cispo", "kimi"):
            # mean over tokens of the loss = -A, that is loss value -A everywhere
            kept = np.where(mask, result.losses, 0).sum(axis=1)
            np.testing.assert_allclose(
                kept, (-advantages * lengths)[:, 0], rtol=1e-5, err_msg=kind
            )


def test_gspo_by_hand():
    # log rho .1 and .3: s = e^.2; A = 1, loss -s at both tokens
    logps, old = jnp.array([[0.1, 0.3, 9.0]]), jnp.zeros((1, 3))
    mask = jnp.array([[True, True, False]])
    ones = jnp.ones((1, 3))
    result, grad = _run("gspo", logps, old, ones, mask, clip_eps_high=0.3)
    s = math.exp(0.2)
    np.testing.assert_allclose(result.losses[0, :2], [-s, -s], rtol=1e-6)
    # mean over tokens of the loss has gradient -s / |o| each: sum has -s
    np.testing.assert_allclose(grad, [[-s, -s, 0]], rtol=1e-6)
    result, grad = _run("gspo", logps, old, ones, mask, clip_eps_high=0.1)
    np.testing.assert_array_equal(grad, 0)
    np.testing.assert_array_equal(result.clipped_high, mask)


@pytest.mark.parametrize("eps", [0.05, 10.0])
def test_gspo_token_has_gspo_s_value_and_gradient(eps):
    arrays = _random()
    low = min(eps, 1.0)
    one, one_grad = _run("gspo", *arrays, clip_eps_low=low, clip_eps_high=eps)
    two, two_grad = _run("gspo_token", *arrays, clip_eps_low=low, clip_eps_high=eps)
    mask = np.asarray(arrays[-1])
    np.testing.assert_allclose(
        np.asarray(one.losses)[mask], np.asarray(two.losses)[mask], rtol=1e-5
    )
    np.testing.assert_allclose(one_grad, two_grad, rtol=1e-5, atol=1e-7)


def test_gspo_of_length_one_is_ppo():
    logps, old, advantages, _ = _random(shape=(6, 1))
    mask = jnp.ones((6, 1), bool)
    one, one_grad = _run("gspo", logps, old, advantages, mask)
    two, two_grad = _run("ppo", logps, old, advantages, mask)
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-6)
    np.testing.assert_allclose(one_grad, two_grad, rtol=1e-6)


def test_gmpo_by_hand():
    # log rho .1 and .9 (bound .4), A = 2: -2 exp((.1 + .4) / 2)
    logps, old = jnp.array([[0.1, 0.9, 5.0]]), jnp.zeros((1, 3))
    mask = jnp.array([[True, True, False]])
    options = {"clip_eps_low": 0.4, "clip_eps_high": 0.4}
    result, grad = _run("gmpo", logps, old, jnp.full((1, 3), 2.0), mask, **options)
    value = -2 * math.exp(0.25)
    np.testing.assert_allclose(result.losses[0, :2], [value, value], rtol=1e-6)
    np.testing.assert_allclose(grad, [[value, 0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(result.clipped_high, [[False, True, False]])
    # A = -2: the low bound acts, the high one does not: exp((.1 + .9) / 2)
    result, grad = _run("gmpo", logps, old, jnp.full((1, 3), -2.0), mask, **options)
    value = 2 * math.exp(0.5)
    np.testing.assert_allclose(grad, [[value, value, 0]], rtol=1e-6)
    assert not result.clipped_high.any()


def test_gmpo_is_the_product_it_is_defined_by():
    logps, old, advantages, mask = _random(spread=0.8)
    options = {"clip_eps_low": 0.4, "clip_eps_high": 0.4}
    result, _ = _run("gmpo", logps, old, advantages, mask, **options)
    rows = zip(*map(np.asarray, (logps - old, advantages, mask)), strict=True)
    for i, (log_ratio, a, kept) in enumerate(rows):
        sign = np.sign(a[0])
        rho = np.exp(log_ratio[kept])
        bounded = np.clip(rho, math.exp(-0.4), math.exp(0.4))
        terms = np.minimum(rho**sign, bounded**sign) ** sign
        want = -(np.prod(terms) ** (1 / kept.sum())) * a[0]
        np.testing.assert_allclose(result.losses[i, 0], want, rtol=1e-5)


def test_kimi_by_hand():
    # log rho .1, .3: D = .4; -A log pi + (tau / 2) .16 / 2 a token
    logps, old = jnp.array([[0.1, 0.3, 5.0]]), jnp.zeros((1, 3))
    mask = jnp.array([[True, True, False]])
    result, grad = _run("kimi", logps, old, jnp.full((1, 3), 2.0), mask, tau=0.5)
    np.testing.assert_allclose(
        result.losses[0, :2], [-0.2 + 0.02, -0.6 + 0.02], rtol=1e-5
    )
    np.testing.assert_allclose(grad, [[-2 + 0.2, -2 + 0.2, 0]], rtol=1e-5)


def test_clip_indicators_follow_the_sign():
    old = jnp.zeros((1, 4))
    logps = jnp.log(jnp.array([[0.5, 0.5, 2.0, 2.0]]))
    advantages = jnp.array([[-1.0, 1.0, -1.0, 1.0]])
    mask = jnp.ones((1, 4), bool)
    result, grad = _run("ppo", logps, old, advantages, mask)
    np.testing.assert_array_equal(result.clipped_low, [[True, False, False, False]])
    np.testing.assert_array_equal(result.clipped_high, [[False, False, False, True]])
    np.testing.assert_array_equal(grad[0] == 0, [True, False, False, True])


@pytest.mark.parametrize("kind", ["ppo", "gspo", "gspo_token", "cispo", "gmpo", "kimi"])
@pytest.mark.parametrize("d", [-50.0, 50.0])
def test_far_apart_policies_stay_finite(kind, d):
    logps = jnp.full((2, 3), -60.0)
    mask = jnp.ones((2, 3), bool)
    for sign in (-1.0, 1.0):
        result, grad = _run(kind, logps, logps - d, jnp.full((2, 3), sign), mask)
        assert np.isfinite(result.losses).all() and np.isfinite(grad).all()


def test_pairs_are_not_for_rows():
    with pytest.raises(ValueError, match="online_dpo"):
        _run("online_dpo", *_random())
