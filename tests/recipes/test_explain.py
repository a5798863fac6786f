# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `lrm train --explain-sharding` says against arrays as they really lie."""

import dataclasses

import jax
import pytest

from lrm_jax.cost.aot import device_bytes
from lrm_jax.models.latent_config import LatentConfig
from lrm_jax.models.lora import LoraConfig
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.aot_latent import latent_run
from lrm_jax.recipes.explain import GROUPS, explain
from lrm_jax.recipes.grpo_config import GrpoConfig, GrpoRunConfig
from lrm_jax.recipes.latent_build import build
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.recipes.sft_config import SftConfig, SftRunConfig
from lrm_jax.rl.config import RolloutConfig
from lrm_jax.rl.variants import variant
from lrm_jax.sharding import MeshConfig, make_mesh
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import UserError

CUBE = MeshConfig(data=2, fsdp=2, model=2)
LAYERS = 2


def latent(ids=8, dim=16, **changes):
    model = LatentConfig(
        vocab_size=6, seq_len=16, num_puzzle_ids=ids, puzzle_emb_dim=dim, d_model=16,
        n_heads=4, ff_multiple=16, l_layers=1, h_cycles=1, l_cycles=1,
        puzzle_prefix_len=dim // 16,
    )  # fmt: skip
    train = TrainConfig(total_steps=4, batch_size=16, ema_decay=0.9)
    config = RunConfig(model=model, train=train, mesh=CUBE)
    data = dataclasses.replace(config.data, kind="sudoku", side=4, **changes)
    return dataclasses.replace(config, data=data)


def model(d_model=16, vocab_size=64, **changes):
    return PolicyConfig(
        vocab_size=vocab_size, d_model=d_model, n_layers=LAYERS, n_heads=4, d_ff=32,
        tied_embeddings=False, **changes,
    )  # fmt: skip


def sft(**changes):
    parts = {
        "model": model(),
        "optim": OptimConfig("adamw"),
        "train": TrainConfig(total_steps=4, batch_size=16, steps_per_dispatch=3),
        "sft": SftConfig(seq_len=24),
        "mesh": CUBE,
    }
    return SftRunConfig(**parts | changes)


def grpo(name="grpo", **changes):
    rl = variant(name, RolloutConfig(n_prompts=8, group_size=2, max_new_tokens=6))
    parts = {
        "model": model(value_head=name == "ppo"),
        "train": TrainConfig(total_steps=4),
        "rl": rl,
        "grpo": GrpoConfig(prompt_len=8),
        "mesh": CUBE,
    }
    return GrpoRunConfig(**parts | changes)


def by_path(found):
    return {leaf.path: leaf for leaf in found["leaves"]}


@pytest.mark.parametrize("recipe", [latent, sft, grpo])
def test_every_recipe_is_explained(recipe):
    found = explain(recipe())
    assert found["devices"] == 8
    assert {"data": 2, "fsdp": 2, "model": 2}.items() <= found["mesh"].items()
    totals = dict(found["totals"])
    whole = totals.pop("total")
    assert list(totals) == list(GROUPS) and whole == sum(totals.values())
    for group, count in totals.items():
        leaves = [leaf for leaf in found["leaves"] if leaf.group == group]
        assert count == sum(leaf.bytes for leaf in leaves)
        assert bool(leaves) == (group != "ema" or recipe is latent)
    assert found["warnings"] == []  # all small, all divide
    assert found["notes"] == []


