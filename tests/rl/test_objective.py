# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The composed loss: by hand, in parts, on devices, with garbage in the padding."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lrm_jax.config import apply_overrides
from lrm_jax.rl.batch import Rollout, prepare_batch
from lrm_jax.rl.config import RlConfig, RolloutConfig
from lrm_jax.rl.objective import (
    PolicyBatch,
    loss_denominator,
    merge_extremes,
    policy_loss,
)
from lrm_jax.rl.variants import VARIANTS, variant
from lrm_jax.sharding import MeshConfig, make_mesh

AGGREGATIONS = (
    *("token_mean", "seq_mean_token_mean", "seq_mean_token_sum"),
    *("constant", "group_token_mean"),
)
Q, G, C = 6, 4, 5
SMALL = RolloutConfig(n_prompts=Q, group_size=G, max_new_tokens=C)


def _rollout(seed=0, dtype=np.float32, lengths=None):
    """Ragged completions, a group of equal rewards and a row without tokens."""
    rng = np.random.default_rng(seed)
    rows = Q * G
    lengths = rng.integers(1, C + 1, rows) if lengths is None else lengths
    lengths[5] = 0
    normal = lambda *shape: rng.normal(size=shape).astype(dtype)
    logps = -np.abs(normal(rows, C))
    rewards = (rng.random(rows) < 0.5).astype(dtype)
    rewards[:G] = 1
    return Rollout(
        mask=np.arange(C)[None, :] < lengths[:, None],
        sampler_logps=logps + 0.1 * normal(rows, C),
        rewards=rewards,
        accuracy=rewards,
        truncated=rng.random(rows) < 0.2,
        lengths=lengths,
        old_logps=logps,
        ref_logps=logps + 0.5 * normal(rows, C),
        values=normal(rows, C),
        last_values=normal(rows),
    )


def _inputs(rollout, seed=1):
    """What the policy says in the update: log-probs, entropy and values."""
    rng = np.random.default_rng(seed)
    shape, dtype = rollout.mask.shape, rollout.values.dtype
    normal = lambda scale: (scale * rng.normal(size=shape)).astype(dtype)
    return {
        "logps": rollout.old_logps + normal(0.3),
        "entropy": np.abs(normal(1.0)),
        "values": rollout.values + normal(0.3),
    }


def _loss(cfg, inputs, batch, denominators):
    return policy_loss(
        cfg,
        inputs["logps"],
        batch,
        denominators=denominators,
        entropy=inputs["entropy"],
        entropy_coef=0.01 if cfg.entropy.kind != "none" else None,
        values=inputs["values"] if cfg.needs_values else None,
    )


def _value_and_grad(cfg, inputs, batch, denominators):
    def run(inputs):
        result = _loss(cfg, inputs, batch, denominators)
        return result.loss, result

    (_, result), grad = jax.value_and_grad(run, has_aux=True)(inputs)
    return result, grad


def _prepared(cfg, rollout, inputs=None):
    """The batch and what the policy says of its rows."""
    prepared = prepare_batch(cfg, rollout)
    inputs = _inputs(rollout) if inputs is None else inputs
    return prepared.batch, jax.tree.map(lambda x: x[prepared.rows], inputs)


def _eager_update(cfg, rollout, inputs):
    batch, inputs = _prepared(cfg, rollout, inputs)
    return _value_and_grad(cfg, inputs, batch, loss_denominator(batch))


_update = jax.jit(_eager_update, static_argnums=0)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _update_in_parts(cfg, parts, rollout, inputs):
    """The sums over micro-batches, and the gradients of all rows in their order."""
    batch, inputs = _prepared(cfg, rollout, inputs)
    total = loss_denominator(batch)
    cut = lambda x: x.reshape(parts, -1, *x.shape[1:])
    split = jax.tree.map(cut, (batch, inputs))
    results, grads = jax.lax.map(
        lambda part: _value_and_grad(cfg, part[1], part[0], total), split
    )
    joined = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), grads)
    sums = jax.tree.map(lambda x: jnp.sum(x, axis=0), results)
    each = [jax.tree.map(lambda x, i=i: x[i], results.extremes) for i in range(parts)]
    return sums._replace(extremes=functools.reduce(merge_extremes, each)), joined


