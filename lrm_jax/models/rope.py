# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rotary positions of the token policies, with the ways to stretch a context.

RoFormer (arXiv 2104.09864) in the half-split layout; frequencies are computed on
the host in float64 and rounded once, `dynamic` alone in the program.

Beyond the original context `dynamic` has other frequencies at every length: keys in
a cache keep those of the length they were written at, so cached decoding then
differs from the full forward pass, as in transformers. GRPO refuses it.
"""

import math

import jax.numpy as jnp
import numpy as np

from lrm_jax.models.policy_config import RopeConfig
from lrm_jax.types import Array, at_least_float32


def inverse_frequencies(rope: RopeConfig, dim: int, max_len: int) -> np.ndarray:
    """Return the angle per position of each pair, `[dim / 2]` float64.

    For `dynamic` those of a sequence no longer than the original context.

    Args:
      rope: how.
      dim: width of the rotated features.
      max_len: the policy's `max_seq_len`, where the config names no original one.
    """
    original = rope.original_max_len or max_len
    plain = rope.theta ** -(np.arange(0, dim, 2, dtype=np.float64) / dim)
    if rope.kind == "linear":
        return plain / rope.factor
    if rope.kind == "llama3":
        return _llama3(rope, plain, original)
    if rope.kind == "yarn":
        return _yarn(rope, plain, dim, original)
    return plain


def _llama3(rope: RopeConfig, plain: np.ndarray, original: int) -> np.ndarray:
    """Llama 3.1: keep short wavelengths, divide long ones, blend between."""
    turns = original * plain / (2 * math.pi)  # rotations over the original context
    span = rope.high_freq_factor - rope.low_freq_factor
    keep = np.clip((turns - rope.low_freq_factor) / span, 0.0, 1.0)
    return keep * plain + (1 - keep) * plain / rope.factor


def _yarn(rope: RopeConfig, plain: np.ndarray, dim: int, original: int) -> np.ndarray:
    """YaRN §3.2: blend by dimension, between two numbers of rotations."""

    def dimension(rotations: float) -> float:
        ratio = original / (rotations * 2 * math.pi)
        return dim * math.log(ratio) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    span = high - low or 0.001
    interpolated = np.clip((np.arange(dim // 2) - low) / span, 0.0, 1.0)
    return interpolated * plain / rope.factor + (1 - interpolated) * plain


def yarn_mscale(factor: float, mscale: float = 1.0) -> float:
    """Return YaRN's temperature of a stretch, eq. 22; 1 where nothing stretches."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def attention_factor(rope: RopeConfig) -> float:
    """Return what cos and sin are multiplied by; 1 for all kinds but yarn."""
    if rope.kind != "yarn":
        return 1.0
    if rope.attention_factor:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        numerator = yarn_mscale(rope.factor, rope.mscale)
        return numerator / yarn_mscale(rope.factor, rope.mscale_all_dim)
    return yarn_mscale(rope.factor)


def softmax_scale(rope: RopeConfig, width: int) -> float:
    """Return the scale of the scores of latent attention, DeepSeek's mscale in it."""
    scale = width**-0.5
    if rope.kind != "default" and rope.mscale_all_dim:
        scale *= yarn_mscale(rope.factor, rope.mscale_all_dim) ** 2
    return scale


def rope_cos_sin(
    rope: RopeConfig, dim: int, max_len: int, positions: Array, dtype: jnp.dtype
) -> tuple[Array, Array]:
    """Return cos and sin of the angles at `positions`.

    Args:
      rope: how.
      dim: width of the rotated features.
      max_len: the policy's `max_seq_len`.
      positions: `[B, T]` int32.
      dtype: of the activations; the table is float32 at least.

    Returns:
      Two arrays `[B, T, dim / 2]`.
    """
    wide = jnp.promote_types(dtype, jnp.float32)
    if rope.kind == "dynamic":
        frequencies = _dynamic(rope, dim, max_len, positions, wide)
    else:
        frequencies = jnp.asarray(inverse_frequencies(rope, dim, max_len), wide)
    angles = positions[..., None].astype(wide) * frequencies[None, None]
    scale = attention_factor(rope)
    return jnp.cos(angles) * scale, jnp.sin(angles) * scale


def _dynamic(
    rope: RopeConfig, dim: int, max_len: int, positions: Array, dtype: jnp.dtype
) -> Array:
    """NTK-aware scaling by the longest position of the batch, as transformers does."""
    original = rope.original_max_len or max_len
    length = jnp.maximum(jnp.max(positions) + 1, original).astype(dtype)
    grown = (rope.factor * length / original - (rope.factor - 1)) ** (dim / (dim - 2))
    exponent = jnp.asarray(np.arange(0, dim, 2) / dim, dtype)
    return (rope.theta * grown) ** -exponent


def rotate(x: Array, cos: Array, sin: Array, *, interleaved: bool = False) -> Array:
    """Rotate pairs of features by their position's angles.

    Args:
      x: `[B, T, N, H]`.
      cos: `[B, T, H / 2]`.
      sin: `[B, T, H / 2]`.
      interleaved: features 2i and 2i + 1 are a pair; otherwise i and i + H / 2. The
        result has halves apart either way, which no product of two such sees.
    """
    wide = at_least_float32(x)
    if interleaved:
        first, second = wide[..., 0::2], wide[..., 1::2]
    else:
        first, second = jnp.split(wide, 2, axis=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    rotated = [first * cos - second * sin, second * cos + first * sin]
    return jnp.concatenate(rotated, axis=-1).astype(x.dtype)
