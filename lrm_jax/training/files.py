# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""File operations of run folders, on a file system and on `gs://`.

Everything that writes a run folder comes through here; `storage` has the parts
that are for objects alone.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator

from etils import epath

from lrm_jax.storage import gcs
from lrm_jax.storage.paths import (
    Path,
    PathLike,
    StoreAwayError,
    as_path,
    is_remote,
)
from lrm_jax.types import UserError

__all__ = ["Path", "PathLike", "StoreAwayError", "as_path", "is_remote"]

_CHUNK_BYTES = 1 << 22


@contextlib.contextmanager
def user_errors(doing: str) -> Iterator[None]:
    """Turn what the file system says (full, read-only, ...) into one line.

    A store that is away is nobody's mistake, and stays what it is.
    """
    try:
        yield
    except StoreAwayError:
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise UserError(f"{doing}: {error.strerror or error}{where}") from error


def write_atomic(path: Path, text: str) -> None:
    """Write a whole file or nothing; it is on the disk when this returns."""
    if is_remote(path):
        gcs.write(path, text.encode())
        return
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


def write_new(path: Path, text: str) -> None:
    """Write as `write_atomic` does, but on `gs://` only where there is none yet.

    A folder on a disk is held by a lock that cannot be lost.

    Raises:
      UserError: another process has written it.
    """
    if not is_remote(path):
        write_atomic(path, text)
    elif gcs.write_if(path, text.encode(), 0) is None:
        raise UserError(f"{path} is there already: another process writes this run")


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


def make_folder(path: Path) -> None:
    """Make a folder, and those above it; on `gs://` there are none to make."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def remove_file(path: Path) -> None:
    """Delete a file if it is there."""
    if is_remote(path):
        gcs.remove(path)
    else:
        path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Delete a folder with all that is in it."""
    if is_remote(path):
        gcs.remove_tree(path)
    else:
        shutil.rmtree(path)


def move_tree(source: str, path: Path) -> None:
    """Move a local folder with all that is in it to `gs://`."""
    local = epath.Path(source)
    for file in files_under(local):
        gcs.write(path / file.relative_to(local).as_posix(), file.read_bytes())
    shutil.rmtree(local)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    if is_remote(folder):
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256_file(path: Path, *, sync: bool = False) -> tuple[int, str]:
    """Return a file's size and digest; with `sync`, put it on the disk first."""
    if is_remote(path):
        return gcs.sha256(path)
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
    if is_remote(folder):
        return [folder / name for name in sorted(gcs.sizes_below(folder))]
    found = (
        epath.Path(base) / name for base, _, names in os.walk(folder) for name in names
    )
    return sorted(found)


def bytes_under(folder: Path) -> int:
    """Size of all files below a folder that a live run may be deleting."""
    if is_remote(folder):
        return sum(gcs.sizes_below(folder).values())
    total = 0
    for path in files_under(folder):
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(path).st_size
    return total
