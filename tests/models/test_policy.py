# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.policy import positions_of, token_policy
from lrm_jax.models.policy_config import (
    MlaConfig,
    MoeConfig,
    PolicyConfig,
    RopeConfig,
)
from lrm_jax.sharding import (
    MeshConfig,
    batch_shardings,
    make_mesh,
    put,
    tree_shardings,
    use_mesh,
)

TINY = PolicyConfig(
    vocab_size=13, d_model=16, n_layers=3, n_heads=4, n_kv_heads=2, d_ff=24,
    max_seq_len=64,
)  # fmt: skip

SOFTMAX = MoeConfig(n_experts=5, top_k=2, d_expert=8, dense_layers=(1,))
SIGMOID = MoeConfig(
    n_experts=8, top_k=3, d_expert=8, n_shared=2, dense_layers=(0,),
    scoring="sigmoid", n_groups=4, top_groups=2, routed_scale=2.5,
)  # fmt: skip
MLA = MlaConfig(q_rank=6, kv_rank=8, d_nope=4, d_rope=4, d_value=6)
TURNED = RopeConfig(interleaved=True)

VARIANTS = {
    "plain": {},
    "qwen3": {"qk_norm": True, "d_head": 8},
    "biases": {"qkv_bias": True, "o_bias": True, "mlp_bias": True},
    "untied": {"tied_embeddings": False},
    "one kv head": {"n_kv_heads": 1},
    "full heads": {"n_kv_heads": 0},
    "padded rows": {"vocab_rows": 16},
    "window": {"sliding_window": 4},
    "some windows": {"sliding_window": 3, "sliding_layers": (1,)},
    "scanned": {"scan_layers": True},
    "scanned windows": {
        "scan_layers": True, "sliding_window": 3, "sliding_layers": (0, 2)
    },
    "experts": {"moe": SOFTMAX},
    "scanned experts": {"moe": SOFTMAX, "scan_layers": True},
    "ragged experts": {
        "moe": dataclasses.replace(SIGMOID, dispatch="ragged"), "scan_layers": True
    },
    "latent": {"mla": MLA, "rope": TURNED},
    "deepseek": {"mla": dataclasses.replace(MLA, q_rank=0), "moe": SIGMOID,
        "rope": TURNED, "qkv_bias": True, "o_bias": True},
}  # fmt: skip


def make(name="plain", **changes):
    cfg = dataclasses.replace(TINY, **{**VARIANTS[name], **changes})
    policy = token_policy(cfg)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        # Biases too, which start at 0, and norms, which start at 1.
        values = rng.standard_normal(leaf.shape) * 0.3
        values += path[-1].key == "scale"
        return jnp.asarray(values, leaf.dtype)

    return policy, jax.tree_util.tree_map_with_path(draw, shapes)


def prompts(side="right", lengths=(9, 5, 7)):
    """Three sequences of 9 slots, padded with garbage ids on one side."""
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 13, (3, 9)).astype(np.int32)
    ids = rng.integers(0, 13, (3, 9)).astype(np.int32)
    mask = np.zeros((3, 9), bool)
    for row, length in enumerate(lengths):
        at = slice(0, length) if side == "right" else slice(9 - length, 9)
        ids[row, at] = tokens[row, :length]
        mask[row, at] = True
    return jnp.asarray(ids), jnp.asarray(mask)


@partial(jax.jit, static_argnums=0)
def full(policy, params, ids, mask):
    return policy.forward(params, ids, positions_of(mask), mask).hidden


@partial(jax.jit, static_argnums=(0, 6))
def extend(policy, params, ids, positions, mask, cache, start):
    return policy.extend(params, ids, positions, mask, cache, start)


def prefill(policy, params, ids, mask, length):
    cache = policy.init_cache(ids.shape[0], length)
    return extend(policy, params, ids, positions_of(mask), mask, cache, 0)


def near(got, want, atol=1e-5):
    np.testing.assert_allclose(got, want, rtol=0, atol=atol)


def by_row(hidden, mask):
    return [np.asarray(h)[np.asarray(m)] for h, m in zip(hidden, mask, strict=True)]


