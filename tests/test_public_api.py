# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The public names: all there, all listed, none loaded before it is used."""

import subprocess
import sys

import pytest

import lrm_jax
from lrm_jax import presets

HEAVY = ("flax", "orbax", "optax", "grain", "numba", "matplotlib", "jax")


@pytest.mark.parametrize("name", lrm_jax.__all__)
def test_a_public_name_is_there_and_documented(name: str):
    value = getattr(lrm_jax, name)
    assert name == "__version__" or (value.__doc__ or "").strip()


def test_the_lists_agree():
    assert dir(lrm_jax) == sorted(lrm_jax.__all__)
    assert len(set(lrm_jax.__all__)) == len(lrm_jax.__all__)
    assert lrm_jax.preset is presets.get


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        lrm_jax.lode  # noqa: B018


def test_import_loads_nothing_heavy():
    code = f"import lrm_jax, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_name_can_be_imported_from_the_package():
    code = "from lrm_jax import LatentConfig, load, train; print(LatentConfig.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "LatentConfig"
