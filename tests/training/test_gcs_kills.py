# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs on `gs://` that are killed, or lose their folder, in the middle of a save."""

import os
import signal

import numpy as np
import pytest

from lrm_jax.storage import lease
from lrm_jax.training import files, manifest
from lrm_jax.training.checkpoint import (
    CheckpointConfig,
    Checkpointer,
    list_steps,
    verify,
)
from lrm_jax.training.run_folder import open_run
from lrm_jax.types import UserError
from tests.storage.fake_gcs import Refused
from tests.storage.stand_in import a_bucket, server
from tests.training.chaos_resume import compare, start

bucket = pytest.fixture(a_bucket)
STEPS = 20
STATE = {"w": np.arange(6.0)}


def until(condition):
    while not condition():
        pass


def test_who_lost_the_folder_closes_no_checkpoint(bucket, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    folder = open_run(f"{bucket.url}/run", {"a": 1})
    saver = Checkpointer(folder.checkpoints, owner=folder)
    saver.save(1, STATE)
    saver.wait()

    def take_over(method, name_of_bucket, name):
        if "checkpoints/2/state/" in name:
            server().watch = lambda *_: None
            bucket.put("run/.lock", b'{"holder": "another"}')
            until(lambda: folder.lost)

    server().watch = take_over
    saver.save(2, STATE)
    with pytest.raises(UserError, match="checkpoint 2 could not.*held by another now"):
        saver.wait()
    # Whose they are now: neither closed nor removed.
    assert bucket.names("run/checkpoints/2/state/")
    assert [i.step for i in saver.list_steps() if i.complete] == [1]
    with pytest.raises(UserError, match="held by another now; this run of it has"):
        folder.log({"step": 3})
    folder.close()
    assert "run/.lock" in bucket.names() and not bucket.names("run/metrics/")


def hash_and_then(monkeypatch, act):
    """Have something happen once the files of the next save are hashed."""
    real = manifest._hashed

    def hashed(*args):
        found = real(*args)
        monkeypatch.setattr(manifest, "_hashed", real)
        act()
        return found

    monkeypatch.setattr(manifest, "_hashed", hashed)


def test_a_folder_lost_while_it_was_hashed_is_left_alone(bucket, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 600.0)  # paused: it renews nothing
    folder = open_run(f"{bucket.url}/run", {"a": 1})
    saver = Checkpointer(folder.checkpoints, owner=folder)

    def take_over():
        bucket.put("run/.lock", b'{"holder": "another"}')
        monkeypatch.setattr(lease, "LEASE_S", 0.0)

    hash_and_then(monkeypatch, take_over)
    saver.save(1, STATE)
    with pytest.raises(UserError, match="checkpoint 1 could not.*held by another now"):
        saver.wait()
    assert bucket.names("run/checkpoints/1/state/")
    assert "run/checkpoints/1/manifest.json" not in bucket.names()
    folder.close()


def test_another_writers_manifest_is_not_replaced(bucket, monkeypatch):
    saver = Checkpointer(f"{bucket.url}/run/checkpoints")
    name, kept = "run/checkpoints/1/manifest.json", []
    hash_and_then(monkeypatch, lambda: bucket.put(name, b"{}"))
    monkeypatch.setattr(
        saver, "_fail", lambda step, error: kept.append((error, bucket.objects[name]))
    )
    saver.save(1, STATE)
    saver.wait()
    ((error, found),) = kept
    assert "manifest.json is there already: another process" in str(error)
    assert found.data == b"{}"


def test_who_lost_the_folder_prunes_nothing(bucket, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 600.0)
    folder = open_run(f"{bucket.url}/run", {"a": 1})
    saver = Checkpointer(folder.checkpoints, CheckpointConfig(keep=1), owner=folder)
    saver.save(1, STATE)
    saver.wait()

    def take_over(method, name_of_bucket, name):
        if "checkpoints/2/manifest.json" in name:
            server().watch = lambda *_: None
            bucket.put("run/.lock", b'{"holder": "another"}')
            bucket.put("run/checkpoints/3/extra.json", b"{}")  # half-written, its
            monkeypatch.setattr(lease, "LEASE_S", 0.0)

    server().watch = take_over
    saver.save(2, STATE)
    saver.wait()
    assert [i.step for i in saver.list_steps()] == [1, 2, 3]
    with pytest.raises(UserError, match="held by another now"):
        saver.save(3, STATE)
    assert bucket.names("run/checkpoints/3/")
    folder.close()


def test_a_store_that_is_away_ends_a_save_and_not_the_folder(bucket):
    folder = open_run(f"{bucket.url}/run", {"a": 1})
    saver = Checkpointer(folder.checkpoints, owner=folder)
    saver.save(1, STATE)
    saver.wait()

    def refuse(method, name_of_bucket, name):
        if "checkpoints/2/extra.json" in name:
            raise Refused(400, "away")

    server().watch = refuse
    saver.save(2, STATE)
    # No mistake of anybody's: exit code 1, after which a job is started again.
    with pytest.raises(
        files.StoreAwayError, match="checkpoint 2.*checkpoint 1 is kept"
    ):
        saver.wait()
    server().watch = lambda *_: None
    assert not bucket.names("run/checkpoints/2/")
    saver.save(2, STATE)
    saver.wait()
    assert saver.restore(STATE)[2] == 2
    folder.close()


def train_and_kill(bucket, run, count):
    """Train until the n-th write, then be killed; return its exit code."""
    child, writes = start(run, STEPS), []

    def kill(method, name_of_bucket, name):
        writes.append((method, name))
        if len(writes) == count:
            os.kill(child.pid, signal.SIGKILL)

    server().watch = kill
    child.communicate()
    server().watch = lambda *_: None
    return child.returncode, writes


@pytest.mark.nightly
def test_killed_at_every_write_of_a_save(bucket, tmp_path, capsys):
    whole, run = tmp_path / "whole", f"{bucket.url}/never"
    start(whole, STEPS).communicate()
    code, writes = train_and_kill(bucket, run, 0)
    assert code == 0 and compare(run, whole) == []
    # The third save and what follows it: its objects, its manifest, the pruning
    # of the first, the parts of the log beside it.
    first = next(i for i, (_, name) in enumerate(writes) if "/15/" in name)
    last = max(i for i, (_, name) in enumerate(writes) if "/5/" in name)
    assert last - first > 15
    killed = 0
    for count in range(first, last + 2):
        run = f"{bucket.url}/killed{count}"
        killed += train_and_kill(bucket, run, count)[0] == -signal.SIGKILL
        before = [i.step for i in list_steps(f"{run}/checkpoints") if i.complete]
        assert before and all(not verify(f"{run}/checkpoints", s) for s in before)
        child = start(run, STEPS)
        _, errors = child.communicate()
        assert child.returncode == 0, errors
        assert compare(run, whole) == [], count
    with capsys.disabled():
        print(f"\n{killed} runs killed at writes {first} to {last + 1}, none differs")
    assert killed >= 0.8 * (last + 2 - first)
