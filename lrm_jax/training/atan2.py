# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""atan2 that vectorises.

On a CPU `jnp.arctan2` calls the C library once per number, which costs AdamATan2
more than the rest of the update together (docs/measurements.md). The polynomial
is Cephes' single-precision arctangent: 2 units in the last place.
"""

import math

import jax.numpy as jnp

from lrm_jax.types import Array

_TAN_PI_8 = math.sqrt(2) - 1


def atan2_right(y: Array, x: Array) -> Array:
    """Return atan2(y, x) for x >= 0, in [-pi/2, pi/2]; 0 at the origin.

    Float32 below 1e38 takes the polynomial; float64 the library's function.
    """
    if jnp.result_type(y, x) != jnp.float32:
        return jnp.arctan2(y, x)
    size = jnp.abs(y)
    large, small = jnp.maximum(size, x), jnp.minimum(size, x)
    # Above pi/8 the argument is turned by pi/4, where the series is short.
    turn = small > _TAN_PI_8 * large
    numerator = jnp.where(turn, small - large, small)
    denominator = jnp.where(turn, small + large, large)
    t = numerator / jnp.where(denominator == 0, 1, denominator)
    z = t * t
    series = 8.05374449538e-2 * z - 1.38776856032e-1
    series = (series * z + 1.99777106478e-1) * z - 3.33329491539e-1
    angle = series * z * t + t + jnp.where(turn, math.pi / 4, 0.0)
    angle = jnp.where(size > x, math.pi / 2 - angle, angle)
    return jnp.copysign(angle, y)
