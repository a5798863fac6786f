# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores of written steps: one scorer for training, evaluation and search.

A score is read *at* the last token of a step's end (`steps.py`), where the model has
seen the step and nothing after it.
"""

from typing import Protocol

import chex
import jax
import jax.numpy as jnp

from lrm_jax.prm.semantics import Semantics, score
from lrm_jax.types import Array, Carry, Params, TokenModel


class WholeScorer(Protocol):
    """Whatever reads texts whole and says at every token how it goes."""

    @property
    def semantics(self) -> Semantics:
        """What its scores mean."""
        ...

    def forward(
        self,
        params: Params,
        ids: Array,
        positions: Array,
        mask: Array,
        segment_ids: Array | None = None,
    ) -> Array:
        """Return `[B, T]` logits, float32 at least; undefined, but finite, at padding.

        Causal: a logit depends on no later token. Arguments as of `Policy.forward`.
        """
        ...


class ScoringModel(TokenModel[Carry], WholeScorer, Protocol[Carry]):
    """A reward model that search can drive token by token."""

    def read(self, params: Params, hidden: Array) -> Array:
        """Return `[...]` logits, float32 at least, of hidden states `[..., D]`."""
        ...


def score_steps(
    model: WholeScorer,
    params: Params,
    ids: Array,
    mask: Array,
    ends: Array,
    *,
    starts: Array | None = None,
    segment_ids: Array | None = None,
) -> Array:
    """Score every step of a batch of texts.

    Args:
      model: that scores.
      params: of the model.
      ids: `[B, T]` int32.
      mask: `[B, T]` bool, false where a token is padding, which may be anywhere.
      ends: `[B, S]` int32 index of each step's last token; -1 for no step.
      starts: `[B]` int32 index of the first token after the prompt; only `implicit`
        scores need it, which are sums over the tokens from there.
      segment_ids: `[B, T]`, where a row holds several texts.

    Returns:
      `[B, S]` scores (`semantics.score`), 0 where there is no step.
    """
    logits = step_logits(
        model, params, ids, mask, ends, starts=starts, segment_ids=segment_ids
    )
    return jnp.where(ends >= 0, score(model.semantics, logits), 0)


def step_logits(
    model: WholeScorer,
    params: Params,
    ids: Array,
    mask: Array,
    ends: Array,
    *,
    starts: Array | None = None,
    positions: Array | None = None,
    segment_ids: Array | None = None,
) -> Array:
    """Return the readings behind `score_steps`, `[B, S]`, 0 where there is no step.

    Args:
      model: that scores.
      params: of the model.
      ids: `[B, T]` int32.
      mask: `[B, T]` bool.
      ends: `[B, S]` int32; -1 for no step.
      starts: `[B]` int32, see `score_steps`.
      positions: `[B, T]`; counted over the real tokens of a segment by default.
      segment_ids: `[B, T]`, where a row holds several texts.
    """
    chex.assert_equal_shape([ids, mask])
    chex.assert_equal_shape_prefix([ids, ends], 1)
    mask = mask.astype(bool)
    if positions is None:
        positions = text_positions(mask, segment_ids)
    logits = model.forward(params, ids, positions, mask, segment_ids)
    read = jnp.take_along_axis(logits, jnp.maximum(ends, 0), axis=1)
    if model.semantics == "implicit":
        if starts is None:
            raise ValueError("implicit scores are sums: starts says from where")
        prompt = jnp.take_along_axis(logits, jnp.maximum(starts - 1, 0)[:, None], 1)
        read = read - jnp.where(starts[:, None] > 0, prompt, 0)
    return jnp.where(ends >= 0, read, 0)


def text_positions(mask: Array, segment_ids: Array | None = None) -> Array:
    """Return each token's place in its text, `[B, T]` int32, padding left out.

    Args:
      mask: `[B, T]` bool.
      segment_ids: `[B, T]`; the tokens of a text are neighbours.
    """
    real = mask.astype(jnp.int32)
    counted = jnp.cumsum(real, axis=1) - 1
    if segment_ids is not None:
        before = jnp.pad(segment_ids[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        # What was counted before a text began; counts never fall, so the latest holds.
        begun = jnp.where(segment_ids != before, counted - real + 1, 0)
        counted -= jax.lax.cummax(begun, axis=1)
    return jnp.maximum(counted, 0)
