# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole lanes of a pytree, chosen by a mask."""

from typing import TypeVar

import jax
import jax.numpy as jnp

from lrm_jax.types import Array

Tree = TypeVar("Tree")


def select_lanes(mask: Array, on_true: Tree, on_false: Tree) -> Tree:
    """Return `on_true` where `mask` `[B]` holds, lane by lane, in every leaf."""

    def select(a: Array, b: Array) -> Array:
        if a.ndim == 0 or a.shape[0] != mask.shape[0]:
            raise ValueError(
                f"leaf of shape {a.shape} has no lane axis of {mask.shape[0]}"
            )
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(select, on_true, on_false)
