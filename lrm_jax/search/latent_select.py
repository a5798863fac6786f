# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which of K trajectories answers: at any depth and width of one pass.

Each selector reads the first `width` trajectories up to segment `depth` and nothing
else, so that a grid of both comes out of one pass. Both may be traced.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.search.latent_pass import Trajectories
from lrm_jax.types import Array


class Choice(NamedTuple):
    """The trajectory that answers, and what the search spent.

    Attributes:
      trajectory: `[B]` int32.
      segment: `[B]` int32 from 0, whose answer counts.
      spent: `[B]` int32 segments over all trajectories.
    """

    trajectory: Array
    segment: Array
    spent: Array


class _Seen(NamedTuple):
    """One depth and width of a pass."""

    halt: Array  # [B, K] logits after the last segment
    probability: Array  # [B, K]
    same: Array  # [B, K, K] bool, the two agree and both are in the width
    member: Array  # [1, K] bool
    at: Array  # [] int32, the last segment, from 0
    every: Trajectories
    window: int


Rule = Callable[[_Seen], tuple[Array, Array | None, Array | None]]
"""Returns trajectory `[B]`, segment `[B]` and its number where not the last."""


def _argmax(score: Array, member: Array) -> Array:
    """Return the first best member of each row, int32 `[B]`."""
    masked = jnp.where(member, score, -jnp.inf)
    return jnp.argmax(masked, axis=1).astype(jnp.int32)


def _best_q(seen: _Seen) -> tuple[Array, None, None]:
    return _argmax(seen.halt, seen.member), None, None


def _votes(seen: _Seen) -> tuple[Array, Array]:
    """Return `[B, K]` how many agree with a trajectory, and their summed q."""
    count = seen.same.sum(-1, dtype=jnp.int32)
    total = jnp.where(seen.same, seen.probability[:, None], 0.0).sum(-1)
    return count, total


def _mode(seen: _Seen) -> tuple[Array, None, None]:
    """Most votes, then the higher mean q, then the earlier answer (TRM)."""
    count, total = _votes(seen)
    most = count == jnp.max(count, axis=1, keepdims=True)
    mean = total / jnp.maximum(count, 1)
    return _argmax(mean, seen.member & most), None, None


def _weighted(seen: _Seen) -> tuple[Array, None, None]:
    """The largest sum of q, then the earlier answer."""
    return _argmax(_votes(seen)[1], seen.member), None, None


def _residual(seen: _Seen) -> tuple[Array, None, None]:
    """The least mean change over the last segments (EqR)."""
    steps = jnp.arange(seen.every.residual.shape[-1])
    recent = ((steps <= seen.at) & (steps > seen.at - seen.window))[None, None]
    moved = jnp.where(recent, seen.every.residual, 0.0).sum(-1)
    return _argmax(-moved, seen.member), None, None


def _first_halt(seen: _Seen) -> tuple[Array, Array, Array]:
    """The first to halt, then the higher q; the best q where none does.

    All trajectories stop then ("speed is confidence", arXiv 2601.19085).
    """
    steps = jnp.arange(seen.every.done.shape[-1])
    fired = seen.every.done & (steps <= seen.at)[None, None] & seen.member[..., None]
    when = jnp.where(fired.any(-1), jnp.argmax(fired, axis=-1), len(steps))  # [B, K]
    first = jnp.min(when, axis=1)  # [B]
    segment = jnp.minimum(first, seen.at).astype(jnp.int32)
    q = jnp.take_along_axis(seen.every.halt, segment[:, None, None], axis=2)[..., 0]
    halts = (when == first[:, None]) & seen.member  # all where none halts
    return _argmax(q, halts), segment, segment + 1


RULES: dict[str, Rule] = {
    "best_q": _best_q,
    "mode": _mode,
    "weighted": _weighted,
    "residual": _residual,
    "first_halt": _first_halt,
}
"""Selectors by name."""


@partial(jax.jit, static_argnames=("rule", "window"))
def select(
    rule: str, seen: Trajectories, width: Array, depth: Array, *, window: int = 3
) -> Choice:
    """Choose the answering trajectory of every problem.

    Args:
      rule: a name out of `RULES`.
      seen: of `B` problems, `K` trajectories, `T` segments.
      width: trajectories that take part, in 1 .. K.
      depth: segments that they take, in 1 .. T.
      window: segments that `residual` averages over.
    """
    batch, most = seen.halt.shape[:2]
    at = jnp.asarray(depth, jnp.int32) - 1
    member = (jnp.arange(most) < width)[None]  # [1, K]
    halt = jnp.take(seen.halt, at, axis=2)
    group = jnp.take(seen.group, at, axis=2)
    same = (group[:, :, None] == group[:, None]) & member[:, None] & member[..., None]
    now = _Seen(halt, jax.nn.sigmoid(halt), same, member, at, seen, window)
    trajectory, segment, taken = RULES[rule](now)
    if segment is None:
        segment = jnp.full((batch,), at, jnp.int32)
    taken = segment + 1 if taken is None else taken
    return Choice(trajectory, segment, taken * jnp.asarray(width, jnp.int32))


@jax.jit
def is_right(seen: Trajectories, choice: Choice) -> Array:
    """Return `[B]` bool: whether the chosen answer is right."""
    rows = jnp.arange(seen.right.shape[0])
    return seen.right[rows, choice.trajectory, choice.segment]


@jax.jit
def oracle(seen: Trajectories, width: Array, depth: Array) -> Array:
    """Return `[B]` bool: whether any of the trajectories is right (pass@K)."""
    member = (jnp.arange(seen.right.shape[1]) < width)[None]
    right = jnp.take(seen.right, jnp.asarray(depth, jnp.int32) - 1, axis=2)
    return (right & member).any(1)
