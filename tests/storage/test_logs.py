# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Logs in numbered parts: order, merging, cutting back, other writers."""

import shutil
import threading

import pytest

from lrm_jax.storage import gcs, logs
from lrm_jax.storage.paths import as_path
from lrm_jax.training.metrics import kept_lines
from lrm_jax.types import UserError
from tests.storage.stand_in import server


@pytest.fixture
def path(bucket):
    return as_path(f"{bucket.url}/run/metrics.jsonl")


def line(step):
    return f'{{"step": {step}}}\n'


def steps(*numbers):
    return "".join(map(line, numbers)).encode()


def test_a_log_is_its_parts_in_order(bucket, path):
    assert logs.read_log(path) is None
    log = logs.PartLog(path)
    log.write(line(1) + line(2))
    log.write(line(3))
    assert bucket.names() == ["run/metrics/00001.jsonl", "run/metrics/00002.jsonl"]
    logs.PartLog(path).write(line(4))
    assert logs.read_log(path) == steps(1, 2, 3, 4)
    with logs.open_log(path) as file:
        file.seek(12)
        assert file.read() == steps(2, 3, 4)


def test_small_parts_become_large_ones(bucket, path, monkeypatch):
    monkeypatch.setattr(logs, "_MERGED", 3)
    log = logs.PartLog(path)
    for step in range(1, 13):
        log.write(line(step))
    # 9 ones made three threes, and these a nine.
    names = [name.rpartition("/")[2] for name in bucket.names()]
    assert names == ["00001-00009.jsonl", "00010.jsonl", "00011.jsonl", "00012.jsonl"]
    assert logs.read_log(path) == steps(*range(1, 13))
    logs.PartLog(path).write(line(13))
    assert logs.read_log(path) == steps(*range(1, 14))
    assert "run/metrics/00010-00012.jsonl" in bucket.names()


def test_numbers_are_sorted_as_numbers():
    names = ["99999.jsonl", "100000.jsonl", "00002.jsonl", "x.jsonl", "1.part"]
    names += ["00001-00003.jsonl"]
    assert logs.in_order(names) == [(1, 3), (99999, 99999), (100000, 100000)]


def test_a_merge_cut_off_anywhere_changes_nothing(bucket, path, monkeypatch):
    monkeypatch.setattr(logs, "_MERGED", 3)
    log = logs.PartLog(path)
    for step in (1, 2, 3):
        log.write(line(step))
    singles = {name: bucket.objects[name].data for name in bucket.names()}
    log.write(line(4))
    for name, data in singles.items():  # as if it had been killed before deleting
        bucket.put(name, data)
    assert logs.read_log(path) == steps(1, 2, 3, 4)
    # What is left over must not come back when the merged one is cut away.
    logs.trim_log(path, lambda text: kept_lines(text, 0))
    assert logs.read_log(path) is None and bucket.names() == []


def test_cutting_back_is_exact_and_can_be_cut_off(bucket, path, monkeypatch):
    monkeypatch.setattr(logs, "_MERGED", 3)
    log = logs.PartLog(path)
    for step in range(1, 6):
        log.write(line(step) + line(step + 0.5))
    keep = lambda text: kept_lines(text, 2)
    killed = []

    def kill_at_second(method, bucket_name, name):
        killed.append(name)
        if len(killed) == 2:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        real = gcs.remove

        def remove(path, generation=None):
            kill_at_second("DELETE", "", path)
            real(path, generation)

        patch.setattr(gcs, "remove", remove)
        with pytest.raises(RuntimeError, match="killed"):
            logs.trim_log(path, keep)
    logs.trim_log(path, keep)
    assert logs.read_log(path) == steps(1, 1.5, 2)
    before = {name: bucket.objects[name].generation for name in bucket.names()}
    logs.trim_log(path, keep)  # nothing to cut: nothing is written
    assert before == {name: bucket.objects[name].generation for name in bucket.names()}
    logs.PartLog(path).write(line(3))
    assert logs.read_log(path) == steps(1, 1.5, 2, 3)


def test_a_second_writer_is_noticed(path):
    one, two = logs.PartLog(path), logs.PartLog(path)
    one.write(line(1))
    with pytest.raises(UserError, match=r"00001\.jsonl is there already: another"):
        two.write(line(9))
    assert logs.read_log(path) == steps(1)


