# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.moe import (
    MoeMlp,
    balance_penalty,
    choose_experts,
    dense_experts,
    expert_scores,
    load_balance_loss,
    ragged_experts,
)
from lrm_jax.models.policy_config import MoeConfig, PolicyConfig, check_policy
from lrm_jax.types import UserError

SIGMOID = MoeConfig(
    n_experts=6, top_k=2, d_expert=8, scoring="sigmoid", n_groups=3, top_groups=1,
    routed_scale=2.0,
)  # fmt: skip


def test_softmax_routing_by_hand():
    moe = MoeConfig(n_experts=4, top_k=2, norm_topk=False)
    scores = expert_scores(moe, jnp.log(jnp.array([0.1, 0.4, 0.2, 0.3])))
    ids, weights = choose_experts(moe, scores)
    assert ids.tolist() == [1, 3]
    np.testing.assert_allclose(weights, [0.4, 0.3], rtol=1e-6)
    _, normed = choose_experts(dataclasses.replace(moe, norm_topk=True), scores)
    np.testing.assert_allclose(normed, [4 / 7, 3 / 7], rtol=1e-6)


def test_grouped_routing_by_hand():
    # Groups (0, 1), (2, 3), (4, 5) with sums 1.1, 1.2, 0.9.
    scores = jnp.array([0.9, 0.2, 0.6, 0.6, 0.5, 0.4])
    ids, weights = choose_experts(SIGMOID, scores)
    assert sorted(ids.tolist()) == [2, 3]
    np.testing.assert_allclose(weights, [1, 1], rtol=1e-6)
    # The bias chooses the last group, and is not in the weights.
    bias = jnp.array([0.0, 0, 0, 0, 1, 1])
    ids, weights = choose_experts(SIGMOID, scores, bias)
    assert ids.tolist() == [4, 5]
    np.testing.assert_allclose(weights, [2 * 5 / 9, 2 * 4 / 9], rtol=1e-6)


def experts(seed=0, n=5, rows=7):
    keys = jax.random.split(jax.random.key(seed), 4)
    draw = lambda key, *shape: jax.random.normal(key, shape)
    kernels = (
        draw(keys[0], n, 4, 3), draw(keys[1], n, 4, 3), draw(keys[2], n, 3, 4),
    )  # fmt: skip
    return draw(keys[3], rows, 4), kernels


def test_dense_and_ragged_dispatch_equal_a_loop():
    rows, kernels = experts()
    ids = jnp.array([[0, 1], [4, 0], [2, 3], [2, 0], [3, 4], [0, 2], [4, 2]])
    weights = jnp.linspace(0.1, 1.4, 14).reshape(7, 2)
    want = np.zeros((7, 4))
    for row in range(7):
        for expert, weight in zip(ids[row], weights[row], strict=True):
            gate, up, down = (kernel[expert] for kernel in kernels)
            x = rows[row]
            want[row] += weight * ((jax.nn.silu(x @ gate) * (x @ up)) @ down)
    for dispatch in (dense_experts, ragged_experts):
        got = jax.jit(dispatch)(rows, ids, weights, *kernels)
        np.testing.assert_allclose(got, want, atol=1e-5)

        def loss(rows, weights, kernels, dispatch=dispatch):
            return jnp.sum(dispatch(rows, ids, weights, *kernels) ** 2)

        grads = jax.jit(jax.grad(loss, (0, 1, 2)))(rows, weights, kernels)
        if dispatch is dense_experts:
            dense = grads
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(dense), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("moe", [MoeConfig(n_experts=6, d_expert=8), SIGMOID])
def test_a_token_does_not_care_about_the_others(moe):
    module = MoeMlp(dataclasses.replace(moe, n_shared=1))
    x = jax.random.normal(jax.random.key(0), (2, 6, 8))
    tokens = jnp.ones((2, 6), bool)
    params = nn.meta.unbox(jax.jit(module.init)(jax.random.key(1), x, tokens))
    run = jax.jit(module.apply)
    y, routing = run(params, x, tokens)
    order = np.random.default_rng(0).permutation(12)
    moved = x.reshape(12, 8)[order].reshape(2, 6, 8)
    z, other = run(params, moved, tokens)
    np.testing.assert_allclose(
        z.reshape(12, 8), np.asarray(y).reshape(12, 8)[order], atol=1e-6
    )
    np.testing.assert_allclose(other.load, routing.load, atol=1e-6)
    assert routing.ids.shape == (2, 6, 2) and float(routing.load.sum()) == 2


