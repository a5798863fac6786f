# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a training run carries from step to step: data only, no functions.

The optimizer and the model's `apply` are closed over by the recipe's step, so
two states built from one config are always the same kind of pytree.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct

from lrm_jax.types import Array, Key, Params


class TrainState(struct.PyTreeNode):
    """State of a run after `step` optimizer steps.

    Attributes:
      step: `[]` int32, optimizer steps done; also the data cursor.
      params: everything the model needs to be applied.
      ema: averaged trainable weights, or None.
      opt_state: state of the optimizer over the trainable weights.
      carry: what lanes carry between steps, or None.
      key: `[]` the run's key; never replaced, folded by step and purpose.
    """

    step: Array  # []
    params: Params
    ema: Params | None
    opt_state: Any
    carry: Any
    key: Key  # []


def make_state(
    params: Params,
    opt_state: Any,
    key: Key,
    *,
    ema: Params | None = None,
    carry: Any = None,
) -> TrainState:
    """Return the state before the first step."""
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, ema, opt_state, carry, key)
