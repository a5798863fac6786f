# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The doctor against machines that are described by hand, and against this one."""

import copy
import json
import stat
import tomllib
from pathlib import Path

import pytest

from lrm_jax.tooling import doctor

ROOT = Path(__file__).resolve().parents[2]
CPU = {"kind": "cpu", "platform": "cpu", "bytes_limit": None}
GPU = {"kind": "NVIDIA H100", "platform": "gpu", "bytes_limit": 80 * 2**30}


@pytest.fixture
def healthy() -> dict:
    versions: dict = {name: "1.0.0" for name in doctor.RUNTIME}
    versions |= dict.fromkeys(doctor._PLUGINS)
    versions |= {"jax": "0.10.2", "jaxlib": "0.10.2"}
    return {
        "versions": versions,
        "jax": {"backend": "cpu", "devices": [CPU], "error": None},
        "hardware": {"nvidia": None, "tpu": None},
    }


def test_a_healthy_machine_has_no_problem(healthy):
    assert doctor.find_problems(healthy) == []


@pytest.mark.parametrize(
    "driver, extra", [("525.60", "cuda12"), ("580.95.05", "cuda13")]
)
def test_an_unused_gpu_is_named_with_its_line(healthy, monkeypatch, driver, extra):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    healthy["hardware"]["nvidia"] = f"1 x NVIDIA H100, driver {driver}"
    (item,) = doctor.find_problems(healthy)
    assert "JAX sees no GPU" in item["problem"]
    assert item["fix"] == f'pip install "jax[{extra}]==0.10.2"'


def test_a_hidden_gpu_is_not_installed_again(healthy, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    healthy["hardware"]["nvidia"] = "1 x NVIDIA H100, driver 580.1"
    (item,) = doctor.find_problems(healthy)
    assert item["fix"].startswith("unset JAX_PLATFORMS")


def test_a_used_gpu_is_no_problem(healthy):
    healthy["hardware"]["nvidia"] = "1 x NVIDIA H100, driver 580.1"
    healthy["jax"] = {"backend": "gpu", "devices": [GPU], "error": None}
    assert doctor.find_problems(healthy) == []


def test_an_unused_tpu_is_named(healthy, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    healthy["hardware"]["tpu"] = "4 TPU chips"
    (item,) = doctor.find_problems(healthy)
    assert item["fix"] == 'pip install "jax[tpu]==0.10.2"'


def test_a_plugin_left_behind_is_named(healthy):
    broken = copy.deepcopy(healthy)
    broken["versions"]["jax-cuda12-plugin"] = "0.7.2"
    (item,) = doctor.find_problems(broken)
    assert item["problem"] == "jax-cuda12-plugin 0.7.2 does not fit jaxlib 0.10.2"
    assert item["fix"] == 'pip install -U "jax[cuda12]==0.10.2"'
    healthy["versions"]["jax-cuda12-plugin"] = "0.10.2.1"
    assert doctor.find_problems(healthy) == []


def test_a_missing_package_is_named(healthy):
    healthy["versions"]["optax"] = None
    (item,) = doctor.find_problems(healthy)
    assert item["problem"] == "optax is not installed"


def test_nvidia_smi_is_read(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'NVIDIA H100, 580.95'\necho 'NVIDIA H100, 580.95'\n"
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert doctor._nvidia() == "2 x NVIDIA H100, driver 580.95"
    tool.write_text("#!/bin/sh\necho 'no devices were found'\nexit 6\n")
    assert doctor._nvidia() is None


def test_a_jax_that_dies_is_reported(monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE", "raise SystemExit('plugin is broken')")
    assert doctor._probe_jax() == {
        "backend": None,
        "devices": [],
        "error": "exit status 1: plugin is broken",
    }


def test_this_machine_is_described():
    report = doctor.collect()
    assert json.loads(json.dumps(report)) == report
    assert report["jax"]["error"] is None
    assert report["jax"]["devices"][0]["platform"] == "cpu"
    text = doctor.render(report)
    assert report["versions"]["jaxlib"] in text
    for name in doctor.EXTRAS:
        assert name in text


def test_a_problem_is_rendered_with_its_fix(healthy, monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    healthy["hardware"]["nvidia"] = "1 x NVIDIA H100, driver 580.1"
    report = {
        **healthy,
        "python": "3.11.7",
        "system": doctor._system(),
        "extras": {"torch": {"present": False, "missing": ["torch"], "fix": "do [x]"}},
        "problems": doctor.find_problems(healthy),
        "ok": False,
    }
    text = doctor.render(report)
    assert 'mend it with: pip install "jax[cuda13]==0.10.2"' in text
    assert "do [x]" in text


def test_extras_are_those_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    for extra, packages in doctor.EXTRAS.items():
        names = " ".join(declared[extra])
        assert all(package in names for package in packages), extra
    runtime = " ".join(project["dependencies"])
    assert all(name in runtime for name in doctor.RUNTIME if name != "jaxlib")
