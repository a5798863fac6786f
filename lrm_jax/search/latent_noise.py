# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Noise on a latent carry, step by step: what makes parallel trajectories differ.

PTRM (arXiv 2605.19943) adds N(0, sigma²) to the high state before every segment of
an existing model; EqR (arXiv 2605.21488) starts each trajectory at random.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.types import Array, Key, Reasoner, UserError

Carry = TypeVar("Carry")
Schedule = Literal["constant", "linear", "cosine", "first"]

_TRAJECTORY = 0x54000000
_NOISE = 0x4E000000


class LatentSearchable(Reasoner[Carry], Protocol[Carry]):
    """A reasoner whose thought can be nudged: what latent search needs of it."""

    def perturb(
        self, carry: Carry, keys: Key, sigma: Array, states: Sequence[str]
    ) -> Carry:
        """Return the carry with noise of `sigma` `[B]`; a lane of 0 keeps its bits."""
        ...

    def change(self, before: Carry, after: Carry) -> Array:
        """Return how far each lane moved, `[B]`: the residual of a fixed point."""
        ...


@dataclass(frozen=True)
class NoiseConfig:
    """How trajectories are made to differ.

    Attributes:
      sigma: standard deviation of the noise before the first segment, in units of
        the state (normalised states have a root mean square of 1); 0 for none.
      schedule: `constant`; `linear` or `cosine` decay to 0 at the last segment;
        `first`, before the first segment only, which is a random start.
      states: which states it is added to: `z_h`, `z_l` or both.
      clean_first: leave the first trajectory without noise, so that every width
        holds the plain reasoner's own answer.
    """

    sigma: float = 0.3
    schedule: Schedule = "constant"
    states: tuple[str, ...] = ("z_h",)
    clean_first: bool = True

    def __post_init__(self) -> None:
        """Refuse what no noise could be."""
        if not (self.sigma >= 0 and math.isfinite(self.sigma)):
            raise UserError(f"sigma={self.sigma}: expected a finite number, 0 or more")
        if self.schedule not in get_args(Schedule):
            raise UserError(
                f"schedule={self.schedule!r}: accepted are "
                + ", ".join(get_args(Schedule))
            )
        if not self.states or not set(self.states) <= {"z_h", "z_l"}:
            raise UserError(f"states={self.states}: accepted are z_h, z_l or both")


def sigmas(noise: NoiseConfig, steps: int) -> np.ndarray:
    """Return the noise before each of `steps` segments, float32 `[steps]`.

    >>> sigmas(NoiseConfig(sigma=0.5, schedule="linear"), 3).tolist()
    [0.5, 0.25, 0.0]
    """
    done = np.arange(steps) / max(steps - 1, 1)  # 0 at the first, 1 at the last
    share = {
        "constant": np.ones(steps),
        "linear": 1 - done,
        "cosine": 0.5 * (1 + np.cos(np.pi * done)),
        "first": (np.arange(steps) == 0).astype(float),
    }[noise.schedule]
    return (noise.sigma * share).astype(np.float32)


def trajectory_keys(keys: Key, width: int) -> Key:
    """Return keys `[B * width]`, problem by problem.

    The first trajectory has the problem's own key, so that it draws what one pass
    would draw.

    Args:
      keys: `[B]`, of problems.
      width: trajectories of a problem.
    """
    number = jnp.arange(width, dtype=jnp.int32)
    branch = jax.vmap(jax.random.fold_in, in_axes=(None, 0))

    def of_problem(key: Key) -> Key:
        data = jax.random.key_data(branch(key, _TRAJECTORY + number))
        own = jax.random.key_data(key)[None]
        first = (number == 0)[:, None]
        words = jnp.where(first, own, data)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))

    return jax.vmap(of_problem)(keys).reshape(-1)


def noise_keys(keys: Key) -> Key:
    """Return the keys of the noise of a step from those of the step, `[B]`."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, _NOISE)


def noisy_lanes(noise: NoiseConfig, batch: int, width: int) -> Array:
    """Return `[B * width]` float32: 1 where a trajectory gets noise, else 0."""
    number = jnp.tile(jnp.arange(width), batch)
    clean = (number == 0) if noise.clean_first else jnp.zeros_like(number, bool)
    return 1.0 - clean.astype(jnp.float32)
