# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.prm.scorer import score_steps, text_positions
from lrm_jax.prm.semantics import check_semantics, default_aggregation, score
from lrm_jax.types import UserError

SEPARATOR = 9


class Planted:
    """Says at a separator whether a 1 stands before it, and nothing elsewhere."""

    semantics = "step_correctness"

    def __init__(self, shift=0, ahead=False):
        self.shift, self.ahead = shift, ahead

    def forward(self, params, ids, positions, mask, segment_ids=None):
        before = jnp.roll(ids, 1, axis=1)
        says = jnp.where(before == 1, 4.0, -4.0)
        says = jnp.where(ids == SEPARATOR, says, 0.0)
        if self.ahead:  # looks at the whole text, as a head on the last token would
            says = says + 0.01 * jnp.sum(ids, axis=1, keepdims=True)
        return jnp.roll(says, self.shift, axis=1)


def planted_text(rng, steps=200):
    labels = rng.integers(0, 2, steps)
    ids = np.full((steps, 3), 5)
    ids[:, 1], ids[:, 2] = np.where(labels, 1, 2), SEPARATOR
    ends = 3 * np.arange(steps) + 2
    return jnp.asarray(ids.reshape(1, -1)), jnp.asarray(ends)[None], labels


def accuracy(model, rng):
    ids, ends, labels = planted_text(rng)
    scores = score_steps(model, {}, ids, jnp.ones_like(ids), ends)[0]
    return np.mean((np.asarray(scores) > 0.5) == labels)


def test_scores_are_read_at_the_step_end_and_nowhere_else():
    assert accuracy(Planted(), np.random.default_rng(0)) == 1.0
    for shift in (-1, 1):  # one token early, one late
        found = accuracy(Planted(shift), np.random.default_rng(0))
        assert abs(found - 0.5) < 0.1


def test_a_head_that_sees_the_future_is_caught():
    ids, ends, _ = planted_text(np.random.default_rng(0), steps=4)

    def differs(model):
        first = score_steps(model, {}, ids, jnp.ones_like(ids), ends)
        later = ids.at[0, 9].add(1)
        second = score_steps(model, {}, later, jnp.ones_like(ids), ends)
        return not np.array_equal(first[0, :3], second[0, :3])

    assert not differs(Planted())
    assert differs(Planted(ahead=True))


def test_positions_are_counted_over_the_real_tokens_of_a_text():
    mask = jnp.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 1]], bool)
    np.testing.assert_array_equal(
        text_positions(mask), [[0, 0, 0, 1, 2], [0, 1, 2, 2, 3]]
    )
    segments = jnp.array([[0, 0, 1, 1, 1], [1, 1, 2, 2, 2]])
    np.testing.assert_array_equal(
        text_positions(mask, segments), [[0, 0, 0, 1, 2], [0, 1, 0, 0, 1]]
    )


def test_meanings_choose_how_scores_are_pooled():
    chosen = {
        name: default_aggregation(name)
        for name in ("step_correctness", "future_success", "progress", "implicit")
    }
    assert chosen == {
        "step_correctness": "product",
        "future_success": "last",
        "progress": "sum",
        "implicit": "last",
    }
    assert check_semantics("progress", "x") == "progress"
    with pytest.raises(UserError, match="prm.semantics='vibes': expected one of step_"):
        check_semantics("vibes", "prm.semantics")


def test_all_but_progress_are_probabilities():
    logit = jnp.array([0.0, 2.0, -1.0])
    np.testing.assert_allclose(
        score("future_success", logit), [0.5, 0.8807971, 0.2689414], rtol=1e-6
    )
    np.testing.assert_array_equal(score("progress", logit), logit)
