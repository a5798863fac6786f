# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.training.disks import mounted


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB of its own; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "1m") as done:
        if not done:
            pytest.skip("a small disk cannot be mounted without privileges")
        yield disk
