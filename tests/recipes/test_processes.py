# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two processes with four devices each train as one process with eight."""

import json
import os
import signal
import time

import pytest

from lrm_jax.training.checkpoint import list_steps, verify
from tests.recipes import counted_data
from tests.recipes import process_runs as runs
from tests.recipes.process_runs import assert_close, train_alone, values_of

TIMEOUT_S = 240


@pytest.fixture(scope="module")
def two_by_four(tmp_path_factory):
    """A run of five steps by two processes with four devices each."""
    folder = tmp_path_factory.mktemp("processes")
    words = ("train.total_steps=5", "data.kind=tests.recipes.counted_data:puzzles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(counted_data.FOLDER, str(folder))
        outputs = runs.run_all(folder / "run", 2, 4, *words)
    errors = [runs.said_by(folder / "run", rank) for rank in (0, 1)]
    return folder / "run", outputs, errors


def test_two_processes_by_four_devices_are_one_by_eight(two_by_four, tmp_path):
    run_dir, _, _ = two_by_four
    train_alone(tmp_path / "one", "train.total_steps=5")
    assert_close(tmp_path / "one", run_dir)
    env = json.loads((run_dir / "env.json").read_text())
    assert env["processes"] == 2 and len(env["devices"]) == 8


def test_each_process_makes_its_own_rows_alone(two_by_four):
    for process, lanes in enumerate((range(8), range(8, 16))):
        made = counted_data.noted(two_by_four[0].parent, "rows", process)
        # Grain reads two batches ahead.
        assert made[:5] == [[step, list(lanes)] for step in range(5)]
        assert all(rows == list(lanes) for _, rows in made)


def test_the_first_process_alone_speaks(two_by_four):
    run_dir, outputs, errors = two_by_four
    said = json.loads(outputs[0])
    assert said["step"] == 5 and said["reason"] == "done" and outputs[1] == ""
    assert "step 5/5" in errors[0] and "step" not in errors[1]
    assert len(values_of(run_dir, "loss/total")) == 5
    assert (run_dir / "report" / "eval.json").exists()
    assert not (run_dir / "errors").exists()


def test_each_process_lists_its_part_of_a_checkpoint(two_by_four):
    folder = two_by_four[0] / "checkpoints"
    (info,) = list_steps(folder)
    assert info.complete and verify(folder, info.step) == []
    listed = json.loads((folder / str(info.step) / "manifest.json").read_text())
    for part in ("ocdbt.process_0", "ocdbt.process_1"):
        assert any(part in name for name in listed["files"])
    assert not list((folder / str(info.step)).glob("*.part"))


@pytest.fixture(scope="module")
def terminated(tmp_path_factory):
    """A run of which process 1 was sent SIGTERM; exit codes and seconds."""
    run_dir = tmp_path_factory.mktemp("terminated") / "run"
    children = runs.start(run_dir, 2, 4, "train.total_steps=4000")
    runs.wait_for_records(run_dir, 3, children[0])
    began = time.monotonic()
    children[1].send_signal(signal.SIGTERM)
    runs.wait(children, TIMEOUT_S)
    took_s = time.monotonic() - began
    return run_dir, [child.returncode for child in children], took_s


def test_sigterm_to_one_process_saves_and_ends_all_with_143(terminated):
    run_dir, codes, took_s = terminated
    assert codes == [143, 143] and took_s < 60
    said = runs.log_of(run_dir, 0).read_text()
    (info,) = list_steps(run_dir / "checkpoints")
    assert info.complete and f"terminated: saved step {info.step}" in said


def test_another_number_of_processes_goes_on(terminated, tmp_path):
    run_dir = terminated[0]
    (info,) = list_steps(run_dir / "checkpoints")
    steps = f"train.total_steps={info.step + 2}"
    resumed = train_alone(run_dir, steps)
    assert resumed["resumed_from"] == info.step
    train_alone(tmp_path / "alone", steps)
    assert_close(tmp_path / "alone", run_dir)


def test_a_killed_worker_ends_the_other_within_a_minute(tmp_path):
    children = runs.start(tmp_path / "run", 2, 4, "train.total_steps=4000")
    runs.wait_for_records(tmp_path / "run", 3, children[0])
    began = time.monotonic()
    os.kill(runs.training_process(children[1]), signal.SIGKILL)
    runs.wait(children, TIMEOUT_S)
    assert time.monotonic() - began < 60
    assert [child.returncode for child in children] == [137, 137]
    said = runs.log_of(tmp_path / "run", 0).read_text().splitlines()[-1]
    assert said.startswith("lrm: error: process 1: was ended by SIGKILL")


@pytest.mark.nightly
def test_a_lost_machine_ends_the_other_within_a_minute(tmp_path):
    children = runs.start(tmp_path / "run", 2, 4, "train.total_steps=4000")
    runs.wait_for_records(tmp_path / "run", 3, children[0])
    began, worker = time.monotonic(), runs.training_process(children[1])
    children[1].kill()
    os.kill(worker, signal.SIGKILL)
    runs.wait(children, TIMEOUT_S)
    assert time.monotonic() - began < 60
    assert children[0].returncode == 1
    said = runs.log_of(tmp_path / "run", 0).read_text().splitlines()[-1]
    assert said.startswith("lrm: error: process 0: lost another process")


def test_an_unreachable_coordinator_is_wrong_input(tmp_path):
    words = ("--join-timeout-s", "1")
    child = runs.start_one(tmp_path / "run", 2, 4, 1, runs.free_port(), *words)
    runs.wait([child], TIMEOUT_S)
    assert child.returncode == 2
    (said,) = runs.log_of(tmp_path / "run", 1).read_text().splitlines()
    assert "cannot be reached within 1 s" in said


def test_a_strange_folder_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "photo.jpg").write_text("")
    child = runs.start_one(tmp_path / "run", 2, 4, 0, runs.free_port())
    runs.wait([child], TIMEOUT_S)
    assert child.returncode == 2
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["photo.jpg"]
