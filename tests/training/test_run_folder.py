# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lrm_jax.training import files
from lrm_jax.training.run_folder import open_run, read_config
from lrm_jax.types import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"seed": 1, "model": {"d_model": 64, "shape": [1, 2]}, "mesh": {"data": -1}}

HOLDER = """
import sys, time
from lrm_jax.training.run_folder import open_run
folder = open_run(sys.argv[1], {"seed": 1})
print("open", flush=True)
time.sleep(60)
"""


def test_a_new_folder_says_what_runs_on_what(tmp_path):
    with open_run(tmp_path / "a" / "run", CONFIG) as folder:
        assert not folder.resumed
        assert json.loads((folder.path / "config.json").read_text()) == CONFIG
        env = json.loads((folder.path / "env.json").read_text())
    assert {"versions", "devices", "git_commit", "command", "time"} <= env.keys()
    assert env["versions"]["jax"] and env["devices"]
    assert read_config(tmp_path / "a" / "run") == CONFIG


def test_the_same_run_is_reopened_and_noted(tmp_path):
    open_run(tmp_path, CONFIG).close()
    other_mesh = {**CONFIG, "mesh": {"data": 4}}
    with open_run(tmp_path, other_mesh, identity_ignore=["mesh"]) as folder:
        assert folder.resumed
    env = json.loads((tmp_path / "env.json").read_text())
    assert len(env["resumed"]) == 1 and "resumed" not in env["resumed"][0]
    assert read_config(tmp_path) == other_mesh


def test_another_config_is_refused_with_keys_and_values(tmp_path):
    open_run(tmp_path, CONFIG).close()
    other = {"seed": 2, "model": {"d_model": 128, "shape": [1, 2]}, "mesh": {"data": 4}}
    with pytest.raises(UserError) as error:
        open_run(tmp_path, other, identity_ignore=["mesh"])
    text = str(error.value)
    assert "model.d_model is 64 there, 128 here; seed is 1 there, 2 here" in text
    assert "mesh" not in text and "\n" not in text
    assert read_config(tmp_path) == CONFIG  # untouched


def test_the_lock_is_held_by_one_process_and_survives_none(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout.readline() == "open\n"
    with pytest.raises(UserError, match=rf"in use by process {child.pid} on"):
        open_run(tmp_path / "run", {"seed": 1})
    child.send_signal(signal.SIGKILL)
    child.communicate()
    open_run(tmp_path / "run", {"seed": 1}).close()


def test_the_lock_holds_within_a_process_too(tmp_path):
    first = open_run(tmp_path, CONFIG)
    with pytest.raises(UserError, match="in use by process"):
        open_run(tmp_path, CONFIG)
    first.close()
    open_run(tmp_path, CONFIG).close()


def test_folders_that_are_no_runs_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        open_run(tmp_path / "file", CONFIG)
    with pytest.raises(UserError, match="cannot be used"):
        open_run(tmp_path / "file" / "below", CONFIG)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="holds 'thesis.tex' and no run"):
        open_run(tmp_path / "home", CONFIG)
    with pytest.raises(UserError, match="not a run folder"):
        read_config(tmp_path / "home")
    with pytest.raises(UserError, match="s3:// is not supported"):
        open_run("s3://bucket/run", CONFIG)


def test_what_the_file_system_refuses_is_one_line():
    with pytest.raises(UserError, match="run folder /proc/.* cannot be used") as error:
        open_run("/proc/lrm_jax_run", CONFIG)
    assert "\n" not in str(error.value)


def test_damaged_config_is_one_line(tmp_path):
    open_run(tmp_path, CONFIG).close()
    (tmp_path / "config.json").write_text('{"seed": 1')
    with pytest.raises(UserError, match="config.json is damaged"):
        open_run(tmp_path, CONFIG)


def test_metrics_are_appended_and_cut_back(tmp_path):
    with open_run(tmp_path, CONFIG) as folder:
        for step in (1, 2, 3):
            folder.log({"step": step, "time_s": 0.5, "loss/total": float("nan")})
        path = tmp_path / "metrics.jsonl"
        with open(path, "a") as file:
            file.write('{"step": 1, "los')  # killed while writing
        folder.rewind(2)
        folder.log({"step": 4, "time_s": 1.0})
        folder.rewind(9)  # keeps all
    lines = path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 4]
    assert json.loads(lines[0]) == {"step": 1, "time_s": 0.5, "loss/total": None}


def test_full_disk_while_logging_is_one_line(small_disk):
    with open_run(small_disk / "run", CONFIG) as folder:
        folder.log({"step": 1})
        with pytest.raises(UserError, match="No space left on device"):
            folder.log({"step": 2, "x": "y" * 2_000_000})
        folder.rewind(1)
    text = (small_disk / "run" / "metrics.jsonl").read_text()
    assert text == '{"step": 1}\n'


def test_atomic_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = files.as_path(tmp_path / "file")
    files.write_atomic(path, "old")

    def broken(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
