# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax.logprobs import LogProbs, chunked_logps
from lrm_jax.sharding import MeshConfig, make_mesh


def _plain(hidden, kernel, targets, temperature=1.0, n_valid=None):
    """The formula, with the whole [N, V]."""
    logits = hidden @ kernel / jnp.broadcast_to(temperature, hidden.shape[:1])[:, None]
    log_p = jax.nn.log_softmax(logits[:, :n_valid])
    logps = jnp.take_along_axis(log_p, targets[:, None], axis=1)[:, 0]
    return LogProbs(logps, -jnp.sum(jnp.exp(log_p) * log_p, axis=1))


def _arrays(n=5, d=4, vocab=11, dtype=np.float32, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, d)).astype(dtype) * scale
    kernel = rng.normal(size=(d, vocab)).astype(dtype)
    return hidden, kernel, rng.integers(0, vocab, n).astype(np.int32)


def _weighted(fn, seed=1):
    """A scalar that takes every row's log-prob and entropy with its own weight."""

    def loss(hidden, kernel, temperature, targets, **options):
        result = fn(hidden, kernel, targets, temperature=temperature, **options)
        rng = np.random.default_rng(seed)
        n = hidden.shape[0]
        a, b = rng.normal(size=(2, n)).astype(result.logps.dtype)
        return jnp.sum(a * result.logps) + jnp.sum(b * result.entropy)

    return loss


def test_by_hand():
    # logits 0, log 2, log 5 -> 1/8, 2/8, 5/8
    kernel = jnp.log(jnp.array([[1.0, 2.0, 5.0]]))
    result = chunked_logps(jnp.ones((3, 1)), kernel, jnp.arange(3), chunk=2)
    np.testing.assert_allclose(np.exp(result.logps), [1 / 8, 2 / 8, 5 / 8], rtol=1e-6)
    entropy = math.log(8) - (2 * math.log(2) + 5 * math.log(5)) / 8
    np.testing.assert_allclose(result.entropy, [entropy] * 3, rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 10, 11, 64])
@pytest.mark.parametrize("n_valid", [None, 9, 1])
def test_equals_the_plain_formula(chunk, n_valid):
    hidden, kernel, targets = _arrays()
    targets = targets % (n_valid or 11)
    temperature = np.array([1.0, 0.5, 2.0, 0.7, 1.3], np.float32)
    options = {"n_valid": n_valid}
    ours = chunked_logps(
        hidden, kernel, targets, temperature=temperature, chunk=chunk, **options
    )
    plain = _plain(hidden, kernel, targets, temperature, **options)
    np.testing.assert_allclose(ours.logps, plain.logps, atol=2e-6)
    np.testing.assert_allclose(ours.entropy, plain.entropy, atol=2e-6)
    arguments = (hidden, kernel, temperature, targets)
    got = jax.grad(_weighted(chunked_logps), argnums=(0, 1, 2))(
        *arguments, chunk=chunk, **options
    )
    want = jax.grad(_weighted(_plain), argnums=(0, 1, 2))(*arguments, **options)
    for one, two in zip(got, want, strict=True):
        np.testing.assert_allclose(one, two, atol=5e-6)


def test_float64_flows_through():
    with jax.enable_x64(True):
        hidden, kernel, targets = _arrays(dtype=np.float64, scale=3.0)
        temperature = np.linspace(0.5, 2, 5)
        ours = chunked_logps(
            hidden, kernel, targets, temperature=temperature, chunk=4, n_valid=11
        )
        plain = _plain(hidden, kernel, targets, temperature)
        assert ours.logps.dtype == ours.entropy.dtype == jnp.float64
        np.testing.assert_allclose(ours.logps, plain.logps, rtol=1e-13)
        np.testing.assert_allclose(ours.entropy, plain.entropy, rtol=1e-13)
        arguments = (hidden, kernel, temperature, targets)
        got = jax.grad(_weighted(chunked_logps), (0, 1, 2))(*arguments, chunk=4)
        want = jax.grad(_weighted(_plain), (0, 1, 2))(*arguments)
        for one, two in zip(got, want, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-13)


def test_scalar_temperature_is_every_row_s():
    hidden, kernel, targets = _arrays()
    one = chunked_logps(hidden, kernel, targets, temperature=0.5, chunk=4)
    rows = chunked_logps(hidden, kernel, targets, temperature=jnp.full(5, 0.5), chunk=4)
    np.testing.assert_array_equal(one.logps, rows.logps)
    np.testing.assert_allclose(
        one.logps, _plain(2 * hidden, kernel, targets).logps, atol=2e-6
    )


@pytest.mark.parametrize("order", [1, -1])
def test_extreme_logits_are_finite_and_right(order):
    # One logit 1e4 above (or below) the rest, in the first or the last chunk.
    kernel = jnp.array([[1e4, 0.0, 0.0, 0.0, -1e4]])[:, ::order]
    targets = jnp.arange(5)[::order]

    def total(hidden, kernel):
        return chunked_logps(hidden, kernel, targets, chunk=2)

    result = total(jnp.ones((5, 1)), kernel)
    np.testing.assert_array_equal(result.logps, [0, -1e4, -1e4, -1e4, -2e4])
    np.testing.assert_array_equal(result.entropy, np.zeros(5))
    grads = jax.grad(lambda *a: jnp.sum(jnp.stack(total(*a))), (0, 1))(
        jnp.ones((5, 1)), kernel
    )
    assert all(np.isfinite(g).all() for g in grads)


