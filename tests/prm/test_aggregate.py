# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Golden table of aggregation: one step, none, NaN, -inf, 500 steps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.prm.aggregate import (
    AGGREGATIONS,
    aggregate,
    check_scores,
    drift_share,
    log_product,
    rank_scores,
)
from lrm_jax.types import UserError

NAN, INF = math.nan, math.inf
# scores (None: no step at that place), then min, product, last, mean, sum
TABLE = [
    ([0.5, 0.25, 1.0], 0.25, 0.125, 1.0, 7 / 12, 1.75),
    ([0.75], 0.75, 0.75, 0.75, 0.75, 0.75),
    ([None, 0.5, None, 0.25], 0.25, 0.125, 0.25, 0.375, 0.75),
    ([0.5, 0.25, None, None], 0.25, 0.125, 0.25, 0.375, 0.75),
    ([], -INF, -INF, -INF, -INF, -INF),
    ([0.5, 0.0], 0.0, 0.0, 0.0, 0.25, 0.5),
    ([0.0, 0.0, 1.0], 0.0, 0.0, 1.0, 1 / 3, 1.0),
    ([0.5, NAN], NAN, NAN, NAN, NAN, NAN),
    ([NAN, 0.5], NAN, NAN, 0.5, NAN, NAN),
    ([-INF, 0.5], -INF, NAN, 0.5, -INF, -INF),
    ([0.5, -INF], -INF, NAN, -INF, -INF, -INF),
]


def _padded(rows, width=4, fill=NAN):
    mask = np.zeros((len(rows), width), bool)
    scores = np.full((len(rows), width), fill, np.float32)
    for b, row in enumerate(rows):
        for s, score in enumerate(row):
            if score is not None:
                scores[b, s], mask[b, s] = score, True
    return jnp.asarray(scores), jnp.asarray(mask)


@pytest.mark.parametrize("fill", [NAN, -INF, 0.0, 1e30])
@pytest.mark.parametrize("how", AGGREGATIONS)
def test_golden_table(how, fill):
    scores, mask = _padded([row[0] for row in TABLE], fill=fill)
    expected = np.asarray([row[1 + AGGREGATIONS.index(how)] for row in TABLE])
    found = aggregate(scores, mask, how)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == jnp.float32
    jitted = jax.jit(aggregate, static_argnames="how")(scores, mask, how)
    np.testing.assert_allclose(jitted, expected, rtol=1e-6)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_nothing_never_wins(how):
    scores, mask = _padded([[], [1e-30], [0.0]])
    found = aggregate(scores, mask, how)
    assert not jnp.isfinite(found[0])
    assert jnp.all(found[1:] > found[0])


def test_a_product_of_500_steps_in_log_space():
    scores = jnp.stack([jnp.full(500, 0.5), jnp.full(500, 0.49)])
    mask = jnp.ones_like(scores, bool)
    assert aggregate(scores, mask, "product").tolist() == [0, 0]
    logs = log_product(scores, mask)
    np.testing.assert_allclose(logs, 500 * np.log([0.5, 0.49]), rtol=1e-6)
    ranks = rank_scores(scores, mask, "product")
    assert ranks[0] > ranks[1]
    near = jnp.full((1, 500), 0.999)
    np.testing.assert_allclose(
        aggregate(near, mask[:1], "product"), [0.999**500], rtol=2e-5
    )
    np.testing.assert_array_equal(
        rank_scores(scores, mask, "min"), aggregate(scores, mask, "min")
    )


def test_low_precision_is_widened():
    scores = jnp.full((1, 300), 0.9, jnp.bfloat16)
    mask = jnp.ones_like(scores, bool)
    one = float(scores[0, 0])
    np.testing.assert_allclose(aggregate(scores, mask, "sum"), [300 * one], rtol=1e-6)


def test_nan_is_named_by_lane_and_step():
    scores, mask = _padded([[0.5], [0.5, 0.1, NAN], [NAN]])
    with pytest.raises(UserError, match=r"lane 1, step 2 is NaN \(2 of 5 steps\)"):
        check_scores(scores, mask)
    check_scores(*_padded([[0.5, -INF], []]))  # padding may be NaN
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(check_scores)(scores, mask)
    with pytest.raises(UserError, match="aggregation 'max': expected one of min"):
        aggregate(scores, mask, "max")  # pyright: ignore[reportArgumentType]


def test_drift_to_the_outcome():
    scores, mask = _padded([[0.9, 0.1], [0.1, 0.9], [0.5], [], [0.3, 0.2, 0.1]])
    np.testing.assert_allclose(drift_share(scores, mask), 2 / 3, rtol=1e-6)