def test_a_late_part_of_a_former_writer_is_passed(path):
    asked = []
    owner = logs.PartLog(path, lambda: asked.append(True))
    owner.write(line(1))
    logs.PartLog(path).write(line(9))
    owner.write(line(2))
    owner.write(line(3))
    assert logs.read_log(path) == steps(1, 9, 2, 3) and asked == [True]


def test_who_lost_the_log_writes_nothing_more(path):
    def lost():
        raise UserError("held by another")

    former = logs.PartLog(path, lost)
    logs.PartLog(path).write(line(1))
    with pytest.raises(UserError, match="held by another"):
        former.write(line(9))
    assert logs.read_log(path) == steps(1)


def test_a_reader_survives_a_merge_under_its_hands(bucket, path, monkeypatch):
    log = logs.PartLog(path)
    for step in (1, 2):
        log.write(line(step))
    real, merged = gcs.read, []

    def read(piece):
        if not merged:
            merged.append(piece)
            bucket.put("run/metrics/00001-00002.jsonl", steps(1, 2))
            for name in ("00001", "00002"):
                del bucket.objects[f"run/metrics/{name}.jsonl"]
        return real(piece)

    monkeypatch.setattr(gcs, "read", read)
    assert logs.read_log(path) == steps(1, 2)


def test_lines_are_stored_in_the_background_and_by_flush(bucket, path, monkeypatch):
    monkeypatch.setattr(logs, "_EVERY_S", 0.05)
    log = logs.BackgroundLog(path)
    stored = threading.Event()
    server().watch = lambda *_: stored.set()
    log.append(line(1))
    assert stored.wait(10)
    log.flush()
    assert logs.read_log(path) == steps(1)
    monkeypatch.setattr(logs, "_EVERY_S", 60)
    for step in (2, 3, 4):
        log.append(line(step))
    log.close()
    assert logs.read_log(path) == steps(1, 2, 3, 4)
    assert len(bucket.names()) == 2


def test_a_flush_ends_while_lines_keep_coming(path):
    log = logs.BackgroundLog(path)
    # One more line with every write: it is never done with all.
    server().watch = lambda *_: log.append(line(2))
    log.append(line(1))
    log.flush()
    server().watch = lambda *_: None
    log.close()
    assert set((logs.read_log(path) or b"").splitlines(True)) == {steps(1), steps(2)}


def test_a_store_that_is_away_loses_no_line(path, monkeypatch):
    monkeypatch.setattr(logs, "_RETRY_S", 0.01)
    log = logs.BackgroundLog(path)
    real, calls = gcs.write_if, []

    def write_if(*args):
        calls.append(args)
        if len(calls) < 4:
            raise OSError("away")
        return real(*args)

    monkeypatch.setattr(gcs, "write_if", write_if)
    log.append(line(1))
    log.close()
    assert logs.read_log(path) == steps(1) and len(calls) == 4


def test_what_cannot_be_written_is_raised(bucket, path):
    log = logs.BackgroundLog(path)
    server().denied.add(bucket.name)
    log.append(line(1))
    with pytest.raises(PermissionError):
        log.close()
    server().denied.remove(bucket.name)


def test_a_copied_log_goes_on_either_way(bucket, path, tmp_path):
    log = logs.PartLog(path)
    log.write(line(1) + line(2))
    log.write(line(3))
    local = as_path(tmp_path) / "metrics.jsonl"
    (tmp_path / "metrics").mkdir()
    for name in bucket.names():
        file = tmp_path / name.removeprefix("run/")
        file.write_bytes(bucket.objects[name].data)
    logs.trim_log(local, lambda text: kept_lines(text, 2))
    assert logs.read_log(local) == steps(1, 2)
    shutil.rmtree(tmp_path / "metrics")
    local.write_bytes(steps(1, 2))
    bucket.objects.clear()
    bucket.put("run/metrics.jsonl", local.read_bytes())
    logs.PartLog(path).write(line(3))
    assert logs.read_log(path) == steps(1, 2, 3)
    logs.trim_log(path, lambda text: kept_lines(text, 1))
    assert logs.read_log(path) == steps(1)
