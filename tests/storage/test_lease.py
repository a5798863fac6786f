# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The lock of a run folder on `gs://`: who holds it, who has lost it."""

import json
import subprocess
import sys
import threading
import time

import pytest

from lrm_jax.storage import lease
from lrm_jax.storage.paths import as_path
from lrm_jax.types import UserError

ELSEWHERE = {"holder": "process 7 on elsewhere", "machine": "another", "pid": 7}


@pytest.fixture
def path(bucket):
    return as_path(f"{bucket.url}/run/.lock")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lease, "LEASE_S", 4.0)
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    monkeypatch.setattr(lease, "_LOOK_S", 0.05)


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_second_on_a_folder_is_refused_at_once(bucket, path):
    held = lease.take(path)
    with pytest.raises(UserError, match=r"run folder gs://\S+/run is in use by proc"):
        lease.take(path)
    with pytest.raises(UserError, match="is in use"):
        lease.wait_until_free(path)
    held.close()
    assert bucket.names() == []
    lease.take(path).close()


def test_a_holder_that_was_killed_here_is_known_to_be_gone(path, capsys):
    code = (
        "import sys, time\nfrom lrm_jax.storage import lease, paths\n"
        "lease.take(paths.as_path(sys.argv[1]))\nprint('held', flush=True)\n"
        "time.sleep(100)"
    )
    command = [sys.executable, "-c", code, str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"in use by process {child.pid} on"):
        lease.take(path)
    child.kill()
    child.wait()
    child.stdout.close()
    begun = time.monotonic()
    lease.take(path).close()
    assert time.monotonic() - begun < 2
    assert f"taken over from process {child.pid} on" in capsys.readouterr().err


def test_an_old_lock_is_taken_over(bucket, path, capsys):
    bucket.put("run/.lock", json.dumps(ELSEWHERE).encode(), age_s=61)
    held = lease.take(path)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "taken over from process 7 on elsewhere" in said
    held.close()
    bucket.put("run/.lock", b"no JSON", age_s=61)
    lease.take(path).close()


def test_a_silent_holder_is_watched_until_its_time_is_over(bucket, path, quick, capsys):
    bucket.put("run/.lock", json.dumps(ELSEWHERE).encode(), age_s=2)
    begun = time.monotonic()
    held = lease.take(path)
    assert 0.5 < time.monotonic() - begun < 6  # the service's clock ticks in seconds
    held.close()
    said = capsys.readouterr().err
    assert "held by process 7 on elsewhere; waiting up to" in said
    assert "taken over from process 7 on elsewhere" in said


def test_a_holder_that_renews_is_left_alone(bucket, path, quick):
    bucket.put("run/.lock", json.dumps(ELSEWHERE).encode())
    renew = lambda: bucket.put("run/.lock", json.dumps(ELSEWHERE).encode())
    timer = threading.Timer(0.3, renew)
    timer.start()
    with pytest.raises(UserError, match="in use by process 7 on elsewhere"):
        lease.take(path)
    timer.join()


def test_a_held_lock_is_renewed(bucket, path, quick):
    held = lease.take(path)
    first = bucket.objects["run/.lock"].generation
    until(lambda: bucket.objects["run/.lock"].generation > first)
    held.check()
    held.close()
    assert bucket.names() == []


def test_who_has_lost_the_folder_must_stop(bucket, path, quick):
    held = lease.take(path)
    bucket.put("run/.lock", json.dumps(ELSEWHERE).encode())
    until(lambda: held.lost)
    with pytest.raises(UserError, match="held by process 7 on elsewhere now; this run"):
        held.check()
    held.close()
    assert bucket.names() == ["run/.lock"]  # the other's stays


def test_an_answer_that_got_lost_loses_no_folder(bucket, path, quick):
    held = lease.take(path)
    ours = json.loads(bucket.objects["run/.lock"].data)
    for _ in range(3):  # renewed, and nobody was told
        bucket.put("run/.lock", json.dumps({**ours, "renewed": -1}).encode())
        until(lambda: b"-1" not in bucket.objects["run/.lock"].data)
    held.check()
    held.close()
    assert bucket.names() == []


def test_a_lease_that_ran_out_is_confirmed_before_a_save_is_closed(
    bucket, path, monkeypatch
):
    monkeypatch.setattr(lease, "RENEW_S", 60.0)
    held = lease.take(path)
    first = bucket.objects["run/.lock"].generation
    held.confirm()
    assert bucket.objects["run/.lock"].generation == first
    monkeypatch.setattr(lease, "LEASE_S", 0.0)  # as after a minute without network
    held.confirm()
    assert bucket.objects["run/.lock"].generation > first
    bucket.put("run/.lock", json.dumps(ELSEWHERE).encode())
    held.check()  # does not know yet
    with pytest.raises(UserError, match="held by process 7 on elsewhere now"):
        held.confirm()
    held.close()
    assert bucket.names() == ["run/.lock"]
