# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The device's part: scoring padded rows, one denominator, minibatches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.reasoning.decoding import generate_jit
from lrm_jax.reasoning.prompts import pad_prompts
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.recipes.grpo_config import GrpoConfig
from lrm_jax.recipes.grpo_state import Groups, GrpoCarry
from lrm_jax.recipes.grpo_step import (
    Drawn,
    GrpoStep,
    Scores,
    _rollout,
    make_rows,
    minibatch_order,
)
from lrm_jax.recipes.policy_state import Updater
from lrm_jax.rl.batch import prepare_batch
from lrm_jax.rl.config import RlConfig, RolloutConfig
from lrm_jax.rl.entropy import init_entropy
from lrm_jax.rl.variants import variant
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig

Q, G, P, C, V = 8, 4, 7, 6, 13
MODEL = PolicyConfig(
    vocab_size=V,
    vocab_rows=16,
    d_model=16,
    n_layers=2,
    n_heads=2,
    d_ff=16,
    max_seq_len=32,
)
ROLLOUT = RolloutConfig(n_prompts=Q, group_size=G, max_new_tokens=C, temperature=0.7)


def make_step(rl: RlConfig, grad_accum=1, model=MODEL, steps=100):
    policy = token_policy(model)
    updater = Updater(
        policy, OptimConfig(kind="adamw", lr=1e-2), TrainConfig(total_steps=steps)
    )
    return GrpoStep(policy, rl, GrpoConfig(prompt_len=P, chunk=5), updater, grad_accum)


def rollout_of(step, weights, side="right"):
    """Really sampled groups of ragged prompts, with made-up rewards."""
    rng = np.random.default_rng(0)
    prompts = [rng.integers(2, V, size=n).tolist() for n in rng.integers(2, P + 1, Q)]
    ids, mask = pad_prompts(prompts, (P,), vocab_size=V)
    if side == "left":
        turn = lambda x: np.stack(
            [np.roll(row, P - len(p)) for row, p in zip(x, prompts, strict=True)]
        )
        ids, mask = turn(ids), turn(mask)
    rollout = step.rl.rollout
    found = generate_jit(
        step.policy,
        weights,
        ids,
        mask,
        group_size=G,
        max_new_tokens=C,
        sampling=sampling_params(
            Q * G,
            max_new=(1 + np.arange(Q * G) % C).tolist(),  # ragged completions
            temperature=rollout.temperature,
        ),
        key=jax.random.key(1),
    )
    group = lambda x: np.asarray(x).reshape(Q, G, *np.shape(x)[1:])
    rewards = rng.integers(0, 2, size=(Q, G)).astype(np.float32)
    return Groups(
        prompt_ids=ids,
        prompt_mask=mask,
        ids=group(found.ids),
        mask=group(found.mask),
        forced=group(found.forced),
        logps=group(found.logps),
        rewards=rewards,
        accuracy=rewards,
        truncated=np.zeros((Q, G), bool),
        version=np.zeros(Q, np.int32),
        number=np.arange(Q, dtype=np.int32),
    )


def state_of(step, seed=0):
    state = step.updater.init(jax.random.key(seed))
    reference = None
    if step.rl.needs_reference:
        reference = step.policy.init(jax.random.key(seed + 1))
    carry = GrpoCarry(
        cursor=jnp.zeros((), jnp.int32),
        entropy=init_entropy(step.rl.entropy),
        reference=reference,
        waiting=None,
    )
    return state.replace(carry=carry)


def learn(step, state, groups):
    scores = Scores()
    if step.scores_first:
        scores = jax.jit(step.score)(state.params, state.carry.reference, groups)
    drawn = Drawn(np.int32(Q), None)
    return jax.jit(step.learn)(state, groups, np.ones(Q, bool), scores, drawn)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_trainer_reads_what_the_sampler_wrote(side):
    step = make_step(variant("dr_grpo", ROLLOUT))
    weights = step.policy.init(jax.random.key(0))
    groups = rollout_of(step, weights, side)
    rows = make_rows(groups)
    read = jax.jit(step.read)(weights, rows)
    sampled = np.asarray(rows.sampled)
    assert sampled.sum() == groups.mask.sum() > 60
    gap = np.abs(np.asarray(read.logps) - groups.logps.reshape(Q * G, C))[sampled]
    assert gap.max() <= 1e-5
    np.testing.assert_array_equal(np.asarray(read.logps)[~sampled], 0)


def prepared(step, groups, **scores):
    """Rows and batch of an update."""
    groups = jax.tree.map(jnp.asarray, groups)
    rows = make_rows(groups)
    rollout = _rollout(groups, rows, Scores(**scores), jnp.ones(Q, bool))
    return rows, prepare_batch(step.rl, rollout).batch


def gradients(step, groups, params):
    return step.gradients(params, *prepared(step, groups), 0.0)


