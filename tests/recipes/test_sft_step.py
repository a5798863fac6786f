# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Packed = unpacked, micro-batches change nothing, padding has no say."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data.packing import Tokens, collate, first_fit
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import MlaConfig, MoeConfig, PolicyConfig, RopeConfig
from lrm_jax.recipes.policy_state import Updater, eval_params
from lrm_jax.recipes.sft_config import SftConfig
from lrm_jax.recipes.sft_step import SftStep, sum_tokens
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig

TINY = PolicyConfig(
    vocab_size=13, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=24,
    max_seq_len=64,
)  # fmt: skip
VARIANTS = {
    "plain": {},
    "padded rows": {"vocab_rows": 16, "tied_embeddings": False},
    "scanned, remat": {"scan_layers": True, "remat": "block"},
    "window": {"sliding_window": 3},
    "experts": {"moe": MoeConfig(n_experts=4, top_k=2, d_expert=8)},
    "latent": {
        "mla": MlaConfig(q_rank=6, kv_rank=8, d_nope=4, d_rope=4, d_value=6),
        "rope": RopeConfig(interleaved=True),
    },
}
LENGTH = 24


def examples(count=11, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size = int(rng.integers(3, 12))
        ids = rng.integers(2, 13, size).tolist()
        made.append(Tokens([*ids, 1], int(rng.integers(1, size))))
    return made


def packed(made, rows=8):
    parts = first_fit([len(e.ids) for e in made], LENGTH)
    parts = [[made[i] for i in row] for row in parts]
    assert len(parts) < len(made) and len(parts) <= rows
    return collate(parts + [[]] * (rows - len(parts)), LENGTH, pad_id=0)


def unpacked(made, rows=16):
    return collate([[e] for e in made] + [[]] * (rows - len(made)), LENGTH, pad_id=0)


def make(name="plain", *, optim=None, grad_accum=1, chunk=5, **changes):
    cfg = dataclasses.replace(TINY, **{**VARIANTS[name], **changes})
    policy = token_policy(cfg)
    updater = Updater(policy, optim or OptimConfig("adamw"), TrainConfig())
    sft = SftConfig(seq_len=LENGTH, chunk=chunk, balance_coef=0.0)
    step = SftStep(policy, sft, updater, grad_accum)
    return step, {"weights": jax.jit(policy.init)(jax.random.key(0))}


def tree_close(a, b, tolerance):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance),
        a,
        b,
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_packed_is_unpacked(name):
    """Loss and gradients, in float64."""
    made = examples()
    with jax.enable_x64(True):
        step, params = make(name, dtype="float64", param_dtype="float64")
        grad = jax.jit(step.gradients)
        one, sums = grad(params, packed(made))
        two, other = grad(params, unpacked(made))
        tree_close(one, two, 1e-12)
        np.testing.assert_allclose(sums["loss/lm"], other["loss/lm"], rtol=1e-12)
        assert one["final_norm"]["scale"].dtype == np.float64
        learned = sum(len(e.ids) - e.start for e in made)
        assert sums["loss/lm"][1] == learned
        assert sums["data/tokens_learned"][0] == learned


def test_the_loss_is_the_mean_over_completion_tokens():
    """Each example read alone, every token scored by its predecessor."""
    made = examples(4)
    with jax.enable_x64(True):
        step, params = make("padded rows", dtype="float64", param_dtype="float64")
        policy, weights = step.policy, params["weights"]

        def plain(weights):
            nats, count = 0.0, 0
            for ids, start in made:
                x = jnp.asarray([ids])
                at = jnp.arange(len(ids))[None]
                hidden = policy.forward(weights, x, at, at >= 0).hidden
                logits = policy.logits(weights, hidden)[0, :, :13]
                logps = jax.nn.log_softmax(logits)
                for t in range(start, len(ids)):
                    nats, count = nats - logps[t - 1, ids[t]], count + 1
            return nats / count

        value, wanted = jax.jit(jax.value_and_grad(plain))(weights)
        grads, metrics = jax.jit(step.gradients)(params, packed(made))
        total, tokens = metrics["loss/lm"]
        np.testing.assert_allclose(total / tokens, value, rtol=1e-12)
        tree_close(grads, wanted, 1e-12)