def test_padding_does_not_count_in_the_balance():
    module = MoeMlp(MoeConfig(n_experts=4, d_expert=8))
    x = jax.random.normal(jax.random.key(0), (2, 5, 8))
    tokens = jnp.array([[True] * 5, [True] * 3 + [False] * 2])
    params = nn.meta.unbox(jax.jit(module.init)(jax.random.key(1), x, tokens))
    run = jax.jit(module.apply)
    _, routing = run(params, x, tokens)
    _, other = run(params, x.at[1, 3:].set(100.0), tokens)
    for name in ("load", "prob", "sequence_balance"):
        got, want = getattr(other, name), getattr(routing, name)
        np.testing.assert_allclose(got, want, atol=1e-6)
    counts = np.zeros(4)
    for row, length in ((0, 5), (1, 3)):
        np.add.at(counts, np.asarray(routing.ids[row, :length]).ravel(), 1)
    np.testing.assert_allclose(routing.load, counts / 8, atol=1e-6)


def test_balance_is_least_where_the_load_is_even():
    even = jnp.full(4, 0.5)
    prob = jnp.full(4, 0.25)
    np.testing.assert_allclose(load_balance_loss(even, prob), 2)
    uneven = jnp.array([1.0, 1.0, 0.0, 0.0])
    skewed = jnp.array([0.4, 0.4, 0.1, 0.1])
    np.testing.assert_allclose(load_balance_loss(uneven, skewed), 4 * 0.8, rtol=1e-6)
    layers = jnp.stack([uneven, uneven[::-1]])
    pooled = load_balance_loss(layers, jnp.stack([skewed, skewed[::-1]]))
    np.testing.assert_allclose(pooled, 2, rtol=1e-6)


def test_the_correction_bias_is_pulled_by_how_much_more_than_its_share_a_load_is():
    module = MoeMlp(MoeConfig(n_experts=4, d_expert=8, scoring="sigmoid"))
    x = jax.random.normal(jax.random.key(0), (2, 5, 8))
    tokens = jnp.array([[True] * 5, [True] * 3 + [False] * 2])
    params = nn.meta.unbox(jax.jit(module.init)(jax.random.key(1), x, tokens))

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def pulled(params):
        _, routing = module.apply(params, x, tokens)
        return routing.bias_pull, routing

    grads, routing = pulled(params)
    assert float(routing.bias_pull) == 0 and float(routing.load.sum()) == 2
    bias = np.asarray(grads["params"].pop("router_bias"))
    np.testing.assert_allclose(bias, routing.load - 0.5, atol=1e-6)
    assert np.abs(bias).max() > 0.05
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))


def test_a_loss_takes_the_balance_that_is_named():
    aux = {"load_balance": 2.0, "sequence_balance": 3.0, "bias_pull": 0.0}
    aux = {name: jnp.asarray(value) for name, value in aux.items()}
    assert float(balance_penalty(aux, "batch", 0.5)) == 1.0
    assert float(balance_penalty(aux, "sequence", 0.5)) == 1.5


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_the_balance_loss_is_the_librarys():
    torch = pytest.importorskip("torch", reason="needs the reference extra")
    pytest.importorskip("transformers", reason="needs the reference extra")
    from transformers.models.qwen3_moe.modeling_qwen3_moe import (
        load_balancing_loss_func,
    )

    rng = np.random.default_rng(0)
    logits = rng.standard_normal((3, 2, 5, 4)).astype(np.float32)  # layers, B, T, E
    mask = np.array([[1] * 5, [1] * 3 + [0] * 2])
    flat = tuple(torch.tensor(layer.reshape(10, 4)) for layer in logits)
    want = load_balancing_loss_func(flat, 4, 2, torch.tensor(mask))
    moe = MoeConfig(n_experts=4)
    loads, probs = [], []
    real = mask.astype(bool)
    for layer in logits:
        scores = expert_scores(moe, jnp.asarray(layer))
        ids, _ = choose_experts(moe, scores)
        hit = jax.nn.one_hot(ids, 4).sum(axis=-2)
        loads.append(np.asarray(hit)[real].mean(axis=0))
        probs.append(np.asarray(scores)[real].mean(axis=0))
    got = load_balance_loss(jnp.asarray(np.stack(loads)), jnp.asarray(np.stack(probs)))
    np.testing.assert_allclose(got, float(want), rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 7}, "moe.top_k=7: expected 1 to n_experts=6"),
        ({"n_groups": 4}, "moe.n_groups=4: must divide n_experts=6"),
        ({"top_k": 3}, "1 of 3 groups of 2 experts do not hold top_k=3"),
        ({"scoring": "softmax"}, "groups are for scoring=sigmoid"),
    ],
)
def test_experts_that_cannot_be_are_refused(changes, message):
    moe = dataclasses.replace(SIGMOID, **changes)
    with pytest.raises(UserError, match=message):
        check_policy(PolicyConfig(moe=moe))
