# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""FLOPs of traced functions, by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from lrm_jax.cost.jaxpr_flops import count_flops

A = jax.ShapeDtypeStruct((3, 4), jnp.float32)
B = jax.ShapeDtypeStruct((4, 5), jnp.float32)
S = jax.ShapeDtypeStruct((4, 4), jnp.float32)
DOT = 2 * 3 * 4 * 5
SQUARE = 2 * 4**3


def test_products():
    assert count_flops(lambda a, b: a @ b, A, B) == DOT
    assert count_flops(lambda a, b: jnp.tanh(a) + 1, A, B) == 0
    left = jax.ShapeDtypeStruct((7, 3, 4), jnp.float32)
    right = jax.ShapeDtypeStruct((7, 4, 5), jnp.float32)
    assert count_flops(jnp.matmul, left, right) == 7 * DOT


def test_a_convolution():
    image = jax.ShapeDtypeStruct((2, 3, 8, 8), jnp.float32)
    kernel = jax.ShapeDtypeStruct((5, 3, 3, 3), jnp.float32)
    conv = partial(jax.lax.conv, window_strides=(1, 1), padding="SAME")
    assert count_flops(conv, image, kernel) == 2 * (2 * 5 * 8 * 8) * 3 * 3 * 3


def test_ragged_products_meet_one_matrix_a_row():
    rows = jax.ShapeDtypeStruct((6, 4), jnp.float32)
    stack = jax.ShapeDtypeStruct((3, 4, 5), jnp.float32)
    sizes = jax.ShapeDtypeStruct((3,), jnp.int32)
    each = 2 * 6 * 4 * 5
    assert count_flops(jax.lax.ragged_dot, rows, stack, sizes) == each
    quarter = count_flops(jax.lax.ragged_dot, rows, stack, sizes, ragged_share=0.25)
    assert quarter == each // 4
    loss = lambda r, s, n: jnp.sum(jnp.sin(jax.lax.ragged_dot(r, s, n)))
    assert count_flops(jax.grad(loss, argnums=(0, 1)), rows, stack, sizes) == 3 * each


def test_nested_programs_are_entered():
    inner = jax.jit(lambda a, b: jnp.dot(a, b))
    assert count_flops(jax.jit(lambda a, b: inner(a, b) + inner(a, b)), A, B) == 2 * DOT


def test_the_gradient_of_a_product_is_two_more():
    loss = lambda b, a: jnp.sum(jnp.sin(a @ b))
    assert count_flops(jax.grad(loss), B, A) == 2 * DOT
    assert count_flops(jax.grad(loss, argnums=(0, 1)), B, A) == 3 * DOT


def test_loops_count_every_turn():
    def scanned(s):
        return jax.lax.scan(lambda c, _: (c @ s, None), s, None, length=6)[0]

    assert count_flops(scanned, S) == 6 * SQUARE
    loop = lambda s: jax.lax.fori_loop(0, 5, lambda _, c: scanned(c), s)
    assert count_flops(jax.jit(loop), S) == 30 * SQUARE


def test_recomputation_counts_as_work():
    def loss(w, x, wrap):
        layer = wrap(lambda c: jnp.sin(jnp.sin(c @ w) @ w))
        return jnp.sum(layer(x))

    plain = count_flops(jax.grad(partial(loss, wrap=lambda f: f)), S, S)
    again = count_flops(jax.grad(partial(loss, wrap=jax.checkpoint)), S, S)
    # Forward 2, backward 2 for w and 1 for what is between; once more the first.
    assert plain == 5 * SQUARE
    assert again > plain


def test_a_loop_without_end_needs_a_bound():
    grow = lambda s: jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ x, s)
    with pytest.raises(ValueError, match="unknown length"):
        count_flops(grow, S)
    assert count_flops(grow, S, while_bound=7) == 7 * SQUARE
    count = lambda n: jax.lax.while_loop(lambda x: x < 9, lambda x: x + 1, n)
    assert count_flops(count, jax.ShapeDtypeStruct((), jnp.int32)) == 0


def test_branches():
    by_data = lambda s: jax.lax.cond(
        s[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, s
    )
    assert count_flops(by_data, S) == 2 * SQUARE
    by_platform = lambda s: jax.lax.platform_dependent(
        s, cpu=lambda x: x @ x @ x, default=lambda x: x @ x
    )
    assert count_flops(by_platform, S) == SQUARE
    assert count_flops(by_platform, S, platform="cpu") == 2 * SQUARE


def test_a_shard_counts_for_all_of_them():
    mesh = jax.make_mesh(
        (4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    rows = jax.ShapeDtypeStruct((12, 4), jnp.float32)
    sharded = jax.shard_map(
        lambda a, b: a @ b, mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data"),
        axis_names={"data"},
    )  # fmt: skip
    assert count_flops(sharded, rows, B) == 4 * DOT
