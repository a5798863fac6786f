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
    assert result["folders"]["."]["notes"] == []


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


def test_folders_without_fixtures_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        verify(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no fixture of kind hrm, trm, pieces or"):
        verify(tmp_path)
    model = tmp_path / "qwen" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"found qwen \(hf\)"):
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
