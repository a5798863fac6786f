# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is compiled for TPUs, checked on a CPU: FLOPs by formula, bytes by shapes."""

import dataclasses

import jax
import numpy as np
import pytest

from lrm_jax import presets, sharding
from lrm_jax.config import replace
from lrm_jax.cost.aot import device_bytes
from lrm_jax.cost.chips import find_slice
from lrm_jax.cost.jaxpr_flops import jaxpr_flops
from lrm_jax.models.policy_config import MoeConfig
from lrm_jax.presets import scale
from lrm_jax.recipes.aot import on_mesh, plan
from lrm_jax.recipes.aot_sweep import meshes
from lrm_jax.sharding import MeshConfig
from lrm_jax.types import UserError


def traced_flops(work, mesh):
    with sharding.use_mesh(mesh):
        traced = work.function.trace(*work.args)
    return jaxpr_flops(
        traced.jaxpr, while_bound=work.while_bound, ragged_share=work.ragged_share
    )


def one_device(config):
    mesh = sharding.make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1])
    return plan(dataclasses.replace(config, mesh=MeshConfig(1, 1, 1)), mesh), mesh


@pytest.mark.parametrize("name", ["hrm_sudoku", "trm_att_sudoku", "trm_mlp_sudoku"])
def test_a_latent_step_by_formula(name):
    config = presets.get(name)
    layers = min(config.model.h_layers, 1)  # 0 shares the low module
    config = replace(config, {"model.l_layers": 1, "model.h_layers": layers})
    (_, works), mesh = one_device(config)
    assert [work.name for work in works] == ["update"]
    assert traced_flops(works[0], mesh) == pytest.approx(works[0].model_flops, rel=0.01)


SMALL = {
    "model.d_model": 256,
    "model.n_layers": 3,
    "model.n_heads": 4,
    "model.n_kv_heads": 2,
    "model.d_head": 64,
    "model.d_ff": 512,
    "model.vocab_size": 1024,
    "model.max_seq_len": 96,
    "rl.rollout.n_prompts": 4,
    "rl.rollout.group_size": 4,
    "rl.rollout.max_new_tokens": 64,
    "grpo.prompt_len": 32,
    "grpo.chunk": 256,
    "train.grad_accum": 4,
    "eval.batch_size": 16,
    "eval.max_new_tokens": 64,
}


@pytest.mark.parametrize("experts", [False, True])
def test_a_grpo_step_by_formula(experts):
    config = replace(presets.get("grpo_8b"), SMALL)
    if experts:
        moe = MoeConfig(n_experts=8, top_k=2, d_expert=128)
        model = dataclasses.replace(config.model, moe=moe)
        config = dataclasses.replace(config, model=model)
    plain = replace(config, {"model.remat": "none"})
    (_, works), mesh = one_device(plain)
    assert [work.name for work in works] == ["rollout", "score", "update"]
    for work in works:
        # The backward pass of the log-probs computes its logits again.
        close = 0.05 if work.name != "update" else 0.1
        assert traced_flops(work, mesh) == pytest.approx(work.model_flops, rel=close)
    (_, recomputed), _ = one_device(config)
    more = traced_flops(recomputed[-1], mesh) / recomputed[-1].model_flops
    assert 1.2 < more < 4 / 3 + 0.05


def test_experts_of_an_axis_multiply_their_own_rows_alone():
    config = replace(presets.get("grpo_8b"), SMALL | {"model.remat": "none"})
    moe = MoeConfig(n_experts=8, top_k=2, d_expert=128)
    model = dataclasses.replace(config.model, moe=moe)
    layout = MeshConfig(1, 1, 2, expert=4)
    config = dataclasses.replace(config, model=model, mesh=layout)
    mesh = sharding.make_mesh(layout)
    _, works = plan(config, mesh)
    for work in works:
        close = 0.05 if work.name != "update" else 0.1
        assert traced_flops(work, mesh) == pytest.approx(work.model_flops, rel=close)


def test_flops_of_hrm_sudoku_by_hand():
    """Full size, as `lrm aot hrm_sudoku` counts them."""
    (_, (work,)), mesh = one_device(presets.get("hrm_sudoku"))
    lanes, length, d, layers = 768, 1 + 81, 512, 4
    block = 4 * d * d + 3 * d * 1536
    scores = 4 * d * length  # of a token with all of its lane's, and weighted sums
    call = layers * lanes * length * (2 * block + scores)
    # Two cycles of two low calls and a high one, as many to look one segment ahead;
    # back through the last low and high call, which costs each twice more.
    hand = (6 + 6 + 2 * 2) * call + 6 * d * 11 * lanes * 81
    assert traced_flops(work, mesh) == pytest.approx(hand, rel=0.05)
    assert work.model_flops == pytest.approx(hand, rel=0.05)


