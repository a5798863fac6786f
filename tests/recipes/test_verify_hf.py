# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lrm_jax.recipes.verify import verify
from lrm_jax.types import UserError

NAMES = (
    *("qwen3_tied", "qwen3_untied_bf16_sharded", "qwen2_bias_tied_lmhead_in_file"),
    *("llama_llama3rope", "llama_biases_v5config", "qwen3_moe", "deepseek_v3"),
)


@pytest.mark.parametrize("name", NAMES)
def test_every_output_of_a_fixture_agrees(lrm_fixtures, name):
    result = verify(lrm_fixtures / "hf" / name)
    assert result["ok"], result["failed"]
    assert result["kind"] == "hf" and not result["skipped"]
    folder = result["folders"]["."]
    assert folder["unchecked"] == []
    assert folder["max_diff"]["generate/tokens"] == 0
    assert folder["max_diff"]["right/logits_f64"] < 1e-6
    assert ("grads" in folder["max_diff"]) == (name == "qwen3_tied")


@pytest.fixture
def copy(lrm_fixtures, tmp_path):
    return shutil.copytree(lrm_fixtures / "hf" / "qwen3_tied", tmp_path / "f")


def test_a_changed_number_is_named(copy):
    path = copy / "outputs.safetensors"
    arrays = load_file(path)
    arrays["left/logits"][1, 6, 3] += 3e-4
    arrays["generate/tokens"][2, 5] += 1
    arrays["grad/model.norm.weight"] *= 1.001
    arrays["extra"] = np.zeros(2, np.float32)
    save_file(arrays, path)
    result = verify(copy, float64=False)
    assert not result["ok"]
    starts = (
        "left/logits: differs by",
        "generate/tokens: ",
        "grads[model.norm.weight]",
    )
    assert len(result["failed"]) == 3
    for line, start in zip(result["failed"], starts, strict=True):
        assert line.startswith(f".: {start}")
    assert result["folders"]["."]["unchecked"] == ["outputs.safetensors:extra"]


def test_another_stop_token_ends_elsewhere(copy):
    meta = json.loads((copy / "meta.json").read_text())
    tokens = load_file(copy / "outputs.safetensors")["generate/tokens"]
    meta["eos_token_id_for_generate_eos"] = int(tokens[0, 0])
    (copy / "meta.json").write_text(json.dumps(meta))
    failed = verify(copy, float64=False)["failed"]
    assert len(failed) == 1 and "generate_eos/tokens" in failed[0]


def test_an_incomplete_fixture_is_refused_in_one_line(copy):
    (copy / "inputs.safetensors").unlink()
    with pytest.raises(UserError, match=r"inputs.safetensors: no such file"):
        verify(copy)
    shutil.rmtree(copy / "model")
    with pytest.raises(UserError, match="no fixture of kind"):
        verify(copy)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("left/input_ids", lambda x: x.astype(np.float32), "dtype float32; expected"),
        ("right/position_ids", lambda x: x[:, 1:], r"shape \[.*; expected \[rows"),
        ("right/input_ids", lambda x: x[0], r"shape \[.*; expected \[rows"),
        ("left/input_ids", lambda x: x + 10**6, "ids 1000.*; the model has 0 to"),
        ("left/position_ids", lambda x: x - 99, "-99 is negative"),
    ],
)
def test_inputs_that_are_no_batch_are_refused_in_one_line(copy, name, change, message):
    path = copy / "inputs.safetensors"
    arrays = load_file(path)
    arrays[name] = np.ascontiguousarray(change(arrays[name]))
    save_file(arrays, path)
    with pytest.raises(UserError, match=f"inputs.safetensors: {name}: {message}"):
        verify(copy, float64=False)


def test_a_stop_token_that_is_no_id_is_refused(copy):
    meta = json.loads((copy / "meta.json").read_text())
    meta["eos_token_id_for_generate_eos"] = "</s>"
    (copy / "meta.json").write_text(json.dumps(meta))
    message = "meta.json: eos_token_id_for_generate_eos='</s>': expected a whole number"
    with pytest.raises(UserError, match=message):
        verify(copy, float64=False)
