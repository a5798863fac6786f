# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objects on `gs://`, against a stand-in for the service."""

import hashlib
import importlib.util
import subprocess
import sys

import pytest

from lrm_jax.storage import gcs
from lrm_jax.storage.paths import as_path, local_only, to_read
from lrm_jax.training import files
from lrm_jax.types import UserError
from tests.storage.fake_gcs import Refused
from tests.storage.stand_in import server


def test_objects_are_written_whole_and_read_back(bucket):
    root = as_path(f"{bucket.url}/a/b/")
    assert str(root) == f"{bucket.url}/a/b"
    files.write_atomic(root / "x y%.json", "one")
    files.write_atomic(root / "x y%.json", "two")
    gcs.write(root / "deep" / "er", b"")
    assert bucket.names() == ["a/b/deep/er", "a/b/x y%.json"]
    assert gcs.read(root / "x y%.json") == b"two"
    assert (root / "x y%.json").read_text() == "two"
    assert gcs.sizes_below(root) == {"x y%.json": 3, "deep/er": 0}
    assert files.bytes_under(root) == 3
    assert [p.name for p in files.files_under(root)] == ["er", "x y%.json"]
    assert root.is_dir() and not root.is_file() and (root / "deep").is_dir()
    assert {p.name for p in root.iterdir()} == {"deep", "x y%.json"}
    # As long a prefix is no folder above it.
    gcs.write(as_path(f"{bucket.url}/a/bc"), b"other")
    assert "bc" not in str(gcs.sizes_below(root))
    files.remove_tree(root)
    assert bucket.names() == ["a/bc"]
    files.remove_tree(root)
    files.remove_file(root / "gone")


def test_a_tree_is_deleted_as_the_real_service_is_asked_to(bucket, monkeypatch):
    """In batches of a hundred, which gcsfs spares stand-ins."""
    root = as_path(f"{bucket.url}/run/checkpoints/5")
    for number in range(120):
        bucket.put(f"run/checkpoints/5/state/d/{number}", b"x")
    bucket.put("run/checkpoints/50", b"stays")
    before = len(server().requests)
    monkeypatch.setattr(type(gcs.files()), "on_google", True)
    files.remove_tree(root)
    asked = [target for _, target in server().requests[before:]]
    assert sum(target.startswith("/batch/") for target in asked) == 2
    assert bucket.names() == ["run/checkpoints/50"]
    files.remove_tree(root)
    bucket.put("run/checkpoints/5/locked", b"x")

    def refuse(method, name_of_bucket, name):
        raise Refused(403, "object retention policy")

    server().watch = refuse
    with pytest.raises(OSError, match="retention policy"):
        files.remove_tree(root)


def test_a_profile_is_moved_there(bucket, tmp_path):
    (tmp_path / "profile" / "deep").mkdir(parents=True)
    (tmp_path / "profile" / "deep" / "trace").write_bytes(b"\0\1")
    target = as_path(f"{bucket.url}/run/profile")
    files.move_tree(str(tmp_path / "profile"), target)
    assert bucket.objects["run/profile/deep/trace"].data == b"\0\1"
    assert not (tmp_path / "profile").exists()


def test_what_another_machine_writes_is_seen_at_once(bucket):
    path = as_path(f"{bucket.url}/run/config.json")
    assert not path.exists() and not path.parent.is_dir()
    bucket.put("run/config.json", b"{}")
    assert path.exists() and path.parent.is_dir()
    assert path.read_text() == "{}"
    bucket.put("run/config.json", b"{1}")
    assert path.read_text() == "{1}"
    del bucket.objects["run/config.json"]
    assert not path.exists()


def test_a_write_asks_for_the_generation_it_replaces(bucket):
    path = as_path(f"{bucket.url}/run/.lock")
    first = gcs.write_if(path, b"mine", 0)
    assert first is not None
    assert gcs.write_if(path, b"yours", 0) is None
    # The answer got lost and the request was sent again: it was this one.
    assert gcs.write_if(path, b"mine", 0) == first
    second = gcs.write_if(path, b"again", first)
    assert second is not None and second > first
    assert gcs.write_if(path, b"late", first) is None
    there = gcs.read_stored(path)
    assert there is not None
    assert there[:2] == (b"again", second) and abs(there.age_s) < 5
    gcs.remove(path, first)
    assert path.exists()
    gcs.remove(path, second)
    assert gcs.read_stored(path) is None


def test_a_large_object_is_hashed_in_pieces(bucket, monkeypatch):
    monkeypatch.setattr(gcs, "_CHUNK_BYTES", 1000)
    data = bytes(range(256)) * 13
    bucket.put("big", data)
    path = as_path(f"{bucket.url}/big")
    assert gcs.sha256(path) == (len(data), hashlib.sha256(data).hexdigest())
    with pytest.raises(FileNotFoundError, match="No such file"):
        gcs.sha256(as_path(f"{bucket.url}/none"))


def test_a_store_that_fails_for_a_moment_is_asked_again(bucket):
    path = as_path(f"{bucket.url}/x")
    server().failures = 1
    gcs.write(path, b"there")
    assert bucket.objects["x"].data == b"there"


def test_what_goes_wrong_is_never_an_answer_that_nothing_is_there(bucket):
    path = as_path(f"{bucket.url}/run/config.json")
    server().denied.add(bucket.name)
    for ask in (path.exists, path.is_dir, path.read_text, lambda: gcs.read(path)):
        with pytest.raises(PermissionError, match="no permission"):
            ask()


@pytest.mark.parametrize(
    "path",
    ["gs://", "gs://bucket", "gs://bucket/", "gs://Bucket/a", "gs://bucket/a//b"]
    + ["gs://bucket/../a", "gs://b/a"],
)
def test_paths_that_name_no_folder_are_refused(path):
    with pytest.raises(UserError, match="expected gs://BUCKET/PATH"):
        as_path(path)


def test_buckets_that_cannot_be_used_are_refused(bucket):
    with pytest.raises(UserError, match="^gs://no-such-bucket: no such bucket$"):
        as_path("gs://no-such-bucket/run")
    server().buckets["denied"] = {}
    server().denied.add("denied")
    with pytest.raises(UserError, match="^gs://denied: no permission to read it"):
        as_path("gs://denied/run")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'lrm-jax\[gcs\]'"):
        as_path("gs://bucket/run")


def test_local_paths_stay_as_they_are(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(to_read("runs/x")) == "runs/x"
    assert str(to_read(f"{bucket.url}/x")) == f"{bucket.url}/x"
    assert str(as_path("runs/x")) == str(tmp_path / "runs" / "x")
    with pytest.raises(UserError, match="export folder gs://.*gcloud storage cp"):
        local_only(f"{bucket.url}/x", "export folder")


def test_gcsfs_is_imported_for_gs_paths_only():
    code = (
        "import sys, lrm_jax.training.run_folder, lrm_jax.evaluation.report\n"
        "from lrm_jax.storage.paths import as_path\n"
        "as_path('runs/x')\n"
        "assert not {'gcsfs', 'fsspec', 'aiohttp'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
