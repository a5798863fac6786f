# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sign-SGD on the rows of a huge table that a batch touches (HRM, code).

No gradient of the table's size ever exists: memory beyond the (donated) table
is that of the batch's rows.
"""

import chex
import jax.numpy as jnp

from lrm_jax.types import Array


def sparse_sign_sgd(
    table: Array,
    ids: Array,
    row_grads: Array,
    lr: float | Array,
    weight_decay: float | Array,
) -> Array:
    """Update the touched rows: p <- p (1 - lr wd) - lr sign(sum of their grads).

    Gradients of equal ids are summed before the sign. Under `jit` the arrays
    are global, so the sum runs over the whole batch on every device. Ids
    outside the table are ignored.

    Args:
      table: `[N, P]`, donated by the caller's step.
      ids: `[B]` int, rows that the lanes used.
      row_grads: `[B, P]`, gradient of each lane's own row.
      lr: learning rate of this step.
      weight_decay: decay of touched rows.

    Returns:
      `[N, P]` the table; rows whose id is not in `ids` are unchanged.
    """
    chex.assert_rank([table, ids, row_grads], [2, 1, 2])
    n_rows, lanes = table.shape[0], ids.shape[0]
    # Distinct places past the end are dropped by the scatter and stay sorted.
    in_table = (ids >= 0) & (ids < n_rows)
    ids = jnp.where(in_table, ids, n_rows)
    rows, lane_row = jnp.unique(
        ids, return_inverse=True, size=lanes, fill_value=n_rows
    )  # [B], [B]
    grads = row_grads.astype(table.dtype)
    summed = jnp.zeros((lanes, table.shape[1]), table.dtype)
    summed = summed.at[lane_row.reshape(lanes)].add(grads)  # [B, P]
    rows = jnp.where(rows < n_rows, rows, n_rows + jnp.arange(lanes))
    lr = jnp.asarray(lr, table.dtype)
    decay = jnp.asarray(weight_decay, table.dtype)
    old = table.at[rows].get(mode="fill", fill_value=0)  # [B, P]
    new = old * (1 - lr * decay) - lr * jnp.sign(summed)
    return table.at[rows].set(
        new, mode="drop", unique_indices=True, indices_are_sorted=True
    )
