# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.reasoning.cycles import LatentState, grad_calls, recur

D = 3
WEIGHTS = {"h": jnp.array([0.5, -0.2, 0.1]), "l": jnp.array([0.3, 0.7, -0.4])}


def update_h(weights, z, injection):
    return jnp.tanh(weights["h"] * (z + injection).sum(-1, keepdims=True) + z)


def update_l(weights, z, injection):
    return jnp.tanh(weights["l"] * (z + injection).sum(-1, keepdims=True) - z)


def weights_3d():
    return jax.tree.map(lambda w: w[None, None], WEIGHTS)


def by_loop(weights, state, x, h_cycles, l_cycles, tail):
    """The recurrence as a plain Python loop; the last `tail` calls differentiate."""
    z_h, z_l = state
    total = h_cycles * (l_cycles + 1)
    call = 0
    for _ in range(h_cycles):
        for kind in ["l"] * l_cycles + ["h"]:
            stop = (lambda t: t) if call >= total - tail else jax.lax.stop_gradient
            if call <= total - tail:
                z_h, z_l = jax.lax.stop_gradient((z_h, z_l))
            if kind == "l":
                z_l = update_l(stop(weights), z_l, z_h + stop(x))
            else:
                z_h = update_h(stop(weights), z_h, z_l)
            call += 1
    return z_h, z_l


CASES = [
    (h, l, depth)
    for h, l in [(1, 1), (2, 3), (3, 1)]
    for depth in ["one_step", "last_recursion", "all", 1, 3, 5]
]


@pytest.mark.parametrize(("h_cycles", "l_cycles", "grad_depth"), CASES)
def test_equals_the_plain_loop_in_value_and_gradient(h_cycles, l_cycles, grad_depth):
    k1, k2, k3 = jax.random.split(jax.random.key(0), 3)
    state = LatentState(
        jax.random.normal(k1, (2, 4, D)), jax.random.normal(k2, (2, 4, D))
    )
    x = jax.random.normal(k3, (2, 4, D))
    tail = grad_calls(grad_depth, h_cycles=h_cycles, l_cycles=l_cycles)

    def ours(w, x, s):
        out = recur(
            update_h, update_l, w, s, x,
            h_cycles=h_cycles, l_cycles=l_cycles, grad_depth=grad_depth,
        )  # fmt: skip
        return (out.z_h * 2 + out.z_l**2).sum(), out

    def plain(w, x, s):
        z_h, z_l = by_loop(w, s, x, h_cycles, l_cycles, tail)
        return (z_h * 2 + z_l**2).sum(), (z_h, z_l)

    grad = lambda f: jax.jit(jax.grad(f, argnums=(0, 1, 2), has_aux=True))
    got, got_state = grad(ours)(weights_3d(), x, state)
    want, want_state = grad(plain)(weights_3d(), x, state)
    for a, b in zip(got_state, want_state, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for a, b in zip(jax.tree.leaves(got[:2]), jax.tree.leaves(want[:2]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    # the carry is detached: nothing flows into the segment before
    assert all(bool(jnp.all(g == 0)) for g in jax.tree.leaves(got[2]))


def test_grad_calls_by_hand():
    calls = lambda depth, h=3, l=6: grad_calls(depth, h_cycles=h, l_cycles=l)
    assert calls("one_step") == 2
    assert calls("last_recursion") == 7
    assert calls("all") == 21
    assert calls(5) == 5 and calls(100) == 21
    with pytest.raises(ValueError, match="grad_depth=0"):
        calls(0)


def test_call_order_is_l_then_h():
    trace = []

    def low(weights, z, injection):
        trace.append("l")
        return z + injection

    def high(weights, z, injection):
        trace.append("h")
        return z + injection

    state = LatentState(jnp.ones((1, 1, 1)), jnp.zeros((1, 1, 1)))
    out = recur(
        high, low, {}, state, jnp.full((1, 1, 1), 10.0),
        h_cycles=2, l_cycles=2, grad_depth="all",
    )  # fmt: skip
    # by hand: l 11, l 22, h 23; l 55, l 88, h 111
    assert float(out.z_h[0, 0, 0]) == 111 and float(out.z_l[0, 0, 0]) == 88
    assert trace[:3] == ["l", "l", "h"]


@pytest.mark.parametrize("grad_depth", ["one_step", "last_recursion"])
def test_activation_memory_does_not_grow_with_free_cycles(grad_depth):
    def temp_bytes(h_cycles, l_cycles):
        def loss(w, x, s):
            out = recur(
                update_h, update_l, w, s, x,
                h_cycles=h_cycles, l_cycles=l_cycles, grad_depth=grad_depth,
            )  # fmt: skip
            return out.z_h.sum()

        x = jnp.ones((64, 64, D))
        compiled = jax.jit(jax.grad(loss)).lower(weights_3d(), x, LatentState(x, x))
        return compiled.compile().memory_analysis().temp_size_in_bytes

    few, many = temp_bytes(4, 2), temp_bytes(40, 2)
    assert many <= few * 1.02
    if grad_depth == "one_step":
        assert temp_bytes(4, 40) <= few * 1.02
