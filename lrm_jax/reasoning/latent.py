# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The latent reasoner behind the `Reasoner` seam: one step is one ACT segment.

Budgets, evaluation and search use nothing but this; training goes through
`reasoning/segment.py`, which shares the recurrence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import chex
import flax.struct
import jax
import jax.numpy as jnp

from lrm_jax.reasoning.cycles import LatentState
from lrm_jax.reasoning.halting import HaltingConfig, wants_halt
from lrm_jax.reasoning.segment import CoreFns, think
from lrm_jax.types import (
    Answer,
    Array,
    Key,
    Params,
    Problem,
    Signals,
    at_least_float32,
)

STATES = ("z_h", "z_l")
"""The states of a carry that can be perturbed."""


class LatentCarry(flax.struct.PyTreeNode):
    """A lane's thought: its states and the problem it works on."""

    z_h: Array  # [B, L, D]
    z_l: Array  # [B, L, D]
    steps: Array  # [B] int32, segments done
    inputs: Array  # [B, S] int32
    puzzle_ids: Array  # [B] int32


@dataclass(frozen=True)
class LatentReasoner:
    """HRM, TRM and their family as a `Reasoner`; it holds no arrays.

    Attributes:
      core: the model.
      halting: the rule that decides `Signals.done`; its cap is the budget's.
    """

    core: CoreFns
    halting: HaltingConfig

    def start(self, params: Params, problem: Problem, keys: Key) -> LatentCarry:
        """Return fresh states for the given problems.

        Args:
          params: weights, fixed states and, where there is one, the puzzle table.
          problem: inputs `[B, S]` and puzzle_ids `[B]`.
          keys: `[B]`; not used, the start is deterministic.
        """
        del keys
        inputs = problem["inputs"]
        chex.assert_rank(inputs, 2)
        length = self.core.cfg.total_len
        shape = (inputs.shape[0], length, params["fixed"]["z_h_init"].shape[0])
        dtype = self.core.cfg.dtype

        def state(z: Array) -> Array:
            return jnp.broadcast_to(z.astype(dtype)[None, None], shape)

        return LatentCarry(
            z_h=state(params["fixed"]["z_h_init"]),
            z_l=state(params["fixed"]["z_l_init"]),
            steps=jnp.zeros(inputs.shape[:1], jnp.int32),
            inputs=inputs,
            puzzle_ids=problem["puzzle_ids"],
        )

    def think(
        self, params: Params, carry: LatentCarry, keys: Key
    ) -> tuple[LatentCarry, Signals]:
        """Run one segment; nothing is differentiated."""
        del keys
        weights = self.core.cast(params["weights"])
        table = params.get("puzzle_table")
        rows = None if table is None else table[carry.puzzle_ids]
        x = self.core.embed(weights, carry.inputs, rows)
        state, q = think(self.core, weights, LatentState(carry.z_h, carry.z_l), x)
        steps = carry.steps + 1
        q_halt, q_continue = q[:, 0], q[:, 1]
        done = wants_halt(self.halting, q_halt - self.halting.eval_margin, q_continue)
        signals = Signals(
            halt=q_halt,
            value=jax.nn.sigmoid(q_halt),
            done=done,
        )
        return carry.replace(z_h=state.z_h, z_l=state.z_l, steps=steps), signals

    def answer(self, params: Params, carry: LatentCarry) -> Answer:
        """Return what the high state says in every cell."""
        logits = self.core.logits(self.core.cast(params["weights"]), carry.z_h)
        ids = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return Answer(ids, logits, jnp.ones(ids.shape, bool))

    def perturb(
        self, carry: LatentCarry, keys: Key, sigma: Array, states: Sequence[str]
    ) -> LatentCarry:
        """Add Gaussian noise to states, as search does before a segment.

        Args:
          carry: of `B` lanes.
          keys: `[B]`; consumed.
          sigma: `[B]` standard deviation; a lane of 0 keeps its bits.
          states: names out of `STATES`.
        """
        noisy = {}
        for number, name in enumerate(STATES):
            if name not in states:
                continue
            z = at_least_float32(getattr(carry, name))
            draw = lambda key, n=number, z=z: jax.random.normal(
                jax.random.fold_in(key, n), z.shape[1:], z.dtype
            )
            scale = sigma.astype(z.dtype)[:, None, None]
            moved = jnp.where(scale == 0, z, z + scale * jax.vmap(draw)(keys))
            noisy[name] = moved.astype(getattr(carry, name).dtype)
        return carry.replace(**noisy)

    def change(self, before: LatentCarry, after: LatentCarry) -> Array:
        """Return how far a lane's high state moved: root mean square, `[B]`."""
        moved = at_least_float32(after.z_h) - at_least_float32(before.z_h)
        return jnp.sqrt(jnp.mean(jnp.square(moved), axis=(1, 2)))