@pytest.mark.parametrize("name", VARIANTS)
def test_axes_name_every_parameter_and_gradients_are_finite(name):
    policy, params = make(name)
    ranks = jax.tree.map(len, policy.axes, is_leaf=lambda x: isinstance(x, tuple))
    assert ranks == jax.tree.map(jnp.ndim, params)
    ids, mask = prompts()

    def loss(params):
        return jnp.sum(policy.logits(params, full(policy, params, ids, mask)) ** 2)

    grads = jax.jit(jax.grad(loss))(params)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert bool(jnp.all(jnp.isfinite(grad))), path
        # A bias that chooses experts has no gradient; keys' biases cancel.
        if not any(name in str(path) for name in ("k_proj", "router", "kv_a")):
            assert bool(jnp.any(grad != 0)), path


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_cached_decoding_equals_the_full_forward(name, side):
    policy, params = make(name)
    ids, mask = prompts(side)
    extra = jax.random.randint(jax.random.key(5), (3, 4), 0, 13)
    all_ids = jnp.concatenate([ids, extra], axis=1)
    all_mask = jnp.concatenate([mask, jnp.ones((3, 4), bool)], axis=1)
    all_positions = positions_of(all_mask)
    want = full(policy, params, all_ids, all_mask)
    hidden, cache = prefill(policy, params, ids, mask, 16)
    step = jax.jit(policy.extend)
    rows = by_row(hidden, mask)
    for row, expected in zip(rows, by_row(want[:, :9], mask), strict=True):
        near(row, expected)
    for i in range(9, 13):
        new = (x[:, i : i + 1] for x in (all_ids, all_positions, all_mask))
        hidden, cache = step(params, *new, cache, jnp.int32(i))
        near(hidden[:, 0], want[:, i])


def test_lanes_may_start_at_slots_of_their_own():
    policy, params = make("qwen3")
    ids, mask = prompts("right", (6, 3, 5))
    _, cache = prefill(policy, params, ids, mask, 16)
    lengths = jnp.array([6, 3, 5])
    new = jnp.array([[1, 2], [3, 4], [5, 6]])
    at = lengths[:, None] + jnp.arange(2)[None]
    hidden, cache = jax.jit(policy.extend)(
        params, new, at, jnp.ones((3, 2), bool), cache, lengths
    )
    for row, length in enumerate([6, 3, 5]):
        alone = jnp.concatenate([ids[row, :length], new[row]])[None]
        want = full(policy, params, alone, jnp.ones_like(alone, bool))
        near(hidden[row], want[0, length:])
    assert cache.valid.sum(axis=1).tolist() == [8, 5, 7]


def test_a_forked_lane_goes_on_like_its_parent():
    policy, params = make()
    ids, mask = prompts("left")
    _, cache = prefill(policy, params, ids, mask, 12)
    forked = policy.fork(cache, jnp.array([0, 0, 2, 1, 1]))
    token = jnp.array([[1], [2], [1], [1], [2]])
    at = jnp.array([[9], [9], [7], [5], [5]])
    one = jnp.ones((5, 1), bool)
    hidden, _ = extend(policy, params, token, at, one, forked, 9)
    for lane, parent in enumerate([0, 0, 2, 1, 1]):
        whole = jnp.concatenate([ids[parent][mask[parent]], token[lane]])[None]
        want = full(policy, params, whole, jnp.ones_like(whole, bool))
        near(hidden[lane, 0], want[0, -1])


@pytest.mark.parametrize("name", ["plain", "window", "qwen3"])
def test_padding_on_either_side_changes_nothing(name):
    policy, params = make(name)
    alone = []
    for row, length in enumerate((9, 5, 7)):
        ids = prompts("right")[0][row : row + 1, :length]
        alone.append(full(policy, params, ids, jnp.ones_like(ids, bool))[0])
    for side in ("right", "left"):
        ids, mask = prompts(side)
        rows = by_row(full(policy, params, ids, mask), mask)
        for row, want in zip(rows, alone, strict=True):
            near(row, want)


@pytest.mark.parametrize("name", ["plain", "window"])
def test_packed_segments_equal_separate_sequences(name):
    policy, params = make(name)
    ids, _ = prompts()
    segment = jnp.array([[0, 0, 0, 1, 1, 1, 1, 2, 2]])
    positions = jnp.array([[0, 1, 2, 0, 1, 2, 3, 0, 1]])
    mask = jnp.ones((1, 9), bool)
    packed = jax.jit(policy.forward)(params, ids[:1], positions, mask, segment)
    packed = packed.hidden[0]
    for start, end in ((0, 3), (3, 7), (7, 9)):
        part = ids[:1, start:end]
        near(packed[start:end], full(policy, params, part, mask[:, start:end])[0])


def test_a_token_has_no_gradient_from_later_ones():
    policy, params = make()
    ids, mask = prompts("right", (9, 9, 9))
    cfg = policy.cfg

    def read(table):
        # Every position gets a row of its own, so that rows are positions.
        moved = {**params, "embed_tokens": {"embedding": table}}
        at = jnp.arange(9)[None]
        return policy.forward(moved, at, at, mask[:1]).hidden[0]

    wide = dataclasses.replace(cfg, vocab_size=9)
    policy = token_policy(wide)
    table = jax.random.normal(jax.random.key(2), (9, cfg.d_model))
    jacobian = jax.jit(jax.jacrev(read))(table)  # [T, D, T, D]
    strength = jnp.sum(jnp.abs(jacobian), axis=(1, 3))
    assert bool(jnp.all(jnp.triu(strength, 1) == 0))
    assert bool(jnp.all(jnp.tril(strength)[jnp.tril_indices(9)] > 0))


