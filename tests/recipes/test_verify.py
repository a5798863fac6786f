# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parity with the references, and that the comparison can fail.

Two small fixtures lie in tests/fixtures; all others run where LRM_FIXTURES names
them.
"""

import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lrm_jax.recipes import verify_core
from lrm_jax.recipes.verify import find_fixtures, verify
from lrm_jax.recipes.verify_report import Report
from lrm_jax.recipes.verify_trace import read_case, run_training, segment_fn
from lrm_jax.types import UserError

SMALL = Path(__file__).parents[1] / "fixtures"
TRM = SMALL / "trm" / "att_learned_ceil_len"
HRM = SMALL / "hrm" / "rope_multi_puzzle_token"


def test_small_fixtures_agree_in_both_precisions():
    result = verify(SMALL)
    assert result["failed"] == [] and result["ok"]
    assert set(result["folders"]) == {
        "hrm/rope_multi_puzzle_token",
        "trm/att_learned_ceil_len",
    }
    assert result["kind"] == "several"
    diffs = result["folders"]["hrm/rope_multi_puzzle_token"]["max_diff"]
    for output in (
        "eval/z_H",
        "train/target_q_continue",
        "train/metrics/q_continue_loss",
        "optim/lr_puzzle_emb",
        "grad/qkv_proj.weight",
        "grad/puzzle_emb.local_weights",
        "params/puzzle_emb",
        "f64/optim/z_L_last",
    ):
        assert output in diffs
    assert all(v < 1e-10 for k, v in diffs.items() if k.startswith("f64/eval"))
    for folder in result["folders"].values():
        assert folder["unchecked"] == []


def _external():
    root = os.environ.get("LRM_FIXTURES")
    if not root or not Path(root).is_dir():
        return []
    return [f.name for f in find_fixtures(Path(root)) if f.run is not None]


@pytest.mark.parametrize("name", _external() or [None])
def test_every_fixture_agrees(name, lrm_fixtures):
    fixture = next(f for f in find_fixtures(lrm_fixtures) if f.name == name)
    assert fixture.run is not None
    report, unchecked = fixture.run()
    assert report.failed == [] and report.ok
    assert unchecked == []


def corrupt(tmp_path, file, name, change, src=TRM):
    """Copy a fixture with one stored array changed."""
    folder = tmp_path / "fixture"
    shutil.copytree(src, folder)
    path = folder / f"{file}.safetensors"
    tensors = load_file(path)
    tensors[name] = change(tensors[name].copy())
    save_file(tensors, path)
    return folder


def add(amount, *where):
    def change(x):
        x[where] += amount
        return x

    return change


def test_a_number_that_is_wrong_makes_verify_fail(tmp_path):
    folder = corrupt(tmp_path, "outputs", "train/logits", add(1e-3, 2, 1, 3, 4))
    result = verify(folder, float64=False)
    assert not result["ok"] and result["kind"] == "trm"
    (failure,) = result["failed"]
    assert failure.startswith(".: train/logits: differs by 0.00")
    assert "at [2, 1, 3, 4]" in failure
    assert 9e-4 < result["max_diff"]["train/logits"] < 1.1e-3


def test_a_wrong_weight_after_a_step_makes_verify_fail(tmp_path):
    name = "step3/model.inner.lm_head.weight"
    folder = corrupt(tmp_path, "params_after", name, add(1e-5, 0, 0))
    result = verify(folder)
    # Both precisions, and no excuse of rounding.
    assert {line.split("[")[0] for line in result["failed"]} == {
        ".: params/dense",
        ".: f64/params/dense",
    }
    assert not any("without" in note for note in result["folders"]["."]["notes"])


def test_a_signs_flip_below_rounding_is_told_from_an_error(monkeypatch):
    """Steps compared one by one from the float64 run agree without a mask."""
    real = verify_core.undecided_signs
    calls = []

    def one_element(case, training, true):
        masks = real(case, training, true)
        masks[0].setdefault("lm_head.weight", np.zeros((6, 16), bool))
        calls.append(masks)
        return masks

    # Make the free run fail, so that the steps are compared one by one.
    def failing(report, *args, **kwargs):
        verify_core_compare(report, *args, **kwargs)
        if not calls:
            report.failed.append("made to fail")

    verify_core_compare = verify_core._compare_training
    monkeypatch.setattr(verify_core, "_compare_training", failing)
    monkeypatch.setattr(verify_core, "undecided_signs", one_element)
    report, _ = verify_core.verify_run(TRM, "trm", float64=True)
    assert report.failed == [] and len(calls) == 2
    (note,) = report.notes
    assert "compared one by one" in note


def test_undecided_signs_are_only_those_below_rounding():
    with jax.enable_x64(False):
        case = read_case(TRM, "trm", "float32")
        training = run_training(case, segment_fn(case, train=True))
    assert not any(verify_core.undecided_signs(case, training, training))
    step = training.steps[0]
    bias = np.asarray(step.weight_grads["q_head"]["bias"], np.float64)
    kernel = np.array(step.weight_grads["lm_head"]["kernel"], np.float64)
    tiny = np.unravel_index(np.argmin(np.abs(kernel)), kernel.shape)
    kernel[tiny] = -np.sign(kernel[tiny]) * 1e-7 * np.abs(kernel).max()
    grads = {
        **step.weight_grads,
        "lm_head": {"kernel": kernel},
        "q_head": {**step.weight_grads["q_head"], "bias": -bias},
    }
    true = training._replace(
        steps=[step._replace(weight_grads=grads), *training.steps[1:]]
    )
    first, *others = verify_core.undecided_signs(case, training, true)
    # The flipped bias is an error, not rounding.
    assert set(first) == {"lm_head.weight"} and not any(others)
    assert first["lm_head.weight"].sum() == 1
    assert first["lm_head.weight"][tiny[1], tiny[0]]


@pytest.mark.parametrize(
    "file", ["weights", "inputs", "outputs", "grads", "params_after", "outputs_f64"]
)
def test_a_fixture_that_lacks_a_file_is_refused(tmp_path, file, monkeypatch):
    folder = tmp_path / "fixture"
    shutil.copytree(TRM, folder)
    (folder / f"{file}.safetensors").unlink()
    # The files are looked at before anything is compiled.
    monkeypatch.setattr(jax, "jit", None)
    with pytest.raises(UserError, match=rf"{file}\.safetensors: no such file"):
        verify(folder)


def test_damaged_fixtures_are_refused_in_one_line(tmp_path):
    folder = tmp_path / "fixture"
    shutil.copytree(TRM, folder)
    path = folder / "outputs.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match="damaged, truncated") as caught:
        verify(folder)
    assert "\n" not in str(caught.value)
    config = json.loads((folder / "config.json").read_text())
    config["arch"]["experts"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(TRM / "outputs.safetensors", path)
    with pytest.raises(UserError, match="unknown arch fields 'experts'"):
        verify(folder)


def rename(folder, file, change):
    """Give the arrays of a file other names; None takes one out."""
    path = folder / f"{file}.safetensors"
    named = {change(name): value for name, value in load_file(path).items()}
    save_file({name: v for name, v in named.items() if name is not None}, path)


def without(*gone):
    return lambda name: None if name.endswith(gone) else name


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("outputs", without("/z_H"), "missing arrays: eval/z_H, optim/z_H, train/z_H"),
        ("outputs", without("lr_dense"), "missing arrays: optim/lr_dense"),
        (
            "outputs",
            lambda name: name.replace("eval/", "evil/"),
            "missing arrays: .*eval/logits and 13 more",
        ),
        ("inputs", without("train/explore_uniform"), "train/explore_uniform"),
        ("inputs", without("labels"), "missing arrays: labels"),
        ("grads", without("lm_head.weight"), "missing arrays: seg0/lm_head.weight"),
        ("grads", without("local_ids"), "seg0/puzzle_emb.local_ids"),
        (
            "grads",
            lambda name: name.replace("lm_head", "lm_hed"),
            "seg0/lm_head.weight; arrays of unknown names: seg0/lm_hed.weight",
        ),
        ("grads", lambda name: name.replace("seg0", "segment"), "unknown names: segm"),
        ("params_after", without("q_head.bias"), "missing arrays: step3/q_head.bias"),
        ("params_after", lambda name: name.replace("step3", "step9"), "step3/H_init"),
        ("params_after", lambda name: name.replace("step3/", ""), "unknown names: "),
        ("outputs_f64", without("train/logits"), "missing arrays: train/logits"),
        ("outputs_f64", without("puzzle_emb.dense"), "grad/seg0/puzzle_emb.dense"),
        (
            "outputs_f64",
            lambda name: name.replace("optim/z_H_last", "optim/z_h_last"),
            "optim/z_H_last; arrays of unknown names: optim/z_h_last",
        ),
    ],
)
def test_an_array_that_is_missing_or_renamed_is_refused(
    tmp_path, monkeypatch, file, change, words
):
    folder = tmp_path / "fixture"
    shutil.copytree(TRM, folder)
    rename(folder, file, change)
    # The names are looked at before anything is compiled.
    monkeypatch.setattr(jax, "jit", None)
    with pytest.raises(UserError, match=words) as caught:
        verify(folder)
    message = str(caught.value)
    assert f"{file}.safetensors: " in message and "\n" not in message


def test_averages_are_asked_for_where_there_are_some(tmp_path):
    folder = tmp_path / "fixture"
    shutil.copytree(TRM, folder)
    config = json.loads((folder / "config.json").read_text())
    config["ema_mu"] = 0.9
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="missing arrays: ema/L_level.layers.0") as e:
        verify(folder)
    assert "layers.1" not in str(e.value)


@pytest.mark.parametrize("file", ["weights", "grads"])
def test_each_file_may_have_a_prefix_of_its_own(tmp_path, file):
    folder = tmp_path / "fixture"
    shutil.copytree(TRM, folder)
    compiled = lambda name: name.replace("model.inner.", "_orig_mod.model.inner.")
    rename(folder, file, compiled)
    assert verify(folder, float64=False)["ok"]


def test_a_name_that_is_there_with_and_without_a_prefix_is_refused(tmp_path):
    folder = tmp_path / "fixture"
    shutil.copytree(TRM, folder)
    path = folder / "grads.safetensors"
    tensors = load_file(path)
    tensors["seg0/lm_head.weight"] = tensors["seg0/model.inner.lm_head.weight"]
    save_file(tensors, path)
    with pytest.raises(UserError, match=r"grads\.safetensors: .* is there twice"):
        verify(folder)


def test_one_damaged_folder_does_not_end_the_others(tmp_path):
    for name in ("damaged", "good", "odd"):
        shutil.copytree(TRM, tmp_path / name)
    rename(tmp_path / "damaged", "grads", without("q_head.bias"))
    (tmp_path / "odd" / "config.json").write_text("{")
    said = []
    result = verify(tmp_path, float64=False, progress=said.append)
    assert not result["ok"] and result["folders"]["good"]["ok"]
    assert set(result["errors"]) == {"damaged", "odd"}
    assert "missing arrays: seg0/q_head.bias" in result["errors"]["damaged"]
    assert "config.json" in result["errors"]["odd"]
    assert {line.split(": ")[0] for line in result["failed"]} == {"damaged", "odd"}
    assert result["folders"]["damaged"]["failed"] == [result["errors"]["damaged"]]
    assert len(said) == 3 and result["max_diff"]["eval/logits"] < 1e-4


def test_folders_without_fixtures_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        verify(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no fixture of kind hrm, trm, hf, pieces"):
        verify(tmp_path)
    model = tmp_path / "qwen" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"qwen.meta\.json: no such file"):
        verify(tmp_path)


class TestReport:
    def test_absolute(self):
        report = Report()
        report.compare("x", [1.0, 2.0], [1.0, 2.5], atol=0.5)
        assert report.ok and report.max_diff == {"x": 0.5}
        report.compare("x", [1.0], [1.6], atol=0.5)
        assert not report.ok
        assert report.failed == ["x: differs by 0.6 at [0], limit 0.5"]

    def test_relative_to_each_element(self):
        report = Report()
        report.compare("x", [100.0, 1.001], [101.0, 1.0], rtol=0.01)
        assert report.ok
        np.testing.assert_allclose(report.max_diff["x"], 1 / 101)

    def test_relative_to_the_largest(self):
        report = Report()
        report.compare("x", [4.0, 0.01], [4.0, 0.0], of_max=0.0025)
        assert report.ok and report.max_diff == {"x": 0.0025}
        report.compare("y", [0.0], [1e-30], of_max=1e-5)
        assert not report.ok

    def test_exact(self):
        report = Report()
        report.compare("x", np.array([True, False]), np.array([True, False]))
        assert report.ok
        report.compare("x", np.array([1, 2]), np.array([1, 3]))
        assert report.failed == ["x: differs by 1 at [1], limit 0"]

    def test_nan_infinity_and_shapes_fail(self):
        for got, want in (
            ([np.nan], [1.0]),
            ([1.0], [np.nan]),
            ([np.nan], [np.nan]),
            ([np.inf], [1.0]),
            ([np.inf], [-np.inf]),
            ([1.0, 2.0], [1.0]),
        ):
            report = Report()
            report.compare("x", got, want, atol=1e9)
            assert not report.ok and report.max_diff["x"] == np.inf
        report = Report()
        report.compare("x", [np.inf, -np.inf], [np.inf, -np.inf])
        assert report.ok

    def test_nothing_compared_is_no_pass(self):
        assert not Report().ok
