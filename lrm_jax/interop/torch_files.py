# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Torch checkpoint files, read by torch's own weights-only loader and no other.

Nothing in such a file is ever run: whatever is not a tensor in a plain container
is refused. Torch is an extra, imported only here and only when asked for.
"""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lrm_jax.interop.tensors import BFLOAT16, StateDict
from lrm_jax.types import UserError

_NESTED_KEYS = ("model", "state_dict")
"""Where trainers that save more than weights put the weights."""

_UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What torch raises of a file that was cut, hit or never was one of its own."""


def read_torch(path: Path) -> StateDict:
    """Read the state dict of a torch file.

    Raises:
      UserError: torch is not installed, or the file is damaged, or it holds
        pickled code, or something that is not a mapping of names to tensors.
    """
    torch = _import_torch()
    _check_zip(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "pickle protocol 4 in the checkpoint"
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise UserError(_describe_failure(path, error)) from error
    return _to_numpy(torch, path, loaded)


def write_torch(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write a bare state dict as the references do (`torch.save`, in order)."""
    torch = _import_torch()
    state = {}
    for name, value in tensors.items():
        value = np.array(value, order="C")
        if value.dtype == BFLOAT16:
            state[name] = torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
        else:
            state[name] = torch.from_numpy(value)
    torch.save(state, path)


def _import_torch() -> ModuleType:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            "torch files need torch, which is not installed: "
            'pip install "lrm-jax[torch]"'
        ) from error
    return torch


def _check_zip(path: Path) -> None:
    """Check every record's CRC-32, which torch itself does not insist on."""
    if not zipfile.is_zipfile(path):
        return  # torch's old format, or damaged: torch says which
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        # (ValueError: a record's name that is not text.)
        raise UserError(f"{path}: damaged torch file ({error})") from error
    if bad is not None:
        raise UserError(f"{path}: damaged torch file (checksum of record {bad!r})")


def _describe_failure(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, pickle.UnpicklingError):
        code = re.search(
            r"(?:Unsupported global: GLOBAL|unsupported GLOBAL|Unsupported class) "
            r"(\w[\w.]*)",
            text,
        )
        name = f" ({code[1]})" if code else ""
        return (
            f"{path}: holds pickled objects other than tensors{name}; "
            "refused, never run"
        )
    return (
        f"{path}: not a readable torch file ({type(error).__name__}); "
        "it is damaged, truncated or of another kind"
    )


def _to_numpy(torch: ModuleType, path: Path, loaded: Any) -> StateDict:
    if isinstance(loaded, Mapping):
        for key in _NESTED_KEYS:
            if isinstance(loaded.get(key), Mapping):
                loaded = loaded[key]
                break
    if not isinstance(loaded, Mapping):
        kind = type(loaded).__name__
        raise UserError(f"{path}: holds a {kind}; expected tensors by name")
    tensors = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            kind = type(value).__name__
            raise UserError(f"{path}: {name!r} is a {kind}; expected tensors by name")
        value = value.detach().contiguous()
        if value.dtype == torch.bfloat16:
            tensors[name] = value.view(torch.int16).numpy().view(BFLOAT16)
        else:
            tensors[name] = value.numpy()
    return tensors
