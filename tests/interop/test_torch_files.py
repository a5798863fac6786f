# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import builtins
import pickle

import ml_dtypes
import numpy as np
import pytest

from lrm_jax.interop.tensors import read_tensors
from lrm_jax.interop.torch_files import read_torch, write_torch
from lrm_jax.types import UserError


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="needs the torch extra")


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


def test_state_dict_round_trip_is_bit_equal(torch, tmp_path):
    state = {
        "w": torch.randn(3, 5),
        "z": torch.randn(4).to(torch.bfloat16),
        "n": torch.tensor([1, 2]),
    }
    torch.save(state, tmp_path / "checkpoint")
    read = read_tensors(tmp_path / "checkpoint")
    assert read["z"].dtype == ml_dtypes.bfloat16
    assert list(read) == ["w", "z", "n"]
    write_torch(tmp_path / "again", read)
    again = torch.load(tmp_path / "again", weights_only=True)
    for name, value in state.items():
        assert again[name].dtype == value.dtype
        assert torch.equal(again[name], value)


def test_nested_and_old_formats_are_read(torch, tmp_path):
    w = torch.arange(4.0)
    torch.save({"model": {"w": w}, "step": 3, "optimizers": []}, tmp_path / "nested")
    torch.save({"w": w}, tmp_path / "old", _use_new_zipfile_serialization=False)
    for name in ("nested", "old"):
        np.testing.assert_array_equal(read_torch(tmp_path / name)["w"], w.numpy())


@pytest.mark.parametrize("wrapped", [False, True])
def test_pickled_code_is_refused_and_never_run(torch, tmp_path, wrapped):
    target, path = tmp_path / "pwned", tmp_path / "model.pt"
    state = {"w": torch.ones(2), "x": Attack(target)}
    if wrapped:
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps({"x": Attack(target)}))
    refused = "other than tensors.*; refused, never run"
    with pytest.raises(UserError, match=refused) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    assert not target.exists()


def test_truncated_and_flipped_files_give_one_line(torch, tmp_path):
    path = tmp_path / "checkpoint"
    torch.save({"w": torch.arange(1000.0)}, path)
    whole = path.read_bytes()
    middle = whole.index(np.arange(500.0, 502, dtype=np.float32).tobytes())
    flipped = bytearray(whole)
    flipped[middle] ^= 1
    for damaged in (whole[: len(whole) // 2], whole[:40], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged") as caught:
            read_tensors(path)
        assert "\n" not in str(caught.value)


def test_what_is_no_state_dict_is_refused(torch, tmp_path):
    torch.save([torch.ones(2)], tmp_path / "list")
    torch.save({"w": torch.ones(2), "epoch": 3}, tmp_path / "mixed")
    with pytest.raises(UserError, match="expected tensors by name"):
        read_torch(tmp_path / "list")
    with pytest.raises(UserError, match="'epoch' is a int"):
        read_torch(tmp_path / "mixed")


def test_without_torch_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "checkpoint").write_bytes(b"PK\x03\x04 and so on")
    real_import = builtins.__import__

    def no_torch(name, *args, **kwargs):
        if name == "torch":
            raise ImportError("no torch")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(UserError, match=r'pip install "lrm-jax\[torch\]"'):
        read_tensors(tmp_path / "checkpoint")
