# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.latent import LatentConfig, count_params, latent_core
from lrm_jax.models.layers import attend, grid_relations, rms_norm, rope_table

TINY = LatentConfig(
    vocab_size=6, seq_len=16, puzzle_emb_dim=16, d_model=16, n_heads=2, ff_multiple=8,
    h_layers=0, l_layers=2, grid_shape=(4, 4, 2, 2),
)  # fmt: skip

VARIANTS = {
    "attention": {},
    "mixer": {"mixer": "mlp_t", "positions": "none"},
    "two modules": {"h_layers": 1},
    "no table": {"puzzle_emb_dim": 0},
    "long prefix": {"puzzle_prefix_len": 3},
    "learned": {"positions": "learned"},
    "grid": {"positions": "grid", "relation_bias": True, "qk_norm": True},
    "bounded, pre-norm": {"mlp": "bounded_swiglu", "norm_placement": "pre"},
    "bounded mixer": {"mixer": "mlp_t", "mlp": "bounded_swiglu"},
    "mean": {"q_pool": "mean"},
}


def run(cfg, seed=0, params=None):
    """Embed, one low and one high update, both heads; with their gradients."""
    core = latent_core(cfg)
    params = core.init(jax.random.key(seed)) if params is None else params
    inputs = jnp.arange(32).reshape(2, 16) % 6
    rows = jnp.ones((2, cfg.puzzle_emb_dim)) if cfg.puzzle_emb_dim else None
    z = jax.random.normal(jax.random.key(9), (2, cfg.total_len, cfg.d_model))
    z = z.astype(cfg.dtype)

    def loss(weights):
        w = core.cast(weights)
        x = core.embed(w, inputs, rows)
        low = core.update_l(w, core.enter(z), x)
        high = core.leave(core.update_h(w, core.enter(z), low))
        logits, q = core.logits(w, high), core.q_logits(w, high)
        wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        return jnp.sum(wide**2) + jnp.sum(q), (high, logits, q)

    grads, outputs = jax.jit(jax.grad(loss, has_aux=True))(params["weights"])
    return outputs, grads, params


