# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from lrm_jax.training import optim
from lrm_jax.types import UserError


def descend(tx, params, grads):
    """Parameters and states after each update."""
    state, trail = tx.init(params), []
    update = jax.jit(tx.update)
    for grad in grads:
        updates, state = update(grad, state, params)
        params = optax.apply_updates(params, updates)
        trail.append((params, state))
    return trail


# Learning rate.


def test_schedule_equals_the_references(lrm_fixtures):
    table = json.loads((lrm_fixtures / "pieces" / "optim_config.json").read_text())[
        "lr_schedule"
    ]
    with jax.enable_x64(True):
        for row in table:
            schedule = optim.make_schedule(
                row["base_lr"],
                warmup_steps=row["num_warmup_steps"],
                total_steps=row["num_training_steps"],
                min_ratio=row["min_ratio"],
            )
            got = [float(schedule(step)) for step in row["steps"]]
            np.testing.assert_allclose(got, row["lr"], rtol=1e-12, atol=1e-18)


def test_schedule_by_hand():
    cfg = optim.OptimConfig(lr=1.0, lr_warmup_steps=4, lr_min_ratio=0.5)
    schedule = optim.learning_rate(cfg, total_steps=12)
    steps = jnp.asarray([1, 2, 4, 8, 12, 400])
    want = [0.25, 0.5, 1.0, 0.75, 0.5, 0.5]  # stays at its end
    np.testing.assert_allclose(schedule(steps), want, rtol=1e-6)
    table = optim.learning_rate(cfg, 12, base_lr=0.1)
    np.testing.assert_allclose(table(4), 0.1, rtol=1e-6)


# AdamATan2.


def test_adam_atan2_first_step_by_hand():
    # m = 0.1 g, v = 0.05 g^2, both corrected: atan2(0.1 g, g) / 0.1.
    tx = optim.adam_atan2(0.01, b1=0.9, b2=0.95, weight_decay=0.5)
    params = {"w": jnp.asarray([2.0, -3.0, 1.0])}
    ((after, _),) = descend(tx, params, [{"w": jnp.asarray([4.0, -1e-3, 0.0])}])
    move = 0.01 / 0.1 * math.atan2(0.1, 1.0)
    want = np.asarray([2.0, -3.0, 1.0]) * (1 - 0.01 * 0.5) - [move, -move, 0]
    np.testing.assert_allclose(after["w"], want, rtol=1e-6)


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_adam_atan2_equals_the_reference(case, dtype, lrm_fixtures):
    pieces = lrm_fixtures / "pieces"
    arrays = load_file(pieces / "adam_atan2.safetensors")
    cfg = json.loads((pieces / "optim_config.json").read_text())["adam_atan2"][case]
    with jax.enable_x64(dtype == "f64"):
        kind = jnp.float64 if dtype == "f64" else jnp.float32
        tx = optim.adam_atan2(
            cfg["lr"], cfg["beta1"], cfg["beta2"], cfg["weight_decay"]
        )
        grads = [jnp.asarray(g, kind) for g in arrays[f"{case}/grads"]]
        trail = descend(tx, jnp.asarray(arrays[f"{case}/param0"], kind), grads)
        # Float32 flushes the square of element 1's gradient (a denormal).
        kept = np.arange(64) != 1 if dtype == "f32" else np.arange(64) >= 0
        atol = 1e-6 if dtype == "f32" else 1e-14
        # A fused multiply-add rounds once where the reference rounds twice.
        rtol = 1e-5 if dtype == "f32" else 4e-16
        for name, pick in [
            ("param", lambda p, s: p),
            ("exp_avg", lambda p, s: s.mu),
            ("exp_avg_sq", lambda p, s: s.nu),
        ]:
            got = np.stack([np.asarray(pick(p, s)) for p, s in trail])
            want = arrays[f"{case}/{dtype}/{name}"]
            assert got.dtype == want.dtype
            np.testing.assert_allclose(
                got[:, kept], want[:, kept], rtol=rtol, atol=atol
            )
        wrong = arrays[f"{case}/wrong_inside_variant/param"]
        got = np.stack([np.asarray(p) for p, _ in trail])
        assert np.abs(got - wrong.reshape(got.shape)).max() > 1e-5


