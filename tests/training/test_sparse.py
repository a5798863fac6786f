# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from safetensors.numpy import load_file

from lrm_jax.training.sparse import sparse_sign_sgd


def brute_force(table, ids, grads, lr, decay):
    table = table.copy()
    for row in sorted(set(ids.tolist())):
        total = grads[ids == row].sum(0)
        table[row] = table[row] * (1 - lr * decay) - lr * np.sign(total)
    return table


def test_by_hand():
    table = jnp.asarray([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    grads = jnp.asarray([[1.0, -3.0], [5.0, 0.0], [-2.0, 3.0]])
    got = sparse_sign_sgd(table, jnp.asarray([2, 0, 2]), grads, 0.1, 0.5)
    # Row 2 sums to [-1, 0]; row 1 is untouched and does not decay.
    want = [[0.95 - 0.1, 0.95], [2.0, 2.0], [3.8 + 0.1, 3.8]]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_equals_the_reference(lrm_fixtures):
    pieces = lrm_fixtures / "pieces"
    arrays = load_file(pieces / "sign_sgd.safetensors")
    cfg = json.loads((pieces / "optim_config.json").read_text())["sign_sgd"]
    table = jnp.asarray(arrays["weights0"])
    for step in range(3):
        table = sparse_sign_sgd(
            table,
            jnp.asarray(arrays["ids"][step]),
            jnp.asarray(arrays["grads"][step]),
            cfg["lr"],
            cfg["weight_decay"],
        )
        np.testing.assert_allclose(table, arrays["weights"][step], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(9, 4)).astype(np.float32)
    ids = rng.integers(0, 9, size=16)
    grads = rng.integers(-2, 3, size=(16, 4)).astype(np.float32)  # exact sums
    got = jax.jit(sparse_sign_sgd)(table, ids, grads, 0.25, 0.5)
    np.testing.assert_allclose(
        got, brute_force(table, ids, grads, 0.25, 0.5), rtol=1e-6
    )


def test_ids_outside_the_table_change_nothing():
    table = jnp.ones((3, 2))
    got = sparse_sign_sgd(table, jnp.asarray([-1, 3, 99]), jnp.ones((3, 2)), 0.1, 0.1)
    np.testing.assert_array_equal(got, table)


def test_sharded_batch_and_rows_give_the_same_bits():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(16, 4)).astype(np.float32)
    ids = rng.integers(0, 16, size=24)
    grads = rng.integers(-2, 3, size=(24, 4)).astype(np.float32)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec("data"))
    args = [jax.device_put(x, spread) for x in (table, ids, grads)]
    got = jax.jit(sparse_sign_sgd)(*args, 0.25, 0.5)
    alone = jax.jit(sparse_sign_sgd)(table, ids, grads, 0.25, 0.5)
    np.testing.assert_array_equal(got, alone)


def test_published_table_needs_memory_of_the_batch_only():
    n_rows, width, lanes = 1_200_000, 512, 768
    shapes = (
        jax.ShapeDtypeStruct((n_rows, width), jnp.float32),
        jax.ShapeDtypeStruct((lanes,), jnp.int32),
        jax.ShapeDtypeStruct((lanes, width), jnp.float32),
    )
    step = jax.jit(
        lambda table, ids, grads: sparse_sign_sgd(table, ids, grads, 1e-2, 0.1),
        donate_argnums=0,
    )
    memory = step.lower(*shapes).compile().memory_analysis()
    table_bytes, batch_bytes = n_rows * width * 4, lanes * width * 4
    assert memory.alias_size_in_bytes == table_bytes
    assert memory.temp_size_in_bytes < 16 * batch_bytes
