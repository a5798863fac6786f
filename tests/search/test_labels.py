# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Step labels against exact chances; first errors found by halving."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.reasoning.stops import stop_table
from lrm_jax.search.guided_steps import ANSWER, Drawing, StepWriter
from lrm_jax.search.labels import (
    answer_ends,
    complete,
    consensus,
    first_error,
    step_label,
)
from lrm_jax.search.labels_omega import (
    OmegaConfig,
    Rollout,
    _State,
    omega_questions,
    select_rollout,
)
from lrm_jax.types import UserError
from tests.search import planted
from tests.search.planted import BYTES, END, SEP, A, B


@functools.partial(jax.jit, static_argnames=("count", "lanes"))
def _complete(table, ends, ids, keys, room, *, count, lanes=0):
    writer = StepWriter(planted.POLICY, table, ends, 40, lanes)
    return complete(writer, ids, ids > 0, keys, Drawing(), count=count, room=room)


def _ends():
    writes = jnp.asarray([len(one) > 0 for one in BYTES])
    return answer_ends(stop_table(BYTES, [END]), writes)


def _keys(count):
    return jax.vmap(jax.random.key)(jnp.arange(count, dtype=jnp.uint32))


def test_shares_of_right_completions_are_the_exact_chances():
    # Right so far: V = p (e + (1 - e) V) for the letter's chance p, the end's e.
    prefixes = [[A, SEP, 0, 0], [A, SEP, A, SEP], [A, SEP, B, SEP], [B, SEP, 0, 0]]
    ids = jnp.asarray(prefixes, jnp.int32)
    steps = _complete(
        planted.table(), _ends(), ids, _keys(4), jnp.full(4, 40), count=2000, lanes=500
    )
    said, length = np.asarray(steps.ids), np.asarray(steps.length)
    assert (np.asarray(steps.end) == ANSWER).mean() > 0.999
    chance = lambda p: 0.3 * p / (1 - 0.7 * p)
    exact = [chance(0.5), chance(0.5), 0.0, chance(0.3)]
    for i, prefix in enumerate(prefixes):
        right = [
            planted.right(prefix[0], [*prefix[2:], *said[r, : length[r]]])
            for r in range(2000 * i, 2000 * i + 2000)
        ]
        error = math.sqrt(exact[i] * (1 - exact[i]) / 2000)
        assert step_label(right, "soft") == pytest.approx(exact[i], abs=4 * error)


def test_no_room_means_no_completion():
    ids = jnp.asarray([[A, SEP], [A, SEP]], jnp.int32)
    steps = _complete(
        planted.table(), _ends(), ids, _keys(2), jnp.asarray([0, 3]), count=4
    )
    assert steps.length[:4].tolist() == [0] * 4
    assert max(steps.length[4:].tolist()) <= 3


def test_labels_of_steps():
    assert step_label([0.0, 0.0, 1.0, 0.0], "hard") == 1
    assert step_label([0.0, 0.0], "hard") == step_label([0.0], "soft") == 0
    assert first_error([1.0, 0.0, 1.0]) == 1
    assert first_error([0.1, 0.2]) == -1
    kept, dropped = consensus([[1, 0], [1, 1], [0, 1]], [[0.5, 0], [1, 0], [0, 0]])
    assert (kept, dropped) == ([0, 2], [1])


def _solved(error, steps=8, seed=0):
    """Answers to questions where every text is right before step `error`."""

    def answer(prefix):
        asked.append(len(prefix))
        on_path = prefix == path[: len(prefix)]
        alive = on_path and len(prefix) < error
        wrong = Rollout(path[len(prefix) :], False)
        return [Rollout(((9,),), alive), wrong]

    path = tuple((10 + i,) for i in range(steps))
    asked = []
    return answer, asked, path


@pytest.mark.parametrize("error", range(1, 9))
def test_the_first_error_is_found_by_halving(error):
    answer, asked, path = _solved(error)
    questions = omega_questions(OmegaConfig(searches=1))
    prefix = next(questions)
    assert prefix == ()
    with pytest.raises(StopIteration) as over:
        while True:
            prefix = questions.send(answer(prefix))
    values = {len(one.steps): one.value for one in over.value.value}
    assert len(asked) <= 1 + math.ceil(math.log2(8))
    wrong = min(n for n, value in values.items() if value == 0)
    assert wrong == error
    assert error == 1 or values[error - 1] > 0


def test_rollouts_are_taken_by_what_they_are_worth():
    config = OmegaConfig(alpha=0.5, beta=0.9, length=10, exploration=0.125)
    long, short = Rollout(((1,) * 20,), False), Rollout(((1,) * 2,), False)
    low = _State((), 0.25, [long, short])
    high = _State(((3,),), 0.75, [long])
    assert select_rollout([low, high], config) == (high, long)
    # Q = 0.5^0.25 * 0.9^2 = 0.681 against 0.5^0.75 * 0.9^0.2 = 0.582: U decides.
    high.visits = 1
    # U = 0.125 * sqrt(1) / 1 = 0.125 there and 0.0625 here: 0.743 against 0.707.
    assert select_rollout([low, high], config) == (high, long)
    high.visits = 4  # 0.731 against 0.832
    assert select_rollout([low, high], config) == (low, short)
    dead, sure = _State((), 0.0, [short]), _State((), 1.0, [short])
    assert select_rollout([dead, sure], config) is None


def test_constants_that_select_nothing_are_refused():
    with pytest.raises(UserError, match="searches=0"):
        OmegaConfig(searches=0)
    with pytest.raises(UserError, match="alpha=0"):
        OmegaConfig(alpha=0.0)
