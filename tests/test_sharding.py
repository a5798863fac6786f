# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Meshes, logical axes and shardings on eight CPU devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from lrm_jax import sharding
from lrm_jax.sharding import BATCH_AXES, MeshConfig
from lrm_jax.types import UserError


@pytest.mark.parametrize(
    ("cfg", "devices", "shape"),
    [
        (MeshConfig(), 8, (8, 1, 1, 1)),
        (MeshConfig(), 1, (1, 1, 1, 1)),
        (MeshConfig(data=2, fsdp=2, model=2), 8, (2, 2, 1, 2)),
        (MeshConfig(data=-1, fsdp=2, model=2), 8, (2, 2, 1, 2)),
        (MeshConfig(data=1, fsdp=-1), 8, (1, 8, 1, 1)),
        (MeshConfig(data=2), 8, (2, 1, 1, 1)),
        (MeshConfig(model=3), 8, (2, 1, 1, 3)),
        (MeshConfig(data=1, expert=-1, model=2), 8, (1, 1, 4, 2)),
    ],
)
def test_mesh_shape(cfg, devices, shape):
    assert sharding.mesh_shape(cfg, devices) == shape
    names = ("data", "fsdp", "expert", "model")
    assert sharding.mesh_sizes(cfg, devices) == dict(zip(names, shape, strict=True))


@pytest.mark.parametrize(
    ("cfg", "devices", "message"),
    [
        (
            MeshConfig(data=4, fsdp=2, model=2),
            8,
            "mesh data=4 x fsdp=2 x model=2 needs 16 devices; there are 8: the nearest "
            "is data=2 x fsdp=2 x model=2",
        ),
        (
            MeshConfig(fsdp=2),
            1,
            "mesh data=1 x fsdp=2 x model=1 needs 2 devices; there is 1: the nearest "
            "is data=1 x fsdp=1 x model=1",
        ),
        (
            MeshConfig(data=1, model=16, expert=4),
            32,
            "mesh data=1 x fsdp=1 x expert=4 x model=16 needs 64 devices; there are "
            "32: the nearest is data=1 x fsdp=1 x expert=2 x model=16",
        ),
        (MeshConfig(data=0), 8, "mesh.data=0: expected 1 or more, or -1 for the rest"),
        (
            MeshConfig(data=-1, model=-1),
            8,
            "mesh: only one axis may be -1, got data and model",
        ),
    ],
)
def test_a_mesh_that_cannot_be(cfg, devices, message):
    with pytest.raises(UserError) as excinfo:
        sharding.mesh_shape(cfg, devices)
    assert str(excinfo.value) == message


def test_make_mesh_has_auto_axes_and_may_use_some_devices():
    mesh = sharding.make_mesh(MeshConfig(data=2, model=2))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 1, "expert": 1, "model": 2}
    assert mesh.axis_types == (AxisType.Auto,) * 4
    assert mesh.size == 4


def test_partition_spec_uses_a_mesh_axis_once_and_only_where_it_divides():
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, model=2))
    spec = lambda *names, shape=None: sharding.partition_spec(names, mesh, shape)
    assert spec("batch", "seq", "embed") == P(("data", "fsdp"), None, None)
    assert spec("experts", "embed", "mlp") == P(None, "fsdp", "model")
    assert spec("embed", "mlp") == P("fsdp", "model")
    assert spec("heads", "mlp") == P("model", None)
    assert spec(None, "embed") == P(None, "fsdp")
    assert spec("vocab", "embed", shape=(11, 8)) == P(None, "fsdp")
    assert spec("vocab", "embed", shape=(12, 8)) == P("model", "fsdp")
    with pytest.raises(ValueError, match="'embd' has no rule"):
        spec("embd")
    mesh = sharding.make_mesh(MeshConfig(data=1, fsdp=2, model=2, expert=2))
    assert sharding.partition_spec(("batch", "embed"), mesh) == P(
        ("fsdp", "expert"), None
    )
    names = ("experts", "embed", "mlp")
    assert sharding.partition_spec(names, mesh) == P("expert", "fsdp", "model")
    assert sharding.partition_spec(names[1:], mesh) == P(("fsdp", "expert"), "model")
    line = sharding.make_mesh(MeshConfig(data=8))
    assert sharding.partition_spec(("batch", "embed"), line) == P("data", None)


