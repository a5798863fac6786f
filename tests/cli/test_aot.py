# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm aot`: what it refuses before anything compiles, and one that compiles."""

import importlib.util
import json

import pytest

from lrm_jax.cli import aot
from lrm_jax.cli.common import UsageError
from lrm_jax.cli.main import main
from lrm_jax.cost import child
from lrm_jax.sharding import MeshConfig

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason='libtpu is not installed: pip install "lrm-jax[tpu]"',
)


def lrm(capfd, *words):
    code = main(["aot", *words])
    out, err = capfd.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hrm_sudoku", "--topology", "v5e:3x3"], "no such slice; there are v5e:1x1"),
        (["hrm_sudoku", "--topology", "v9:2x2"], "no such chip"),
        (
            ["hrm_sudoku", "--topology", "v5e:2x4", "--mesh", "data=3,model=2"],
            "--mesh data=3 x fsdp=1 x model=2 is 6 devices; v5e:2x4 has 8",
        ),
        (
            ["hrm_sudoku", "--topology", "v5e:2x4", "--mesh", "data=16"],
            "mesh data=16 x fsdp=1 x model=1 needs 16 devices; there are 8",
        ),
        (["hrm_sudoku", "--topology", "v5e:2x4", "--mesh", "dat=8"], "got 'dat=8'"),
        (["hrm_sudoku", "--topology", "v5e:2x4", "--mesh", "data=x"], "got 'data=x'"),
        (["hrm_sudoku", "--topology", "v5e:2x4", "--slices", "0"], "--slices 0"),
        (
            ["hrm_sudoku", "--topology", "v5e:2x4", "train.batch_size=100"],
            "train.batch_size=100: must divide over 8 devices",
        ),
        (
            ["hrm_sudoku", "--topology", "v5e:2x4", "--programs", "rollout"],
            "--programs 'rollout': expected some of update",
        ),
        (["hrm_sodoku", "--topology", "v5e:2x4"], "did you mean 'hrm_sudoku'"),
        (["hrm_sudoku"], "--topology"),
    ],
)
def test_bad_input_is_one_line(capfd, words, message):
    code, out, err = lrm(capfd, *words)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1


def test_without_libtpu_the_line_that_installs_it(capfd, monkeypatch):
    monkeypatch.setattr(child.importlib.util, "find_spec", lambda name: None)
    code, out, err = lrm(capfd, "hrm_sudoku", "--topology", "v5e:2x4")
    assert (code, out) == (2, "")
    assert 'pip install "jax[tpu]==' in err and err.count("\n") == 1


def test_a_mesh_in_words():
    assert aot.parse_mesh(None) is None
    assert aot.parse_mesh("data=2,model=4") == MeshConfig(2, 1, 4)
    assert aot.parse_mesh("fsdp=8") == MeshConfig(-1, 8, 1)
    assert aot.parse_mesh("fsdp=-1") == MeshConfig(1, -1, 1)
    with pytest.raises(UsageError, match="got 'data=3'"):
        aot.parse_mesh("data=2,data=3")


TINY = (
    *("sudoku4_tiny", "--topology", "v5e:2x4", "train.batch_size=64"),
    *("eval.batch_size=64", "model.l_layers=1", "model.h_cycles=1"),
)


@needs_libtpu
def test_it_compiles_and_prints_one_object(capfd):
    mesh = ("--mesh", "data=2,fsdp=2,model=2")
    code, out, err = lrm(capfd, *TINY, *mesh, "--json")
    data = json.loads(out)
    assert code == 0 and out.count("\n") == 1 and not err
    assert data["fits"] and data["chips"] == 8
    held = data["bytes_per_chip"]
    assert 0 < held["params"] < held["optimizer"] < held["total"] < data["hbm_bytes"]
    assert 1 <= data["hardware_flops"] / data["model_flops"] < 1.2
    axes = {axis for c in data["collectives"] for axis in c["axis"].split("+")}
    assert axes == {"data", "fsdp", "model"}
    assert data["step_time_s_estimate"] == pytest.approx(max(data["seconds"].values()))
    assert 0 < data["mfu"] < 1


def test_a_child_that_dies_shows_its_log(monkeypatch):
    monkeypatch.setattr(child, "check_libtpu", lambda: None)
    with pytest.raises(RuntimeError, match="(?s)ended with 1.*No module named"):
        child.ask_all("lrm_jax.no_such_module", [{}], 60)
