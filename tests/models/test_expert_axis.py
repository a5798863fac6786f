# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Experts split over a mesh give what one device gives, and send only rows."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax import sharding
from lrm_jax.cost import hlo
from lrm_jax.cost.collectives import read_collectives
from lrm_jax.models.lora import LoraConfig
from lrm_jax.models.moe import MoeMlp, balance_penalty
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import MoeConfig, PolicyConfig
from lrm_jax.recipes.policy_build import state_shardings
from lrm_jax.recipes.policy_state import add_adapters, full_weights
from lrm_jax.sharding import MeshConfig

MESHES = {
    "expert 8": MeshConfig(data=1, expert=8),
    "data 2 x expert 4": MeshConfig(data=2, expert=4),
    "expert 2 x model 4": MeshConfig(data=1, model=4, expert=2),
    "fsdp 2 x expert 2 x model 2": MeshConfig(data=1, fsdp=2, model=2, expert=2),
    "data 2 x fsdp 2 x model 2": MeshConfig(data=2, fsdp=2, model=2),
}
ROUTING = {
    "softmax": MoeConfig(n_experts=8, top_k=3, d_expert=8),
    "sigmoid": MoeConfig(
        n_experts=8, top_k=2, d_expert=8, n_shared=1, scoring="sigmoid", n_groups=4,
        top_groups=2, routed_scale=2.0,
    ),
}  # fmt: skip
AT_ONCE = {
    ("fsdp 2 x expert 2 x model 2", "ragged", "softmax"),
}
ALL_ADAPTED = LoraConfig(rank=2, targets="_proj|lm_head")


def policy_of(dispatch, scoring, dtype, **changes):
    moe = dataclasses.replace(ROUTING[scoring], dispatch=dispatch)
    cfg = PolicyConfig(
        vocab_size=16, d_model=16, n_layers=2 if scoring == "softmax" else 1,
        n_heads=4, d_ff=24, moe=moe, tied_embeddings=False,
        scan_layers=scoring == "softmax", dtype=dtype, param_dtype=dtype, **changes,
    )  # fmt: skip
    return token_policy(cfg)


def make_params(policy, lora=None):
    params = {"weights": policy.init(jax.random.key(0))}
    if lora is not None:
        params = add_adapters(lora, params, jax.random.key(1))
        params["lora"] = jax.tree.map(lambda x: x + 0.05, params["lora"])
    return params