def test_adam_atan2_keeps_wide_moments_for_bfloat16():
    tx = optim.adam_atan2(1e-3)
    state = tx.init({"w": jnp.ones((3,), jnp.bfloat16)})
    assert state.mu["w"].dtype == state.nu["w"].dtype == jnp.float32
    ((after, _),) = descend(
        tx, {"w": jnp.ones((3,), jnp.bfloat16)}, [{"w": jnp.ones((3,), jnp.bfloat16)}]
    )
    assert after["w"].dtype == jnp.bfloat16


# Muon and the rest.


def weights(key, layers=3):
    keys = jax.random.split(key, 5)
    normal = jax.random.normal
    return {
        "embed_tokens": {"embedding": normal(keys[0], (7, 8))},
        "l_level": {"mlp": {"down_proj": {"kernel": normal(keys[1], (layers, 8, 6))}}},
        "lm_head": {"kernel": normal(keys[2], (8, 7))},
        "q_head": {"kernel": normal(keys[3], (8, 2)), "bias": normal(keys[4], (2,))},
    }


MUON = optim.OptimConfig(
    kind="muon", lr=1e-3, muon_lr=0.05, muon_weight_decay=0.1, lr_warmup_steps=2
)


def test_muon_on_stacked_kernels_equals_each_layer_alone():
    params = weights(jax.random.key(0))
    grads = [weights(jax.random.key(n)) for n in (1, 2, 3)]
    tx = optim.make_optimizer(MUON, total_steps=10)
    stacked = [p["l_level"]["mlp"] for p, _ in descend(tx, params, grads)]
    for layer in range(3):
        take = lambda tree, n=layer: jax.tree.map(
            lambda x: x[n], {"mlp": tree["l_level"]["mlp"]}
        )
        alone = descend(tx, take(params), [take(g) for g in grads])
        for whole, (part, _) in zip(stacked, alone, strict=True):
            np.testing.assert_allclose(
                whole["down_proj"]["kernel"][layer],
                part["mlp"]["down_proj"]["kernel"],
                rtol=1e-5,
                atol=1e-6,
            )


def test_muon_update_is_nearly_orthogonal_and_scaled_by_shape():
    # Gradient with singular values 1..4; one step from warm-up's end.
    cfg = dataclasses.replace(MUON, lr_warmup_steps=0, muon_weight_decay=0.0)
    tx = optim.make_optimizer(cfg, total_steps=10)
    key = jax.random.key(3)
    left, _ = jnp.linalg.qr(jax.random.normal(key, (4, 4)))
    right, _ = jnp.linalg.qr(jax.random.normal(jax.random.fold_in(key, 1), (16, 4)))
    grad = {"p": {"kernel": left @ jnp.diag(jnp.arange(1.0, 5.0)) @ right.T}}  # [4, 16]
    params = jax.tree.map(jnp.zeros_like, grad)
    ((after, _),) = descend(tx, params, [grad])
    spectrum = jnp.linalg.svd(after["p"]["kernel"], compute_uv=False)
    # Newton-Schulz with these coefficients ends in 0.5 .. 1.5; sqrt(16 / 4) = 2.
    assert np.all((spectrum > 0.05 * 2 * 0.5) & (spectrum < 0.05 * 2 * 1.5))
    assert float(jnp.sum(after["p"]["kernel"] * grad["p"]["kernel"])) < 0


def test_muon_leaves_embeddings_heads_and_biases_to_adamw():
    params = weights(jax.random.key(0))
    grads = [weights(jax.random.key(n)) for n in (1, 2, 3)]
    muon = descend(optim.make_optimizer(MUON, 10), params, grads)
    adamw = dataclasses.replace(MUON, kind="adamw")
    plain = descend(optim.make_optimizer(adamw, 10), params, grads)
    for name in ("embed_tokens", "lm_head", "q_head"):
        chex.assert_trees_all_close(muon[-1][0][name], plain[-1][0][name], rtol=1e-6)
    moved = np.abs(
        muon[-1][0]["l_level"]["mlp"]["down_proj"]["kernel"]
        - plain[-1][0]["l_level"]["mlp"]["down_proj"]["kernel"]
    )
    assert moved.max() > 1e-3
    numbers = optim.muon_dimension_numbers(params)
    assert numbers["embed_tokens"]["embedding"] is None
    assert numbers["q_head"]["bias"] is None and numbers["lm_head"]["kernel"] is None
    assert tuple(numbers["l_level"]["mlp"]["down_proj"]["kernel"]) == (1, 2)


