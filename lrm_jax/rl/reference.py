# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the reference policy follows the policy.

DeepSeek-R1 puts the newest policy in its place every 400 steps (arXiv 2501.12948);
an exponential moving average is WARP's anchor (arXiv 2406.16768) and TRL's mixup.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp

from lrm_jax.rl.config import ReferenceConfig
from lrm_jax.types import Array

Tree = TypeVar("Tree")


def update_reference(
    cfg: ReferenceConfig, reference: Tree, params: Tree, step: Array | int
) -> Tree:
    """Return the reference after training step `step` (the first is 1).

    It changes where `step` is a multiple of `cfg.every`: to the very bits of
    `params` (`reset`), or to decay * reference + (1 - decay) * params (`ema`).
    `fixed` returns it as it is.
    """
    if cfg.kind == "fixed":
        return reference
    due = jnp.asarray(step) % cfg.every == 0

    def change(old: Array, new: Array) -> Array:
        if cfg.kind == "ema" and jnp.issubdtype(old.dtype, jnp.inexact):
            wide = jnp.promote_types(old.dtype, jnp.float32)
            mixed = cfg.decay * old.astype(wide) + (1 - cfg.decay) * new.astype(wide)
            new = mixed.astype(old.dtype)
        return jnp.where(due, new, old)

    return jax.tree.map(change, reference, params)