def test_a_supervised_run_by_hand():
    found = by_path(explain(sft()))
    gate = found["params/weights/layers_0/mlp/gate_proj/kernel"]
    assert gate.shape == (16, 32) and gate.spec == ("fsdp", "model")
    assert (gate.dtype, gate.bytes) == ("float32", 4 * 16 * 32 // 4)
    moment = next(p for p in found if p.endswith("mu/layers_0/mlp/gate_proj/kernel"))
    assert moment.startswith("opt_state/") and found[moment].group == "optimizer"
    assert found[moment].spec == gate.spec
    ids = found["batch/ids"]  # of the three steps of a dispatch
    assert ids.shape == (3, 16, 24) and ids.spec == (None, "data+fsdp", None)
    assert ids.bytes == 3 * 16 * 24 * 4 // 4
    assert found["key"].group == "carry" and found["key"].bytes == 8


def test_adapters_reference_and_completions_are_there():
    found = by_path(explain(grpo("ppo", lora=LoraConfig(rank=2))))
    a = found["params/lora/layers_0/attn/q_proj/lora_a"]
    assert a.spec == ("fsdp", None) and a.shape == (16, 2)
    assert not any(p.startswith("opt_state") and "embedding" in p for p in found)
    assert found["batch/groups/ids"].shape == (8, 2, 6)
    assert found["batch/groups/ids"].spec == ("data+fsdp", None, None)
    assert "batch/scores/values" in found
    found = by_path(explain(grpo()))
    reference = "carry/reference/layers_1/attn/o_proj/kernel"
    assert found[reference].spec == ("model", "fsdp")


def test_bytes_are_those_of_the_arrays():
    config = latent(ids=9)
    state = latent_run(config, make_mesh(CUBE)).init_state()
    found = [leaf for leaf in explain(config)["leaves"] if leaf.group != "batch"]
    real = sorted(
        jax.random.key_data(x).nbytes
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        else x.addressable_shards[0].data.nbytes
        for x in jax.tree.leaves(state)
    )
    assert sorted(leaf.bytes for leaf in found) == real
    assert sum(leaf.bytes for leaf in found) == device_bytes(state)


def test_a_table_whose_rows_do_not_divide_is_told():
    mesh = MeshConfig(data=1, fsdp=8)
    found = explain(dataclasses.replace(latent(ids=1001, dim=256), mesh=mesh))
    one = next(w for w in found["warnings"] if "puzzle_table" in w.path)
    assert (one.reason, one.mesh_axes, one.arrays) == ("undivided", ("fsdp",), 1)
    assert one.bytes == 1001 * 256 * 4
    assert one.message == (
        "params/puzzle_table [1001, 256] float32: 1001 of puzzle_ids do not divide "
        "over fsdp=8 and lie whole on each; model.num_puzzle_ids=1008 would; "
        "1001 KiB a device"
    )
    found = explain(dataclasses.replace(latent(ids=1008, dim=256), mesh=mesh))
    assert not any("puzzle_table" in w.path for w in found["warnings"])


def test_large_copies_are_told_once_for_arrays_that_are_alike():
    # 4096 x 256 floats: 4 MiB, half of it on each device; the model axis is free.
    found = explain(latent(ids=4096, dim=256))
    assert [(w.path, w.reason, w.mesh_axes, w.bytes) for w in found["warnings"]] == [
        ("params/puzzle_table", "replicated", ("model",), 2 * 1024**2)
    ]
    assert "a copy on each device of model=2" in found["warnings"][0].message
    # A vocabulary that does not divide: embedding and head, with two moments each.
    wide = sft(model=model(vocab_size=65), mesh=MeshConfig(data=4, model=2))
    found = explain(wide)["warnings"]
    assert {w.reason for w in found} == {"undivided"}
    assert sorted(w.arrays for w in found) == [3, 3]
    assert all("65 of vocab do not divide over model=2" in w.message for w in found)


def test_copies_along_data_are_one_note():
    # The embedding alone is 2048 x 128 floats, 1 MiB.
    wide = model(d_model=128, vocab_size=2048)
    found = explain(sft(model=wide, mesh=MeshConfig(data=8)))
    assert found["warnings"] == []
    (note,) = found["notes"]
    assert note.startswith("data=8: parameters, optimizer and average, ")
    assert note.endswith("have 8 copies; mesh.fsdp splits them")


def test_resident_data_lie_whole_on_every_device():
    config = latent(resident=True, train_size=32, test_size=8)
    found = [leaf for leaf in explain(config)["leaves"] if leaf.group == "batch"]
    assert found and all(p.path.startswith("batch/resident/") for p in found)
    assert all(leaf.mesh_axes == set() for leaf in found)


def test_a_run_says_that_its_table_is_whole_on_every_device(capsys):
    config = latent(ids=1001, dim=512, train_size=32, test_size=8)
    build(dataclasses.replace(config, mesh=MeshConfig(data=1, fsdp=8)))
    assert capsys.readouterr().err == (
        "model.num_puzzle_ids=1001: does not divide over mesh fsdp=8, so each device "
        "holds the whole table of 1.96 MiB; 1008 would be split\n"
    )
    build(dataclasses.replace(config, mesh=MeshConfig(data=8)))
    split = dataclasses.replace(config.model, num_puzzle_ids=1008)
    build(dataclasses.replace(config, model=split))
    assert capsys.readouterr().err == ""


def test_more_devices_than_there_are_is_for_lrm_aot():
    with pytest.raises(UserError, match="needs 16 devices; there are 8.*lrm aot"):
        explain(sft(mesh=MeshConfig(fsdp=16)))
