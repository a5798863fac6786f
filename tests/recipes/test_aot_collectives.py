# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the devices of compiled steps tell each other, by axis and bytes.

On eight CPU devices, whose programs pass the partitioner that TPUs' do;
`test_aot_scale.py` asks the TPUs' own compiler.
"""

import dataclasses
import functools

import jax
import pytest

from lrm_jax import presets, sharding
from lrm_jax.config import replace
from lrm_jax.cost import hlo
from lrm_jax.cost.aot import device_bytes
from lrm_jax.cost.collectives import read_collectives
from lrm_jax.recipes.aot import plan, program_names
from lrm_jax.sharding import MeshConfig

POLICY = {
    "model.d_model": 64,
    "model.n_layers": 2,
    "model.n_heads": 8,
    "model.n_kv_heads": 4,
    "model.d_head": 8,
    "model.d_ff": 128,
    "model.vocab_size": 1024,
    "model.max_seq_len": 24,
    "model.dtype": "float32",
    "model.remat": "none",
    "rl.rollout.n_prompts": 8,
    "rl.rollout.group_size": 2,
    "rl.rollout.max_new_tokens": 16,
    "grpo.prompt_len": 8,
    "grpo.chunk": 64,
    "train.grad_accum": 1,
}
LATENT = {
    "model.l_layers": 1,
    "model.h_cycles": 1,
    "model.puzzle_emb_dim": 64,
    "model.num_puzzle_ids": 65_536,
    "optim.kind": "adamw",
    "train.batch_size": 32,
    "train.ema_decay": 0.0,
}


@functools.cache
def collectives(kind, program, mesh):
    """Collectives of a program, the bytes of its state on a device, and turns."""
    name, changes = {"policy": ("grpo_8b", POLICY), "latent": ("sudoku4_tiny", LATENT)}[
        kind
    ]
    config = dataclasses.replace(replace(presets.get(name), changes), mesh=mesh)
    place = sharding.make_mesh(mesh)
    state, works = plan(config, place)
    assert program_names(config) == tuple(work.name for work in works)
    work = next(work for work in works if work.name == program)
    with sharding.use_mesh(place):
        text = work.function.trace(*work.args).lower().compile().as_text()
    found = read_collectives(
        hlo.parse(text), dict(place.shape), while_bound=work.while_bound
    )
    return found, state


def sent(found, axis):
    return sum(one.sent_bytes * one.count for one in found if one.axis == axis)


def axes(found):
    return {axis for one in found for axis in one.axis.split("+")} - {"none"}


def whole_bytes(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_copied_weights_send_their_gradients_and_nothing_else():
    found, state = collectives("policy", "update", MeshConfig(data=8))
    assert axes(found) == {"data"}
    gradients = 2 * 7 / 8 * whole_bytes(state.params)
    assert sent(found, "data") == pytest.approx(gradients, rel=0.05)


def test_split_weights_are_gathered_and_their_gradients_reduced():
    found, state = collectives("policy", "update", MeshConfig(data=1, fsdp=8))
    assert axes(found) == {"fsdp"}
    weights = 7 / 8 * whole_bytes(state.params)
    # A gather for the forward pass and one for the backward pass; gradients are
    # reduced to parts, where the CPU's compiler reduces them whole (twice the bytes).
    assert 2 * weights <= sent(found, "fsdp") < 4.2 * weights


def test_a_split_puzzle_table_is_never_gathered():
    found, state = collectives("latent", "update", MeshConfig(data=1, fsdp=8))
    table = state.params["puzzle_table"]
    assert device_bytes(table) == whole_bytes(table) / 8
    assert max(one.whole_bytes for one in found) < device_bytes(table) / 4


def test_a_token_loop_waits_for_no_other_lanes():
    mesh = MeshConfig(data=2, fsdp=2, model=2)
    found, _ = collectives("policy", "rollout", mesh)
    inside = [one for one in found if one.open_loop]
    assert inside and axes(inside) == {"model"}
    # Weights split over fsdp are gathered before it, once.
    outside = [one for one in found if not one.open_loop]
    assert "fsdp" in axes(outside)


def test_a_draw_sends_one_share_of_the_logits():
    """Truncation, if a row asks for it, sorts whole rows: one all-to-all moves them."""
    mesh = MeshConfig(data=2, fsdp=2, model=2)
    found, _ = collectives("policy", "rollout", mesh)
    inside = [one for one in found if one.open_loop]
    rows, ids = 8 * 2 // 4, 1024 // 2  # on a device
    moved = [one for one in inside if one.op == "all-to-all"]
    assert sum(one.sent_bytes for one in moved) == rows * ids * 4 / 2
    rest = [one for one in inside if one.op != "all-to-all"]
    hidden = rows * 64 * 4  # of the embedding and of two sums a layer
    assert max(one.whole_bytes for one in rest) == hidden
    assert sum(one.whole_bytes >= hidden // 2 for one in rest) == 1 + 2 * 2
