# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dynamic sampling (DAPO, arXiv 2503.14476 section 3.2): full batches of signal.

A rollout's groups that are neither all right nor all wrong wait in a buffer of
static shape until there are enough for a batch; first in, first out. The buffer is
a pytree, so a checkpoint holds the groups in flight.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.rl.advantages import groups_are_equal
from lrm_jax.types import Array


def groups_with_signal(
    accuracy: Array, *, low: float = 0.0, high: float = 1.0
) -> Array:
    """Return `[Q]` bool: low < mean accuracy < high.

    Args:
      accuracy: `[Q, G]` the verifier's raw score, not the shaped reward: a length
        penalty must not make a solved prompt look unsolved.
      low: mean that still has no signal.
      high: mean that has none any more.
    """
    mean = jnp.mean(accuracy.astype(jnp.result_type(float)), axis=1)
    return (mean > low) & (mean < high) & ~groups_are_equal(accuracy, 0.0)


def groups_with_spread(rewards: Array, *, atol: float) -> Array:
    """Return `[Q]` bool: whether the shaped rewards of a group differ at all."""
    return ~groups_are_equal(rewards, atol)


class GroupBuffer(NamedTuple):
    """Groups that wait for a batch, in the order they came.

    Attributes:
      groups: leaves `[S, ...]`, S slots; the first `filled` count.
      filled: int32 scalar.
      dropped: int32 scalar, groups that found the buffer full, ever.
    """

    groups: Any
    filled: Array
    dropped: Array


def empty_buffer(group: Any, slots: int) -> GroupBuffer:
    """Return a buffer for groups shaped like `group` (leaves `[...]`).

    With at least 2 Q - 1 slots no group of a rollout of Q is ever dropped while
    the buffer is short of Q.
    """
    leaves = jax.tree.map(lambda x: jnp.zeros((slots, *x.shape), x.dtype), group)
    zero = jnp.zeros((), jnp.int32)
    return GroupBuffer(leaves, zero, jnp.zeros((), jnp.int32))


def add_groups(buffer: GroupBuffer, groups: Any, keep: Array) -> GroupBuffer:
    """Return the buffer with the kept groups at its end.

    Args:
      buffer: to add to.
      groups: leaves `[Q, ...]`.
      keep: `[Q]` bool.
    """
    slots = jax.tree.leaves(buffer.groups)[0].shape[0]
    place = buffer.filled + jnp.cumsum(keep) - 1
    # What is not kept goes beyond the end, where a scatter drops it.
    place = jnp.where(keep & (place < slots), place, slots)
    leaves = jax.tree.map(
        lambda old, new: old.at[place].set(new, mode="drop"), buffer.groups, groups
    )
    total = buffer.filled + jnp.sum(keep, dtype=jnp.int32)
    count = jnp.minimum(total, slots)
    return GroupBuffer(leaves, count, buffer.dropped + total - count)


def take_groups(buffer: GroupBuffer, n: int) -> tuple[Any, Array, GroupBuffer]:
    """Take the first `n` groups (static) out of the buffer.

    Returns:
      groups with leaves `[n, ...]`; `[n]` bool, which of them are filled (all,
      unless the buffer held fewer: the caller ran out of rounds); the rest.
    """
    taken = jax.tree.map(lambda x: x[:n], buffer.groups)
    valid = jnp.arange(n) < buffer.filled
    rest = jax.tree.map(lambda x: jnp.roll(x, -n, axis=0), buffer.groups)
    count = jnp.maximum(buffer.filled - n, 0)
    return taken, valid, GroupBuffer(rest, count, buffer.dropped)
