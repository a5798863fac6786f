# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One run at a time in a folder: flock on a file system, a lease on `gs://`."""

import errno
import fcntl
import os
import socket
import sys
from typing import Protocol, TextIO

from lrm_jax.storage import lease
from lrm_jax.training import files
from lrm_jax.types import UserError

NAME = ".lock"
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}


class Lock(Protocol):
    """A held folder."""

    @property
    def lost(self) -> bool:
        """Whether another process holds the folder by now."""
        ...

    def check(self) -> None:
        """Raise a `UserError` if another process is known to hold the folder."""
        ...

    def confirm(self) -> None:
        """Make sure that the folder is still held, or raise as `check` does."""
        ...

    def close(self) -> None:
        """Let others in."""
        ...


class FileLock:
    """Held until this process ends, however it ends (SIGKILL too)."""

    lost = False

    def __init__(self, file: TextIO) -> None:
        """Take over a locked file."""
        self._file = file

    def check(self) -> None:
        """Do nothing: the system keeps others out."""

    def confirm(self) -> None:
        """Do nothing, as well."""

    def close(self) -> None:
        """Let others in."""
        self._file.close()


def take(path: files.Path) -> Lock:
    """Hold a folder and leave a note of who does.

    Raises:
      UserError: another process holds it.
    """
    if files.is_remote(path):
        return lease.take(path / NAME)
    file = _flock(path)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return FileLock(file)


def refuse_held(path: files.Path) -> None:
    """Refuse a folder that another process holds; hold and change nothing.

    Raises:
      UserError: another process holds it.
    """
    if files.is_remote(path):
        lease.wait_until_free(path / NAME)
    elif (path / NAME).exists():
        _flock(path).close()


def _flock(path: files.Path) -> TextIO:
    file = open(path / NAME, "a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"run folder {path} is in use by {holder}; wait for it to end or choose"
            " another --run-dir"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            file.close()
            raise
        print(
            f"{path}: this file system has no locks; start one process only",
            file=sys.stderr,
        )
    return file