def test_ids_beyond_n_valid_have_no_part():
    hidden, kernel, targets = _arrays()
    targets = targets % 7
    wild = kernel.copy()
    wild[:, 7:] = 1e6
    loss = jax.grad(_weighted(chunked_logps), (0, 1))
    calm = loss(hidden, kernel, 1.0, targets, chunk=4, n_valid=7)
    same = loss(hidden, wild, 1.0, targets, chunk=4, n_valid=7)
    np.testing.assert_array_equal(calm[0], same[0])
    np.testing.assert_array_equal(same[1][:, 7:], 0)


def test_a_target_that_does_not_exist_is_impossible_and_teaches_nothing():
    hidden, kernel, _ = _arrays(n=2)
    targets = jnp.array([9, -100])
    result = chunked_logps(hidden, kernel, targets, chunk=4, n_valid=8)
    np.testing.assert_array_equal(result.logps, [np.finfo(np.float32).min] * 2)
    grad = jax.grad(
        lambda h: chunked_logps(h, kernel, targets, chunk=4, n_valid=8).logps.sum()
    )
    np.testing.assert_array_equal(grad(hidden), np.zeros((2, 4)))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_garbage_in_masked_rows_changes_nothing(garbage):
    hidden, kernel, targets = _arrays()
    mask = np.array([True, False, True, True, False])
    dirty = hidden.copy()
    dirty[~mask] = garbage
    temperature = np.where(mask, 0.7, 0.0).astype(np.float32)
    run = jax.value_and_grad(_weighted(chunked_logps), (0, 1, 2))
    clean_value, clean = run(hidden, kernel, temperature, targets, mask=mask, chunk=3)
    value, grads = run(dirty, kernel, temperature, targets - 100 * ~mask, mask=mask)
    np.testing.assert_allclose(value, clean_value, rtol=1e-6)
    for one, two in zip(grads, clean, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    np.testing.assert_array_equal(grads[0][~mask], 0)
    result = chunked_logps(dirty, kernel, targets, mask=mask)
    np.testing.assert_array_equal(np.stack(result)[:, ~mask], 0)


def test_bfloat16_inputs_give_float32_results_and_bfloat16_gradients():
    hidden, kernel, targets = _arrays(n=64, d=16, vocab=50)
    hidden, kernel = jnp.bfloat16(hidden), jnp.bfloat16(kernel)
    result = chunked_logps(hidden, kernel, targets, chunk=16)
    wide = _plain(jnp.float32(hidden), jnp.float32(kernel), targets)
    assert result.logps.dtype == jnp.float32
    # The products of bfloat16 numbers are exact in float32.
    np.testing.assert_allclose(result.logps, wide.logps, atol=5e-5)
    grads = jax.grad(_weighted(chunked_logps), (0, 1))(hidden, kernel, 1.0, targets)
    assert {g.dtype for g in grads} == {jnp.dtype(jnp.bfloat16)}


def _avals(jaxpr) -> Iterator[jax.core.AbstractValue]:
    for equation in jaxpr.eqns:
        yield from (v.aval for v in equation.outvars)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _avals(inner)


def test_no_array_of_tokens_by_vocabulary_exists():
    n, d, vocab, chunk = 256, 8, 4096, 128
    hidden, kernel, targets = _arrays(n=n, d=d, vocab=vocab)
    limit = max(n * chunk, d * vocab)

    def largest(fn) -> int:
        jaxpr = jax.make_jaxpr(fn)(hidden, kernel).jaxpr
        return max(math.prod(getattr(a, "shape", ())) for a in _avals(jaxpr))

    ours = jax.value_and_grad(
        lambda h, k: _weighted(chunked_logps)(h, k, 0.7, targets, chunk=chunk), (0, 1)
    )
    plain = jax.value_and_grad(
        lambda h, k: _weighted(_plain)(h, k, 0.7, targets), (0, 1)
    )
    assert largest(ours) == limit
    assert largest(plain) == n * vocab  # the search does see it where there is one
    memory = jax.jit(ours).lower(hidden, kernel).compile().memory_analysis()
    assert memory.temp_size_in_bytes < n * vocab * 4 / 2
    full = jax.jit(plain).lower(hidden, kernel).compile().memory_analysis()
    assert full.temp_size_in_bytes >= n * vocab * 4


def test_jit_and_vmap_agree_with_the_eager_call():
    hidden, kernel, targets = _arrays(n=6)
    eager = chunked_logps(hidden, kernel, targets, chunk=4)
    jitted = jax.jit(lambda *a: chunked_logps(*a, chunk=4))(hidden, kernel, targets)
    mapped = jax.vmap(lambda h, t: chunked_logps(h, kernel, t, chunk=4))(
        hidden.reshape(2, 3, 4), targets.reshape(2, 3)
    )
    np.testing.assert_allclose(jitted.logps, eager.logps, atol=1e-6)
    np.testing.assert_allclose(mapped.entropy.ravel(), eager.entropy, atol=1e-6)


@pytest.mark.parametrize("spec", [("data", "model"), ("data", None), (None, "model")])
def test_a_sharded_call_is_the_plain_one(spec):
    rows, columns = spec
    mesh = make_mesh(MeshConfig(data=4, model=2))
    hidden, kernel, targets = _arrays(n=8, d=4, vocab=16)
    place = lambda x, *axes: jax.device_put(x, NamedSharding(mesh, P(*axes)))
    run = jax.value_and_grad(_weighted(chunked_logps), (0, 1))
    want = run(hidden, kernel, 0.7, targets, chunk=5, n_valid=15)
    got = jax.jit(run, static_argnames=("chunk", "n_valid"))(
        place(hidden, rows, None),
        place(kernel, None, columns),
        0.7,
        place(targets, rows),
        chunk=5,
        n_valid=15,
    )
    for one, two in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("options", [{"n_valid": 0}, {"n_valid": 12}, {"chunk": 0}])
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match="n_valid="):
        chunked_logps(*_arrays(), **options)
