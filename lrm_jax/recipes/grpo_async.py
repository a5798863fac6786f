# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rollouts begun ahead of the updates: S = `rl.rollout.max_staleness` of them.

Iteration i begins rollout i + S with the weights that it starts with, and learns
from rollout i, which the weights of iteration max(0, i - S) wrote. Rollouts are
learned from in the order of their prompts, whole, however short some answers are:
nothing overtakes. There are no threads: JAX's dispatch returns at once, so the host
scores one rollout while the devices write the next and take the updates before.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax import sharding
from lrm_jax.recipes.grpo_rollout import RolloutMaker, StartedRollout, step_key
from lrm_jax.recipes.grpo_state import GrpoCarry, InFlight
from lrm_jax.recipes.grpo_step import ROLLOUT
from lrm_jax.recipes.policy_state import full_weights
from lrm_jax.recipes.token_sampler import Decoding
from lrm_jax.sharding import MeshConfig
from lrm_jax.training.state import TrainState
from lrm_jax.types import Key, Params


def rollout_mesh(mesh: Mesh, count: int) -> Mesh:
    """Return the mesh of the sampler: the last `count` devices; 0 for the trainer's.

    Weights are split over its `model` axis as they are over the trainer's, and
    over no other.
    """
    if not count:
        return mesh
    config = MeshConfig(data=-1, model=mesh.shape["model"])
    return sharding.make_mesh(config, jax.devices()[-count:])


class WeightTransfer:
    """Brings weights to the sampler's devices; no part of them visits the host.

    The trainer's mesh gathers what only it splits, so that every device of the
    sampler finds its part whole on one of the trainer's: the way from there is a
    copy. Where both have one mesh, weights are taken as they lie.

    Attributes:
      sampler: the mesh that rollouts are written on.
    """

    def __init__(self, trainer: Mesh, sampler: Mesh) -> None:
        """Bind both meshes."""
        self._trainer, self.sampler = trainer, sampler
        self._gather: Any = None
        self._where: Any = None

    def __call__(self, weights: Params, key: Key) -> tuple[Params, Key]:
        """Return weights and key for the sampler; waits for nothing."""
        if self.sampler is self._trainer:
            return weights, key
        if self._gather is None:
            specs = jax.tree.map(lambda x: _model_only(x.sharding.spec), weights)
            place = lambda mesh: jax.tree.map(lambda s: NamedSharding(mesh, s), specs)
            self._gather = jax.jit(lambda w: w, out_shardings=place(self._trainer))
            self._where = place(self.sampler)
        key = jax.device_put(key, NamedSharding(self.sampler, P()))
        return jax.device_put(self._gather(weights), self._where), key


class RolloutsAhead:
    """Begins rollouts and hands out the oldest; those in flight are in the carry."""

    def __init__(
        self, maker: RolloutMaker, transfer: WeightTransfer, *, ahead: int, count: int
    ) -> None:
        """Bind the parts.

        Args:
          maker: of rollouts.
          transfer: of weights to it.
          ahead: S.
          count: Q, prompts of a rollout.
        """
        self._maker, self._transfer = maker, transfer
        self._ahead, self._count = ahead, count

    def __call__(
        self, state: TrainState, step: int
    ) -> tuple[StartedRollout, tuple[InFlight, ...], int]:
        """Begin what is due at an iteration; waits for nothing.

        Args:
          state: that the iteration starts with; may be donated afterwards.
          step: optimizer steps behind it; before the first, S more are begun.

        Returns:
          The rollout to learn from, those that then stay in flight, and the number
          of prompts drawn so far.
        """
        carry: GrpoCarry = state.carry
        cursor, begun = int(carry.cursor), []
        weights, key = full_weights(state.params), step_key(state.key, step, ROLLOUT)
        weights, key = self._transfer(weights, key)
        with sharding.use_mesh(self._transfer.sampler):
            for _ in range(1 if step else 1 + self._ahead):
                begun.append(self._maker.start(weights, key, cursor=cursor, step=step))
                cursor += self._count
        if not self._ahead:
            return begun[0], (), cursor
        older = carry.ahead if step else ()
        oldest, *rest = [*older, *map(_in_flight, begun)]
        return self._reopen(oldest), tuple(rest), cursor

    def _reopen(self, flight: InFlight) -> StartedRollout:
        rows = flight.completions.ids.shape[0]
        return self._maker.reopen(
            Decoding(flight.completions, rows),
            cursor=int(flight.cursor),
            step=int(flight.version),
        )


def _in_flight(started: StartedRollout) -> InFlight:
    cursor, version = np.int32(started.cursor), np.int32(started.step)
    decoding = started.decoding
    real = jax.tree.map(lambda x: x[: decoding.rows], decoding.completions)
    return InFlight(real, cursor, version)


def keep_ahead(
    state: TrainState, ahead: tuple[InFlight, ...], cursor: int, mesh: Mesh
) -> TrainState:
    """Return the state after the updates with what is in flight in its carry.

    Its numbers come from the host, so that the next iteration reads them without
    waiting for the updates.
    """
    carry = state.carry.replace(ahead=ahead, cursor=np.int32(cursor))
    where = NamedSharding(mesh, P())
    on_device = lambda x: x if isinstance(x, jax.Array) else sharding.put(x, where)
    return state.replace(carry=jax.tree.map(on_device, carry))


def _model_only(spec: P) -> P:
    """Return a spec without the axes that only the trainer splits weights over."""

    def keep(names: Any) -> Any:
        names = names if isinstance(names, tuple) else (names,)
        return "model" if "model" in names else None

    return P(*[keep(names) for names in spec])