def _close(got, want, **tolerance):
    for one, two in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, two, **tolerance)


# Rows of 4, 1 and 2 tokens with advantages 1, -1 and 2, all ratios 1.
BY_HAND = {
    "token_mean": -(4 - 1 + 4) / 7,
    "seq_mean_token_mean": -(1 - 1 + 2) / 3,
    "seq_mean_token_sum": -(4 - 1 + 4) / 3,
    "constant": -(4 - 1 + 4) / 3 / 8,
    "group_token_mean": -(4 - 1 + 4) / 7,
}


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_ragged_batch_by_hand(aggregation):
    rollout = RolloutConfig(n_prompts=1, group_size=3, max_new_tokens=8)
    cfg = RlConfig(aggregation=aggregation, truncated="keep", rollout=rollout)
    cfg = apply_overrides(cfg, ["advantage.kind=reward", "correction.kind=none"])
    mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]], bool)
    logps = jnp.array(np.random.default_rng(0).normal(-1, 0.1, (3, 4)), jnp.float32)
    rewards = np.array([1, -1, 2], np.float32)
    prepared = prepare_batch(
        cfg,
        Rollout(
            mask=mask,
            sampler_logps=logps,
            rewards=rewards,
            accuracy=rewards,
            truncated=np.zeros(3, bool),
            lengths=mask.sum(1),
            old_logps=logps,
        ),
    )
    total = loss_denominator(prepared.batch)
    run = lambda x: policy_loss(cfg, x, prepared.batch, denominators=total).loss
    value, grad = jax.value_and_grad(run)(logps)
    np.testing.assert_allclose(value, BY_HAND[aggregation], atol=1e-6)
    lengths = np.array([[4], [1], [2]])
    share = {
        "token_mean": 1 / 7,
        "seq_mean_token_mean": 1 / 3 / lengths,
        "seq_mean_token_sum": 1 / 3,
        "constant": 1 / 24,
        "group_token_mean": 1 / 7,
    }[aggregation]
    want = -rewards[:, None] * share * mask
    np.testing.assert_allclose(grad, want, atol=1e-6)


EVERYTHING = [
    *("kl.coef=0.1", "kl.estimator=k3", "entropy.kind=bonus", "entropy.coef=0.01"),
    *("advantage.kind=gae", "truncated=keep"),
]


@functools.cache
def _configs():
    base = RlConfig(aggregation="token_mean", truncated="keep", rollout=SMALL)
    configs = {
        f"everything-{a}": apply_overrides(base, [*EVERYTHING, f"aggregation={a}"])
        for a in AGGREGATIONS
    }
    for name in VARIANTS:
        configs[name] = variant(name, SMALL)
    return configs


CONFIGS = sorted([f"everything-{a}" for a in AGGREGATIONS] + list(VARIANTS))


IN_PARTS = [f"everything-{a}" for a in AGGREGATIONS] + ["gspo", "kimi", "online_dpo"]


@pytest.mark.parametrize("name", IN_PARTS)
def test_micro_batches_add_up(name):
    cfg, rollout = _configs()[name], _rollout()
    inputs = _inputs(rollout)
    whole, grad = _update(cfg, rollout, inputs)
    assert np.isfinite(whole.loss) and whole.loss != 0
    for parts in (1, 2, 3, 6):
        got, got_grad = _update_in_parts(cfg, parts, rollout, inputs)
        np.testing.assert_allclose(got.loss, whole.loss, atol=1e-6)
        _close(got_grad, grad, atol=1e-6)
        _close(got.metrics, whole.metrics, rtol=1e-5, atol=1e-4)
        _close(got.extremes, whole.extremes, rtol=1e-6)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_devices_add_up(aggregation):
    cfg, rollout = _configs()[f"everything-{aggregation}"], _rollout()
    whole, grad = _update(cfg, rollout, _inputs(rollout))
    for n in (1, 2, 4, 8):
        mesh = make_mesh(MeshConfig(data=n), devices=jax.devices()[:n])
        rows = NamedSharding(mesh, PartitionSpec("data"))
        arrays = jax.device_put((rollout, _inputs(rollout)), rows)
        got, got_grad = _update(cfg, *arrays)
        np.testing.assert_allclose(got.loss, whole.loss, atol=1e-6)
        _close(got_grad, grad, atol=1e-6)