def test_flops_of_the_8b_update_by_hand():
    """6 N tokens and attention, at full size; blocks are recomputed."""
    rows, length, written = 8192, 8192, 7168
    config = replace(presets.get("grpo_8b"), {"rl.rollout.n_prompts": rows // 8})
    (_, works), mesh = one_device(config)
    blocks = 36 * (2 * 4096 * (4096 + 1024) + 3 * 4096 * 12_288)
    attention = 3 * 4 * 36 * 32 * 128 * length * length * rows
    head = 6 * 151_936 * 4096 * written * rows
    hand = 6 * blocks * rows * length + attention + head
    assert works[-1].model_flops == pytest.approx(hand, rel=0.05)
    counted = traced_flops(works[-1], mesh)
    assert counted == pytest.approx(hand * 4 / 3, rel=0.05)


def test_parameters_and_moments_of_the_8b_preset_by_hand():
    config = on_mesh(
        presets.get("grpo_8b"), find_slice("v5p-64"), 1, scale.SLICES["grpo_8b"].mesh
    )
    mesh = jax.sharding.AbstractMesh((1, 8, 4), ("data", "fsdp", "model"))
    state, _ = plan(config, mesh)  # pyright: ignore[reportArgumentType]
    d, f, heads, groups = 4096, 12_288, 32 * 128, 8 * 128
    layer = 2 * d * heads + 2 * d * groups + 3 * d * f
    count = 36 * layer + 2 * 151_936 * d
    assert count == pytest.approx(8.19e9, rel=0.01)
    assert device_bytes(state.params) == pytest.approx(4 * count / 32, rel=0.01)
    assert device_bytes(state.opt_state) == pytest.approx(8 * count / 32, rel=0.01)
    assert device_bytes(state.carry) == pytest.approx(4 * count / 32, rel=0.01)


@pytest.fixture(scope="module")
def small_program():
    """The step of a small latent run for 8 CPU devices, compiled, with its inputs."""
    changes = {"train.batch_size": 64, "eval.batch_size": 64}
    changes |= {"model.l_layers": 1, "model.l_cycles": 1, "model.h_cycles": 1}
    config = replace(presets.get("sudoku4_tiny"), changes)
    config = dataclasses.replace(config, mesh=MeshConfig(2, 2, 2))
    mesh = sharding.make_mesh(config.mesh)
    state, works = plan(config, mesh)
    with sharding.use_mesh(mesh):
        compiled = works[0].function.trace(*works[0].args).lower().compile()
    return state, works[0], compiled


def test_argument_bytes_are_those_the_cpu_measures(small_program):
    state, work, compiled = small_program
    measured = compiled.memory_analysis().argument_size_in_bytes
    # Arrays of less than 64 bytes are counted with what their buffers are padded to.
    assert device_bytes(work.args) == pytest.approx(measured, rel=1e-3)


def test_state_bytes_are_those_of_real_arrays(small_program):
    state, _, _ = small_program
    where = jax.tree.map(lambda x: x.sharding, state.params)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state.params)
    placed = jax.tree.leaves(jax.device_put(zeros, where))
    first = jax.devices()[0]
    held = sum(
        shard.data.nbytes
        for leaf in placed
        for shard in leaf.addressable_shards
        if shard.device == first
    )
    assert device_bytes(state.params) == held


def test_every_preset_at_scale_is_valid_where_it_is_meant_for():
    for name, place in scale.SLICES.items():
        config = on_mesh(presets.get(name), find_slice(place.topology), 1, place.mesh)
        assert config.mesh == place.mesh
        if config.recipe == "grpo":
            rollout = config.rl.rollout
            assert rollout.n_prompts * rollout.group_size >= 256
        else:
            assert config.train.batch_size >= 256


def test_meshes_of_a_sweep_use_all_devices():
    for devices in (8, 32):
        found = list(meshes(devices))
        assert len(set(found)) == len(found)
        assert all(m.data * m.fsdp * m.model == devices for m in found)
    assert all(m.data % 2 == 0 for m in meshes(16, slices=2))


def test_slices_joined_at_an_unknown_rate_are_refused():
    config, mesh = presets.get("hrm_sudoku"), MeshConfig(data=8)
    assert on_mesh(config, find_slice("v5e:2x2"), 2, mesh).mesh.data == 8
    with pytest.raises(UserError, match="--slices 2: how fast .* v4 is"):
        on_mesh(config, find_slice("v4:2x2x1"), 2, mesh)


def test_slices_divide_the_data_axis():
    config, one = presets.get("hrm_sudoku"), find_slice("v5e:2x4")
    assert on_mesh(config, one, 2, None).mesh == MeshConfig(16, 1, 1)
    with pytest.raises(UserError, match="--slices 2: the data axis.*data=1 does not"):
        on_mesh(config, one, 2, MeshConfig(1, 16, 1))
