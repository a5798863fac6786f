# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gumbel search: sequential halving at the root, the improved policy below.

Danihelka, Guez, Schrittwieser and Silver, "Policy improvement by planning with
Gumbel" (ICLR 2022). Shape letters: `B` trees, `A` actions, `N` simulations.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.qtransform import Edges, transform
from lrm_jax.types import Array, Key

_NOISE = 0x67756D62
"""Folded into a root's key for its noise: no action has this number."""


class RootPlan(NamedTuple):
    """What the root's choices follow, fixed when a search begins.

    Attributes:
      gumbel: `[B, A]`, the root's noise.
      schedule: `[B, N]` int32, visits that an action considered at simulation i has.
      before: `[B, A]` int32, visits of the root's actions before the search.
    """

    gumbel: Array  # [B, A]
    schedule: Array  # [B, N]
    before: Array  # [B, A]


def root_noise_keys(keys: Key) -> Key:
    """Return the keys `[B]` that the roots' noise is drawn from."""
    return jax.vmap(lambda key: jax.random.fold_in(key, _NOISE))(keys)


def root_plan(
    keys: Key, valid: Array, before: Array, budgets: Array, config: SearchConfig
) -> RootPlan:
    """Draw the noise and lay out sequential halving.

    Args:
      keys: `[B]` of the roots.
      valid: `[B, A]`, the root's actions.
      before: `[B, A]`, their visits.
      budgets: `[B]`, simulations of each tree.
      config: of the search.
    """
    shape, dtype = valid.shape[1:], jnp.float32
    draw = jax.vmap(lambda key: jax.random.gumbel(key, shape, dtype))
    considered = jnp.minimum(jnp.sum(valid, axis=-1), config.max_considered)
    return RootPlan(
        gumbel=config.gumbel_scale * draw(root_noise_keys(keys)),
        schedule=halving_schedule(considered, budgets, config.simulations),
        before=before,
    )


def halving_schedule(considered: Array, budgets: Array, length: int) -> Array:
    """Return `[B, length]`: the visit count that simulation i looks for.

    With m actions and n simulations each phase gives every action that is left
    max(1, n // (ceil(log2 m) * left)) more visits, then halves those that are left,
    down to 2. With one action, simulation i looks for i visits.

    Args:
      considered: `[B]` int, actions at the start.
      budgets: `[B]` int, simulations.
      length: of the table.
    """
    m = jnp.maximum(considered, 1).astype(jnp.int32)
    phases = jnp.sum(2 ** jnp.arange(31)[None] < m[:, None], axis=-1)  # ceil(log2 m)
    phases = jnp.maximum(phases, 1)
    extra = lambda left: jnp.maximum(1, budgets // (phases * left))

    def one(state, _):
        left, visits, place, rounds = state
        place = place + 1
        row_done = place == left
        rounds = rounds - row_done
        halve = row_done & (rounds == 0) & (m > 1)
        fewer = jnp.where(halve, jnp.maximum(2, left // 2), left)
        again = jnp.where(halve, extra(fewer), rounds)
        place = jnp.where(row_done, 0, place)
        return (fewer, visits + row_done, place, again), visits

    start = (m, jnp.zeros_like(m), jnp.zeros_like(m), extra(m))
    _, table = jax.lax.scan(one, start, None, length=length)
    return table.T.astype(jnp.int32)


def root_action(edges: Edges, plan: RootPlan, config: SearchConfig) -> Array:
    """Return the root's action `[B]` for the next simulation.

    Of the actions that have the visits which the schedule looks for, the one with the
    highest g + logits + sigma(q); of all that are allowed, where none has.
    """
    visits = edges.visits - plan.before
    index = jnp.sum(visits, axis=-1, keepdims=True)
    index = jnp.minimum(index, plan.schedule.shape[1] - 1)
    wanted = jnp.take_along_axis(plan.schedule, index, axis=1)
    return _best(edges, plan, edges.allowed & (visits == wanted), config)


def final_action(
    edges: Edges, plan: RootPlan, closed: Array, config: SearchConfig
) -> Array:
    """Return what sequential halving leaves, `[B]`.

    Of the actions with the most visits (and those of which everything is known) the
    one with the highest g + logits + sigma(q).
    """
    valid = edges.prior_logits > -jnp.inf
    visits = jnp.where(valid, edges.visits - plan.before, -1)
    most = jnp.max(visits, axis=-1, keepdims=True)
    left = valid & ((visits == most) | closed)
    return _best(edges._replace(allowed=valid), plan, left, config)


def _best(edges: Edges, plan: RootPlan, wanted: Array, config: SearchConfig) -> Array:
    some = jnp.any(wanted, axis=-1, keepdims=True)
    allowed = jnp.where(some, wanted, edges.allowed)
    top = jnp.max(edges.prior_logits, axis=-1, keepdims=True)
    logits = jnp.where(allowed, edges.prior_logits - top, 0)
    score = plan.gumbel + logits + transform(edges, config)
    return jnp.argmax(jnp.where(allowed, score, -jnp.inf), axis=-1)


def interior_action(edges: Edges, config: SearchConfig) -> Array:
    """Return `[B]`: the action whose share of visits is furthest below its due.

    argmax of pi'(a) - n(a) / (1 + sum n), eq. 14.
    """
    share = edges.visits / (1 + jnp.sum(edges.visits, axis=-1, keepdims=True))
    score = improved_policy(edges, config) - share
    return jnp.argmax(jnp.where(edges.allowed, score, -jnp.inf), axis=-1)


def improved_policy(edges: Edges, config: SearchConfig) -> Array:
    """Return softmax(logits + sigma(completed q)), `[B, A]`; 0 where not valid."""
    return jax.nn.softmax(edges.prior_logits + transform(edges, config), axis=-1)
