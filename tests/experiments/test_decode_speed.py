# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoding beside transformers: both sides write the same, both are timed."""

import builtins

import pytest

from experiments import decode_speed
from lrm_jax.types import UserError


@pytest.mark.reference
def test_smoke():
    pytest.importorskip("torch", reason="needs the extra reference")
    pytest.importorskip("transformers", reason="needs the extra reference")
    found = decode_speed.measure(
        "smoke", samples=1, threads=1, prompts=2, group_size=2, width=5, length=6
    )
    assert found["greedy_tokens_equal"] == 1.0
    assert found["tokens"] == 24
    assert found["tokens_per_s"]["lrm_jax"][0] > 0
    assert found["tokens_per_s"]["transformers"][0] > 0


def test_the_missing_extra_is_named(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name in ("torch", "transformers"):
            raise ImportError(name, name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'lrm-jax\[reference\]'"):
        decode_speed.reference(decode_speed.SHAPES["smoke"], tmp_path)
