# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attention of whole sequences by cuDNN's fused kernel (arXiv 2205.14135, 2307.08691).

No `[T, S]` array of scores exists. What the kernel knows by itself is causality; so
where nothing but padding and causality hides a key, the tokens are sorted, real ones
first, and no mask is passed. Segments of packed rows and sliding windows go in as a
dense mask, which the kernel reads (and, before JAX 0.12, differentiates in vain).
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.extend.backend import get_backend

from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.types import Array, UserError

Flash = Literal["no", "causal", "masked"]
"""How a call attends: by plain products, or fused, with or without a dense mask."""


def flash_form(cfg: PolicyConfig, length: int, *, segments: bool) -> Flash:
    """Return how whole sequences of `length` tokens attend under `cfg.attention`.

    `auto` takes the fused kernel without a dense mask only; `cudnn` takes it always,
    but for a dense mask of odd length, which it does not differentiate.

    Raises:
      UserError: `cudnn` where there is no such kernel.
    """
    if not uses_cudnn(cfg):
        return "no"
    if not segments and not cfg.sliding_window:
        return "causal"
    return "masked" if cfg.attention == "cudnn" and length % 2 == 0 else "no"


def uses_cudnn(cfg: PolicyConfig) -> bool:
    """Return whether `cfg.attention` means the fused kernel on this backend.

    Raises:
      UserError: `cudnn` where there is no such kernel.
    """
    if cfg.attention == "xla":
        return False
    problem = _problem(cfg)
    if problem and cfg.attention == "cudnn":
        raise UserError(
            f"model.attention=cudnn: {problem}; accepted here: xla, or auto, which "
            "takes cudnn where it can"
        )
    return not problem


def _problem(cfg: PolicyConfig) -> str:
    """Say what keeps the kernel from being used, nothing where nothing does."""
    if cfg.dtype != "bfloat16":
        return f"it takes bfloat16 activations, not model.dtype={cfg.dtype}"
    capability = cuda_capability()
    if capability is None:
        return f"it needs a CUDA GPU, not {jax.default_backend()}"
    if capability < (8, 0):
        return f"it needs compute capability 8.0, not {capability[0]}.{capability[1]}"
    width = cfg.mla.d_nope + cfg.mla.d_rope if cfg.mla else cfg.head_dim
    widest = 256 if capability >= (9, 0) else 128
    if width % 8 or width > widest:
        return f"heads {width} wide; it takes multiples of 8 up to {widest}"
    return ""


def cuda_capability() -> tuple[int, ...] | None:
    """Return the compute capability of the default device, None without CUDA."""
    if "cuda" not in get_backend().platform_version:
        return None
    # Of CUDA devices only, and not in the type.
    device: Any = jax.local_devices()[0]
    return tuple(int(part) for part in device.compute_capability.split("."))


def flash_attend(
    q: Array,
    k: Array,
    v: Array,
    seen: Array | None,
    scale: float,
    *,
    implementation: Literal["xla", "cudnn"] = "cudnn",
) -> Array:
    """Return causal softmax(scale q k^T) v, `[B, T, N, H']`.

    Args:
      q: `[B, T, N, H]`.
      k: `[B, T, K, H]`, not repeated over the queries of a group.
      v: `[B, T, K, H']`, H' at most H: padded with zeros, which are cut off again.
      seen: `[B, T, T]` bool, causal by itself too; None for nothing but causality.
      scale: of the scores.
      implementation: the tests' way to the same call on a CPU.
    """
    width = v.shape[-1]
    v = jnp.pad(v, ((0, 0), (0, 0), (0, 0), (0, q.shape[-1] - width)))
    mask = None if seen is None else seen[:, None]
    out = jax.nn.dot_product_attention(
        q,
        k,
        v,
        mask=mask,
        scale=scale,
        is_causal=True,
        implementation=implementation,
    )
    return out[..., :width]


def real_first(mask: Array) -> Array:
    """Return the order `[B, T]` int32 of tokens that puts the real ones first.

    They stay in order, so that causality by index hides all padding from them.
    """
    return jnp.argsort(~mask.astype(bool), axis=1, stable=True).astype(jnp.int32)


def reorder(x: Array, order: Array) -> Array:
    """Return the tokens of `[B, T, ...]` in that order, `[B, T]`."""
    index = order.reshape(order.shape + (1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1, mode="promise_in_bounds")


@jax.custom_vjp
def put_back(x: Array, order: Array) -> Array:
    """Undo `reorder(., order)`; its gradient is a gather, too, and no scatter."""
    return reorder(x, jnp.argsort(order, axis=1))


def _put_back_fwd(x: Array, order: Array) -> tuple[Array, Array]:
    return put_back(x, order), order


def _put_back_bwd(order: Array, grad: Array) -> tuple[Array, None]:
    return reorder(grad, order), None


put_back.defvjp(_put_back_fwd, _put_back_bwd)