def _dirty(tree, mask, garbage):
    spoil = lambda x: np.where(mask, x, garbage) if x.shape == mask.shape else x
    return jax.tree.map(spoil, tree)


@pytest.mark.parametrize("name", CONFIGS)
def test_garbage_in_the_padding_changes_nothing(name):
    cfg, rollout = _configs()[name], _rollout()
    mask = rollout.mask
    clean = _update(cfg, rollout, _inputs(rollout))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(clean))
    for garbage in (np.float32(np.nan), np.float32(np.inf), np.float32(-np.inf)):
        dirty = _dirty(rollout, mask, garbage)._replace(mask=mask)
        got = _update(cfg, dirty, _dirty(_inputs(rollout), mask, garbage))
        _close(got, clean, rtol=0, atol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_to_learn_from_is_zero(name):
    cfg, rollout = _configs()[name], _rollout()
    rollout = rollout._replace(mask=np.zeros((Q * G, C), bool))
    got, grad = _update(cfg, rollout, _inputs(rollout))
    assert got.loss == 0
    assert not any(np.any(x) for x in jax.tree.leaves(grad))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(got))


@pytest.mark.parametrize("name", ["everything-token_mean", "gspo"])
def test_jit_is_no_jit_in_float64(name):
    cfg = _configs()[name]
    with jax.enable_x64(True):
        rollout = _rollout(dtype=np.float64)
        eager = _eager_update(cfg, rollout, _inputs(rollout))
        assert eager[0].loss.dtype == jnp.float64
        jitted = _update(cfg, rollout, _inputs(rollout))
        _close(jitted, eager, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
def test_float64_is_not_lost_on_the_way(name):
    cfg = _configs()[name]
    with jax.enable_x64(True):
        rollout = _rollout(dtype=np.float64)
        shapes = jax.eval_shape(
            functools.partial(_eager_update, cfg), rollout, _inputs(rollout)
        )
        floats = [x for x in jax.tree.leaves(shapes) if x.dtype != bool]
        assert {x.dtype for x in floats} == {jnp.dtype(jnp.float64)}


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "dapo", "lite_ppo"])
def test_equal_rewards_teach_nothing(name):
    cfg = variant(name, SMALL)
    if cfg.kl.coef:
        cfg = dataclasses.replace(cfg, kl=dataclasses.replace(cfg.kl, coef=0.0))
    third = np.full(Q * G, 0.3, np.float32)
    third[::2] = np.float32(0.1) + np.float32(0.2)
    rollout = _rollout()._replace(
        rewards=third,
        accuracy=third,
        lengths=np.ones(Q * G),
        truncated=np.zeros(Q * G, bool),
    )
    batch, inputs = _prepared(cfg, rollout)
    got, grad = _value_and_grad(cfg, inputs, batch, loss_denominator(batch))
    assert got.loss == 0
    np.testing.assert_array_equal(grad["logps"], 0)


def test_the_first_update_is_reinforce():
    # mu = 1: rho = 1, so the loss is -mean A and its gradient REINFORCE's.
    cfg = apply_overrides(variant("dapo", SMALL), ["group_filter.kind=none"])
    rollout = _rollout()
    batch = prepare_batch(cfg, rollout).batch
    total = loss_denominator(batch)
    for base in ("old", "current"):
        own = apply_overrides(cfg, [f"loss.ratio_base={base}"])
        run = lambda x, own=own: policy_loss(own, x, batch, denominators=total)
        result = run(rollout.old_logps)
        grad = jax.grad(lambda x, run=run: run(x).loss)(rollout.old_logps)
        want = -batch.advantages / rollout.mask.sum()
        np.testing.assert_allclose(grad, want, atol=1e-7)
        np.testing.assert_allclose(result.loss, jnp.sum(want), atol=1e-6)
        total_ratio, tokens = result.metrics["ratio/mean"]
        assert total_ratio == tokens == rollout.mask.sum()
        assert result.extremes["ratio/min"] == result.extremes["ratio/max"] == 1
        assert result.metrics["clip_ratio/region_mean"][0] == 0


