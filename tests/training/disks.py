# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small file systems that can be filled, where they may be mounted."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[bool]:
    """Mount a file system of `size` at an empty folder; whether that was allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = shutil.which("mount") is not None
    if done:
        done = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield done
    finally:
        if done:  # lazily: a process that was just killed may still hold a file
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write a file until nothing more fits."""
    with open(file, "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1 << 16))