def assert_near(got, want):
    """Equal up to float32 rounding of the largest number of each array."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-6 * np.abs(b).max())


@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_finite_gradients_and_axes_of_every_variant(name):
    cfg = dataclasses.replace(TINY, **VARIANTS[name])
    (state, logits, q), grads, params = run(cfg)
    assert state.shape == (2, cfg.total_len, 16)
    assert logits.shape == (2, 16, 6) and q.shape == (2, 2)
    np.testing.assert_allclose(q, -5, atol=1e-5)  # zero weights, bias -5
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert bool(jnp.all(jnp.isfinite(grad))), path
        if "q_head" not in str(path):
            assert bool(jnp.any(grad != 0)), path
    axes = latent_core(cfg).logical_axes()
    ranks = jax.tree.map(len, axes, is_leaf=lambda x: isinstance(x, tuple))
    assert ranks == jax.tree.map(jnp.ndim, params)


@pytest.mark.parametrize("name", ["attention", "mixer", "grid", "two modules"])
def test_scanned_and_rematerialised_layers_equal_plain_ones(name):
    cfg = dataclasses.replace(TINY, **VARIANTS[name], l_layers=3)
    cfg = dataclasses.replace(cfg, h_layers=3 if cfg.h_layers else 0)
    (state, _, _), grads, params = run(cfg)
    remat, remat_grads, _ = run(dataclasses.replace(cfg, remat=True), params=params)
    assert_near((remat[0], remat_grads), (state, grads))
    weights = dict(params["weights"])
    for level in ("l_level", "h_level"):
        if level in weights:
            layers = [weights[level][f"layers_{i}"] for i in range(3)]
            stacked = jax.tree.map(lambda *x: jnp.stack(x), *layers)
            weights[level] = {"layers": {"block": stacked}}
    scanned = dataclasses.replace(cfg, scan_layers=True)
    (got, _, _), got_grads, _ = run(scanned, params={**params, "weights": weights})
    layers = [grads["l_level"][f"layers_{i}"] for i in range(3)]
    want = jax.tree.map(lambda *x: jnp.stack(x), *layers)
    assert_near((got, got_grads["l_level"]["layers"]["block"]), (state, want))


@pytest.mark.parametrize("name", ["attention", "mixer", "grid"])
def test_bfloat16_stays_near_float32(name):
    cfg = dataclasses.replace(TINY, **VARIANTS[name])
    (state, logits, q), _, params = run(cfg)
    narrow = dataclasses.replace(cfg, dtype="bfloat16")
    (state16, logits16, q16), grads, _ = run(narrow, params=params)
    assert state16.dtype == jnp.bfloat16 and logits16.dtype == jnp.bfloat16
    assert q16.dtype == jnp.float32
    assert all(g.dtype == jnp.float32 for g in jax.tree.leaves(grads))
    np.testing.assert_allclose(state16.astype(jnp.float32), state, atol=0.1)


def test_lanes_do_not_see_each_other():
    core = latent_core(TINY)
    params = core.init(jax.random.key(0))
    inputs = jnp.arange(32).reshape(2, 16) % 6

    def first_lane(rows):
        x = core.embed(params["weights"], inputs, rows)
        return core.update_l(params["weights"], x, x)[0].sum()

    grad = jax.grad(first_lane)(jnp.ones((2, 16)))
    assert bool(jnp.any(grad[0] != 0)) and bool(jnp.all(grad[1] == 0))


def test_relations_of_a_4x4_grid_by_hand():
    row, col, box, cell = grid_relations((4, 4, 2, 2), prefix_len=1)
    assert row.shape == (17, 17)
    assert all(r[0].sum() == 0 and r[:, 0].sum() == 0 for r in (row, col, box, cell))
    # cell (1, 2) is position 1 + 6: its row 4..7, its column 2, 6, 10, 14, its box
    at = lambda r: set(np.flatnonzero(r[7]) - 1)
    assert at(row) == {4, 5, 6, 7} and at(col) == {2, 6, 10, 14}
    assert at(box) == {2, 3, 6, 7} and at(cell) == {6}


def test_attention_equals_softmax_by_hand():
    q, k, v = jax.random.normal(jax.random.key(0), (3, 2, 5, 3, 4))
    bias = jax.random.normal(jax.random.key(1), (3, 5, 5))
    scores = np.einsum("btnh,bsnh->bnts", q, k) / 2 + np.asarray(bias)[None]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    want = np.einsum("bnts,bsnh->btnh", weights, v)
    np.testing.assert_allclose(attend(q, k, v, bias), want, rtol=1e-5, atol=1e-6)
    far = attend(q * 1e4, k, v)  # no overflow far out
    assert bool(jnp.all(jnp.isfinite(far)))


def test_norm_and_rope_by_hand():
    np.testing.assert_allclose(
        rms_norm(jnp.array([3.0, 4.0]), eps=0.0), np.array([3, 4]) / np.sqrt(12.5),
        rtol=1e-6,
    )  # fmt: skip
    cos, sin = rope_table(3, 4, 100.0, jnp.float32)
    np.testing.assert_allclose(cos[2], np.cos([2, 0.2, 2, 0.2]), rtol=1e-6)
    np.testing.assert_allclose(sin[2], np.sin([2, 0.2, 2, 0.2]), rtol=1e-6)


def test_table_is_zero_and_states_follow_the_dtype():
    cfg = dataclasses.replace(TINY, dtype="bfloat16", num_puzzle_ids=3)
    params = latent_core(cfg).init(jax.random.key(0))
    assert params["puzzle_table"].shape == (3, 16) and not params["puzzle_table"].any()
    assert params["fixed"]["z_h_init"].dtype == jnp.bfloat16
    assert bool(jnp.any(params["fixed"]["z_h_init"] != params["fixed"]["z_l_init"]))
    assert count_params(params["weights"]) == sum(
        leaf.size for leaf in jax.tree.leaves(params["weights"])
    )
