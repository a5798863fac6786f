# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tree search over latent recursions: a node is a state of thought, an action noise.

One expansion is one segment; the halting head is the value. Nodes store the carry
itself (`(z_H, z_L)` or `(y, z)`), so that no segment runs twice. Of no paper.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.reasoning.budget import step_keys
from lrm_jax.search.latent_noise import (
    LatentSearchable,
    NoiseConfig,
    noise_keys,
    sigmas,
)
from lrm_jax.search.latent_pass import first_equal
from lrm_jax.search.tree import ROOT, Expansion, NodeView, SearchResult
from lrm_jax.types import Array, Key, Params, Problem, Signals

_UNTHOUGHT = -60.0
"""Halting logit of a root: its value is 0, and it never answers beside a thought."""

AnswerRule = Literal["best", "weighted", "visits"]
"""How a tree answers, see `answer_node`."""


class Thought(NamedTuple):
    """What a node stores.

    Attributes:
      carry: the reasoner's, leaves `[M, ...]`.
      ids: `[M, S]` int32, what it would answer.
      halt: `[M]` float32, the halting logit.
    """

    carry: Any
    ids: Array
    halt: Array


@dataclass(frozen=True)
class LatentTree:
    """A `TreeModel` over segments of a latent reasoner.

    A root is the start, with value 0: the first noise falls on the first segment, as
    along trajectories. Action a of a node is a segment with the noise that its key
    gives: the parent's key folded with a, so that a path's result depends on its
    problem and its actions alone. A node ends where the reasoner's rule halts, or at
    the depth limit; its reward there is its value.

    Attributes:
      reasoner: what thinks.
      actions: draws of noise at a node; the first is none with `noise.clean_first`.
      max_depth: deepest node, the root being 0: the most segments of a path.
      noise: sigma by segment (a schedule ends at `max_depth`) and states.
    """

    reasoner: LatentSearchable
    actions: int
    max_depth: int
    noise: NoiseConfig

    @property
    def num_actions(self) -> int:
        """Draws of noise at a node."""
        return self.actions

    def root(
        self, params: Params, problem: Problem, keys: Key
    ) -> tuple[Expansion, Thought]:
        """Start on each problem; nothing is thought yet, and nothing known."""
        zero = jnp.zeros(keys.shape, jnp.int32)
        carry = self.reasoner.start(params, problem, step_keys(keys, zero))
        lanes = keys.shape[0]
        halt = jnp.full((lanes,), _UNTHOUGHT)
        none = jnp.zeros((lanes,), bool)
        return self._made(params, carry, Signals(halt, jnp.zeros(lanes), none), zero)

    def step(
        self, params: Params, view: NodeView[Thought], action: Array, keys: Key
    ) -> tuple[Expansion, Thought]:
        """Think one more segment from the nodes in view, nudged by `action`."""
        carry = view.state().carry
        depth = view.depth + 1
        if self.noise.sigma:
            scale = jnp.asarray(sigmas(self.noise, self.max_depth))
            sigma = scale[jnp.clip(view.depth, 0, self.max_depth - 1)]
            if self.noise.clean_first:
                sigma = jnp.where(action == 0, 0.0, sigma)
            draw = noise_keys(keys)
            carry = self.reasoner.perturb(carry, draw, sigma, self.noise.states)
        carry, signals = self.reasoner.think(params, carry, keys)
        return self._made(params, carry, signals, depth)

    def _made(
        self, params: Params, carry: Any, signals: Signals, depth: Array
    ) -> tuple[Expansion, Thought]:
        """Return nodes at `depth` `[M]`."""
        answer = self.reasoner.answer(params, carry)
        ids = jnp.where(answer.mask, answer.ids, -1)
        halt = signals.halt.astype(jnp.float32)
        value = jax.nn.sigmoid(halt)
        terminal = signals.done | (depth >= self.max_depth)
        shape = (halt.shape[0], self.actions)
        expansion = Expansion(
            reward=jnp.where(terminal, value, 0.0),
            discount=jnp.where(terminal, 0.0, 1.0),
            prior_logits=jnp.zeros(shape),
            valid=jnp.ones(shape, bool),
            value=value,
            terminal=terminal,
        )
        return expansion, Thought(carry, ids, halt)


def page_bytes(model: LatentTree, params: Params, problem: Problem) -> int:
    """Return the bytes that a node stores beside its statistics.

    Args:
      model: of the trees.
      params: arrays or their shapes.
      problem: arrays or their shapes, `[B, ...]`.
    """
    lanes = problem["inputs"].shape[0]
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), lanes))
    _, thought = jax.eval_shape(model.root, params, problem, keys)
    sizes = (int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(thought))
    return sum(sizes) // lanes


def answer_node(result: SearchResult[Thought], rule: AnswerRule) -> Array:
    """Return the node that answers in each tree, `[B]` int32.

    Args:
      result: of the search.
      rule: `best`, the highest value; `weighted`, the answer with the largest sum of
        values; both over the nodes that halted or are as deep as a tree may be, and
        over all nodes where there are none. `visits`, where the most visited path
        ends. Ties go to the earlier node.
    """
    tree = result.tree
    made = tree.visits > 0
    if rule == "visits":
        return _most_visited(result)
    ended = made & tree.terminal
    among = jnp.where(ended.any(1, keepdims=True), ended, made)  # [B, N+1]
    value = jax.nn.sigmoid(tree.states.halt)
    if rule == "weighted":
        group = first_equal(tree.states.ids)
        same = (group[:, :, None] == group[:, None]) & among[:, None]
        value = jnp.where(same, value[:, None], 0.0).sum(-1)
    return jnp.argmax(jnp.where(among, value, -jnp.inf), axis=1).astype(jnp.int32)


def _most_visited(result: SearchResult[Thought]) -> Array:
    """Walk down by visits, the lower action of equals, as far as there are nodes."""
    tree = result.tree
    rows = jnp.arange(tree.visits.shape[0])

    def down(_: Array, node: Array) -> Array:
        children = tree.children[rows, node]  # [B, A]
        there = children >= 0
        visits = tree.visits[rows[:, None], jnp.maximum(children, 0)]
        best = jnp.argmax(jnp.where(there, visits, -1), axis=1)
        return jnp.where(there.any(1), children[rows, best], node)

    start = jnp.full(rows.shape, ROOT, jnp.int32)
    return jax.lax.fori_loop(0, tree.visits.shape[1] - 1, down, start)
