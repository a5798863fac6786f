# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels of steps from the policy's own completions.

Math-Shepherd (arXiv 2312.08935, section 3.2): a step is as good as what the policy
makes of the text up to it, hard (any of N completions is right) or soft (their
share). Completions are written on the device, lanes refilled; the rest is plain
Python. Shape letters: `R` prefixes, `N` completions of each, `C` tokens of one.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax.numpy as jnp

from lrm_jax.reasoning.stops import StopTable
from lrm_jax.search.guided_steps import (
    Drawing,
    StepEnds,
    Steps,
    StepWriter,
    begin_texts,
    node_keys,
    write_steps,
)
from lrm_jax.types import Array, Key

Mode = Literal["hard", "soft"]


def answer_ends(stops: StopTable, writes: Array) -> StepEnds:
    """Return ends for completions: those of answers alone.

    Args:
      stops: finds them.
      writes: `[V]` bool, tokens that add to the text.
    """
    automaton = stops.automaton
    # Whatever the reason, an end is an answer's.
    flags = (automaton.flags > 0).astype(automaton.flags.dtype)
    return StepEnds(StopTable(automaton._replace(flags=flags)), writes)


def complete(
    writer: StepWriter,
    ids: Array,
    mask: Array,
    keys: Key,
    drawing: Drawing,
    *,
    count: int,
    room: Array,
) -> Steps:
    """Write `count` completions of every prefix, each to its answer's end.

    Args:
      writer: with `answer_ends`, `step_tokens` of the longest completion.
      ids: `[R, S]` int32, prompts and steps so far, padded on the right.
      mask: `[R, S]` bool.
      keys: `[R]`, one a prefix.
      drawing: how tokens are drawn.
      count: N.
      room: `[R]` int32, tokens that each may still have, at most `step_tokens`; 0:
        none is written.

    Returns:
      `[R * N]` rows without pages.
    """
    slots = ids.shape[1] + writer.step_tokens
    texts = begin_texts(writer.model, writer.params, ids, mask, slots=slots)
    room = jnp.minimum(room, slots - texts.length)
    return write_steps(
        writer,
        texts,
        node_keys(keys, count),
        drawing,
        count=count,
        room=room,
        keep_pages=False,
    )


def step_label(right: Sequence[float], mode: Mode) -> float:
    """Return the label of a step from the verdicts of its completions.

    >>> step_label([0.0, 1.0, 0.0, 0.0], "soft")
    0.25
    """
    share = sum(right) / len(right)
    return float(share > 0) if mode == "hard" else share


def first_error(labels: Sequence[float]) -> int:
    """Return the first step from which nothing was right, -1 where there is none.

    >>> first_error([1.0, 0.5, 0.0, 0.25])
    2
    """
    return next((i for i, label in enumerate(labels) if label == 0), -1)


class Agreement(NamedTuple):
    """What a consensus filter keeps (Qwen, arXiv 2501.07301, section 2.2).

    Attributes:
      kept: rows whose two labellings name the same first error, or none.
      dropped: the others.
    """

    kept: list[int]
    dropped: list[int]


def consensus(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]
) -> Agreement:
    """Compare two labellings of the same rows by their first errors."""
    kept, dropped = [], []
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        (kept if first_error(a) == first_error(b) else dropped).append(i)
    return Agreement(kept, dropped)
