# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objects on `gs://`: whole reads and writes, lists, writes under a condition.

A write of an object is whole or not at all. Every write gives the object a new
generation; a write can ask for the one it replaces (0: none), and so tells who
came first.
"""

import datetime
import email.utils
import errno
import functools
import hashlib
import json
import os
from typing import Any, NamedTuple

from lrm_jax.storage.paths import GS, Path
from lrm_jax.types import UserError

_API = "/storage/v1/"
_CHUNK_BYTES = 1 << 24
_COMPOSED = 32  # objects that one request can put together


class Stored(NamedTuple):
    """An object and when it was written.

    Attributes:
      data: what it holds.
      generation: of this writing.
      age_s: seconds since, by the store's own clock.
    """

    data: bytes
    generation: int
    age_s: float


@functools.cache
def files() -> Any:
    """Return the file system behind `gs://`, a `RunFolderFileSystem`."""
    from lrm_jax.storage import gcs_files

    return gcs_files.connect()


@functools.cache
def reach(bucket: str) -> None:
    """Ask once whether a bucket is there and may be read.

    Raises:
      UserError: it is not, or may not.
    """
    try:
        files().call("GET", f"b/{bucket}/o", maxResults=1)
    except FileNotFoundError:
        raise UserError(f"{GS}{bucket}: no such bucket") from None
    except PermissionError as error:
        reason = str(error.strerror).removeprefix("no permission: ")
        raise UserError(f"{GS}{bucket}: no permission to read it ({reason})") from error


def _split(path: Path) -> tuple[str, str]:
    bucket, _, name = str(path).removeprefix(GS).partition("/")
    return bucket, name


def read(path: Path) -> bytes:
    """Return what an object holds."""
    return files().cat_file(str(path))


def read_stored(path: Path) -> Stored | None:
    """Return an object with its generation and age; None where there is none."""
    bucket, name = _split(path)
    while True:
        try:
            headers, text = files().call("GET", "b/{}/o/{}", bucket, name)
        except FileNotFoundError:
            return None
        about = json.loads(text)
        try:
            _, data = files().call(
                "GET", "b/{}/o/{}", bucket, name,
                alt="media", generation=about["generation"],
            )  # fmt: skip
        except FileNotFoundError:
            continue  # it was written again between the two
        now = email.utils.parsedate_to_datetime(headers["Date"])
        written = datetime.datetime.fromisoformat(about["updated"])
        age_s = (now - written).total_seconds()
        return Stored(data, int(about["generation"]), age_s)


def write(path: Path, data: bytes) -> None:
    """Write a whole object or nothing."""
    files().pipe_file(str(path), data)


def write_if(path: Path, data: bytes, generation: int) -> int | None:
    """Write an object if it still has a generation (0: if there is none).

    Returns:
      The new generation; None where it has another one.
    """
    bucket, name = _split(path)
    try:
        _, text = files().call(
            "POST",
            f"{files().base.removesuffix(_API)}/upload{_API}b/{bucket}/o",
            uploadType="media",
            name=name,
            ifGenerationMatch=str(generation),
            headers={"Content-Type": "application/octet-stream"},
            data=data,
        )
    except FileExistsError:
        # An answer can get lost, and the request be sent again: was it this one?
        there = read_stored(path)
        if there is not None and there.data == data:
            return there.generation
        return None
    return int(json.loads(text)["generation"])


def remove(path: Path, generation: int | None = None) -> None:
    """Delete an object if it is there (and has the generation)."""
    bucket, name = _split(path)
    condition = {} if generation is None else {"ifGenerationMatch": str(generation)}
    try:
        files().call("DELETE", "b/{}/o/{}", bucket, name, **condition)
    except (FileNotFoundError, FileExistsError):
        return


def remove_tree(path: Path) -> None:
    """Delete all objects below a path."""
    try:
        files().rm(str(path), recursive=True)
    except FileNotFoundError:
        return


def compose(path: Path, parts: list[Path]) -> None:
    """Put up to 32 objects together as one, in the store itself."""
    if not 0 < len(parts) <= _COMPOSED:
        raise ValueError(f"{len(parts)} objects to compose; at most {_COMPOSED}")
    files().merge(str(path), [str(part) for part in parts])


def sizes_below(path: Path) -> dict[str, int]:
    """Return the size of every object below a folder, by its path from there."""
    prefix = str(path).removeprefix(GS).rstrip("/") + "/"
    found = files().find(str(path), detail=True)
    return {
        name.removeprefix(prefix): int(about["size"])
        for name, about in found.items()
        if name.startswith(prefix) and not name.endswith("/")
    }


def sha256(path: Path) -> tuple[int, str]:
    """Return an object's size and digest, by reading all of it."""
    try:
        size = int(files().info(str(path))["size"])
    except FileNotFoundError as error:
        reason = os.strerror(errno.ENOENT)
        raise FileNotFoundError(errno.ENOENT, reason, str(path)) from error
    digest = hashlib.sha256()
    for start in range(0, size, _CHUNK_BYTES):
        end = min(start + _CHUNK_BYTES, size)
        digest.update(files().cat_file(str(path), start=start, end=end))
    return size, digest.hexdigest()
