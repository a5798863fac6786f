# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.config import CorrectionConfig
from lrm_jax.rl.correction import (
    importance_weights,
    mismatch_extremes,
    mismatch_sums,
)

# w = 4, .5 and, in the second row, 1 and a token that does not count.
SAMPLER = jnp.log(jnp.array([[0.1, 0.4], [0.5, 0.5]]))
TRAINER = jnp.log(jnp.array([[0.4, 0.2], [0.5, 0.1]]))
MASK = jnp.array([[True, True], [True, False]])


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"kind": "none"}, [[1, 1], [1, 0]]),
        ({"kind": "decoupled"}, [[4, 0.5], [1, 0]]),
        ({"kind": "token_truncate", "high": 2.0}, [[2, 0.5], [1, 0]]),
        ({"kind": "token_mask", "low": 0.6, "high": 5.0}, [[4, 0], [1, 0]]),
        (
            {"kind": "token_mask", "low": 0.6, "high": 5.0, "kept": "one"},
            [[1, 0], [1, 0]],
        ),
        # The first row's product is 2, its geometric mean sqrt 2.
        ({"kind": "sequence_truncate", "high": 1.5}, [[1.5, 1.5], [1, 0]]),
        ({"kind": "sequence_mask", "high": 3.0}, [[2, 2], [1, 0]]),
        ({"kind": "sequence_mask", "high": 1.5}, [[0, 0], [1, 0]]),
        (
            {"kind": "sequence_mask", "high": 1.5, "sequence_norm": "mean"},
            [[math.sqrt(2), math.sqrt(2)], [1, 0]],
        ),
    ],
)
def test_by_hand(options, want):
    got = importance_weights(CorrectionConfig(**options), TRAINER, SAMPLER, MASK)
    np.testing.assert_allclose(got, want, rtol=1e-6)


KINDS = ("none", "decoupled", "token_truncate", "token_mask")
KINDS += ("sequence_truncate", "sequence_mask")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_distribution_has_weight_one(kind):
    cfg = CorrectionConfig(kind=kind)
    got = importance_weights(cfg, SAMPLER, SAMPLER, MASK)
    np.testing.assert_array_equal(got, MASK)


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_and_no_garbage(kind):
    cfg = CorrectionConfig(kind=kind)
    dirty = jnp.where(MASK, TRAINER, jnp.nan)
    run = lambda t, s: jnp.sum(importance_weights(cfg, t, s, MASK))
    clean = run(TRAINER, SAMPLER)
    np.testing.assert_array_equal(run(dirty, jnp.where(MASK, SAMPLER, -jnp.inf)), clean)
    for argnum in (0, 1):
        grad = jax.grad(run, argnum)(TRAINER, SAMPLER)
        np.testing.assert_array_equal(grad, np.zeros((2, 2)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [-50.0, 50.0])
def test_far_apart_stays_finite(kind, d):
    got = importance_weights(CorrectionConfig(kind=kind), SAMPLER + d, SAMPLER, MASK)
    assert np.isfinite(got).all()


def test_rows_without_tokens_have_no_weight():
    none = jnp.zeros((2, 2), bool)
    for kind in KINDS:
        got = importance_weights(CorrectionConfig(kind=kind), TRAINER, SAMPLER, none)
        np.testing.assert_array_equal(got, np.zeros((2, 2)))


def test_metrics_are_of_the_weights_before_truncation():
    sums = mismatch_sums(TRAINER, SAMPLER, MASK)
    got = {name: total / weight for name, (total, weight) in sums.items()}
    np.testing.assert_allclose(
        got["sampling/logp_difference_mean"], math.log(8) / 3, rtol=1e-6
    )
    np.testing.assert_allclose(got["sampling/ratio_mean"], 5.5 / 3, rtol=1e-6)
    np.testing.assert_allclose(got["sampling/mult_prob_error"], 7 / 3, rtol=1e-6)
    k3 = (4 - 1 - math.log(4)) + (0.5 - 1 + math.log(2))
    np.testing.assert_allclose(got["kl/sampler_k3"], k3 / 3, rtol=1e-5)
    extremes = mismatch_extremes(TRAINER, SAMPLER, MASK)
    np.testing.assert_allclose(
        extremes["sampling/logp_difference_max"], math.log(4), rtol=1e-6
    )
    np.testing.assert_allclose(extremes["sampling/ratio_min"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(extremes["sampling/ratio_max"], 4, rtol=1e-6)
    stale = jnp.argmax(jnp.max(jnp.where(MASK, abs(TRAINER - SAMPLER), 0), axis=1))
    fresh = jnp.arange(MASK.shape[0]) != stale
    extremes = mismatch_extremes(TRAINER, SAMPLER, MASK, fresh)
    rest = jnp.where(MASK & fresh[:, None], abs(TRAINER - SAMPLER), 0)
    assert float(jnp.max(rest)) < math.log(4) - 0.1
    np.testing.assert_allclose(
        extremes["sampling/fresh_logp_difference_max"], jnp.max(rest), rtol=1e-6
    )
    np.testing.assert_allclose(
        extremes["sampling/logp_difference_max"], math.log(4), rtol=1e-6
    )


def test_extremes_of_nothing_are_neutral():
    none = jnp.zeros((2, 2), bool)
    extremes = mismatch_extremes(TRAINER * jnp.nan, SAMPLER, none)
    assert {k: float(v) for k, v in extremes.items()} == {
        "sampling/logp_difference_max": 0,
        "sampling/fresh_logp_difference_max": 0,
        "sampling/ratio_min": 1,
        "sampling/ratio_max": 1,
    }
