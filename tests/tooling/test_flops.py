# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""FLOPs of traced functions, by hand."""

import jax
import jax.numpy as jnp
import pytest

from lrm_jax.tooling.flops import count_flops

A = jax.ShapeDtypeStruct((3, 4), jnp.float32)
B = jax.ShapeDtypeStruct((4, 5), jnp.float32)
S = jax.ShapeDtypeStruct((4, 4), jnp.float32)
DOT = 2 * 3 * 4 * 5


def test_products():
    assert count_flops(lambda a, b: a @ b, A, B) == DOT
    assert count_flops(lambda a, b: jnp.tanh(a) + 1, A, B) == 0
    left = jax.ShapeDtypeStruct((7, 3, 4), jnp.float32)
    right = jax.ShapeDtypeStruct((7, 4, 5), jnp.float32)
    assert count_flops(jnp.matmul, left, right) == 7 * DOT
    shared = jax.ShapeDtypeStruct((7, 3, 4), jnp.float32)
    assert count_flops(lambda a, b: a @ b, shared, B) == 7 * DOT


def test_nested_programs_are_entered():
    inner = jax.jit(lambda a, b: jnp.dot(a, b))
    assert count_flops(jax.jit(lambda a, b: inner(a, b) + inner(a, b)), A, B) == 2 * DOT


def test_loops_count_every_turn():
    square = 2 * 4**3

    def scanned(s):
        return jax.lax.scan(lambda c, _: (c @ s, None), s, None, length=6)[0]

    assert count_flops(scanned, S) == 6 * square
    loop = lambda s: jax.lax.fori_loop(0, 5, lambda _, c: scanned(c), s)
    assert count_flops(loop, S) == 30 * square


def test_the_gradient_of_a_product_is_two_more():
    def loss(b, a):
        return jnp.sum(jnp.sin(a @ b))

    assert count_flops(jax.grad(loss), B, A) == 2 * DOT
    assert count_flops(jax.grad(loss, argnums=(0, 1)), B, A) == 3 * DOT
    checkpointed = jax.checkpoint(lambda b, a: jnp.sin(jnp.sin(a @ b) @ b.T))
    grad = jax.grad(lambda b, a: jnp.sum(checkpointed(b, a)))
    assert count_flops(grad, B, A) >= 5 * DOT


def test_a_branch_counts_its_dearest_and_an_open_loop_is_refused():
    branch = lambda s: jax.lax.cond(
        s[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, s
    )
    assert count_flops(branch, S) == 2 * 2 * 4**3
    grow = lambda s: jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ x, s)
    with pytest.raises(ValueError, match="unknown length"):
        count_flops(grow, S)
    count = lambda n: jax.lax.while_loop(lambda x: x < 9, lambda x: x + 1, n)
    assert count_flops(count, jax.ShapeDtypeStruct((), jnp.int32)) == 0
