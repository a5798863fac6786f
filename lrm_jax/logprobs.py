# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Log-probabilities of given tokens over a large vocabulary, in chunks.

Log-sum-exp and entropy are carried from chunk to chunk (Milakov and Gimelshein
2018, arXiv 1805.02867) and the backward pass computes each chunk's logits again,
so that no `[N, V]` array ever exists.
"""

from functools import partial
from typing import NamedTuple, cast

import chex
import jax
import jax.numpy as jnp
from jax import lax

from lrm_jax.types import Array


class LogProbs(NamedTuple):
    """What a distribution says of given tokens, in nats.

    Attributes:
      logps: `[N]` log-probability of each target.
      entropy: `[N]` entropy of the distribution it was drawn from.
    """

    logps: Array  # [N]
    entropy: Array  # [N]


def chunked_logps(
    hidden: Array,
    kernel: Array,
    targets: Array,
    *,
    temperature: Array | float = 1.0,
    mask: Array | None = None,
    n_valid: int | None = None,
    chunk: int = 4096,
) -> LogProbs:
    """Return log softmax(hidden @ kernel / temperature) at the targets.

    The gradients (of `hidden`, `kernel` and `temperature`) are those of the plain
    formula. Logits are float32 at least, whatever the inputs are.

    Args:
      hidden: `[N, D]`.
      kernel: `[D, V]`.
      targets: `[N]` int, below `n_valid`; one that is not gets the dtype's lowest
        finite value and no gradient.
      temperature: a scalar or `[N]`, above 0.
      mask: `[N]` bool, the rows that count; None counts all. What is in another
        row, NaN included, reaches neither a result (0) nor a gradient.
      n_valid: ids that exist; columns from there on have no probability.
      chunk: columns at a time; `[N, chunk]` is the largest array made.
    """
    n, vocab = hidden.shape[0], kernel.shape[1]
    chex.assert_shape([targets], (n,))
    chex.assert_shape([kernel], (hidden.shape[1], vocab))
    n_valid = vocab if n_valid is None else n_valid
    if not 1 <= n_valid <= vocab or chunk < 1:
        raise ValueError(f"{n_valid=} must be in 1..{vocab} and {chunk=} positive")
    dtype = jnp.promote_types(jnp.result_type(hidden, kernel), jnp.float32)
    temperature = jnp.broadcast_to(jnp.asarray(temperature, dtype), (n,))
    if mask is not None:
        chex.assert_shape([mask], (n,))
        mask = mask.astype(bool)
        hidden = jnp.where(mask[:, None], hidden, 0)
        temperature = jnp.where(mask, temperature, 1)
    scored = _score(n_valid, min(chunk, vocab), hidden, kernel, targets, temperature)
    result = cast(LogProbs, scored)  # custom_vjp has lost its type
    if mask is not None:
        result = LogProbs(*(jnp.where(mask, x, 0) for x in result))
    return result


class _Chunk(NamedTuple):
    logits: Array  # [N, chunk], over the temperature
    valid: Array  # [1, chunk]
    hit: Array  # [N, chunk], true at the target
    kernel: Array  # [D, chunk]
    start: Array


def _chunk(
    i: Array,
    n_valid: int,
    chunk: int,
    hidden: Array,
    kernel: Array,
    targets: Array,
    temperature: Array,
) -> _Chunk:
    # The last chunk is moved back to fit; what it sees twice is not valid in it.
    start = jnp.minimum(i * chunk, kernel.shape[1] - chunk)
    ids = (start + jnp.arange(chunk))[None, :]
    valid = (ids >= i * chunk) & (ids < n_valid)
    part = lax.dynamic_slice_in_dim(kernel, start, chunk, axis=1)
    logits = jnp.matmul(hidden, part, preferred_element_type=temperature.dtype)
    hit = (targets[:, None] == ids) & valid
    return _Chunk(logits / temperature[:, None], valid, hit, part, start)


class _Sums(NamedTuple):
    """Over the columns seen so far, with top the largest logit z among them."""

    top: Array  # [N]
    mass: Array  # [N] sum exp(z - top)
    spread: Array  # [N] sum exp(z - top) (z - top)
    target: Array  # [N] the target's z
    found: Array  # [N] bool, whether the target was seen


_Grads = tuple[Array, Array, Array]  # of hidden, kernel and temperature


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _score(
    n_valid: int,
    chunk: int,
    hidden: Array,
    kernel: Array,
    targets: Array,
    temperature: Array,
) -> LogProbs:
    return _score_fwd(n_valid, chunk, hidden, kernel, targets, temperature)[0]


def _score_fwd(
    n_valid: int,
    chunk: int,
    hidden: Array,
    kernel: Array,
    targets: Array,
    temperature: Array,
) -> tuple[LogProbs, tuple[Array, ...]]:
    lowest = jnp.finfo(temperature.dtype).min

    def step(sums: _Sums, i: Array) -> tuple[_Sums, None]:
        part = _chunk(i, n_valid, chunk, hidden, kernel, targets, temperature)
        z = jnp.where(part.valid, part.logits, lowest)
        top = jnp.maximum(sums.top, jnp.max(z, axis=1))
        fall = jnp.where(sums.mass > 0, sums.top - top, 0)
        shifted = jnp.where(part.valid, z - top[:, None], 0)
        weight = jnp.where(part.valid, jnp.exp(shifted), 0)
        kept = jnp.exp(fall)
        return _Sums(
            top,
            sums.mass * kept + jnp.sum(weight, axis=1),
            (sums.spread + fall * sums.mass) * kept + jnp.sum(weight * shifted, axis=1),
            sums.target + jnp.sum(jnp.where(part.hit, part.logits, 0), axis=1),
            sums.found | jnp.any(part.hit, axis=1),
        ), None

    zeros = jnp.zeros_like(temperature)
    first = _Sums(jnp.full_like(zeros, lowest), zeros, zeros, zeros, zeros > 0)
    sums, _ = lax.scan(step, first, jnp.arange(_n_chunks(n_valid, chunk)))
    log_mass = jnp.log(sums.mass)
    logps = jnp.where(sums.found, (sums.target - sums.top) - log_mass, lowest)
    entropy = log_mass - sums.spread / sums.mass
    saved = (hidden, kernel, targets, temperature)
    return LogProbs(logps, entropy), (*saved, sums.top, log_mass, entropy, sums.found)


def _score_bwd(
    n_valid: int, chunk: int, saved: tuple[Array, ...], grads: LogProbs
) -> tuple[Array, Array, None, Array]:
    hidden, kernel, targets, temperature, top, log_mass, entropy, found = saved
    d_logp = jnp.where(found, grads.logps, 0)[:, None]
    d_entropy = grads.entropy[:, None]
    products = jnp.result_type(hidden, kernel)

    def step(sums: _Grads, i: Array) -> tuple[_Grads, None]:
        d_hidden, d_kernel, d_temperature = sums
        part = _chunk(i, n_valid, chunk, hidden, kernel, targets, temperature)
        logp = (part.logits - top[:, None]) - log_mass[:, None]
        logp = jnp.where(part.valid, logp, 0)
        p = jnp.where(part.valid, jnp.exp(logp), 0)
        # d log p_t / dz_v = [v = t] - p_v;  dH / dz_v = -p_v (log p_v + H)
        d_z = jnp.where(part.hit, d_logp, 0) - p * d_logp
        d_z = d_z - d_entropy * p * (logp + entropy[:, None])
        z = jnp.where(part.valid, part.logits, 0)
        d_temperature = d_temperature - jnp.sum(d_z * z, axis=1)
        # In the dtype of the inputs, as any matrix product of its backward pass.
        d_logits = (d_z / temperature[:, None]).astype(products)
        d_hidden = d_hidden + jnp.matmul(
            d_logits, part.kernel.T, preferred_element_type=d_hidden.dtype
        )
        d_part = jnp.matmul(
            hidden.T, d_logits, preferred_element_type=temperature.dtype
        )
        old = lax.dynamic_slice_in_dim(d_kernel, part.start, chunk, axis=1)
        d_kernel = lax.dynamic_update_slice_in_dim(
            d_kernel, old + d_part.astype(d_kernel.dtype), part.start, axis=1
        )
        return (d_hidden, d_kernel, d_temperature), None

    first = (
        jnp.zeros(hidden.shape, temperature.dtype),
        jnp.zeros_like(kernel),
        jnp.zeros_like(temperature),
    )
    sums, _ = lax.scan(step, first, jnp.arange(_n_chunks(n_valid, chunk)))
    d_hidden, d_kernel, d_temperature = sums
    return d_hidden.astype(hidden.dtype), d_kernel, None, d_temperature / temperature


def _n_chunks(n_valid: int, chunk: int) -> int:
    return -(-n_valid // chunk)


_score.defvjp(_score_fwd, _score_bwd)