def loss_of(policy, rows=8):
    """A loss of everything that experts make, balance included."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 16, (rows, 6), dtype=np.int32)
    at = np.broadcast_to(np.arange(6, dtype=np.int32), ids.shape)
    mask = np.arange(6) < rng.integers(3, 7, (rows, 1))
    pull = rng.normal(size=(rows, 6, 16))

    def loss(params):
        split = lambda x: sharding.constrain(jnp.asarray(x), "batch", "seq")
        given = map(split, (ids, at, mask))
        output = policy.forward(full_weights(params), *given)
        wanted = jnp.sum(output.hidden * pull.astype(output.hidden.dtype))
        balance = balance_penalty(output.aux, "batch", 0.1)
        total = wanted + balance + balance_penalty(output.aux, "sequence", 0.1)
        return total, (output.hidden, output.router)

    return loss


@functools.cache
def computed(mesh, dispatch, scoring, dtype, lora=None, rows=8):
    """Value, hidden states, routes and gradients on a mesh, or on one device."""
    with jax.enable_x64(dtype == "float64"):
        policy = policy_of(dispatch, scoring, dtype)
        params = make_params(policy, lora)
        run = jax.jit(jax.value_and_grad(loss_of(policy, rows), has_aux=True))
        if mesh is None:
            return jax.device_get(run(params))
        place = sharding.make_mesh(mesh)
        params = jax.device_put(params, state_shardings(place, policy, params))
        with sharding.use_mesh(place):
            return jax.device_get(run(params))


def assert_equal(found, wanted, rtol):
    (value, (hidden, router)), grads = found
    (value_1, (hidden_1, router_1)), grads_1 = wanted
    assert value == pytest.approx(value_1, rel=rtol)
    assert np.linalg.norm(hidden - hidden_1) <= rtol * np.linalg.norm(hidden_1)
    np.testing.assert_array_equal(router, router_1)
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(grads_1),
        strict=True,
    )  # fmt: skip
    for (path, got), want in pairs:
        off = np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-30)
        assert off <= rtol, (path, off)


def nightly_but(kind):
    marks = () if kind in AT_ONCE else (pytest.mark.nightly,)
    return pytest.param(*kind, marks=marks)


KINDS = [
    nightly_but((mesh, dispatch, scoring))
    for mesh in MESHES
    for dispatch in ("dense", "ragged")
    for scoring in ROUTING
]


@pytest.mark.parametrize(("mesh", "dispatch", "scoring"), KINDS)
def test_split_experts_equal_one_device(mesh, dispatch, scoring):
    found = computed(MESHES[mesh], dispatch, scoring, "float32")
    assert_equal(found, computed(None, "dense", scoring, "float32"), 1e-5)


@pytest.mark.parametrize(
    ("mesh", "dispatch", "scoring"),
    [
        ("data 2 x expert 4", "ragged", "sigmoid"),
        pytest.param("expert 8", "dense", "softmax", marks=pytest.mark.nightly),
        pytest.param(
            *("fsdp 2 x expert 2 x model 2", "dense", "sigmoid"),
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_adapted_experts_equal_one_device_in_float64(mesh, dispatch, scoring):
    found = computed(MESHES[mesh], dispatch, scoring, "float64", ALL_ADAPTED)
    alone = computed(None, "dense", scoring, "float64", ALL_ADAPTED)
    assert_equal(found, alone, 1e-10)


def test_adapters_of_experts_lie_where_their_kernels_do():
    policy = policy_of("auto", "sigmoid", "float32")
    mesh = sharding.make_mesh(MESHES["fsdp 2 x expert 2 x model 2"])
    lora = LoraConfig(rank=2, targets="_proj")
    shapes = jax.eval_shape(lambda: make_params(policy, lora))
    where = state_shardings(mesh, policy, shapes)
    weights, adapters = where["weights"]["layers_0"], where["lora"]["layers_0"]
    assert weights["moe"]["gate_proj"].spec == P("expert", "fsdp", "model")
    assert weights["moe"]["down_proj"].spec == P("expert", "model", "fsdp")
    # What has no experts is split over both axes, as the batch is.
    shared = weights["moe"]["shared"]["gate_proj"]["kernel"]
    assert shared.spec == P(("fsdp", "expert"), "model")
    gate, down = adapters["moe"]["gate_proj"], adapters["moe"]["down_proj"]
    assert gate["lora_a"].spec == P("expert", "fsdp", None)
    assert gate["lora_b"].spec == P("expert", None, "model")
    assert down["lora_a"].spec == P("expert", "model", None)
    assert down["lora_b"].spec == P("expert", None, "fsdp")


@functools.cache
def layer(dispatch):
    """One layer, its parameters, rows, and its result on one device."""
    module = MoeMlp(MoeConfig(n_experts=8, top_k=2, d_expert=64, dispatch=dispatch))
    x = jax.random.normal(jax.random.key(0), (8, 2, 32))
    tokens = jnp.ones((8, 2), bool)
    params = nn.meta.unbox(jax.jit(module.init)(jax.random.key(1), x, tokens))
    params = params["params"]
    run = lambda params, x: module.apply({"params": params}, x, tokens[: len(x)])[0]
    return run, params, x, np.asarray(jax.jit(run)(params, x))


@pytest.mark.parametrize("dispatch", ["dense", "ragged"])
def test_what_goes_over_the_expert_axis_is_rows(dispatch):
    run, params, x, alone = layer(dispatch)
    mesh = sharding.make_mesh(MESHES["data 2 x expert 4"])
    names = {
        "router": ("embed", None),
        **dict.fromkeys(("gate_proj", "up_proj"), ("experts", "embed", "mlp")),
        "down_proj": ("experts", "mlp", "embed"),
    }
    placed = jax.device_put(params, sharding.tree_shardings(mesh, params, names))
    x = jax.device_put(x, sharding.batch_shardings(mesh, x))

    def both(params, x):
        return run(params, x), jax.grad(lambda *a: jnp.sum(run(*a) ** 2), (0, 1))(
            params, x
        )

    grads = jax.tree.map(lambda a: a.sharding, (placed, x))
    with sharding.use_mesh(mesh):
        step = jax.jit(both, out_shardings=(x.sharding, grads))
        np.testing.assert_allclose(step(placed, x)[0], alone, atol=1e-5)
        text = step.lower(placed, x).compile().as_text()
    found = read_collectives(hlo.parse(text), dict(mesh.shape))
    over_experts = [one for one in found if "expert" in one.axis.split("+")]
    assert {one.op for one in over_experts} >= {"all-gather", "reduce-scatter"}
    kernel = params["gate_proj"].nbytes  # 64 KiB; the rows of a group are 1 KiB
    assert kernel == 65_536 and x.nbytes == 2048
    assert max(one.whole_bytes for one in over_experts) <= 2 * x.nbytes
    # Of kernels, only their gradients meet, each part with its copies alone.
    parts = (3 * kernel + params["router"].nbytes) // 4
    assert max(one.whole_bytes for one in found) <= parts
    assert {one.axis for one in found if one.whole_bytes > 2 * x.nbytes} <= {"data"}


@pytest.mark.parametrize("dispatch", ["dense", "ragged"])
def test_rows_that_do_not_divide_are_run_by_every_device(dispatch):
    run, params, x, alone = layer(dispatch)
    mesh = sharding.make_mesh(MESHES["fsdp 2 x expert 2 x model 2"])
    loss = lambda params, x: jnp.sum(run(params, x) ** 2)
    alone, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x[:3])
    with sharding.use_mesh(mesh):
        found, split = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, x[:3])
    assert float(found) == pytest.approx(float(alone), rel=1e-5)
    for a, b in zip(jax.tree.leaves(split), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dispatch", ["dense", "ragged"])
def test_inside_a_loop_whose_batch_axes_are_manual(dispatch):
    run, params, x, alone = layer(dispatch)
    for cfg in (MeshConfig(data=4, model=2), MESHES["fsdp 2 x expert 2 x model 2"]):
        mesh = sharding.make_mesh(cfg)
        rows = P(sharding.BATCH_AXES)
        manual = {a for a in mesh.axis_names if a != "model"}
        mapped = jax.shard_map(
            run, in_specs=(P(), rows), out_specs=rows, axis_names=manual,
            check_vma=False,
        )  # fmt: skip
        with sharding.use_mesh(mesh):
            place = NamedSharding(mesh, rows)
            found = jax.jit(mapped)(params, jax.device_put(x, place))
        np.testing.assert_allclose(found, alone, atol=1e-5)
