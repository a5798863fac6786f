# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import os

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from lrm_jax.interop.tensors import (
    file_format,
    read_safetensors,
    read_tensors,
    write_safetensors,
)
from lrm_jax.types import UserError


def some_tensors():
    return {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3).astype(ml_dtypes.bfloat16),
        "a": np.array([1.5, -0.0], np.float32),
        "n": np.array(7, np.int32),
    }


def test_round_trip_keeps_bits_dtypes_shapes_and_metadata(tmp_path):
    path = tmp_path / "x.bin"
    write_safetensors(path, some_tensors(), {"format": "pt"})
    read, metadata = read_safetensors(path)
    assert metadata == {"format": "pt"}
    assert set(read) == {"a", "b", "n"}
    for name, value in some_tensors().items():
        assert read[name].dtype == value.dtype
        assert read[name].shape == value.shape
        assert read[name].tobytes() == value.tobytes()


def test_transposed_views_are_written_as_they_look(tmp_path):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_safetensors(tmp_path / "x", {"x": x.T}, None)
    np.testing.assert_array_equal(read_tensors(tmp_path / "x")["x"], x.T)


def test_bytes_are_those_of_the_common_serialiser(tmp_path):
    tensors = {"q": np.ones((2, 2), np.float32), "a": np.zeros(3, np.float32)}
    safetensors.numpy.save_file(tensors, tmp_path / "theirs")
    write_safetensors(tmp_path / "ours", tensors, None)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_files_have_the_mode_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_safetensors(tmp_path / "ours", some_tensors(), None)
        (tmp_path / "other").touch()
    finally:
        os.umask(before)
    mode = (tmp_path / "ours").stat().st_mode
    assert mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: raw[:-3], "damaged, truncated or of another kind"),
        (lambda raw: raw[:20], "damaged, truncated or of another kind"),
        (lambda raw: b"hello, this is no checkpoint", "damaged, truncated"),
        (lambda raw: b"", "empty"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, damage, words):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, some_tensors(), None)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=words) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*no such file"):
        read_tensors(tmp_path / "nowhere")


def test_the_format_is_told_from_the_bytes(tmp_path):
    for name, head in {"zip": b"PK\x03\x04....", "pickle": b"\x80\x02}q\x00.."}.items():
        (tmp_path / name).write_bytes(head)
        assert file_format(tmp_path / name) == "torch"
    # A header of 128 bytes begins with 0x80, like a pickle; its ninth byte is {.
    (tmp_path / "s").write_bytes((128).to_bytes(8, "little") + b"{" + b" " * 127)
    assert file_format(tmp_path / "s") == "safetensors"
