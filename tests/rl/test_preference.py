# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import math

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.rl.preference import choose_pairs, dpo_pair_losses, take_pairs
from tests.rl.tabular import Tabular, objective_gradient


def test_best_against_worst():
    rewards = jnp.array([[0.0, 1, 0.5], [2, 2, 1], [1, 1, 1], [0.1 + 0.2, 0.3, 0.3]])
    pairs = choose_pairs(rewards)
    np.testing.assert_array_equal(pairs.chosen[:3], [1, 3, 6])
    np.testing.assert_array_equal(pairs.rejected[:3], [0, 5, 6])
    np.testing.assert_array_equal(pairs.valid, [True, True, False, False])
    rows = take_pairs({"row": jnp.arange(12)}, pairs)
    np.testing.assert_array_equal(rows["row"][:4], [1, 0, 3, 5])


def test_a_group_of_one_has_no_pair():
    assert not choose_pairs(jnp.array([[1.0], [0.0]])).valid.any()


def test_loss_and_gradient_by_hand():
    # D = .5 and -.1 (beta 2): margin 1.2
    logps = jnp.array([[-1.0, -1.0], [-2.0, np.nan]])
    ref = jnp.array([[-1.3, -1.2], [-1.9, np.inf]])
    mask = jnp.array([[True, True], [True, False]])

    def loss(logps):
        losses, implicit = dpo_pair_losses(logps, ref, mask, beta=2.0)
        return losses[0], implicit

    (value, implicit), grad = jax.value_and_grad(loss, has_aux=True)(logps)
    np.testing.assert_allclose(implicit, [[1.0, -0.2]], atol=1e-6)
    np.testing.assert_allclose(value, math.log(1 + math.exp(-1.2)), rtol=1e-6)
    slope = 2 / (1 + math.exp(1.2))
    np.testing.assert_allclose(grad, [[-slope, -slope], [slope, 0]], rtol=1e-5)


def test_at_the_reference_the_gradient_is_half_beta_times_the_difference():
    # As a group of two under a sign advantage: +-beta / 2.
    logps = jnp.array([[-1.0], [-2.0]])
    mask = jnp.ones((2, 1), bool)
    run = lambda p: dpo_pair_losses(p, logps, mask, beta=0.1)[0][0]
    np.testing.assert_allclose(jax.grad(run)(logps), [[-0.05], [0.05]], rtol=1e-6)


def test_the_first_step_of_pairs_is_beta_times_the_gradient():
    # G = 2, binary rewards, at the reference: E[beta / 2 (s_w - s_l); r_w > r_l]
    #   = beta / 2 * 2 ((1 - p) grad p + p grad p) = beta grad J
    with jax.enable_x64(True):
        table = Tabular(vocab=3, length=2)
        theta = table.init(0)
        rewards = jnp.array([0.0, 1, 1, 0, 0, 1, 0])
        groups = table.groups(2)
        pairs = choose_pairs(rewards[groups])
        rows = take_pairs({"row": jnp.asarray(groups.reshape(-1))}, pairs)["row"]
        chance = jnp.prod(table.probs(theta)[groups], axis=1)

        def loss(t):
            logps, mask = table.logps(t)[rows], jnp.asarray(table.mask)[rows]
            ref = table.logps(theta)[rows]
            losses, _ = dpo_pair_losses(logps, ref, mask, beta=0.3)
            return jnp.sum(jnp.where(pairs.valid, chance * losses, 0))

        want = 0.3 * objective_gradient(table, theta, rewards)
        np.testing.assert_allclose(-jax.grad(loss)(theta), want, rtol=1e-12, atol=1e-15)
