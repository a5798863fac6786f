# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths and file operations of run folders, in one place.

Everything that reads or writes a run folder comes through here, so that other
file systems (`gs://`) have one file to change.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator

from etils import epath

from lrm_jax.types import UserError

Path = epath.Path
PathLike = str | os.PathLike[str]

_CHUNK_BYTES = 1 << 22


def as_path(path: PathLike) -> Path:
    """Return an absolute path; only local file systems are known."""
    text = os.fspath(path)
    scheme = re.match(r"([a-z][a-z0-9]*)://", text)
    if scheme:
        raise UserError(
            f"path {text!r}: {scheme[0]} is not supported; accepted: a local path"
        )
    return epath.Path(os.path.abspath(os.path.expanduser(text)))


@contextlib.contextmanager
def user_errors(doing: str) -> Iterator[None]:
    """Turn what the file system says (full, read-only, ...) into one line."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(f"{doing}: {error.strerror or error}{where}") from error


def write_atomic(path: Path, text: str) -> None:
    """Write a whole file or nothing; it is on the disk when this returns."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def append_line(path: Path, line: str) -> None:
    """Append a whole line or nothing."""
    data = line.encode()
    with open(path, "ab", buffering=0) as file:
        before = file.tell()
        written = 0
        try:
            while written < len(data):
                written += file.write(data[written:])
        except OSError:
            file.truncate(before)
            raise


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256_file(path: Path, *, sync: bool = False) -> tuple[int, str]:
    """Return a file's size and digest; with `sync`, put it on the disk first."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        if sync:
            os.fsync(file.fileno())
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def files_under(folder: Path) -> list[Path]:
    """All files below a folder, sorted."""
    found = (
        epath.Path(base) / name for base, _, names in os.walk(folder) for name in names
    )
    return sorted(found)


def bytes_under(folder: Path) -> int:
    """Size of all files below a folder that a live run may be deleting."""
    total = 0
    for path in files_under(folder):
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(path).st_size
    return total
