# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Saves that fail while they are written, each in a process of its own."""

import subprocess
import sys

import pytest

FULL_DISK = """
import resource, sys, jax, jax.numpy as jnp
from lrm_jax.training.checkpoint import Checkpointer
from lrm_jax.types import UserError
saver = Checkpointer(sys.argv[1])
small = {"w": jnp.ones(8)}
saver.save(1, small); saver.wait()
big = {"w": jax.random.normal(jax.random.key(0), (int(sys.argv[2]),))}
if sys.argv[3] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    saver.save(2, big); saver.wait()
    print("saved")
except UserError as error:
    print("UserError:", error)
print([i.step for i in saver.list_steps()], saver.restore(small)[2])
saver.save(3, small); saver.wait()
print([i.step for i in saver.list_steps()], saver.restore(small)[2])
"""


def run_full_disk(folder, floats, how):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder), str(floats), how],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    error, after, later = done.stdout.splitlines()
    assert error.startswith("UserError: checkpoint 2 could not be written to")
    assert error.endswith("checkpoint 1 is kept")
    assert (after, later) == ("[1] 1", "[1, 3] 3")
    assert "Traceback" not in done.stderr
    return error


def test_file_size_limit_keeps_the_checkpoint_before(tmp_path):
    assert "File too large" in run_full_disk(tmp_path / "ck", 200_000, "limit")


def test_full_disk_keeps_the_checkpoint_before(small_disk):
    error = run_full_disk(small_disk / "ck", 1_000_000, "mount")
    assert "No space left on device" in error


FAILED_SAVE = """
import asyncio, gc, itertools, sys, jax.numpy as jnp, tensorstore
from lrm_jax.training.checkpoint import Checkpointer
from lrm_jax.types import UserError

class Slow:
    def __getitem__(self, index):
        return self
    async def write(self, *args, **kwargs):
        await asyncio.sleep(60)

# Array 0 fails to open; array n opens n turns of the event loop later, so that
# one of them has just made its writes, which have not begun, when it is closed.
numbers, real = itertools.count(), tensorstore.open
def fake(spec, *args, create=False, **kwargs):
    if "_sharding" in str(spec):
        return real(spec, *args, create=create, **kwargs)
    async def opened(turns):
        if create and turns == 0:
            raise ValueError("No space left on device")
        for _ in range(turns):
            await asyncio.sleep(0)
        return Slow()
    return opened(next(numbers) if create else 0)

tensorstore.open = fake
saver = Checkpointer(sys.argv[1])
try:
    saver.save(1, {f"w{i}": jnp.ones(2) for i in range(12)}); saver.wait()
except UserError as error:
    print(error)
saver = None; gc.collect()
"""


@pytest.mark.parametrize("warnings", ["default", "error"])
def test_a_failed_save_says_no_more_than_its_line(tmp_path, warnings):
    command = [sys.executable, "-W", warnings, "-c", FAILED_SAVE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("checkpoint 1 could not be written to")
    assert "No space left on device" in done.stdout
    assert done.stderr == ""
