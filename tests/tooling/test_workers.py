# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The doctor of all workers: two that meet here, and many described by hand."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lrm_jax.tooling import workers
from lrm_jax.tooling.workers import Met
from lrm_jax.training.distributed import Group
from lrm_jax.types import UserError

ROOT = Path(__file__).resolve().parents[2]
V5E = {"kind": "TPU v5 lite", "platform": "tpu", "bytes_limit": 16 << 30}


def report(host="a", devices=4, **versions):
    return {
        "host": host,
        "python": "3.12.4",
        "system": {"cores": 112, "memory_bytes": 192 << 30},
        "versions": {"jax": "0.10.2", "libtpu": "0.0.44", **versions},
        "jax": {"backend": "tpu", "devices": [V5E] * devices, "error": None},
        "problems": [],
    }


def test_workers_that_agree_have_no_problem():
    met = Met(0, 16, [report(f"w{i}") for i in range(4)])
    assert workers.find_problems(met) == []
    text = workers.render({"ok": True, "devices": 16, "workers": met.reports} | NONE)
    assert "4 workers, 16 devices: they agree and talk." in text
    assert "w3" in text and "4 x TPU v5 lite" in text and "192.0 GiB" in text


NONE = {"problems": []}


def test_a_version_that_differs_is_named_with_its_line():
    reports = [report(), report(jax="0.10.1"), report(), report(libtpu=None)]
    first, second = workers.find_problems(Met(0, 16, reports))
    assert first["problem"] == (
        "jax differs: 0.10.2 on workers 0, 2, 3; 0.10.1 on worker 1"
    )
    assert first["fix"] == 'pip install "jax==0.10.2"   # on worker 1'
    assert (
        second["problem"] == "libtpu differs: 0.0.44 on workers 0-2; none on worker 3"
    )


def test_devices_that_differ_or_are_not_seen_are_named():
    lame = report(devices=3)
    differs, unseen = workers.find_problems(Met(0, 8, [report(), lame]))
    assert differs == {
        "problem": "devices differs: 4 x TPU v5 lite on worker 0; "
        "3 x TPU v5 lite on worker 1",
        "fix": "",
    }
    assert unseen["problem"] == "the workers have 7 devices, and see 8 together"


def test_a_problem_of_several_workers_is_told_once():
    ill = {**report(), "problems": [{"problem": "optax is not installed", "fix": "x"}]}
    met = Met(0, 16, [ill, report(), ill, ill])
    assert workers.find_problems(met) == [
        {"problem": "workers 0, 2, 3: optax is not installed", "fix": "x"}
    ]


def test_a_worker_that_is_alone_says_so():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{where} cannot be reached within 1 s"):
            workers.meet(report(), Group(where, 2, 1, timeout_s=1))


def start(rank, port, *words):
    command = [sys.executable, "-m", "lrm_jax.cli.main", "doctor", "--all-workers"]
    command += ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
    return subprocess.Popen(
        [*command, "--process-id", str(rank), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": str(rank + 2)},
    )


def test_two_workers_meet_and_the_first_reports():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    children = [start(0, port, "--json"), start(1, port)]
    (said, errors), (other, more) = [c.communicate(timeout=200) for c in children]
    assert [c.returncode for c in children] == [1, 1], errors + more
    found = json.loads(said)
    assert found["devices"] == 5 and len(found["workers"]) == 2
    (problem,) = found["problems"]
    assert (
        problem["problem"]
        == "devices differs: 2 x cpu on worker 0; 3 x cpu on worker 1"
    )
    assert other == "worker 1: worker 0 has the report\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--coordinator", "a:1"],
        ["--all-workers", "--process-id", "0"],
        ["--all-workers", "--join-timeout-s", "0"],
    ],
)
def test_half_an_address_is_refused(words):
    from lrm_jax.cli.main import main

    assert main(["doctor", *words]) == 2
