# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which rows a process makes, and where they go; one process here, of eight devices."""

import jax
import numpy as np
import pytest

from lrm_jax import processes, sharding
from lrm_jax.sharding import MeshConfig
from lrm_jax.training.own_rows import own_rows, place


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2), (1, 1, 8), (1, 4, 2)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_placed_batch_is_the_batch(shape, axis):
    mesh = sharding.make_mesh(MeshConfig(*shape))
    own = own_rows(mesh, 16)
    assert own.tolist() == list(range(16))
    array = np.arange(3 * 16 * 5).reshape((3, 16, 5) if axis else (16, 15))
    placed = place(mesh, {"ids": array}, own, 16, axis=axis)["ids"]
    np.testing.assert_array_equal(placed, array)
    shards = {str(s.index[axis]) for s in placed.addressable_shards}
    assert len(shards) == sharding.batch_shards(mesh)


def test_some_rows_are_not_taken_for_all():
    mesh = sharding.make_mesh(MeshConfig(data=8))
    with pytest.raises(ValueError, match="7 rows of 16 on axis 0"):
        place(mesh, {"ids": np.zeros((7, 2))}, np.arange(16), 16)


def test_a_batch_that_does_not_divide_goes_everywhere():
    mesh = sharding.make_mesh(MeshConfig(data=8))
    placed = place(mesh, {"ids": np.arange(6)}, own_rows(mesh, 6), 6)["ids"]
    assert placed.is_fully_replicated and placed.tolist() == list(range(6))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 16])
@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_parts_have_one_owner_each(monkeypatch, count, total):
    monkeypatch.setattr(jax, "process_count", lambda: total)
    parts = []
    for index in range(total):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        parts += processes.own_part(count)
    assert parts == list(range(count))
