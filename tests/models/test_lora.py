# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.lora import (
    LoraConfig,
    attach,
    init_lora,
    merge,
)
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import MlaConfig, MoeConfig, PolicyConfig
from lrm_jax.types import UserError

TINY = PolicyConfig(vocab_size=11, d_model=16, n_layers=2, n_heads=2, d_ff=24)
VARIANTS = {
    "plain": TINY,
    "scanned": dataclasses.replace(TINY, scan_layers=True, qkv_bias=True),
    "latent": dataclasses.replace(
        TINY, mla=MlaConfig(q_rank=6, kv_rank=8, d_nope=4, d_rope=4, d_value=6)
    ),
    "experts": dataclasses.replace(TINY, moe=MoeConfig(n_experts=4, n_shared=1)),
}
VARIANTS["scanned experts"] = dataclasses.replace(VARIANTS["experts"], scan_layers=True)
VARIANTS["heads"] = dataclasses.replace(TINY, tied_embeddings=False, value_head=True)
LORA = LoraConfig(rank=3, alpha=6.0, targets="_proj|lm_head")


def make(cfg):
    policy = token_policy(cfg)
    weights = jax.jit(policy.init)(jax.random.key(0))
    adapters = init_lora(LORA, weights, jax.random.key(1))
    return policy, weights, adapters


def moved(adapters):
    """Adapters as after training: B is no longer 0."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape), x.dtype), adapters
    )


def outputs(policy, params, decode=False):
    ids = jnp.arange(12).reshape(2, 6) % 11
    at = jnp.broadcast_to(jnp.arange(6)[None], (2, 6))
    mask = jnp.ones((2, 6), bool)

    def read(params, hidden):
        parts = [hidden, policy.logits(params, hidden), hidden @ policy.lm_head(params)]
        if policy.cfg.value_head:
            parts.append(policy.value(params, hidden)[..., None])
        return jnp.concatenate(parts, axis=-1)

    @jax.jit
    def run(params):
        if not decode:
            return read(params, policy.forward(params, ids, at, mask).hidden)
        cache = policy.init_cache(2, 6)
        args = [x[:, :5] for x in (ids, at, mask)]
        _, cache = policy.extend(params, *args, cache, 0)
        args = [x[:, 5:] for x in (ids, at, mask)]
        return read(params, policy.extend(params, *args, cache, 5)[0])

    return run(params)


@pytest.mark.parametrize("name", VARIANTS)
def test_fresh_adapters_change_nothing(name):
    policy, weights, adapters = make(VARIANTS[name])
    attached = attach(LORA, weights, adapters)
    np.testing.assert_array_equal(outputs(policy, attached), outputs(policy, weights))


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_merged_equals_attached(name, decode):
    policy, weights, adapters = make(VARIANTS[name])
    adapters = moved(adapters)
    apart = outputs(policy, attach(LORA, weights, adapters), decode)
    merged = outputs(policy, merge(LORA, weights, adapters), decode)
    plain = outputs(policy, weights, decode)
    np.testing.assert_allclose(apart, merged, atol=2e-5)
    assert float(jnp.abs(merged - plain).max()) > 0.05


def test_the_update_is_alpha_over_rank_times_a_b():
    _, weights, adapters = make(TINY)
    adapters = moved(adapters)
    merged = merge(LORA, weights, adapters)
    node = adapters["layers_1"]["mlp"]["down_proj"]
    kernel = weights["layers_1"]["mlp"]["down_proj"]["kernel"]
    want = kernel + 2.0 * node["lora_a"] @ node["lora_b"]
    got = merged["layers_1"]["mlp"]["down_proj"]["kernel"]
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert jax.tree.structure(merged) == jax.tree.structure(weights)


@pytest.mark.parametrize("name", VARIANTS)
def test_adapters_alone_get_gradients(name):
    policy, weights, adapters = make(VARIANTS[name])
    adapters = moved(adapters)

    def loss(adapters):
        return jnp.sum(outputs(policy, attach(LORA, weights, adapters)) ** 3)

    grads = jax.grad(loss)(adapters)
    assert jax.tree.structure(grads) == jax.tree.structure(adapters)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert bool(jnp.any(grad != 0)), path


def test_targets_choose_projections_by_path():
    _, weights, _ = make(TINY)
    some = LoraConfig(targets=r"layers_1/.*/(q|v)_proj")
    adapters = init_lora(some, weights, jax.random.key(0))
    assert list(adapters) == ["layers_1"]
    assert set(adapters["layers_1"]["attn"]) == {"q_proj", "v_proj"}
    a = adapters["layers_1"]["attn"]["q_proj"]["lora_a"]
    assert a.shape == (16, 8) and 0.2 < float(jnp.abs(a).max()) <= 0.25
    every = init_lora(LoraConfig(), weights, jax.random.key(0))
    assert len(jax.tree.leaves(every)) == 2 * 14


def paths(targets):
    """What is adapted of one layer with routed and shared experts and both heads."""
    moe = MoeConfig(n_experts=4, n_shared=1)
    cfg = dataclasses.replace(
        TINY, n_layers=1, moe=moe, tied_embeddings=False, value_head=True
    )
    shapes = jax.eval_shape(token_policy(cfg).init, jax.random.key(0))
    make = lambda: init_lora(LoraConfig(2, 1.0, targets), shapes, jax.random.key(0))
    flat = jax.tree_util.tree_leaves_with_path(jax.eval_shape(make))
    names = {"/".join(k.key for k in path[:-1]) for path, _ in flat}
    return sorted(names), jax.eval_shape(make)


def test_routed_experts_and_the_head_are_adapted_where_they_are_named():
    attention = [f"layers_0/attn/{n}_proj" for n in "koqv"]
    shared = [f"layers_0/moe/shared/{n}_proj" for n in ("down", "gate", "up")]
    assert paths(LoraConfig().targets)[0] == [*attention, *shared, "value_head"]
    names, shapes = paths("moe/up_proj|lm_head")
    assert names == ["layers_0/moe/up_proj", "lm_head", "value_head"]
    experts = shapes["layers_0"]["moe"]["up_proj"]
    assert experts["lora_a"].shape == (4, 16, 2)
    assert experts["lora_b"].shape[:2] == (4, 2)
    assert shapes["value_head"]["lora_b"].shape == (2, 1)


def test_wrong_targets_are_refused_by_name():
    _, weights, adapters = make(TINY)
    with pytest.raises(UserError, match="matches no projection; there are down_proj"):
        init_lora(LoraConfig(targets="qkv"), weights, jax.random.key(0))
    with pytest.raises(UserError, match="not a regular expression"):
        init_lora(LoraConfig(targets="("), weights, jax.random.key(0))
    with pytest.raises(UserError, match="lora.rank=0"):
        init_lora(LoraConfig(rank=0), weights, jax.random.key(0))
    with pytest.raises(UserError, match="adapter 'layers_7': the policy has no such"):
        attach(LORA, weights, {"layers_7": adapters["layers_0"]})