def test_micro_batches_change_nothing():
    batch = unpacked(examples())
    grads = {}
    for grad_accum in (1, 2, 8):
        step, params = make(grad_accum=grad_accum)
        grads[grad_accum], _ = jax.jit(step.gradients)(params, batch)
    tree_close(grads[1], grads[2], 2e-6)
    tree_close(grads[1], grads[8], 2e-6)


def test_padding_has_no_say():
    made = examples(5)
    step, params = make()
    batch = packed(made)
    sums = jax.jit(partial(sum_tokens, step.policy, chunk=5))
    clean = sums(params, batch)
    empty = batch["segment_ids"] == 0
    for name in ("ids", "targets", "positions"):
        batch[name] = np.where(empty, 7, batch[name])
    tree_close(sums(params, batch), clean, 0)


def test_a_batch_without_targets_moves_nothing():
    step, params = make()
    empty = collate([[]] * 2, LENGTH, pad_id=0)
    grads, metrics = jax.jit(step.gradients)(params, empty)
    assert all((g == 0).all() for g in jax.tree.leaves(grads))
    assert metrics["loss/lm"] == (0, 0)


def test_the_end_is_learned_where_padding_looks_like_it():
    made = [Tokens([5, 6, 1], 1), Tokens([7, 1], 1)]
    for pad_id in (0, 1):
        batch = collate([[e] for e in made], 6, pad_id)
        at_end = (batch["targets"] == 1) & batch["loss_mask"]
        assert batch["loss_mask"].sum(1).tolist() == [2, 1]
        assert at_end.sum(1).tolist() == [1, 1]


def test_an_update_moves_weights_and_their_average():
    step, params = make(optim=OptimConfig("adamw", lr=1e-2, weight_decay=0.0))
    updater = dataclasses.replace(step.updater, train=TrainConfig(ema_decay=0.5))
    step = dataclasses.replace(step, updater=updater)
    state = step.init(jax.random.key(3), params)
    after, metrics = jax.jit(step)(state, packed(examples()))
    assert after.step == 1 and metrics["optim/lr"][0] == np.float32(1e-2)
    halfway = jax.tree.map(
        lambda a, b: (a + b) / 2, params["weights"], after.params["weights"]
    )
    tree_close(eval_params(after)["weights"], halfway, 1e-6)
    norm = jnp.sqrt(
        sum(
            jnp.sum(g**2)
            for g in jax.tree.leaves(step.gradients(params, packed(examples()))[0])
        )
    )
    np.testing.assert_allclose(metrics["optim/grad_norm"][0], norm, rtol=1e-5)


def test_balance_loss_is_added_where_there_are_experts():
    step, params = make("experts")
    batch = packed(examples())
    weighted = dataclasses.replace(
        step, sft=dataclasses.replace(step.sft, balance_coef=0.5)
    )
    plain, metrics = jax.jit(step.gradients)(params, batch)
    grads, same = jax.jit(weighted.gradients)(params, batch)
    assert metrics["moe/load_balance"] == same["moe/load_balance"]
    assert metrics["moe/load_balance"][0] > 0
    router = lambda tree: tree["layers_0"]["moe"]["router"]
    assert np.abs(router(plain) - router(grads)).max() > 1e-4


