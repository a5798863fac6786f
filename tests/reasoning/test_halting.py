# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.reasoning.halting import (
    Exploration,
    HaltingConfig,
    decide_halt,
    draw_exploration,
    empty_carry,
    needs_target,
    q_continue_target,
    refill,
    wants_halt,
)
from lrm_jax.types import UserError

Q_HALT = jnp.array([1.0, -1.0, 2.0, -2.0])
Q_CONTINUE = jnp.array([0.5, -2.0, 3.0, 0.0])
NEVER = Exploration(jnp.ones(4), jnp.full(4, 2))


@pytest.mark.parametrize(
    ("rule", "halts"),
    [
        ("q_learning", [True, True, False, False]),
        ("halt_only", [True, False, True, False]),
        ("fixed", [False, False, False, False]),
    ],
)
def test_rules_by_hand(rule, halts):
    cfg = HaltingConfig(rule, max_steps=4)
    assert wants_halt(cfg, Q_HALT, Q_CONTINUE).tolist() == halts
    steps = jnp.array([1, 1, 1, 4])
    halted = decide_halt(cfg, Q_HALT, Q_CONTINUE, steps, NEVER)
    assert halted.tolist() == [*halts[:3], True]  # the last lane is at its cap


def test_a_rule_of_the_users_own(tmp_path, monkeypatch):
    source = (
        "def agree(q_halt, q_continue): return (q_halt > 0) & (q_halt > q_continue)"
    )
    (tmp_path / "my_rules.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    halts = wants_halt(HaltingConfig("my_rules:agree"), Q_HALT, Q_CONTINUE)
    assert halts.tolist() == [True, False, False, False]


def test_evaluation_ignores_the_rule():
    cfg = HaltingConfig("halt_only", max_steps=2)
    steps = jnp.array([1, 2, 1, 2])
    halted = decide_halt(cfg, Q_HALT, Q_CONTINUE, steps, None)
    assert halted.tolist() == [False, True, False, True]


def test_exploration_holds_lanes_until_their_least_number_of_steps():
    cfg = HaltingConfig("halt_only", max_steps=4, exploration_prob=0.5)
    explore = Exploration(
        uniform=jnp.array([0.4, 0.4, 0.6, 0.4]), min_steps=jnp.array([3, 2, 4, 4])
    )
    steps = jnp.array([2, 2, 2, 4])
    halted = decide_halt(cfg, jnp.ones(4), jnp.zeros(4), steps, explore)
    assert halted.tolist() == [False, True, True, True]


def test_without_act_every_lane_halts_and_nothing_is_bootstrapped():
    cfg = HaltingConfig("q_learning", max_steps=1)
    halted = decide_halt(cfg, -Q_HALT, Q_CONTINUE, jnp.ones(4, int), NEVER)
    assert halted.all() and not needs_target(cfg)


def test_draws_are_per_lane_in_range_and_follow_the_key():
    draws = draw_exploration(jax.random.key(0), 4096, 16)
    assert draws.uniform.shape == (4096,)
    assert set(np.unique(draws.min_steps)) == set(range(2, 17))
    np.testing.assert_allclose(np.mean(draws.uniform < 0.1), 0.1, atol=0.02)
    again = draw_exploration(jax.random.key(0), 4096, 16)
    assert (again.uniform == draws.uniform).all()
    other = draw_exploration(jax.random.key(1), 4096, 16)
    assert (other.uniform != draws.uniform).any()


def test_target_by_hand_and_without_gradient():
    last = jnp.array([False, True, False, False])
    target = q_continue_target(Q_HALT, Q_CONTINUE, last)
    best = np.array([1.0, -1.0, 3.0, 0.0])
    np.testing.assert_allclose(target, 1 / (1 + np.exp(-best)), rtol=1e-6)
    grad = jax.grad(lambda q: q_continue_target(q, Q_CONTINUE, last).sum())(Q_HALT)
    assert (grad == 0).all()


def test_refill_replaces_halted_lanes_only():
    fixed = {"z_h_init": jnp.array([1.0, 2.0]), "z_l_init": jnp.array([3.0, 4.0])}
    offer = lambda v: {"inputs": jnp.full((3, 5), v), "puzzle_ids": jnp.full((3,), v)}
    carry = refill(empty_carry(offer(0), (2, 2), "float32"), offer(7), fixed)
    assert (carry.data["inputs"] == 7).all() and (carry.steps == 0).all()
    np.testing.assert_array_equal(carry.z_h[1], [[1, 2], [1, 2]])
    np.testing.assert_array_equal(carry.z_l[2], [[3, 4], [3, 4]])
    carry = carry.replace(
        z_h=carry.z_h + 10,
        steps=jnp.array([3, 4, 5]),
        halted=jnp.array([False, True, False]),
    )
    carry = refill(carry, offer(9), fixed)
    assert carry.steps.tolist() == [3, 0, 5]
    assert carry.data["puzzle_ids"].tolist() == [7, 9, 7]
    assert carry.z_h[:, 0, 0].tolist() == [11.0, 1.0, 11.0]


def test_unknown_rule_is_refused():
    with pytest.raises(UserError):
        wants_halt(HaltingConfig("q_lerning"), Q_HALT, Q_CONTINUE)