def test_a_window_of_w_sees_w_positions():
    policy, params = make("window", n_layers=1)
    ids, mask = prompts("right", (9, 9, 9))
    hidden = full(policy, params, ids, mask)
    changed = full(policy, params, ids.at[:, 2].add(1), mask)
    differs = np.any(np.asarray(hidden != changed), axis=(0, 2))
    assert differs.tolist() == [False] * 2 + [True] * 4 + [False] * 3


def stack(params, layers):
    blocks = [params[f"layers_{i}"] for i in range(layers)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *blocks)
    rest = {k: v for k, v in params.items() if not k.startswith("layers_")}
    return {**rest, "stage_0": stacked}


@pytest.mark.parametrize("remat", ["none", "block", "dots"])
@pytest.mark.parametrize("scan", [False, True])
def test_scan_and_remat_and_jit_change_neither_values_nor_gradients(scan, remat):
    policy, params = make("qwen3")
    other = token_policy(dataclasses.replace(policy.cfg, scan_layers=scan, remat=remat))
    ids, mask = prompts()

    def loss(policy, params):
        return jnp.sum(full(policy, params, ids, mask) ** 2 * mask[..., None])

    want, grads = jax.value_and_grad(partial(loss, policy))(params)
    theirs = stack(params, 3) if scan else params
    value, other_grads = jax.jit(jax.value_and_grad(partial(loss, other)))(theirs)
    near(value, want, 1e-3)
    grads = stack(grads, 3) if scan else grads
    for a, b in zip(jax.tree.leaves(other_grads), jax.tree.leaves(grads), strict=True):
        near(a, b, 1e-4 * max(1.0, float(jnp.abs(b).max())))


@pytest.mark.parametrize("name", ["qwen3", "deepseek", "scanned"])
def test_a_mesh_of_eight_changes_nothing(name):
    policy, params = make(name, vocab_rows=16)
    ids = jax.random.randint(jax.random.key(0), (4, 9), 0, 13)
    mask = jnp.ones((4, 9), bool).at[1, :3].set(False)
    want = full(policy, params, ids, mask)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, model=2))
    shardings = tree_shardings(mesh, params, policy.axes)
    specs = {str(s.spec) for s in jax.tree.leaves(shardings)}
    assert any("model" in spec and "fsdp" in spec for spec in specs)
    with use_mesh(mesh):
        placed = put(params, shardings)
        batch = put((ids, mask), batch_shardings(mesh, (ids, mask)))

        def run(params, ids, mask):
            positions = positions_of(mask)
            cache = policy.init_cache(4, 9)
            cached, _ = policy.extend(params, ids, positions, mask, cache, 0)
            return policy.forward(params, ids, positions, mask).hidden, cached

        for got in jax.jit(run)(placed, *batch):
            real = np.asarray(mask)[..., None]
            near(np.where(real, got, 0), np.where(real, want, 0))


def test_float64_flows_through_everything():
    with jax.enable_x64(True):
        policy, params = make("qwen3", dtype="float64", param_dtype="float64")
        ids, mask = prompts()
        assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float64")}
        out = full(policy, params, ids, mask)
        cached, _ = prefill(policy, params, ids, mask, 9)
        logits = policy.logits(params, out)
        assert out.dtype == cached.dtype == logits.dtype == jnp.float64
        rows = zip(by_row(out, mask), by_row(cached, mask), strict=True)
        for a, b in rows:
            near(a, b, 1e-13)


def test_bfloat16_activations_and_float32_logits():
    policy, params = make(dtype="bfloat16")
    ids, mask = prompts()
    hidden = full(policy, params, ids, mask)
    assert hidden.dtype == jnp.bfloat16
    assert policy.logits(params, hidden).dtype == jnp.float32
    assert policy.init_cache(2, 4).layers[0]["k"].dtype == jnp.bfloat16


def test_the_head_is_the_embedding_where_they_are_tied():
    for name in ("plain", "untied"):
        policy, params = make(name)
        hidden = jax.random.normal(jax.random.key(4), (2, 3, 16))
        near(policy.logits(params, hidden), hidden @ policy.lm_head(params))
        assert ("lm_head" in params) == (name == "untied")


def test_the_value_head_reads_the_hidden_state():
    policy, params = make(value_head=True)
    hidden = jax.random.normal(jax.random.key(4), (2, 3, 16))
    value = policy.value(params, hidden)
    near(value, (hidden @ params["value_head"]["kernel"])[..., 0])
    assert value.shape == (2, 3)
    fresh = jax.jit(policy.init)(jax.random.key(0))
    assert not jnp.any(policy.value(fresh, hidden))
    spread = fresh["layers_0"]["attn"]["o_proj"]["kernel"].std()
    near(spread, 16**-0.5 / 6**0.5, 0.02)  # 1 / sqrt(in), over sqrt(2 layers)
    assert jnp.all(fresh["final_norm"]["scale"] == 1)