@pytest.mark.parametrize("grad_accum", [1, 2])
def test_correction_biases_move_against_the_load_of_the_batch(grad_accum):
    """DeepSeek's balancing without a loss; the other weights do not feel it."""
    moe = MoeConfig(n_experts=4, top_k=2, d_expert=8, scoring="sigmoid")
    optim = OptimConfig("adamw", lr=0.01, clip_norm=0.1, router_bias_lr=0.125)
    step, params = make("experts", moe=moe, optim=optim, grad_accum=grad_accum)
    held = make("experts", moe=moe, optim=dataclasses.replace(optim, router_bias_lr=0))
    batch = packed(examples())
    segments = batch["segment_ids"]
    forward = jax.jit(step.policy.forward)
    parts = [slice(i, None, grad_accum) for i in range(grad_accum)]
    load = np.mean(
        [
            forward(
                params["weights"],
                *(batch[k][part] for k in ("ids", "positions")),
                segments[part] > 0,
                segments[part],
            ).aux["load"]
            for part in parts
        ],
        axis=0,
    )
    state = step.init(jax.random.key(0), params)
    after, metrics = jax.jit(step)(state, batch)
    plain, same = jax.jit(held[0])(state, batch)
    for layer in range(2):
        weights = after.params["weights"][f"layers_{layer}"]
        bias = weights["moe"].pop("router_bias")
        expected = 0.125 * np.sign(0.5 - load[layer])
        assert np.any(expected != 0)
        np.testing.assert_array_equal(bias, expected)
        other = plain.params["weights"][f"layers_{layer}"]["moe"].pop("router_bias")
        np.testing.assert_array_equal(other, np.zeros(4))
    tree_close(after.params, plain.params, 1e-6)
    norms = metrics["optim/grad_norm"][0], same["optim/grad_norm"][0]
    np.testing.assert_allclose(*norms, rtol=1e-5)


@pytest.mark.slow
def test_blocks_that_look_ahead_learn_later_tokens():
    """Their loss by hand, packed, over micro-batches; 0 leaves them alone."""
    made = examples()
    with jax.enable_x64(True):
        how = {"dtype": "float64", "param_dtype": "float64", "mtp_layers": 2}
        step, params = make(**how)
        policy, weights = step.policy, params["weights"]

        def plain(weights):
            nats, counts = [0.0, 0.0], [0, 0]
            for ids, start in made:
                x, at = jnp.asarray([ids]), jnp.arange(len(ids))[None]
                hidden = policy.forward(weights, x, at, at >= 0).hidden
                blocks = policy.predict_ahead(weights, hidden, x, at, at >= 0)
                for k, block in enumerate(blocks):
                    logits = policy.logits(weights, block.hidden)[0]
                    logps = jax.nn.log_softmax(logits)
                    for t in range(start, len(ids)):
                        if t - k - 2 >= 0:
                            nats[k] -= logps[t - k - 2, ids[t]]
                            counts[k] += 1
            return (nats[0] / counts[0] + nats[1] / counts[1]) / 2

        wanted = jax.jit(jax.grad(plain))(weights)
        batch = packed(made)
        without = dataclasses.replace(step.sft, mtp_coef=0.0)
        off = dataclasses.replace(step, sft=without)
        for grad_accum in (1, 4):
            on = dataclasses.replace(step, grad_accum=grad_accum)
            both, metrics = jax.jit(on.gradients)(params, batch)
            alone, _ = jax.jit(off.gradients)(params, batch)
            found = jax.tree.map(lambda a, b: (a - b) / 0.1, both, alone)
            tree_close(found, wanted, 1e-10)
            assert all((g == 0).all() for g in jax.tree.leaves(alone["mtp_0"]))
        nats, tokens = metrics["loss/mtp"]
        assert 1.5 < nats / tokens < 4


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_low_precision_sums_are_wide(dtype):
    step, params = make(dtype=dtype)
    grads, metrics = jax.jit(step.gradients)(params, packed(examples()))
    assert metrics["loss/lm"][0].dtype == np.float32
    assert all(g.dtype == np.float32 for g in jax.tree.leaves(grads))
    exact, wide = make()
    _, wanted = jax.jit(exact.gradients)(wide, packed(examples()))
    np.testing.assert_allclose(metrics["loss/lm"][0], wanted["loss/lm"][0], rtol=2e-2)