@pytest.mark.parametrize("kind", ["adam_atan2", "adamw", "muon"])
def test_float64_flows_through(kind):
    with jax.enable_x64(True):
        as64 = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)
        params = as64(weights(jax.random.key(0)))
        tx = optim.make_optimizer(optim.OptimConfig(kind=kind, clip_norm=1.0), 10)
        ((after, state),) = descend(tx, params, [as64(weights(jax.random.key(1)))])
        floats = [
            x
            for x in jax.tree.leaves((after, state))
            if jnp.issubdtype(x.dtype, jnp.floating)
        ]
        assert {x.dtype for x in floats} == {np.dtype("float64")}


def test_clipping_by_hand():
    # |g| = 5 clipped to 1; AdamW's first step is the sign, so look at its moment.
    cfg = optim.OptimConfig(kind="adamw", clip_norm=1.0, beta1=0.5)
    tx = optim.make_optimizer(cfg, 10)
    ((_, state),) = descend(tx, {"w": jnp.zeros(2)}, [{"w": jnp.asarray([3.0, 4.0])}])
    np.testing.assert_allclose(optax.tree.get(state, "mu")["w"], [0.3, 0.4], rtol=1e-6)


def test_optimizer_counts_from_one():
    cfg = optim.OptimConfig(kind="adamw", lr=1.0, lr_warmup_steps=10, weight_decay=0.0)
    tx = optim.make_optimizer(cfg, 100)
    ((after, _),) = descend(tx, {"w": jnp.zeros(1)}, [{"w": jnp.ones(1)}])
    np.testing.assert_allclose(after["w"], [-0.1], rtol=1e-5)


# Averages.


def test_ema_by_hand():
    params = {"w": jnp.asarray([1.0])}
    ema = optim.init_ema(params)
    for value in (2.0, 3.0):
        ema = optim.update_ema(ema, {"w": jnp.asarray([value])}, 0.9)
    # 1 -> 0.9 + 0.2 = 1.1 -> 0.99 + 0.3 = 1.29
    np.testing.assert_allclose(ema["w"], [1.29], rtol=1e-6)


def test_ema_owns_its_buffers_and_is_wide():
    params = {"w": jnp.ones((2,), jnp.bfloat16), "v": jnp.ones((2,))}
    ema = optim.init_ema(params)
    assert ema["w"].dtype == jnp.float32
    assert ema["v"].unsafe_buffer_pointer() != params["v"].unsafe_buffer_pointer()


def test_ema_warmup_by_hand():
    count = jnp.asarray([1, 9, 10_000])
    np.testing.assert_allclose(
        optim.ema_decay(0.99, count, 9), [0.1, 0.5, 0.99], rtol=1e-6
    )
    assert float(optim.ema_decay(0.99, count)) == np.float32(0.99)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "sgd"),
        ("lr", -1.0),
        ("lr", float("nan")),
        ("beta1", 1.0),
        ("lr_min_ratio", 1.5),
    ],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(UserError, match=f"optim.{field}.*accepted"):
        optim.OptimConfig(**{field: value})


@pytest.mark.parametrize("kind", ["adamw", "adam_atan2", "muon"])
def test_decay_leaves_the_routing_bias_where_it_is(kind):
    cfg = optim.OptimConfig(kind=kind, lr=0.1, weight_decay=0.5, clip_norm=1.0)
    params = {"moe": {"router_bias": jnp.ones(3), "bias": jnp.ones(3)}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    last, _ = descend(optim.make_optimizer(cfg, 4), params, [zeros] * 3)[-1]
    np.testing.assert_array_equal(last["moe"]["router_bias"], np.ones(3))
    assert float(last["moe"]["bias"].max()) < 1


@pytest.mark.parametrize("kind", ["adamw", "adam_atan2", "muon"])
def test_the_routing_bias_moves_by_sign_and_clips_nothing(kind):
    cfg = optim.OptimConfig(kind=kind, lr=0.1, clip_norm=1.0, router_bias_lr=0.25)
    params = {"moe": {"router_bias": jnp.ones(3), "bias": jnp.ones(3)}}
    grads = {
        "moe": {"router_bias": jnp.array([1e3, 0, -1e-3]), "bias": jnp.full(3, 1e-3)}
    }
    alone = {"moe": {**grads["moe"], "router_bias": jnp.zeros(3)}}
    rule = optim.make_optimizer(cfg, 4)
    last, _ = descend(rule, params, [grads] * 2)[-1]
    np.testing.assert_array_equal(last["moe"]["router_bias"], [0.5, 1, 1.5])
    other, _ = descend(rule, params, [alone] * 2)[-1]
    np.testing.assert_array_equal(last["moe"]["bias"], other["moe"]["bias"])
