# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What reinforcement learning carries from rollout to rollout, beside the weights.

It is the `carry` of a `TrainState`, so that every checkpoint holds all of it: a
resumed run draws the tokens that the uninterrupted one draws.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from lrm_jax.reasoning.decoding import Completions
from lrm_jax.recipes.grpo_config import GrpoRunConfig
from lrm_jax.rl.dynamic_sampling import GroupBuffer, empty_buffer
from lrm_jax.rl.entropy import EntropyState, init_entropy
from lrm_jax.types import Array, Params

Leaf = Any
"""An array of NumPy on the host, of JAX on the device."""


class Groups(NamedTuple):
    """Scored completions, group by group; P prompt, C completion tokens.

    Attributes:
      prompt_ids: `[Q, P]` int32, padded on the right.
      prompt_mask: `[Q, P]` bool.
      ids: `[Q, G, C]` int32.
      mask: `[Q, G, C]` bool, first to end token.
      forced: `[Q, G, C]` bool, tokens that a thinking budget wrote.
      logps: `[Q, G, C]` of the distribution that drew the tokens.
      rewards: `[Q, G]` shaped.
      accuracy: `[Q, G]` the verifier's raw score.
      truncated: `[Q, G]` bool, whether a completion was cut off.
      version: `[Q]` int32, optimizer steps behind the weights that wrote them.
      number: `[Q]` int32, which prompt of the run's stream it is.
    """

    prompt_ids: Leaf
    prompt_mask: Leaf
    ids: Leaf
    mask: Leaf
    forced: Leaf
    logps: Leaf
    rewards: Leaf
    accuracy: Leaf
    truncated: Leaf
    version: Leaf
    number: Leaf


class InFlight(NamedTuple):
    """Completions that no update has seen yet, not scored; with what names them.

    What is not here (prompts, rewards) follows from `cursor` and the tokens.

    Attributes:
      completions: `[B, ...]`, written or being written.
      cursor: `[]` int32, prompts drawn before.
      version: `[]` int32, optimizer steps behind the weights that write them.
    """

    completions: Completions
    cursor: Leaf
    version: Leaf


class GrpoCarry(struct.PyTreeNode):
    """State between rollouts.

    Attributes:
      cursor: `[]` int32, prompts drawn from the stream so far.
      entropy: the controller of the entropy bonus.
      reference: weights of the reference policy, or None.
      waiting: groups with signal that no update has seen yet, or None.
      ahead: rollouts begun ahead of the updates, oldest first, one for each of
        `rl.rollout.max_staleness`; filler before the first step.
    """

    cursor: Array  # []
    entropy: EntropyState
    reference: Params | None
    waiting: GroupBuffer | None
    ahead: tuple[InFlight, ...] = ()


def init_carry(config: GrpoRunConfig, weights: Params) -> GrpoCarry:
    """Return the carry before the first rollout; the reference is a copy."""
    rl = config.rl
    waiting = None
    if rl.group_filter.kind == "refill":
        group = empty_group(config, config.grpo.prompt_len)
        waiting = empty_buffer(group, 2 * rl.rollout.n_prompts - 1)
    copy = lambda x: jnp.array(x, copy=True)
    return GrpoCarry(
        cursor=jnp.zeros((), jnp.int32),
        entropy=init_entropy(rl.entropy),
        reference=jax.tree.map(copy, weights) if rl.needs_reference else None,
        waiting=waiting,
        ahead=tuple(_empty_flight(config) for _ in range(rl.rollout.max_staleness)),
    )


def _empty_flight(config: GrpoRunConfig) -> InFlight:
    """Return zeros of the shapes of one rollout's completions."""
    rollout = config.rl.rollout
    rows, tokens = rollout.n_prompts * rollout.group_size, rollout.max_new_tokens
    flags = lambda: jnp.zeros((rows, tokens), bool)
    ints = lambda *shape: jnp.zeros(shape, jnp.int32)
    completions = Completions(
        ids=ints(rows, tokens),
        mask=flags(),
        logps=jnp.zeros((rows, tokens), score_dtype(config)),
        forced=flags(),
        length=ints(rows),
        stop=ints(rows),
        thinking_tokens=ints(rows),
    )
    return InFlight(completions, cursor=ints(), version=ints())


def empty_group(config: GrpoRunConfig, prompt_len: int) -> Groups:
    """Return zeros of the shapes of one group."""
    rollout = config.rl.rollout
    lanes, tokens = rollout.group_size, rollout.max_new_tokens
    flags = lambda *shape: jnp.zeros(shape, bool)
    ints = lambda *shape: jnp.zeros(shape, jnp.int32)
    floats = lambda *shape: jnp.zeros(shape, score_dtype(config))
    return Groups(
        prompt_ids=ints(prompt_len),
        prompt_mask=flags(prompt_len),
        ids=ints(lanes, tokens),
        mask=flags(lanes, tokens),
        forced=flags(lanes, tokens),
        logps=floats(lanes, tokens),
        rewards=floats(lanes),
        accuracy=floats(lanes),
        truncated=flags(lanes),
        version=ints(),
        number=ints(),
    )


def score_dtype(config: GrpoRunConfig) -> jnp.dtype:
    """Return the dtype of log-probs and rewards: float32, float64 in a float64 run."""
    return jnp.promote_types(config.model.dtype, jnp.float32)
