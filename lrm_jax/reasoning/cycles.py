# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The recurrence of one segment, and where its gradient flows.

One segment is `h_cycles` recursions; a recursion is `l_cycles` updates of the low
state, `z_l <- L(z_l, z_h + x)`, and then one of the high state,
`z_h <- H(z_h, z_l)` (HRM, arXiv 2506.21734 §2; TRM, arXiv 2510.04871 §4, is the
same with one shared module). Only the last calls carry gradient.
"""

from typing import Literal, NamedTuple, Protocol

import jax

from lrm_jax.types import Array, Params

GradDepth = Literal["one_step", "last_recursion", "all"] | int

_UNROLL_LIMIT = 24
"""Longer differentiated tails are scanned, so that compile time stays flat."""


class LatentState(NamedTuple):
    """The two recurrent states of a latent reasoner."""

    z_h: Array  # [B, L, D]
    z_l: Array  # [B, L, D]


class UpdateFn(Protocol):
    """One module call: state and injection in, new state out."""

    def __call__(self, weights: Params, z: Array, injection: Array) -> Array:
        """Return the new state `[B, L, D]`."""
        ...


def grad_calls(grad_depth: GradDepth, *, h_cycles: int, l_cycles: int) -> int:
    """Return how many trailing module calls carry gradient.

    `one_step` is HRM's approximation (the last L and the last H call),
    `last_recursion` TRM's, `all` full back-propagation through the segment, and
    an integer K the last K calls. Clipped to the calls there are.
    """
    total = h_cycles * (l_cycles + 1)
    named = {"one_step": 2, "last_recursion": l_cycles + 1, "all": total}
    calls = named[grad_depth] if isinstance(grad_depth, str) else int(grad_depth)
    if calls < 1:
        raise ValueError(f"grad_depth={grad_depth!r}: at least 1 call needs gradient")
    return min(calls, total)


def recur(
    update_h: UpdateFn,
    update_l: UpdateFn,
    weights: Params,
    state: LatentState,
    x: Array,
    *,
    h_cycles: int,
    l_cycles: int,
    grad_depth: GradDepth,
) -> LatentState:
    """Run one segment of the recurrence.

    The part without gradient is a loop over detached states, inputs *and*
    weights, so that nothing of it is kept for the backward pass: activation
    memory does not depend on its length.

    Args:
      update_h: the high-level module call.
      update_l: the low-level module call.
      weights: what both calls take; differentiated through the tail only.
      state: the states before the segment; detached.
      x: `[B, L, D]` input embedding; its gradient comes through the tail.
      h_cycles: recursions per segment.
      l_cycles: low-level calls per recursion.
      grad_depth: see `grad_calls`.

    Returns:
      The states after the segment, differentiable in `weights` and `x`.
    """
    tail = grad_calls(grad_depth, h_cycles=h_cycles, l_cycles=l_cycles)
    free = h_cycles * (l_cycles + 1) - tail
    recursions, calls = divmod(free, l_cycles + 1)

    def low(w: Params, s: LatentState, inputs: Array) -> LatentState:
        return s._replace(z_l=update_l(w, s.z_l, s.z_h + inputs))

    def high(w: Params, s: LatentState) -> LatentState:
        return s._replace(z_h=update_h(w, s.z_h, s.z_l))

    def lows(w: Params, s: LatentState, inputs: Array, count: int) -> LatentState:
        if count < 2:
            return low(w, s, inputs) if count else s
        return jax.lax.fori_loop(0, count, lambda _, c: low(w, c, inputs), s)

    state = jax.lax.stop_gradient(state)
    if free:
        frozen, fixed_x = jax.lax.stop_gradient((weights, x))

        def recursion(_: Array, s: LatentState) -> LatentState:
            return high(frozen, lows(frozen, s, fixed_x, l_cycles))

        state = jax.lax.fori_loop(0, recursions, recursion, state)
        state = jax.lax.stop_gradient(lows(frozen, state, fixed_x, calls))

    # The tail finishes the recursion that was begun, then runs the whole ones.
    for _ in range(l_cycles - calls):
        state = low(weights, state, x)
    state = high(weights, state)
    whole = h_cycles - recursions - 1

    def differentiated(s: LatentState, unused: None) -> tuple[LatentState, None]:
        del unused
        for _ in range(l_cycles):
            s = low(weights, s, x)
        return high(weights, s), None

    unroll = whole * (l_cycles + 1) <= _UNROLL_LIMIT
    state, _ = jax.lax.scan(
        differentiated, state, None, length=whole, unroll=max(whole, 1) if unroll else 1
    )
    return state