def test_no_bounds_and_no_kl_are_the_limits_of_bounds_and_kl():
    rollout = _rollout()
    free = variant("reinforce_pp_baseline", SMALL)
    free = apply_overrides(free, ["kl.coef=0"])
    small = apply_overrides(free, ["kl.coef=1e-9"])
    wide = apply_overrides(free, ["loss.clip_eps_low=1", "loss.clip_eps_high=1e9"])
    batch, inputs = _prepared(free, rollout)
    total = loss_denominator(batch)
    _close(
        _value_and_grad(small, inputs, batch, total)[1],
        _value_and_grad(free, inputs, batch, total)[1],
        atol=1e-8,
    )
    _, grad = _value_and_grad(wide, inputs, batch, total)
    ratio = np.exp(inputs["logps"] - rollout.old_logps)
    want = -ratio * batch.advantages / rollout.mask.sum()
    np.testing.assert_allclose(grad["logps"], want * rollout.mask, rtol=1e-5, atol=1e-8)


def test_entropy_off_is_the_plain_loss_bit_for_bit():
    rollout = _rollout()
    plain = apply_overrides(variant("skywork", SMALL), ["entropy.kind=none"])
    cfg = variant("skywork", SMALL)
    batch, inputs = _prepared(cfg, rollout)
    total = loss_denominator(batch)

    def run(cfg, **options):
        loss = lambda x: policy_loss(cfg, x, batch, denominators=total, **options).loss
        return jax.value_and_grad(loss)(inputs["logps"])

    with_zero = run(cfg, entropy=inputs["entropy"], entropy_coef=jnp.zeros(()))
    _close(with_zero, run(plain))


def test_correction_scales_token_losses():
    rollout = _rollout()
    cfg = apply_overrides(
        variant("raft", SMALL),
        ["correction.kind=token_truncate", "loss.ratio_base=old"],
    )
    batch, inputs = _prepared(cfg, rollout)
    _, grad = _value_and_grad(cfg, inputs, batch, loss_denominator(batch))
    w = np.minimum(np.exp(rollout.old_logps - rollout.sampler_logps), 2)
    want = -w * rollout.rewards[:, None] * rollout.mask / rollout.mask.sum()
    np.testing.assert_allclose(grad["logps"], want, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("overrides", "drop", "message"),
    [
        ([], "old_logps", "batch.old_logps"),
        (["kl.coef=0.1"], "ref_logps", "batch.ref_logps"),
    ],
)
def test_a_missing_input_is_named(overrides, drop, message):
    cfg = RlConfig(aggregation="token_mean", truncated="keep", rollout=SMALL)
    batch, inputs = _prepared(cfg, _rollout())
    cfg = apply_overrides(cfg, overrides)
    with pytest.raises(ValueError, match=message):
        _loss(cfg, inputs, batch._replace(**{drop: None}), loss_denominator(batch))


def test_missing_values_and_entropy_are_named():
    batch, inputs = _prepared(_configs()["ppo"], _rollout())
    total = loss_denominator(batch)
    for name, message in (("ppo", "values"), ("skywork", "entropy")):
        with pytest.raises(ValueError, match=message):
            policy_loss(
                variant(name, SMALL), inputs["logps"], batch, denominators=total
            )


def test_wrong_shapes_are_refused():
    cfg = RlConfig(aggregation="token_mean", truncated="keep", rollout=SMALL)
    batch, inputs = _prepared(cfg, _rollout())
    assert isinstance(batch, PolicyBatch)
    with pytest.raises(AssertionError):
        _loss(
            cfg,
            {**inputs, "logps": inputs["logps"][:, :2]},
            batch,
            loss_denominator(batch),
        )
