# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from lrm_jax.interop.arch import (
    arch_to_configs,
    configs_to_arch,
    dump_yaml,
    kind_of,
    read_settings,
)
from lrm_jax.types import UserError

# As HRM's trainer writes it: sorted keys, no sizes of the data.
HRM_YAML = """\
arch:
  H_cycles: 2
  H_layers: 4
  L_cycles: 3
  L_layers: 2
  expansion: 4
  halt_exploration_prob: 0.1
  halt_max_steps: 16
  hidden_size: 512
  loss:
    loss_type: softmax_cross_entropy
    name: losses@ACTLossHead
  name: hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1
  num_heads: 8
  pos_encodings: rope
  puzzle_emb_ndim: 512
beta1: 0.9
checkpoint_path: null
data_path: data/maze-30x30-hard-1k
eval_save_outputs: []
global_batch_size: 768
lr: 0.0001
"""
TRM = {
    "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",
    "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
    "H_cycles": 3,
    "L_cycles": 6,
    "H_layers": 0,
    "L_layers": 2,
    "hidden_size": 16,
    "expansion": 4,
    "num_heads": 2,
    "pos_encodings": "none",
    "puzzle_emb_ndim": 16,
    "puzzle_emb_len": 4,
    "mlp_t": True,
    "no_ACT_continue": True,
    "halt_max_steps": 16,
    "halt_exploration_prob": 0.1,
    "forward_dtype": "bfloat16",
}
SHAPES = {
    "embed_tokens.embedding_weight": np.zeros((6, 512)),
    "puzzle_emb.weights": np.zeros((3, 512)),
}


def read_yaml(tmp_path, text=HRM_YAML):
    path = tmp_path / "all_config.yaml"
    path.write_text(text)
    return read_settings(path)


def test_a_published_hrm_config(tmp_path):
    model, halting, loss = arch_to_configs("hrm", read_yaml(tmp_path), SHAPES)
    assert (model.h_layers, model.l_layers) == (4, 2)
    assert (model.h_cycles, model.l_cycles) == (2, 3)
    # Not in the file: from the tensors, and from the name of the task.
    assert (model.vocab_size, model.num_puzzle_ids, model.seq_len) == (6, 3, 900)
    assert model.prefix_len == 1 and model.grad_depth == "one_step"
    assert halting == {
        "rule": "q_learning",
        "max_steps": 16,
        "exploration_prob": 0.1,
    }
    assert loss == {"kind": "softmax"}


def test_a_trm_config_takes_its_cells_from_the_mixer():
    tensors = {
        "_orig_mod.model.inner.embed_tokens.embedding_weight": np.zeros((11, 16)),
        "_orig_mod.model.inner.puzzle_emb.weights": np.zeros((5, 16)),
        "_orig_mod.model.inner.L_level.layers.0.mlp_t.down_proj.weight": np.zeros(
            (20, 256)
        ),
    }
    model, halting, _ = arch_to_configs("trm", {"arch": TRM}, tensors)
    assert (model.seq_len, model.prefix_len, model.total_len) == (16, 4, 20)
    assert model.mixer == "mlp_t" and model.h_layers == 0
    assert model.grad_depth == "last_recursion" and model.dtype == "bfloat16"
    assert halting["rule"] == "halt_only"
    assert model.puzzle_prefix_len == 4 and model.num_puzzle_ids == 5


def test_trm_sizes_its_prefix_as_its_code_does():
    sizes = {"vocab_size": 11, "seq_len": 9, "num_puzzle_identifiers": 1}
    arch = {**TRM, **sizes, "puzzle_emb_ndim": 40}
    del arch["puzzle_emb_len"]
    assert arch_to_configs("trm", {"arch": arch}).model.prefix_len == 16
    arch["puzzle_emb_len"] = 0  # as many as it takes
    assert arch_to_configs("trm", {"arch": arch}).model.prefix_len == 3
    arch["puzzle_emb_len"] = 2
    with pytest.raises(UserError, match=r"puzzle_emb_len=2.*puzzle_emb_ndim=40"):
        arch_to_configs("trm", {"arch": arch})


