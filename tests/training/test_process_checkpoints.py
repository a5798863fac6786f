# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of two processes: who lists what, and who can go on from them."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lrm_jax.training.checkpoint import Checkpointer, list_steps, verify
from tests.training.process_saves import abstract, check, values

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(folder, port, rank):
    with open(folder.with_name(f"{rank}.err"), "w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.training.process_saves"]
            + [str(folder), str(port), str(rank)],
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "2"},
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Step 1 of one device, 2 of two processes, 3 of which one died in the save."""
    folder = tmp_path_factory.mktemp("saves") / "ck"
    saver = Checkpointer(folder)
    saver.save(1, values(), {"n": 1})
    saver.wait()
    port = free_port()
    children = [start(folder, port, rank) for rank in (0, 1)]
    try:
        code = children[1].wait(TIMEOUT_S)
        errors = [folder.with_name(f"{rank}.err").read_text() for rank in (0, 1)]
        assert code == 9, errors
        time.sleep(0.2)
        assert children[0].poll() is None, "it did not wait for the other's list"
    finally:
        for child in children:
            child.kill()
            child.wait()
    return folder


def test_one_device_to_two_processes_to_four_devices_to_one(folder, tmp_path):
    # That two processes restored what one device wrote, they checked themselves.
    four, extra, _ = Checkpointer(folder).restore(abstract(4), 2)
    assert extra == {"n": 2} and len(four["rows"].addressable_shards) == 4
    check(four)
    saver = Checkpointer(tmp_path / "four")
    saver.save(3, four)
    saver.wait()
    for count in (2, 1):
        got, _, _ = saver.restore(abstract(count))
        assert len(got["columns"].addressable_shards) == count
        check(got)


def test_each_process_lists_its_shards_and_the_first_closes_the_list(folder):
    path = folder / "2"
    listed = json.loads((path / "manifest.json").read_text())["files"]
    for process in (0, 1):
        mine = [n for n in listed if f"ocdbt.process_{process}/" in n]
        assert any("/d/" in name for name in mine), "no shards of this process"
    on_disk = {p for p in path.rglob("*") if p.is_file()} - {path / "manifest.json"}
    assert {str(p.relative_to(path)) for p in on_disk} == set(listed)
    closed = (path / "manifest.json").stat().st_mtime_ns
    assert closed >= max(p.stat().st_mtime_ns for p in on_disk)
    assert verify(folder, 2) == []


@pytest.mark.parametrize("process", [0, 1])
def test_damage_to_any_process_s_shards_is_found(folder, tmp_path, process):
    path = max(
        (folder / "2" / "state" / f"ocdbt.process_{process}" / "d").iterdir(),
        key=lambda file: file.stat().st_size,
    )
    good = path.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 4
    path.write_bytes(bad)
    try:
        (problem,) = verify(folder, 2)
    finally:
        path.write_bytes(good)
    name = path.relative_to(folder / "2")
    assert problem == f"{name} is damaged (sha256 differs)"


def test_a_step_in_which_a_process_died_is_none(folder):
    assert any((folder / "3" / "state").rglob("ocdbt.process_1/d/*"))
    assert [info.complete for info in list_steps(folder)] == [True, True, False]
    lines = []
    saver = Checkpointer(folder, report=lines.append)
    got, extra, step = saver.restore(abstract(1))
    assert (extra, step) == ({"n": 2}, 2)
    check(got)
    assert lines == [
        "checkpoint 3 cannot be used: half-written: it has no manifest;"
        " trying the one before"
    ]
