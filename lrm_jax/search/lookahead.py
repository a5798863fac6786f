# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a text when the policy goes on greedily for a few steps.

Of Snell et al. 2024 (arXiv 2408.03314, lookahead search): the score there is taken
for the candidate's own, and what was written to get it is dropped.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lrm_jax.search.guided_scores import StepScorer, score_steps_on
from lrm_jax.search.guided_steps import ANSWER, Drawing, StepWriter, Texts, go_on
from lrm_jax.search.guided_steps import write_steps as write
from lrm_jax.types import Array


class Ahead(NamedTuple):
    """What lookahead found.

    Attributes:
      score: `[M]`, of the last step that was written; of texts that had no room, the
        one they had.
      tokens: `[M]` int32, written (and read) for it.
      lane_steps: `[]` int32, calls of the policy with one token a lane.
      lane_tokens: `[]` int32, tokens that took a lane for a step.
    """

    score: Array
    tokens: Array
    lane_steps: Array
    lane_tokens: Array


def look_ahead(
    writer: StepWriter,
    scorer: StepScorer,
    texts: Texts,
    scoring: Any,
    score: Array,
    room: Array,
    depth: int,
) -> Ahead:
    """Go on greedily for `depth` steps, at most to the answer's end.

    Args:
      writer: of steps.
      scorer: of steps.
      texts: M of them.
      scoring: of the scorer, M lanes, with `depth` steps' slots to spare.
      score: `[M]` so far.
      room: `[M]` int32, tokens that each may still have; 0: it has ended.
      depth: k.
    """
    rows = len(score)
    greedy = Drawing(temperature=0.0)
    keys = jax.vmap(jax.random.key)(jnp.zeros(rows, jnp.uint32))  # nothing is drawn
    each = jnp.arange(rows)

    def one(now: tuple, _: None) -> tuple[tuple, None]:
        texts, scoring, score, room, tokens, lane = now
        limit = jnp.minimum(room, writer.step_tokens)
        steps = write(writer, texts, keys, greedy, count=1, room=limit)
        found, scoring = score_steps_on(scorer, scoring, texts.length, steps, score)
        texts = go_on(writer, texts, steps, each, each)
        room = jnp.where(steps.end == ANSWER, 0, room - steps.length)
        lane = lane[0] + steps.steps, lane[1] + steps.lane_tokens
        return (texts, scoring, found, room, tokens + steps.length, lane), None

    zero = jnp.zeros(rows, jnp.int32)
    start = (texts, scoring, score, room, zero, (jnp.int32(0), jnp.int32(0)))
    last, _ = jax.lax.scan(one, start, None, length=depth)
    return Ahead(last[2], last[4], *last[5])
