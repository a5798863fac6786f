# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""gcsfs as run folders need it; imported at the first `gs://` path (0.4 s).

Nothing is cached, for other machines write too; what goes wrong is an `OSError` of
one line, and never an answer that something is not there; no bucket is made.
"""

import errno
import logging
import os
from typing import Any

# Without this gcsfs asks a second service, by gRPC, what kind of bucket it is.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

import fsspec
import gcsfs.core
from etils.epath import backend

from lrm_jax.storage.paths import StoreAwayError

_LOGGERS = ("gcsfs", "google.auth", "google.auth._default", "google.auth.transport")


class RunFolderFileSystem(gcsfs.core.GCSFileSystem):
    """What epath, and through it Orbax, use for `gs://` paths as well."""

    protocol = ("gs", "gcs")

    def __init__(self, **options: Any) -> None:
        """Connect, with the credentials that gcsfs finds (none for a stand-in)."""
        options["use_listings_cache"] = False
        if os.environ.get("STORAGE_EMULATOR_HOST"):
            options.setdefault("token", "anon")
        super().__init__(**options)

    async def _request(self, *args: Any, **options: Any) -> Any:
        try:
            return await super()._request(*args, **options)
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            raise as_os_error(error) from error

    async def _isdir(self, path: str) -> bool:
        return await self._type(path) == "directory"

    async def _isfile(self, path: str) -> bool:
        return await self._type(path) == "file"

    async def _type(self, path: str) -> str | None:
        try:
            about: Any = await self._info(path)
        except FileNotFoundError:
            return None
        return about["type"]

    async def _mkdir(self, path: str, *args: Any, **options: Any) -> None:
        """Do nothing: a folder is there with its first object."""

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing, as well."""


def as_os_error(error: Exception) -> OSError:
    """Return what a request ended in, as a file system would say it."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    code = getattr(error, "code", None)
    if str(code) in ("401", "403") or text.startswith("Forbidden"):
        return PermissionError(errno.EACCES, f"no permission: {text}")
    return StoreAwayError(errno.EIO, f"Google Cloud Storage: {text}")


def connect() -> RunFolderFileSystem:
    """Return the file system, the same that `gs://` paths use from now on."""
    for name in _LOGGERS:  # what goes wrong is said once, by us
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in RunFolderFileSystem.protocol:
        fsspec.register_implementation(name, RunFolderFileSystem, clobber=True)
    # One that compiled programs on gs:// made before would remember listings.
    backend.fsspec_backend._get_filesystem.cache_clear()
    return backend.fsspec_backend.fs("gs://")  # pyright: ignore[reportReturnType]
