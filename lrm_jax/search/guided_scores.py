# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How good candidate steps are: by a reward model that reads on, or by likelihood.

The reward model keeps what it has read of a text, so that scoring a step costs its
own tokens. Shape letters as in `guided_steps.py`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.prm.scorer import ScoringModel
from lrm_jax.prm.semantics import score
from lrm_jax.search.guided_steps import STEP, StepEnds, Steps, score_places
from lrm_jax.types import Array, Params


class StepScorer(NamedTuple):
    """What scores steps.

    Attributes:
      model: a reward model; None to score a step by its likelihood under the policy,
        the geometric mean of its tokens' probabilities.
      params: of the model.
      ends: says which tokens write text.
    """

    model: ScoringModel[Any] | None
    params: Params
    ends: StepEnds


def begin_scoring(scorer: StepScorer, ids: Array, mask: Array, *, slots: int) -> Any:
    """Read prompts `[R, P]`, padded on the right: a cache of `slots`, or None."""
    if scorer.model is None:
        return None
    mask = mask.astype(bool)
    positions = jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)
    cache = scorer.model.init_cache(len(ids), slots)
    return scorer.model.extend(scorer.params, ids, positions, mask, cache, 0)[1]


def fork_scoring(scorer: StepScorer, cache: Any, parents: Array) -> Any:
    """Return the cache whose lane i is a copy of lane `parents[i]`."""
    return None if scorer.model is None else scorer.model.fork(cache, parents)


def score_steps_on(
    scorer: StepScorer, cache: Any, length: Array, steps: Steps, before: Array
) -> tuple[Array, Any]:
    """Score one step of each text.

    A step is read where its separator ends, and one without, as an answer's last is,
    at its last token that writes text: as `token_search_samples.closed_ends` has it.

    Args:
      scorer: of steps.
      cache: of M lanes that have read their texts, with C slots to spare.
      length: `[M]` int32, tokens of the texts.
      steps: `[M]`.
      before: `[M]`, the score of each text so far: what a step without a token that
        writes text leaves as it is.

    Returns:
      scores `[M]`, float32 at least, and the cache that has read the steps too.
    """
    if scorer.model is None:
        mean = steps.logp / jnp.maximum(steps.length, 1)
        return jnp.where(steps.length > 0, jnp.exp(mean), before), None
    model = scorer.model
    place = jnp.arange(steps.ids.shape[1], dtype=jnp.int32)[None]
    mask = place < steps.length[:, None]
    positions = length[:, None] + place
    hidden, cache = model.extend(
        scorer.params, steps.ids, positions, mask, cache, length
    )
    at = score_places(scorer.ends, steps.ids, steps.length)  # [M]
    at = jnp.where(steps.end == STEP, steps.length - 1, at)  # it may write nothing
    read = jnp.take_along_axis(hidden, jnp.maximum(at, 0)[:, None, None], axis=1)[:, 0]
    found = score(model.semantics, model.read(scorer.params, read))
    return jnp.where(at >= 0, found, before.astype(found.dtype)), cache


def no_score(scorer: StepScorer, rows: int) -> Array:
    """Return the score `[rows]` of texts without a step."""
    value = 0.0 if _is_progress(scorer) else 0.5
    return jnp.full(rows, value, jnp.promote_types(_dtype(scorer), jnp.float32))


def _is_progress(scorer: StepScorer) -> bool:
    return scorer.model is not None and scorer.model.semantics == "progress"


def _dtype(scorer: StepScorer) -> Any:
    """The dtype of scores: that of what the reward model reads, float32 at least."""
    model = scorer.model
    if model is None:
        return jnp.float32
    cache = jax.eval_shape(lambda: model.init_cache(1, 1))
    one = jnp.zeros((1, 1), jnp.int32)
    read = lambda params, cache: model.read(
        params, model.extend(params, one, one, one > -1, cache, 0)[0]
    )
    return jax.eval_shape(read, scorer.params, cache).dtype