def test_what_does_not_divide_is_known():
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, model=2))
    names = ("vocab", "embed")
    assert sharding.undivided(names, mesh, (12, 8)) == {}
    assert sharding.undivided(names, mesh, (11, 8)) == {0: ("model",)}
    assert sharding.undivided(names, mesh, (11, 7)) == {0: ("model",), 1: ("fsdp",)}
    assert sharding.undivided(("batch",), mesh, (6,)) == {0: ("data", "fsdp")}
    assert sharding.undivided((None, "seq"), mesh, (3, 3)) == {}


def test_tree_shardings_follow_the_names():
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, model=2))
    arrays = {
        "kernel": jnp.zeros((4, 6)),
        "bias": jnp.zeros((6,)),
        "scale": jnp.zeros(()),
        "rest": [jnp.zeros((2,)), jnp.zeros((3, 3))],
    }
    names = {"kernel": ("embed", "mlp"), "bias": ("mlp",), "scale": (), "rest": None}
    found = sharding.tree_shardings(mesh, arrays, names)
    specs = jax.tree.map(lambda s: s.spec, found)
    assert specs == {
        "kernel": P("fsdp", "model"),
        "bias": P("model"),
        "scale": P(),
        "rest": [P(), P()],
    }
    placed = sharding.put(arrays, found)
    assert placed["kernel"].addressable_shards[0].data.shape == (2, 3)
    wrong = {"kernel": ("mlp",)}
    with pytest.raises(ValueError, match="name an array of shape"):
        sharding.tree_shardings(mesh, {"kernel": arrays["kernel"]}, wrong)


def test_a_sharded_program_computes_what_one_device_does():
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, model=2))
    rng = np.random.default_rng(0)
    batch = {"x": rng.normal(size=(8, 4)).astype(np.float32)}
    weight = rng.normal(size=(4, 6)).astype(np.float32)

    def loss(weight, batch):
        hidden = sharding.constrain(batch["x"] @ weight, "batch", "mlp")
        return jnp.sum(jnp.tanh(hidden) ** 2)

    plain = loss(jnp.asarray(weight), jax.tree.map(jnp.asarray, batch))
    placed_batch = sharding.put(batch, sharding.batch_shardings(mesh, batch))
    shardings = sharding.tree_shardings(mesh, {"w": weight}, {"w": ("embed", "mlp")})
    placed = sharding.put({"w": weight}, shardings)
    with sharding.use_mesh(mesh):
        value, grad = jax.jit(jax.value_and_grad(loss))(placed["w"], placed_batch)
        lowered = jax.jit(loss).lower(placed["w"], placed_batch)
    np.testing.assert_allclose(value, plain, rtol=1e-6)
    np.testing.assert_allclose(
        grad, jax.grad(loss)(jnp.asarray(weight), batch), rtol=1e-5, atol=1e-6
    )
    assert "sharding_constraint" in lowered.as_text() or "Sharding" in lowered.as_text()


def test_constrain_checks_its_names_and_is_nothing_without_a_mesh():
    x = jnp.ones((4, 2))
    assert sharding.constrain(x, "batch", "embed") is x
    mesh = sharding.make_mesh(MeshConfig(data=2))
    with sharding.use_mesh(mesh), pytest.raises(ValueError, match="name an array"):
        jax.jit(lambda a: sharding.constrain(a, "batch"))(x)


def test_constrain_leaves_manual_axes_out():
    x = jnp.arange(32.0).reshape(8, 4)
    mesh, rows = sharding.make_mesh(MeshConfig(data=2, fsdp=2, model=2)), P(BATCH_AXES)

    def specs(manual):
        part = lambda a: sharding.constrain(a, "batch", "mlp") * 2
        mapped = jax.shard_map(
            *(part,),
            in_specs=rows,
            out_specs=rows,
            axis_names=set(manual),
            check_vma=False,
        )
        np.testing.assert_array_equal(jax.jit(mapped)(x), x * 2)
        traced = jax.make_jaxpr(mapped)(x).eqns[0].params["jaxpr"]
        found = [e for e in traced.eqns if e.primitive.name == "sharding_constraint"]
        return [equation.params["sharding"].spec for equation in found]

    with sharding.use_mesh(mesh):
        assert specs(BATCH_AXES) == [P(None, "model")]
        assert specs(mesh.axis_names) == []  # nothing is left to the compiler


def test_replicated_puts_all_on_every_device():
    mesh = sharding.make_mesh(MeshConfig(data=4))
    tree = {"a": np.arange(3)}
    placed = sharding.put(tree, sharding.replicated(mesh, tree))
    assert placed["a"].sharding.is_fully_replicated
    assert len(placed["a"].addressable_shards) == 4
