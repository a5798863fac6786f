# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Paths of run folders: local ones, and `gs://BUCKET/PATH`."""

import importlib.util
import os
import pathlib
import re

from etils import epath

from lrm_jax.types import UserError

Path = epath.Path
AnyPath = pathlib.Path | epath.Path
PathLike = str | os.PathLike[str]

GS = "gs://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


class StoreAwayError(OSError):
    """A store that does not answer: nobody's mistake, and it will come back."""


def is_remote(path: PathLike) -> bool:
    """Return whether a path is of an object store."""
    return os.fspath(path).startswith(GS)


def as_path(path: PathLike) -> Path:
    """Return an absolute path, ready for use.

    Raises:
      UserError: another store, no bucket, or one that may not be read.
    """
    text = os.fspath(path)
    if is_remote(text):
        return _remote(text)
    scheme = re.match(r"([a-z][a-z0-9]*)://", text)
    if scheme:
        raise UserError(
            f"path {text!r}: {scheme[0]} is not supported; accepted: a local path or"
            " gs://BUCKET/PATH"
        )
    return epath.Path(os.path.abspath(os.path.expanduser(text)))


def to_read(path: PathLike) -> AnyPath:
    """Return a path as it was given, relative or not, from which to read."""
    return as_path(path) if is_remote(path) else pathlib.Path(path)


def local_only(path: PathLike, what: str) -> pathlib.Path:
    """Return a path that is no run folder and must be on this machine.

    Raises:
      UserError: it is on `gs://`.
    """
    if is_remote(path):
        raise UserError(
            f"{what} {os.fspath(path)}: expected a local path; copy it with"
            " gcloud storage cp --recursive"
        )
    return pathlib.Path(path)


def _remote(text: str) -> Path:
    """A path in a bucket that answers; both clients need what the extra installs."""
    bucket, _, name = text.removeprefix(GS).partition("/")
    parts = name.rstrip("/").split("/")
    if not _BUCKET.fullmatch(bucket) or {"", ".", ".."} & set(parts):
        raise UserError(
            f"path {text!r}: expected gs://BUCKET/PATH, with single slashes and a"
            " bucket of lower-case letters, digits, hyphens, dots and underscores"
        )
    if importlib.util.find_spec("gcsfs") is None:
        raise UserError(f"path {text!r}: gs:// needs gcsfs; pip install 'lrm-jax[gcs]'")
    from lrm_jax.storage import gcs

    gcs.reach(bucket)
    return epath.Path(f"{GS}{bucket}/{'/'.join(parts)}")
