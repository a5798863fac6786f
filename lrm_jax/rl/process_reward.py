# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores of a completion's steps as a dense reward, in forms that cannot be padded.

Never a plain sum of scores, which every further step would raise:

- `potential`: gamma * Phi(s') - Phi(s) for each step, Phi(terminal) = 0 (Ng, Harada and
  Russell 1999, theorem 1). It moves no policy's return but by a constant, so the best
  policies stay the best. GRPO's returns are undiscounted: gamma = 1 there.
- `minimum`: the least score from a step on (PURE, arXiv 2504.15275, section 3.2). Not
  invariant: it is another objective, which wants all steps to look right.

In both, splitting a step or adding some never raises a completion's return. `B`
completions of `C` tokens; a step ends at some token, and tokens after the last end
belong to the last step.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from lrm_jax.masked import masked_mean
from lrm_jax.types import Array, UserError

Form = Literal["potential", "minimum"]
Baseline = Literal["none", "group", "others"]


def potential_rewards(
    potentials: Array, mask: Array, start: Array, *, gamma: float
) -> Array:
    """Return gamma * Phi(s_i) - Phi(s_{i-1}) of every step, `[B, S]`.

    The state after the last step is terminal: its potential counts as 0, whatever it
    is. 0 where there is no step.

    Args:
      potentials: `[B, S]` Phi after each step.
      mask: `[B, S]` bool, steps that exist, the first ones of a row.
      start: `[B]` Phi before the first step.
      gamma: discount of a step.
    """
    last = mask & ~jnp.pad(mask[:, 1:], ((0, 0), (0, 1)))
    after = jnp.where(mask & ~last, potentials, 0)
    before = jnp.concatenate([start[:, None], after[:, :-1]], axis=1)
    return jnp.where(mask, gamma * after - before, 0)


def step_returns(
    form: Form,
    rewards: Array,
    scores: Array,
    ends: Array,
    *,
    coef: float,
    start: Array,
) -> Array:
    """Return what each token's step and those after it bring, `[B, C]`, undiscounted.

    `potential`: R + sum over the steps from t on of their `potential_rewards`, which
    telescopes to R - Phi(state in which the step began); Phi = coef * score +
    (1 - coef) * start after a step, and start before the first one.
    `minimum`: R + coef * least score of the steps from t on, 0 in the place of the
    score where no step ends.

    Args:
      form: of the reward.
      rewards: `[B]` R of whole completions.
      scores: `[B, C]` in [0, 1] at the ends of steps; any value elsewhere.
      ends: `[B, C]` bool, where steps end.
      coef: what a score counts; for `potential` in [0, 1].
      start: `[B]` potential of the prompt; must not depend on the completion.

    Raises:
      UserError: there is no such form.
    """
    scores = jnp.where(ends, scores, 0).astype(rewards.dtype)
    if form == "potential":
        ended, score = _before(scores, ends)
        phi = jnp.where(
            ended, coef * score + (1 - coef) * start[:, None], start[:, None]
        )
        return rewards[:, None] - phi
    if form == "minimum":
        least = lax.cummin(jnp.where(ends, scores, jnp.inf), axis=1, reverse=True)
        # What follows the last end goes with the last step.
        at = jnp.arange(ends.shape[1])[None]
        last = jnp.max(jnp.where(ends, at, -1), axis=1, keepdims=True)
        tail = jnp.take_along_axis(scores, jnp.maximum(last, 0), axis=1)
        found = jnp.where(at <= last, least, jnp.where(last < 0, 0, tail))
        return rewards[:, None] + coef * found
    raise UserError(f"process.form={form!r}: expected potential or minimum")


def completion_returns(
    form: Form, rewards: Array, scores: Array, ends: Array, *, coef: float
) -> Array:
    """Return what each completion brings in all, `[B]`: R itself for `potential`."""
    zeros = jnp.zeros_like(rewards)
    return step_returns(form, rewards, scores, ends, coef=coef, start=zeros)[:, 0]


def process_advantages(
    form: Form,
    rewards: Array,
    scores: Array,
    ends: Array,
    *,
    coef: float,
    group_size: int,
    baseline: Baseline,
) -> Array:
    """Return advantages of tokens, `[B, C]`, not normalised.

    A = scale * (return of the token's step - b), b the mean total return of the other
    completions of the prompt: scale is 1, and (G - 1) / G for `group`, which is the
    mean with the completion itself. For `potential` b is the prompt's potential, so
    that the expected gradient is exactly that without scores (times scale).

    Args:
      form: of the reward.
      rewards: `[B]`, rows group-major.
      scores: `[B, C]` at the ends of steps.
      ends: `[B, C]` bool.
      coef: what a score counts.
      group_size: G.
      baseline: `none` is b = 0.
    """
    total = completion_returns(form, rewards, scores, ends, coef=coef)
    b, scale = jnp.zeros_like(total), 1.0
    if baseline != "none":
        groups = total.reshape(-1, group_size)
        others = jnp.sum(groups, axis=1, keepdims=True) - groups
        b = (others / max(1, group_size - 1)).reshape(-1)
        scale = (group_size - 1) / group_size if baseline == "group" else 1.0
    how = {"coef": coef, "start": b}
    returns = step_returns(form, rewards, scores, ends, **how)
    if form == "minimum":
        returns = returns - b[:, None]
    return scale * returns


def process_metrics(
    scores: Array, ends: Array, rows: Array
) -> dict[str, tuple[Array, Array]]:
    """Return how many steps there were and how they scored, as (sum, weight).

    Args:
      scores: `[B, C]` at the ends of steps.
      ends: `[B, C]` bool.
      rows: `[B]` bool, completions that count.
    """
    kept = ends & rows[:, None]
    count, weight = jnp.sum(kept, axis=1), jnp.sum(rows).astype(scores.dtype)
    steps = jnp.sum(count).astype(scores.dtype)
    least = jnp.min(jnp.where(kept, scores, jnp.inf), axis=1)
    some = count > 0
    return {
        "process/steps_mean": (steps, weight),
        "process/score_mean": (masked_mean(scores, kept) * steps, steps),
        "process/least_mean": (
            jnp.sum(jnp.where(some, least, 0)),
            jnp.sum(some).astype(scores.dtype),
        ),
    }


def _before(scores: Array, ends: Array) -> tuple[Array, Array]:
    """Whether a step ended before each token, and the score at the latest such end."""
    at = jnp.arange(ends.shape[1])[None]
    latest = lax.cummax(jnp.where(ends, at, -1), axis=1)
    latest = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    score = jnp.take_along_axis(scores, jnp.maximum(latest, 0), axis=1)
    return latest >= 0, jax.lax.stop_gradient(score)
