# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from lrm_jax.interop.hrm_trm import (
    COMPILED_PREFIX,
    export_state_dict,
    import_state_dict,
    layout,
    split_prefix,
)
from lrm_jax.models.latent import LatentConfig, latent_core
from lrm_jax.presets import PRESETS
from lrm_jax.types import UserError

HRM = LatentConfig(
    vocab_size=7,
    seq_len=6,
    num_puzzle_ids=3,
    puzzle_emb_dim=8,
    d_model=8,
    n_heads=2,
    h_layers=1,
    l_layers=2,
    ff_multiple=8,
)
TRM = dataclasses.replace(
    HRM, h_layers=0, mixer="mlp_t", positions="learned", puzzle_prefix_len=3
)


def random_params(cfg, seed=0):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(latent_core(cfg).init, jax.random.key(0))
    return jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(s.dtype), shapes)


@pytest.mark.parametrize("cfg", [HRM, TRM], ids=["hrm", "trm"])
@pytest.mark.parametrize("prefix", ["", "model.inner.", COMPILED_PREFIX])
def test_there_and_back_is_bit_equal(cfg, prefix):
    params = random_params(cfg)
    published = export_state_dict(cfg, params, prefix=prefix)
    again = import_state_dict(cfg, published)
    assert again.prefix == prefix and again.unused == []
    jax.tree.map(np.testing.assert_array_equal, params, again.params)


def test_names_of_a_trm_mixer_are_the_published_ones():
    names = [entry.name for entry in layout(dataclasses.replace(TRM, l_layers=1))]
    assert names == [
        "H_init",
        "L_init",
        "embed_tokens.embedding_weight",
        "lm_head.weight",
        "q_head.weight",
        "q_head.bias",
        "embed_pos.embedding_weight",
        "puzzle_emb.weights",
        "L_level.layers.0.mlp_t.gate_up_proj.weight",
        "L_level.layers.0.mlp_t.down_proj.weight",
        "L_level.layers.0.mlp.gate_up_proj.weight",
        "L_level.layers.0.mlp.down_proj.weight",
    ]


def test_fused_kernels_keep_the_published_order_of_rows():
    # Torch computes x W^T and cuts the result: q, k, v (gate, up) one after another.
    params = random_params(HRM)
    published = export_state_dict(HRM, params, prefix="")
    x = np.random.default_rng(1).standard_normal(8).astype(np.float32)
    block = params["weights"]["l_level"]["layers_1"]
    for name, kernel in {
        "self_attn.qkv_proj": block["attn"]["qkv_proj"]["kernel"],
        "mlp.gate_up_proj": block["mlp"]["gate_up_proj"]["kernel"],
    }.items():
        weight = published[f"L_level.layers.1.{name}.weight"]
        ours = np.einsum("d,dpo->po", x, kernel).reshape(-1)
        np.testing.assert_allclose(weight @ x, ours, rtol=1e-5, atol=1e-5)


def test_stacked_layers_give_the_same_state_dict():
    params = random_params(HRM)
    stacked_cfg = dataclasses.replace(HRM, scan_layers=True)
    published = export_state_dict(HRM, params)
    stacked = import_state_dict(stacked_cfg, published).params
    shapes = jax.eval_shape(latent_core(stacked_cfg).init, jax.random.key(0))
    jax.tree.map(
        lambda s, x: np.testing.assert_equal(s.shape, x.shape), shapes, stacked
    )
    again = export_state_dict(stacked_cfg, stacked)
    assert list(again) == list(published)
    for name, value in published.items():
        np.testing.assert_array_equal(again[name], value)


def test_dtypes_of_the_file_are_kept():
    published = export_state_dict(HRM, random_params(HRM))
    name = COMPILED_PREFIX + "H_init"
    published[name] = published[name].astype(ml_dtypes.bfloat16)
    params = import_state_dict(HRM, published).params
    assert params["fixed"]["z_h_init"].dtype == ml_dtypes.bfloat16
    assert params["fixed"]["z_l_init"].dtype == np.float32


