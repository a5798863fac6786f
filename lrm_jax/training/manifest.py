# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What makes a folder a complete checkpoint: a sealed list of its files.

`manifest.json` is written last, so a step without one was never finished. It
holds the size and sha256 of every file, and a seal over itself. Orbax alone
restores flipped bits silently, so every restore checks all of it first. Of
several processes each hashes what it wrote itself, in `manifest.P.part`, and
the first one puts the parts together.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lrm_jax.training import files
from lrm_jax.types import UserError

NAME = "manifest.json"
PART = ".part"
FORMAT = 1

_THREADS = 4
_REMOTE_THREADS = 16  # to read back what was written, which waits for answers
_WAIT_S = 600.0  # another process's part of a large state, on a slow disk


def write(
    folder: files.Path,
    body: dict[str, Any],
    parts: Sequence[Mapping[str, Any]] = (),
    *,
    settle: Callable[[], None] = lambda: None,
) -> None:
    """Hash what `parts` do not list, put it on the disk, then close the list.

    Hashing may take minutes, so `settle` is called after it: what it raises leaves
    the list open.

    Raises:
      UserError: on `gs://`, another process has closed it meanwhile.
    """
    listed = {name: entry for part in parts for name, entry in part.items()}
    rest = [
        path
        for path in files.files_under(folder)
        if path.name != NAME
        and path.suffix != PART
        and path.relative_to(folder).as_posix() not in listed
    ]
    listed.update(_hashed(folder, rest))
    settle()
    files.write_new(folder / NAME, _sealed({**body, "files": listed}))
    for part in folder.glob(f"*{PART}"):
        files.remove_file(part)


def write_part(folder: files.Path, process: int) -> None:
    """List what a process (not the first) wrote: its folder of OCDBT."""
    own = [
        path
        for path in files.files_under(folder)
        if f"ocdbt.process_{process}" in path.relative_to(folder).parts
    ]
    listed = _hashed(folder, own)
    files.write_atomic(folder / f"manifest.{process}{PART}", json.dumps(listed))


def wait_for_parts(folder: files.Path, count: int) -> list[dict[str, Any]]:
    """Return the lists of the `count` processes after the first."""
    paths = [folder / f"manifest.{i + 1}{PART}" for i in range(count)]
    for path in paths:
        _wait_for(path)
    return [json.loads(path.read_text()) for path in paths]


def wait_until_closed(folder: files.Path) -> None:
    """Return once the first process has closed the list."""
    _wait_for(folder / NAME)


def _wait_for(path: files.Path) -> None:
    end = time.monotonic() + _WAIT_S
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{path.name} was not written within {_WAIT_S:g} s")
        time.sleep(1.0 if files.is_remote(path) else 0.02)


def _pool(folder: files.Path) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_REMOTE_THREADS if files.is_remote(folder) else _THREADS)


def _hashed(folder: files.Path, paths: Iterable[files.Path]) -> dict[str, Any]:
    """Return size and digest of files, which are on the disk then."""
    paths = list(paths)
    with _pool(folder) as pool:
        digests = pool.map(lambda path: files.sha256_file(path, sync=True), paths)
        listed = {
            path.relative_to(folder).as_posix(): {"bytes": size, "sha256": digest}
            for path, (size, digest) in zip(paths, digests, strict=True)
        }
    for inner in {path.parent for path in paths}:
        files.sync_folder(inner)
    return listed


def exists(folder: files.Path) -> bool:
    """Whether the checkpoint in `folder` was finished."""
    return (folder / NAME).exists()


def read(folder: files.Path) -> dict[str, Any]:
    """Return the manifest's body.

    Raises:
      ValueError: it is missing, damaged, or of another format; one line.
      UserError: it may not be read, which says nothing about it.
    """
    try:
        text = (folder / NAME).read_bytes().decode("utf-8")
        body = json.loads(text)
    except FileNotFoundError:
        raise ValueError("half-written: it has no manifest") from None
    except OSError as error:
        _refuse_unread(folder / NAME, error)
        raise ValueError(f"{NAME} is damaged") from None
    except ValueError:
        raise ValueError(f"{NAME} is damaged") from None
    if not isinstance(body, dict) or body.pop("seal", None) is None:
        raise ValueError(f"{NAME} is not one of this program's")
    # Byte for byte: a flipped bit that JSON would forgive is damage as well.
    if text != _sealed(body):
        raise ValueError(f"{NAME} is damaged")
    if body.get("format") != FORMAT:
        raise ValueError(
            f"{NAME} has format {body.get('format')!r}; this program reads {FORMAT}"
        )
    return body


def problems(folder: files.Path) -> list[str]:
    """Check every listed file; one line for each thing that is wrong."""
    try:
        listed = read(folder)["files"]
    except ValueError as error:
        return [str(error)]
    with _pool(folder) as pool:
        found = pool.map(lambda name: _file_problem(folder, name, listed[name]), listed)
        return [problem for problem in found if problem]


def source_hash(folder: files.Path) -> str:
    """One digest that stands for the whole checkpoint."""
    return files.sha256_file(folder / NAME)[1]


def read_extra(folder: files.Path) -> dict[str, Any]:
    """Return what was saved beside the arrays."""
    try:
        return json.loads((folder / "extra.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"checkpoint {folder}: extra.json: {error}") from error


def sound_extra(folder: files.Path) -> dict[str, Any] | None:
    """Return what was saved beside the arrays; None where it is damaged."""
    try:
        entry = read(folder)["files"]["extra.json"]
    except (ValueError, KeyError):
        return None
    damaged = _file_problem(folder, "extra.json", entry)
    return None if damaged else read_extra(folder)


def _file_problem(folder: files.Path, name: str, entry: dict[str, Any]) -> str:
    try:
        size, digest = files.sha256_file(folder / name)
    except OSError as error:
        _refuse_unread(folder / name, error)
        return f"{name}: {error.strerror or error}"
    if size != entry["bytes"]:
        return f"{name} has {size} bytes, {entry['bytes']} were written"
    return "" if digest == entry["sha256"] else f"{name} is damaged (sha256 differs)"


def _refuse_unread(path: files.Path, error: OSError) -> None:
    """Raise where not the file is at fault but the way to it."""
    if isinstance(error, files.StoreAwayError):
        raise error
    if files.is_remote(path) and not isinstance(error, FileNotFoundError):
        reason = error.strerror or error
        raise UserError(f"{path} cannot be read: {reason}") from error


def _sealed(body: dict[str, Any]) -> str:
    seal = hashlib.sha256(_canonical(body).encode()).hexdigest()
    return _canonical({**body, "seal": seal})


def _canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, indent=1, allow_nan=False)
