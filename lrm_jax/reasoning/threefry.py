# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The bits of `jax.random` under Threefry-2x32, in one fused loop.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), 20 rounds.
On CPU `jax.random` walks over its arrays once a few rounds, which costs about half
of a small decoding step; unrolled, XLA keeps everything in registers.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.types import Array, Key

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def is_threefry(keys: Key) -> bool:
    """Return whether keys are of this generator (the default of `jax.random`)."""
    return str(jax.random.key_impl(keys)) == "threefry2x32"


def threefry(key: tuple[Array, Array], x0: Array, x1: Array) -> tuple[Array, Array]:
    """Return the two words of counters `(x0, x1)`; everything uint32, broadcast."""
    words = (*key, key[0] ^ key[1] ^ _PARITY)
    x0, x1 = x0 + words[0], x1 + words[1]
    for block in range(5):
        for distance in _ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(distance)) | (x1 >> np.uint32(32 - distance))
            x1 = x0 ^ x1
        x0 = x0 + words[(block + 1) % 3]
        x1 = x1 + words[(block + 2) % 3] + np.uint32(block + 1)
    return x0, x1


def fold_in(keys: Key, data: Array) -> Key:
    """Return `jax.random.fold_in` of keys `[B]` and int32 numbers `[B]`."""
    if not is_threefry(keys):
        return jax.vmap(jax.random.fold_in)(keys, data)
    words = jax.random.key_data(keys)
    low = data.astype(jnp.uint32)
    folded = threefry((words[:, 0], words[:, 1]), jnp.zeros_like(low), low)
    return jax.random.wrap_key_data(jnp.stack(folded, axis=1), impl="threefry2x32")


def gumbel(keys: Key, count: int) -> Array:
    """Return `jax.random.gumbel` of each of the keys `[B]`: `[B, count]` float32."""
    if not is_threefry(keys):
        draw = lambda key: jax.random.gumbel(key, (count,), jnp.float32)
        return jax.vmap(draw)(keys)
    words = jax.random.key_data(keys)
    counter = jnp.arange(count, dtype=jnp.uint32)[None]
    high, low = threefry((words[:, :1], words[:, 1:]), jnp.zeros_like(counter), counter)
    # 23 random bits below 1.0 are a float in [1, 2).
    one = jnp.float32(1)
    bits = ((high ^ low) >> np.uint32(9)) | jax.lax.bitcast_convert_type(one, "uint32")
    tiny = jnp.finfo(jnp.float32).tiny
    uniform = jax.lax.bitcast_convert_type(bits, jnp.float32) - one
    return -jnp.log(-jnp.log(jnp.maximum(tiny, uniform * (one - tiny) + tiny)))