def broken(change):
    published = export_state_dict(HRM, random_params(HRM), prefix="")
    change(published)
    return published


def drop(name):
    return lambda published: published.pop(name)


def put(name, value):
    return lambda published: published.update({name: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("lm_head.weight"), "missing tensors: lm_head.weight"),
        (
            put("L_level.layers.2.mlp.down_proj.weight", np.zeros((8, 24))),
            "tensors of another config: L_level.layers.2",
        ),
        (
            put("embed_pos.embedding_weight", np.zeros((7, 8))),
            "another config: embed_pos",
        ),
        (
            put("lm_head.weight", np.zeros((9, 8), np.float32)),
            r"lm_head.weight: the checkpoint has shape \(9, 8\), the config asks for "
            r"\(7, 8\)",
        ),
        (put("q_head.bias", np.zeros(2, np.int32)), "q_head.bias: dtype int32"),
        (
            put("q_head.bias", np.array([np.nan, 0], np.float32)),
            "q_head.bias: holds NaN",
        ),
        (put("model.inner.q_head.bias", np.zeros(2)), "different prefixes"),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    with pytest.raises(UserError, match=words) as caught:
        import_state_dict(HRM, broken(change))
    assert "\n" not in str(caught.value)


def test_a_long_list_of_what_is_missing_is_cut_and_names_the_file():
    tensors = {"lm_hed.weight": np.zeros((7, 8), np.float32)}
    with pytest.raises(UserError) as caught:
        import_state_dict(HRM, tensors, where="w.safetensors")
    message = str(caught.value)
    more = len(layout(HRM)) - 5
    assert message.startswith("w.safetensors: the checkpoint does not fit the config")
    assert f" and {more} more; unexpected tensors: lm_hed.weight" in message
    assert len(message) < 300


def test_unknown_tensors_are_listed_not_lost_in_silence():
    published = broken(put("rotary_emb.cos_cached", np.zeros(3, np.float32)))
    assert import_state_dict(HRM, published).unused == ["rotary_emb.cos_cached"]


def test_weights_without_a_published_name_are_refused():
    cfg = dataclasses.replace(HRM, positions="grid", grid_shape=(2, 3, 1, 3))
    with pytest.raises(UserError, match=r"weights/embed_.*no such weight"):
        layout(cfg)


def test_prefixes():
    assert split_prefix(["_orig_mod.model.inner.H_init"]) == "_orig_mod.model.inner."
    assert split_prefix(["inner.H_init", "inner.L_init"]) == "inner."
    assert split_prefix(["H_init"]) == ""


def abstract_params(name):
    core = latent_core(PRESETS[name]().model)
    return core, jax.eval_shape(core.init, jax.random.key(0))


LATENT = sorted(name for name in PRESETS if PRESETS[name]().recipe == "latent")
GOLDEN = Path(__file__).parents[1] / "golden" / "params"


def describe_tree(name):
    """One line a leaf: path, shape, dtype, logical axes."""
    core, params = abstract_params(name)
    axes = dict(
        jax.tree_util.tree_leaves_with_path(
            core.logical_axes(), is_leaf=lambda x: isinstance(x, tuple)
        )
    )
    lines = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        where = jax.tree_util.keystr(path, simple=True, separator="/")
        shape = "x".join(map(str, leaf.shape))
        names = ",".join(str(axis) for axis in axes[path])
        lines.append(f"{where} {shape} {jnp.dtype(leaf.dtype).name} {names}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", LATENT)
def test_parameter_trees_are_the_golden_ones(name):
    """Paths, shapes and axes are a contract with every checkpoint on a disk.

    Regenerate the goldens: LRM_UPDATE_GOLDEN=1 pytest tests/interop/test_hrm_trm.py
    """
    path, tree = GOLDEN / f"{name}.txt", describe_tree(name)
    if os.environ.get("LRM_UPDATE_GOLDEN"):
        path.write_text(tree)
    assert tree == path.read_text()


def test_no_golden_without_its_preset():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(LATENT)