@pytest.mark.parametrize("name", ["dapo", "magistral"])
def test_micro_batches_change_nothing(name):
    base = variant(name, ROLLOUT)
    rl = dataclasses.replace(
        base,
        kl=dataclasses.replace(base.kl, coef=0.0),
        group_filter=dataclasses.replace(base.group_filter, kind="none"),
    )
    one = make_step(rl)
    params = {"weights": one.policy.init(jax.random.key(0))}
    groups = rollout_of(one, params["weights"])
    whole, metrics = jax.jit(lambda p: gradients(one, groups, p))(params)
    norm = max(float(jnp.max(jnp.abs(x))) for x in jax.tree.leaves(whole))
    assert norm > 1e-3
    for parts in (2, 8):
        step = make_step(rl, parts)
        grads, again = jax.jit(lambda p, s=step: gradients(s, groups, p))(params)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grads, whole
        )
        for label, (total, weight) in metrics.items():
            value = float(total / weight)
            other = float(again[label][0] / again[label][1])
            assert other == pytest.approx(value, abs=1e-5), label


def test_every_epoch_visits_every_row_once():
    order = minibatch_order(jax.random.key(3), 12, 3, 4)
    assert order.shape == (12, 3)
    for epoch in range(3):
        visited = np.sort(np.asarray(order[4 * epoch : 4 * epoch + 4]).ravel())
        np.testing.assert_array_equal(visited, np.arange(12))
    assert (np.asarray(order[:4]) != np.asarray(order[4:8])).any()


def test_updates_of_a_rollout_are_counted_and_move_apart_from_the_old_policy():
    rl = dataclasses.replace(variant("intellect_2", ROLLOUT), epochs=2, minibatches=4)
    step = make_step(rl)
    state = state_of(step)
    groups = rollout_of(step, state.params["weights"])
    after, metrics = learn(step, state, groups)
    assert int(after.step) == 8 and int(after.carry.cursor) == Q
    assert float(metrics["ratio/max"][0]) / 8 > 1.001
    gap = float(metrics["sampling/logp_difference_max"][0]) / 8
    assert gap <= 1e-5  # of the old policy: that of the rollout


def test_one_update_needs_no_scoring_and_equals_the_scored_one():
    rl = variant("intellect_2", ROLLOUT)
    rl = dataclasses.replace(rl, kl=dataclasses.replace(rl.kl, coef=0.0))
    step = make_step(rl)
    assert not step.scores_first
    state = state_of(step)
    groups = rollout_of(step, state.params["weights"])
    params = state.params
    direct, _ = gradients(step, groups, params)
    rows, _ = prepared(step, groups)
    old = step.read(params["weights"], rows).logps

    class Scored(GrpoStep):
        objective = property(lambda self: self.rl)

    scored = Scored(step.policy, rl, step.grpo, step.updater)
    rows, batch = prepared(step, groups, old_logps=old)
    plain, _ = scored.gradients(params, rows, batch, 0.0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), direct, plain
    )


@pytest.mark.parametrize("name", ["rloo", "ppo", "online_dpo", "kimi", "raft", "gspo"])
def test_every_family_takes_a_step(name):
    model = dataclasses.replace(MODEL, value_head=name == "ppo")
    step = make_step(variant(name, ROLLOUT), 2, model)
    state = state_of(step)
    groups = rollout_of(step, state.params["weights"])
    after, metrics = learn(step, state, groups)
    total, weight = metrics["loss/total"]
    assert np.isfinite(float(total)) and float(weight) > 0
    moved = jax.tree.map(
        lambda a, b: float(jnp.max(jnp.abs(a - b))), after.params, state.params
    )
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_a_reset_makes_the_reference_the_policy_bit_for_bit():
    rl = variant("r1_zero", ROLLOUT)
    every = dataclasses.replace(rl.reference, every=32)
    rl = dataclasses.replace(rl, reference=every, minibatches=16)
    step = make_step(rl)
    state = state_of(step)
    groups = rollout_of(step, state.params["weights"])
    state, _ = learn(step, state, groups)
    differs = lambda s: max(
        jax.tree.leaves(
            jax.tree.map(
                lambda a, b: float(jnp.max(jnp.abs(a - b))),
                s.carry.reference,
                s.params["weights"],
            )
        )
    )
    assert differs(state) > 0  # step 16
    state, _ = learn(step, state, groups)
    assert int(state.step) == 32 and differs(state) == 0


def test_groups_that_are_filler_teach_nothing():
    rl = dataclasses.replace(
        variant("dr_grpo", ROLLOUT), aggregation="token_mean", empty_rows="skip"
    )
    step = make_step(rl)
    state = state_of(step)
    groups = rollout_of(step, state.params["weights"])
    valid = np.arange(Q) < 5
    run = jax.jit(step.learn)
    drawn = Drawn(np.int32(Q), None)
    clean, _ = run(state, groups, valid, Scores(), drawn)
    spoiled = groups._replace(
        rewards=np.where(valid[:, None], groups.rewards, 7 * groups.ids[:, :, 0]),
        logps=np.where(valid[:, None, None], groups.logps, 3.0),
    )
    rewards = spoiled.rewards.astype(np.float32)
    same, _ = run(state, spoiled._replace(rewards=rewards), valid, Scores(), drawn)
    jax.tree.map(np.testing.assert_array_equal, clean.params, same.params)
