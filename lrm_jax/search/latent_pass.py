# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""K trajectories of every problem in one scan; everything that selection reads.

One pass gives every selector at every depth and every smaller width. Lanes are
problem-major: lane `b * K + k` is trajectory k of problem b, and its result depends
on its problem, k and the step alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.reasoning.budget import step_keys
from lrm_jax.search.latent_noise import (
    LatentSearchable,
    NoiseConfig,
    noise_keys,
    noisy_lanes,
    trajectory_keys,
)
from lrm_jax.types import Array, Key, Params, Problem

OnIds = Callable[[Array], Array]
"""From answers `[B * K, S]` to answers (undoing a view) or verdicts `[B * K]`."""


class Trajectories(NamedTuple):
    """What was seen of `B` problems, `K` trajectories, after each of `T` segments.

    Attributes:
      halt: `[B, K, T]` float32 halting logits.
      residual: `[B, K, T]` float32, how far the segment moved the state.
      done: `[B, K, T]` bool, the reasoner's own halting rule.
      group: `[B, K, T]` int32, the first trajectory with the same answer then.
      right: `[B, K, T]` bool by the judge; all false without one.
    """

    halt: Array
    residual: Array
    done: Array
    group: Array
    right: Array


def first_equal(ids: Array) -> Array:
    """Return `[B, K]` int32: the first of a problem's answers `[B, K, S]` equal to it.

    >>> first_equal(jnp.array([[[1, 2], [3, 4], [1, 2]]])).tolist()
    [[0, 1, 0]]
    """
    equal = (ids[:, :, None] == ids[:, None]).all(-1)  # [B, K, K]
    return jnp.argmax(equal, axis=-1).astype(jnp.int32)


def run_trajectories(
    reasoner: LatentSearchable,
    params: Params,
    problem: Problem,
    keys: Key,
    sigma: Array | None,
    *,
    width: int,
    steps: int,
    noise: NoiseConfig,
    undo: OnIds | None = None,
    judge: OnIds | None = None,
) -> Trajectories:
    """Think `steps` segments along `width` trajectories of each problem.

    Args:
      reasoner: static under jit.
      params: its parameters.
      problem: arrays `[B * K, ...]`, each problem K times (or K views of it), with
        nothing in them that the reasoner may not see.
      keys: `[B]`, of problems; consumed.
      sigma: `[T]` noise before each segment (`latent_noise.sigmas`); None for none,
        which is the plain reasoner's program.
      width: K, static.
      steps: T, static.
      noise: which states, and whether the first trajectory stays clean.
      undo: takes answers to views of a problem back to the problem.
      judge: says which answers `[B * K, S]` are right.
    """
    batch = keys.shape[0]
    lanes = trajectory_keys(keys, width)
    loud = noisy_lanes(noise, batch, width)
    zero = jnp.zeros(batch * width, jnp.int32)
    first = reasoner.start(params, problem, step_keys(lanes, zero))

    def segment(carry: Any, at: tuple[Array, Array | None]) -> tuple[Any, Any]:
        number, scale = at
        now = step_keys(lanes, zero + number)
        nudged = carry
        if scale is not None:
            nudged = reasoner.perturb(
                carry, noise_keys(now), scale * loud, noise.states
            )
        after, signals = reasoner.think(params, nudged, now)
        answer = reasoner.answer(params, after)
        ids = jnp.where(answer.mask, answer.ids, -1)
        ids = ids if undo is None else undo(ids)
        right = jnp.zeros(zero.shape, bool) if judge is None else judge(ids)
        seen = (
            signals.halt.astype(jnp.float32),
            reasoner.change(carry, after).astype(jnp.float32),
            signals.done,
            first_equal(ids.reshape(batch, width, -1)).reshape(-1),
            right,
        )
        return after, seen

    numbers = jnp.arange(1, steps + 1, dtype=jnp.int32)
    _, seen = jax.lax.scan(segment, first, (numbers, sigma))

    def by_problem(x: Array) -> Array:  # [T, B * K, ...] -> [B, K, T, ...]
        return jnp.moveaxis(x.reshape(steps, batch, width, *x.shape[2:]), 0, 2)

    return Trajectories(*jax.tree.map(by_problem, seen))
