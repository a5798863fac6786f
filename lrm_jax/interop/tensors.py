# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Named tensors in files: which format a file has, and safetensors in and out.

The format is told from the bytes, not from the name: the references call their
files `checkpoint` and `step_N`. bfloat16 is `ml_dtypes.bfloat16` in NumPy.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from lrm_jax.types import UserError

StateDict = dict[str, np.ndarray]
"""Tensors by the name that the file gives them, in the file's order."""

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def file_format(path: Path) -> Literal["safetensors", "torch"]:
    """Tell a safetensors file from a torch one (zip or bare pickle)."""
    head = _read_head(path)
    if head.startswith((b"PK\x03\x04", b"\x80")) and head[8:9] != b"{":
        return "torch"
    return "safetensors"


def read_tensors(path: Path) -> StateDict:
    """Read a file of named tensors of either format.

    Raises:
      UserError: the file is missing, damaged, or holds anything but tensors.
    """
    if file_format(path) == "torch":
        from lrm_jax.interop import torch_files

        return torch_files.read_torch(path)
    return read_safetensors(path)[0]


def read_safetensors(path: Path) -> tuple[StateDict, dict[str, str] | None]:
    """Read a safetensors file: its tensors and its metadata (None if it has none).

    Raises:
      UserError: the file is missing, truncated or not a safetensors file.
    """
    _read_head(path)
    try:
        with safetensors.safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata()
    except (safetensors.SafetensorError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: not a readable safetensors or torch file ({reason}); "
            "it is damaged, truncated or of another kind"
        ) from error


def write_safetensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: dict[str, str] | None
) -> None:
    """Write a safetensors file (tensors in the serialiser's own order)."""
    dense = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    # ascontiguousarray turns scalars into vectors.
    dense = {name: dense[name].reshape(np.shape(tensors[name])) for name in dense}
    safetensors.numpy.save_file(dense, path, metadata=metadata)
    # The serialiser's file is its owner's alone; every other file of ours is not.
    umask = os.umask(0o077)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def _read_head(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a file of tensors")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise UserError(f"{path}: the file is empty; expected a file of tensors")
    return head