@pytest.mark.parametrize("kind", ["hrm", "trm"])
def test_our_configs_round_trip_through_an_arch_section(kind, tmp_path):
    if kind == "hrm":
        ours = arch_to_configs(kind, read_yaml(tmp_path), SHAPES)
    else:
        sizes = {"vocab_size": 11, "seq_len": 16, "num_puzzle_identifiers": 5}
        ours = arch_to_configs(kind, {"arch": {**TRM, **sizes}})
    loss = {"kind": ours.loss["kind"]}
    arch = configs_to_arch(kind, ours.model, ours.halting, loss)
    again = arch_to_configs(kind, read_yaml(tmp_path, dump_yaml({"arch": arch})))
    assert again == ours


def with_arch(**changes):
    sizes = {"vocab_size": 11, "seq_len": 16, "num_puzzle_identifiers": 5}
    return {"arch": {**TRM, **sizes, **changes}}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (with_arch(dropout=0.1), "unknown arch fields 'dropout' for kind trm"),
        (with_arch(hidden_size="wide"), "arch.hidden_size='wide': expected a whole"),
        (with_arch(L_layers=1.5), "arch.L_layers=1.5: expected a whole number"),
        (with_arch(num_heads=True), "arch.num_heads=True"),
        (with_arch(pos_encodings="alibi"), "arch.pos_encodings='alibi': expected rope"),
        (with_arch(mlp_t="yes"), "arch.mlp_t='yes': expected true or false"),
        (with_arch(causal=True), "arch.causal=true"),
        (with_arch(loss={"loss_type": "mse"}), "arch.loss.loss_type='mse'"),
        (with_arch(forward_dtype="float16"), "arch.forward_dtype='float16'"),
        (with_arch(name="hrm.hrm_act_v1@HRM"), "kind hrm, but trm was asked for"),
    ],
)
def test_bad_fields_are_named(settings, words):
    with pytest.raises(UserError, match=words) as caught:
        arch_to_configs("trm", settings)
    assert "\n" not in str(caught.value)


def test_missing_fields_are_named(tmp_path):
    settings = read_yaml(tmp_path)
    del settings["arch"]["H_layers"], settings["arch"]["num_heads"]
    with pytest.raises(UserError, match="arch has no num_heads, H_layers"):
        arch_to_configs("hrm", settings)
    settings = read_yaml(tmp_path)
    with pytest.raises(UserError, match="arch has no vocab_size"):
        arch_to_configs("hrm", settings)
    settings["data_path"] = "data/mine"
    with pytest.raises(UserError, match=r"arch has no seq_len.*--arch FILE"):
        arch_to_configs("hrm", settings, SHAPES)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "not readable as a config"),
        ("a.yaml", "arch: [1, 2", "not readable as a config"),
        ("a.yaml", "lr: 1.0", "has no section arch"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "not readable"),
    ],
)
def test_bad_config_files_give_one_line(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_settings(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_numbers_in_the_forms_of_yaml(tmp_path):
    # YAML 1.1 reads 1e-5 as text.
    text = HRM_YAML.replace("num_heads: 8", "num_heads: 8\n  rms_norm_eps: 1e-5")
    model = arch_to_configs("hrm", read_yaml(tmp_path, text), SHAPES).model
    assert model.norm_eps == 1e-5


def test_an_arch_section_may_be_the_whole_file(tmp_path):
    (tmp_path / "arch.json").write_text(json.dumps(TRM))
    assert read_settings(tmp_path / "arch.json")["arch"]["mlp_t"] is True


def test_kind_is_told_by_the_class():
    assert kind_of({"name": "hrm.hrm_act_v1@X"}, {}) == "hrm"
    assert kind_of({"name": TRM["name"]}, {}) == "trm"
    assert kind_of({}, {"model_class": TRM["name"]}) == "trm"
    assert kind_of({}, {}) is None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("qk_norm", True, "model.qk_norm=True"),
        ("mlp", "bounded_swiglu", "model.mlp='bounded_swiglu'"),
        ("norm_placement", "pre", "model.norm_placement='pre'"),
        ("positions", "grid", "model.positions='grid'"),
        ("ff_multiple", 64, "model.ff_multiple=64"),
        ("h_layers", 2, "model.h_layers=2: the published trm model has 0"),
    ],
)
def test_what_the_reference_cannot_say_is_not_exported(field, value, words):
    ours = arch_to_configs("trm", with_arch())
    model = type(ours.model)(**{**vars(ours.model), field: value})
    with pytest.raises(UserError, match=words):
        configs_to_arch("trm", model, ours.halting, ours.loss)
