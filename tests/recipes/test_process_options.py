# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Options and environment of `lrm train` that two processes must pass on."""

import sys

import pytest

from lrm_jax.training import supervisor
from tests.recipes import process_runs as runs


def test_the_training_process_is_told_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://bucket/programs")
    say = "import jax; print(jax.config.jax_compilation_cache_dir)"
    ended = supervisor.supervise([sys.executable, "-c", say], str(tmp_path))
    assert (ended.code, ended.output) == (0, b"gs://bucket/programs\n")


STAND_IN = """
import fsspec
from fsspec.implementations.memory import MemoryFileSystem
for name in ("gs", "gcs"):
    fsspec.register_implementation(name, MemoryFileSystem, clobber=True)
import jax
jax.jit(lambda x: x + 1)(1.0)
print(any("jit_" in name for name in MemoryFileSystem.store))
"""


def test_jax_keeps_programs_on_a_stand_in_for_a_bucket(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://bucket/programs")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    ended = supervisor.supervise([sys.executable, "-c", STAND_IN], str(tmp_path))
    assert (ended.code, ended.output) == (0, b"True\n")


@pytest.mark.nightly
def test_the_first_process_profiles_and_all_use_the_cache(tmp_path, monkeypatch):
    cache, run_dir = tmp_path / "cache", tmp_path / "run"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    words = ("train.total_steps=4", "--profile", "2")
    children = runs.start(run_dir, 2, 2, *words)
    runs.wait(children, 240)
    said = [runs.log_of(run_dir, rank).read_text() for rank in (0, 1)]
    assert [child.returncode for child in children] == [0, 0], said
    assert len(list((run_dir / "profile").rglob("*.xplane.pb"))) == 1
    # The supervisors' children compile: JAX writes what process 0 has compiled.
    assert any(path.name.startswith("jit_") for path in cache.iterdir())
