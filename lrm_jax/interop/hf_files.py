# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The weights of a Hugging Face folder: one safetensors file, or shards with an index.

Headers are read first, each tensor only when it is asked for, so that a folder of any
size costs one tensor of memory beside what is made of it.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from lrm_jax.interop.tensors import write_safetensors
from lrm_jax.types import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SCALE_SUFFIX = "_scale_inv"
"""Of the scales that stand beside an FP8 weight (DeepSeek-V3)."""

DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
}
"""What a weight may be stored as."""
_FLOAT8 = DTYPES["F8_E4M3"]
_LOOK_BYTES = 4096
"""Of each tensor, for a fingerprint."""


class Stored(NamedTuple):
    """Where one tensor lies.

    Attributes:
      file: the shard.
      dtype: safetensors' name of its dtype.
      shape: of the tensor.
      start: first byte in the file.
      end: one past the last.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class HfWeights:
    """The tensors of a folder by name; FP8 ones appear dequantised.

    Attributes:
      folder: the folder.
      stored: where each tensor lies, scales of FP8 weights included.
      metadata: of each shard, by its name.
    """

    def __init__(self, folder: Path, block: tuple[int, int] = (128, 128)) -> None:
        """Read the headers.

        Args:
          folder: with `model.safetensors`, or shards and their index.
          block: rows and columns that share a scale in FP8 weights.

        Raises:
          UserError: a file is missing, damaged, or not what the index says.
        """
        self.folder = folder
        self._block = block
        self.stored: dict[str, Stored] = {}
        self.metadata: dict[str, dict[str, str] | None] = {}
        for file in _weight_files(folder):
            entries, metadata = _read_header(file)
            for name, entry in entries.items():
                if name in self.stored:
                    other = self.stored[name].file.name
                    raise UserError(f"{file}: {name} is in {other} as well")
                self.stored[name] = entry
            self.metadata[file.name] = metadata
        _check_index(folder, self.stored)

    def names(self) -> list[str]:
        """Return the names of the weights, scales left out."""
        return [name for name in self.stored if not self._is_scale(name)]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a weight."""
        return self.stored[name].shape

    def dtype(self, name: str) -> str:
        """Return the dtype that a weight is stored in, in safetensors' words."""
        return self.stored[name].dtype

    def read(self, name: str) -> np.ndarray:
        """Read one tensor; FP8 becomes float32, everything else keeps its dtype.

        Raises:
          UserError: its dtype is no float that is known, it holds NaN or infinity,
            or an FP8 tensor has no scales that fit.
        """
        value = self._raw(name)
        if value.dtype == _FLOAT8:
            value = self._dequantised(name, value)
        if not np.isfinite(value).all():
            raise UserError(f"{name}: holds NaN or infinity; the file is damaged")
        return value

    def fingerprint(self) -> str:
        """Return a sha256 that tells one model's weights from another's.

        Of names, dtypes, shapes and the first 4 KiB of every tensor, however they are
        split into files: training changes some of them, and a look costs no whole read.
        """
        digest = hashlib.sha256()
        for name in sorted(self.stored):
            entry = self.stored[name]
            digest.update(f"{name} {entry.dtype} {entry.shape}\n".encode())
            with entry.file.open("rb") as file:
                file.seek(entry.start)
                digest.update(file.read(min(_LOOK_BYTES, entry.end - entry.start)))
        return digest.hexdigest()

    def _raw(self, name: str) -> np.ndarray:
        entry = self.stored[name]
        if entry.dtype not in DTYPES:
            raise UserError(
                f"{name}: dtype {entry.dtype} in {entry.file}; expected one of "
                f"{', '.join(DTYPES)}"
            )
        dtype = DTYPES[entry.dtype]
        count = math.prod(entry.shape)
        flat = np.fromfile(entry.file, dtype, count, offset=entry.start)
        return flat.reshape(entry.shape)

    def _dequantised(self, name: str, value: np.ndarray) -> np.ndarray:
        scale_name = name + SCALE_SUFFIX
        if scale_name not in self.stored:
            raise UserError(f"{name}: FP8 without its scales {scale_name}")
        scales = self._raw(scale_name).astype(np.float32)
        want = tuple(-(-n // b) for n, b in zip(value.shape, self._block, strict=True))
        if scales.shape != want:
            raise UserError(
                f"{scale_name}: shape {scales.shape}; blocks of {self._block} of "
                f"{value.shape} need {want}"
            )
        return dequantise(value, scales, self._block)

    def _is_scale(self, name: str) -> bool:
        return name.endswith(SCALE_SUFFIX) and (
            name.removesuffix(SCALE_SUFFIX) in self.stored
        )


def dequantise(
    value: np.ndarray, scales: np.ndarray, block: tuple[int, int]
) -> np.ndarray:
    """Return `value * scale of its block` in float32 (DeepSeek-V3 §3.3.1).

    Args:
      value: `[out, in]` FP8.
      scales: `[ceil(out / rows), ceil(in / columns)]`.
      block: rows and columns that share a scale.
    """
    wide = value.astype(np.float32)
    for i in range(scales.shape[0]):
        rows = slice(i * block[0], (i + 1) * block[0])
        # One row of blocks at a time: the repeated scales stay small.
        wide[rows] *= np.repeat(scales[i], block[1])[None, : wide.shape[1]]
    return wide


def write_shards(
    folder: Path,
    tensors: Iterator[tuple[str, np.ndarray]],
    shard_bytes: int,
    metadata: dict[str, str] | None,
) -> tuple[list[Path], int]:
    """Write tensors to one file, or to shards with an index.

    Args:
      folder: to write to.
      tensors: names and values, taken one at a time.
      shard_bytes: a shard is closed before it grows beyond this.
      metadata: of every file.

    Returns:
      The files written, and how many tensors.
    """
    parts: list[Path] = []
    where: dict[str, int] = {}
    total, held, held_bytes = 0, {}, 0

    def flush() -> None:
        nonlocal held, held_bytes
        path = folder / f"model-{len(parts) + 1:05d}.part"
        write_safetensors(path, held, metadata)
        where.update(dict.fromkeys(held, len(parts)))
        parts.append(path)
        held, held_bytes = {}, 0

    for name, value in tensors:
        if held and held_bytes + value.nbytes > shard_bytes:
            flush()
        held[name] = value
        held_bytes += value.nbytes
        total += value.nbytes
    flush()
    if len(parts) == 1:
        return [parts[0].rename(folder / SINGLE)], len(where)
    files = [
        path.rename(folder / f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors")
        for i, path in enumerate(parts)
    ]
    index = {
        "metadata": {"total_size": total},
        "weight_map": {name: files[part].name for name, part in where.items()},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return [*files, folder / INDEX], len(where)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if not index.is_file():
        if (folder / SINGLE).is_file():
            return [folder / SINGLE]
        shards = sorted(path.name for path in folder.glob("model-*.safetensors"))
        if shards:
            raise UserError(f"{folder}: has shards ({shards[0]}, ...) but no {INDEX}")
        other = [p.name for p in folder.glob("*.bin")]
        hint = f"; {other[0]} is of a kind that is not read" if other else ""
        raise UserError(f"{folder}: has neither {SINGLE} nor {INDEX}{hint}")
    names = sorted(set(_weight_map(index).values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: missing shard {', '.join(missing)} of {len(names)}, which "
            f"{INDEX} names"
        )
    return [folder / name for name in names]


def _weight_map(index: Path) -> dict[str, str]:
    try:
        body = json.loads(index.read_text(encoding="utf-8"))
        found = body["weight_map"]
        names = {str(name): str(file) for name, file in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index}: damaged: has no readable weight_map") from error
    for file in names.values():
        if Path(file).name != file:
            raise UserError(f"{index}: shard {file!r} is not beside the index")
    return names


def _check_index(folder: Path, stored: Mapping[str, Stored]) -> None:
    index = folder / INDEX
    if not index.is_file():
        return
    for name, file in _weight_map(index).items():
        if name not in stored or stored[name].file.name != file:
            raise UserError(
                f"{folder / file}: has no tensor {name}, which {INDEX} names"
            )


def _read_header(
    path: Path,
) -> tuple[dict[str, Stored], dict[str, str] | None]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 0 < length <= size - 8 else b""
    try:
        header: dict[str, Any] = json.loads(text)
        metadata = header.pop("__metadata__", None)
        entries = {
            name: _entry(path, 8 + length, size, body) for name, body in header.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a readable safetensors file; it is damaged, truncated or of "
            "another kind"
        ) from error
    return entries, metadata


def _entry(path: Path, base: int, size: int, body: Mapping[str, Any]) -> Stored:
    start, end = (base + int(offset) for offset in body["data_offsets"])
    shape = tuple(int(n) for n in body["shape"])
    dtype = str(body["dtype"])
    if not base <= start <= end <= size:
        raise ValueError("offsets outside the file")
    if dtype in DTYPES and end - start != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError("offsets that do not fit the shape")
    return Stored(path, dtype, shape, start, end)
