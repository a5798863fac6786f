# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB of its own; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    tool = shutil.which("mount")
    if tool is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted without privileges")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
