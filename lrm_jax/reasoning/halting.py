# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Adaptive computation: lanes, segments, halting rules and Q targets.

HRM (arXiv 2506.21734 §2, "Adaptive computation time") and TRM (arXiv 2510.04871
§4.1): a lane works on one problem over several segments; when it halts, the next
batch refills it. One training step is one segment of every lane.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from lrm_jax.config import resolve
from lrm_jax.reasoning.lanes import select_lanes
from lrm_jax.types import Array, Key, Params, Problem

RULES = ("q_learning", "halt_only", "fixed")
"""The rules by name; any other is `package.module:name` of a `HaltFn`."""

HaltFn = Callable[[Array, Array], Array]
"""`(q_halt_logits [B], q_continue_logits [B]) -> wants to halt [B] bool`."""


@dataclass(frozen=True)
class HaltingConfig:
    """When a lane stops.

    Attributes:
      rule: `q_learning` (halt where Q-halt exceeds Q-continue, with a bootstrapped
        target for Q-continue; HRM), `halt_only` (halt where Q-halt is above 0;
        TRM), `fixed` (always `max_steps` segments), or `package.module:name` of a
        `HaltFn`.
      max_steps: segments after which a lane halts in any case.
      exploration_prob: chance per lane and segment that a lane must reach a random
        number of segments, uniform in 2 .. max_steps, before it may halt.
      eval_margin: logits by which Q-halt must pass the rule in evaluation (budget
        -1): 0 stops where right is likelier than wrong, 3 where it is 95 % sure.
    """

    rule: str = "q_learning"
    max_steps: int = 16
    exploration_prob: float = 0.1
    eval_margin: float = 0.0


class ActCarry(flax.struct.PyTreeNode):
    """What lanes take from one segment to the next; all leaves are `[B, ...]`."""

    z_h: Array  # [B, L, D]
    z_l: Array  # [B, L, D]
    steps: Array  # [B] int32, segments done on the present problem
    halted: Array  # [B] bool, refilled at the next segment
    data: Problem  # the problem each lane works on


class Exploration(NamedTuple):
    """The random part of halting, drawn afresh for every lane and segment."""

    uniform: Array  # [B] in [0, 1)
    min_steps: Array  # [B] int32 in 2 .. max_steps


def empty_carry(
    problem: Mapping[str, Any], state_shape: tuple[int, int], dtype: str
) -> ActCarry:
    """Return a carry with every lane halted: the first batch fills them all.

    Args:
      problem: arrays or shapes with the lane axis first; only shapes are read.
      state_shape: (L, D).
      dtype: of the states.
    """
    data = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), dict(problem))
    batch = next(iter(data.values())).shape[0]
    zeros = jnp.zeros((batch, *state_shape), dtype)
    return ActCarry(
        z_h=zeros,
        z_l=jnp.zeros_like(zeros),
        steps=jnp.zeros((batch,), jnp.int32),
        halted=jnp.ones((batch,), bool),
        data=data,
    )


def refill(carry: ActCarry, problem: Problem, fixed: Params) -> ActCarry:
    """Put the offered problem into halted lanes; others keep theirs.

    The offer of a lane that goes on is dropped, as in the references.

    Args:
      carry: as the previous segment left it.
      problem: `[B, ...]` one offer a lane.
      fixed: the initial states `z_h_init` and `z_l_init`, `[D]` each.
    """

    def start(z: Array, like: Array) -> Array:
        return jnp.broadcast_to(z.astype(like.dtype)[None, None], like.shape)

    fresh = ActCarry(
        z_h=start(fixed["z_h_init"], carry.z_h),
        z_l=start(fixed["z_l_init"], carry.z_l),
        steps=jnp.zeros_like(carry.steps),
        halted=carry.halted,
        data=dict(problem),
    )
    return select_lanes(carry.halted, fresh, carry)


def draw_exploration(key: Key, batch: int, max_steps: int) -> Exploration:
    """Draw a coin and a least number of segments for every lane; consumes `key`."""
    coin_key, steps_key = jax.random.split(key)
    return Exploration(
        uniform=jax.random.uniform(coin_key, (batch,)),
        min_steps=jax.random.randint(steps_key, (batch,), 2, max(max_steps, 2) + 1),
    )


def wants_halt(cfg: HaltingConfig, q_halt: Array, q_continue: Array) -> Array:
    """Apply the rule to the logits of a segment; `[B]` bool."""
    if cfg.rule == "q_learning":
        return q_halt > q_continue
    if cfg.rule == "halt_only":
        return q_halt > 0
    if cfg.rule == "fixed":
        return jnp.zeros(q_halt.shape, bool)
    halt = resolve(cfg.rule)(q_halt, q_continue)
    chex.assert_equal_shape([halt, q_halt])
    return halt


def decide_halt(
    cfg: HaltingConfig,
    q_halt: Array,
    q_continue: Array,
    steps: Array,
    exploration: Exploration | None,
) -> Array:
    """Return which lanes halt after this segment, `[B]` bool.

    Args:
      cfg: the rule.
      q_halt: `[B]` logits.
      q_continue: `[B]` logits.
      steps: `[B]` segments done, this one included.
      exploration: draws of this segment in training; None in evaluation, where
        every lane runs `max_steps` segments whatever it says.
    """
    last = steps >= cfg.max_steps
    if exploration is None or cfg.max_steps <= 1:
        return last
    halted = last | wants_halt(cfg, q_halt, q_continue)
    explores = exploration.uniform < cfg.exploration_prob
    least = jnp.where(explores, exploration.min_steps, 0)
    return halted & (steps >= least)


def q_continue_target(next_q_halt: Array, next_q_continue: Array, last: Array) -> Array:
    """Return the bootstrapped target of Q-continue, `[B]` probabilities.

    Going on is worth the better of halting and going on one segment later, or
    halting there if that segment is the last (HRM eq. for G_continue).
    """
    best = jnp.maximum(next_q_halt, next_q_continue)
    return jax.lax.stop_gradient(jax.nn.sigmoid(jnp.where(last, next_q_halt, best)))


def needs_target(cfg: HaltingConfig) -> bool:
    """Return whether training needs the second forward for Q-continue."""
    return cfg.rule == "q_learning" and cfg.max_steps > 1
