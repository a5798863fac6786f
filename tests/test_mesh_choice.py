# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Meshes that a run cannot have, and the one it gets where none is given."""

import jax
import pytest

from lrm_jax import meshes, sharding
from lrm_jax.models.latent import latent_core
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.latent_build import latent_step
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.recipes.run_mesh import latent_mesh, policy_mesh
from lrm_jax.recipes.sft_config import SftRunConfig
from lrm_jax.sharding import MeshConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.types import UserError


def test_batch_must_divide_over_the_devices():
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=3))
    assert sharding.batch_shards(mesh) == 6
    meshes.check_batch(12, mesh)
    with pytest.raises(UserError) as excinfo:
        meshes.check_batch(16, mesh)
    assert str(excinfo.value) == (
        "train.batch_size=16: must divide over 6 devices (mesh data x fsdp); "
        "the nearest is 12 or 18"
    )
    with pytest.raises(UserError, match="eval.batch_size=2.* the nearest is 6$"):
        meshes.check_batch(2, {"data": 6, "fsdp": 1}, "eval.batch_size")
    mesh = sharding.make_mesh(MeshConfig(data=2, expert=4))
    assert sharding.batch_shards(mesh) == 8
    with pytest.raises(UserError, match=r"8 devices \(mesh data x fsdp x expert\)"):
        meshes.check_batch(12, mesh)


@pytest.mark.parametrize(
    ("cfg", "parts", "message"),
    [
        (
            MeshConfig(data=1, model=8),
            {"heads": 12},
            "mesh.model=8: must divide model.n_heads=12; expected one of 1, 2, 3, 4, "
            "6, 12",
        ),
        (
            MeshConfig(data=1, expert=4),
            {"heads": 4, "experts": 6},
            "mesh.expert=4: must divide model.moe.n_experts=6; expected one of 1, 2, "
            "3, 6",
        ),
        (
            MeshConfig(data=1, expert=-1),
            {"heads": None},
            "mesh.expert=8: the model has no experts; expected 1 (mesh.fsdp splits "
            "weights)",
        ),
    ],
)
def test_a_mesh_must_divide_the_models_parts(cfg, parts, message):
    with pytest.raises(UserError) as excinfo:
        meshes.check_parts(cfg, 8, **parts)
    assert str(excinfo.value) == message


def test_a_mesh_that_divides_the_models_parts():
    meshes.check_parts(MeshConfig(data=1, model=8), 8, heads=None)
    meshes.check_parts(MeshConfig(model=2, expert=2), 8, heads=6, experts=6)


@pytest.mark.parametrize(
    ("kept", "fsdp"),
    [(0, 1), (50, 1), (51, 2), (100, 2), (101, 4), (400, 8), (10**6, 8)],
)
def test_weights_are_split_over_as_few_devices_as_they_need(kept, fsdp):
    found = meshes.choose_mesh(MeshConfig(), kept, n_devices=8, memory_bytes=100)
    assert found == MeshConfig(fsdp=fsdp)
    assert sharding.mesh_sizes(found, 8)["data"] == 8 // fsdp


def test_a_mesh_that_is_given_stays():
    for cfg in (MeshConfig(data=8), MeshConfig(model=2), MeshConfig(data=1)):
        found = meshes.choose_mesh(cfg, 10**6, n_devices=8, memory_bytes=100)
        assert found == cfg
    # A device that does not say how much it has (a CPU): copies, as ever.
    found = meshes.choose_mesh(MeshConfig(), 10**9, n_devices=8, memory_bytes=None)
    assert found == MeshConfig()
    assert meshes.device_memory() is None


def test_runs_without_a_mesh_get_one_by_what_they_keep(monkeypatch, capsys):
    model = PolicyConfig(vocab_size=16, d_model=16, n_layers=1, n_heads=2, d_ff=32)
    config = SftRunConfig(model=model, optim=OptimConfig("adamw"))
    assert policy_mesh(config).shape["fsdp"] == 1
    # Embedding 16 x 16, attention 4 x 16 x 16, feed-forward 3 x 16 x 32, 3 norms
    # of 16; four copies: themselves, gradients and two moments, and two counts.
    count = 256 + 1024 + 1536 + 48
    assert capsys.readouterr().err == ""
    kept = 4 * 4 * count + 8
    for fsdp in (1, 2, 4, 8):
        memory = 2 * kept // fsdp + 1
        monkeypatch.setattr(meshes, "device_memory", lambda memory=memory: memory)
        assert policy_mesh(config).shape["fsdp"] == fsdp
        monkeypatch.setattr(meshes, "device_memory", lambda memory=memory: memory - 3)
        assert policy_mesh(config).shape["fsdp"] == min(2 * fsdp, 8)
    latent = RunConfig()
    step = latent_step(latent, latent_core(latent.model))
    monkeypatch.setattr(meshes, "device_memory", lambda: 10**6)
    assert latent_mesh(latent, step).shape["fsdp"] == jax.device_count()
    assert "mesh: data=1 x fsdp=8 x model=1, as parameters" in capsys.readouterr().err
