# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small random decision problems, of which everything can be worked out.

A problem is a table: states 0 .. S-1, actions 0 .. A-1, where each leads, what it
pays. As a tree model its nodes are visits of states; a NumPy solver gives true values.
Shape letters: `B` problems, `S` states, `A` actions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lrm_jax.search.tree import Expansion, NodeView
from lrm_jax.types import Array, Key, Params


class Mdp(NamedTuple):
    """Tables of deterministic decision problems.

    Attributes:
      next_state: `[B, S, A]` int32.
      reward: `[B, S, A]`.
      discount: `[B, S, A]`.
      prior_logits: `[B, S, A]`.
      valid: `[B, S, A]` bool.
      value: `[B, S]`, what a value model says.
      terminal: `[B, S]` bool.
    """

    next_state: Array  # [B, S, A]
    reward: Array  # [B, S, A]
    discount: Array  # [B, S, A]
    prior_logits: Array  # [B, S, A]
    valid: Array  # [B, S, A]
    value: Array  # [B, S]
    terminal: Array  # [B, S]


@dataclass(frozen=True)
class MdpModel:
    """A tree model over `Mdp` tables: the problem is passed as params.

    `root` starts every tree in state 0 of its own table. A tree knows which table is
    its own by the problem `{"index": [B]}`.

    Attributes:
      num_actions: of the tables.
    """

    num_actions: int

    def root(
        self, params: Params, problem: dict[str, Array], keys: Key
    ) -> tuple[Expansion, dict[str, Array]]:
        """Return the roots; see `TreeModel`."""
        del keys
        index = problem["index"]
        state = jnp.zeros_like(index)
        nothing = jnp.zeros(index.shape, params.reward.dtype)
        node = _facts(params, index, state, nothing, nothing + 1)
        return node, {"index": index, "state": state}

    def step(
        self,
        params: Params,
        view: NodeView[dict[str, Array]],
        action: Array,
        keys: Key,
    ) -> tuple[Expansion, dict[str, Array]]:
        """Return the nodes that actions lead to; see `TreeModel`."""
        del keys
        here = view.state()
        index, state = here["index"], here["state"]
        to = params.next_state[index, state, action]
        reward = params.reward[index, state, action]
        discount = params.discount[index, state, action]
        node = _facts(params, index, to, reward, discount)
        return node, {"index": index, "state": to}


def _facts(
    mdp: Mdp, index: Array, state: Array, reward: Array, discount: Array
) -> Expansion:
    return Expansion(
        reward=reward,
        discount=discount,
        prior_logits=mdp.prior_logits[index, state],
        valid=mdp.valid[index, state],
        value=mdp.value[index, state],
        terminal=mdp.terminal[index, state],
    )


def random_mdps(
    seed: int,
    *,
    count: int = 1,
    states: int = 12,
    actions: int = 4,
    terminal_share: float = 0.0,
    invalid_share: float = 0.0,
    discount: float = 0.97,
    acyclic: bool = False,
) -> Mdp:
    """Draw problems whose numbers follow from the seed alone (NumPy, float32).

    Args:
      seed: of the draw.
      count: problems.
      states: of each; state 0 is the root and no terminal.
      actions: of each state.
      terminal_share: chance that a state is terminal.
      invalid_share: chance that an action is not there; action 0 always is.
      discount: of every edge.
      acyclic: whether actions lead to higher states only, the last being terminal.
    """
    rng = np.random.default_rng(seed)
    shape = (count, states, actions)
    to = rng.integers(0, states, shape)
    if acyclic:
        low = np.minimum(np.arange(states) + 1, states - 1)[:, None]
        to = low + (rng.random(shape) * (states - low)).astype(int)
    terminal = rng.random(shape[:2]) < terminal_share
    terminal[:, 0] = False
    if acyclic:
        terminal[:, -1] = True
    valid = rng.random(shape) >= invalid_share
    valid[..., 0] = True
    return Mdp(
        next_state=to.astype(np.int32),  # type: ignore[arg-type]
        reward=rng.uniform(-1, 1, shape).astype(np.float32),  # type: ignore[arg-type]
        discount=np.full(shape, discount, np.float32),  # type: ignore[arg-type]
        prior_logits=rng.normal(size=shape).astype(np.float32),  # type: ignore[arg-type]
        valid=valid,  # type: ignore[arg-type]
        value=rng.uniform(-1, 1, shape[:2]).astype(np.float32),  # type: ignore[arg-type]
        terminal=terminal,  # type: ignore[arg-type]
    )


def best_return(mdp: Mdp, index: int, state: int, depth: int) -> float:
    """Return the best return within `depth` actions, then the table's value.

    Brute force over every plan, in float64: r + discount * best below, 0 at
    terminals, max over valid actions.
    """
    if mdp.terminal[index, state] or not np.any(mdp.valid[index, state]):
        return 0.0
    if depth == 0:
        return float(mdp.value[index, state])
    returns = [
        float(mdp.reward[index, state, action])
        + float(mdp.discount[index, state, action])
        * best_return(mdp, index, int(mdp.next_state[index, state, action]), depth - 1)
        for action in np.flatnonzero(mdp.valid[index, state])
    ]
    return max(returns)
