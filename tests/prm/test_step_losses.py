# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.prm import losses
from lrm_jax.prm.losses import StepLossConfig, last_labelled, until_first_error
from lrm_jax.prm.semantics import Semantics, default_aggregation
from lrm_jax.types import UserError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reward_models.md"

loss_sum = jax.jit(losses.loss_sum, static_argnums=0)
loss_count = jax.jit(losses.loss_count, static_argnums=0)
KINDS = ("hard", "soft", "mse", "progress", "ranking", "outcome", "implicit")


def mean(kind, logits, labels, mask=None, **how):
    cfg = StepLossConfig(kind, **how)
    logits, labels = jnp.asarray(logits), jnp.asarray(labels, jnp.float32)
    mask = jnp.ones(labels.shape, bool) if mask is None else jnp.asarray(mask, bool)
    count = loss_count(cfg, labels, mask)
    return float(loss_sum(cfg, logits, labels, mask) / jnp.maximum(count, 1))


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def test_a_soft_label_stays_what_it_is():
    cfg = StepLossConfig("soft")
    label, mask = jnp.array([[0.9]]), jnp.ones((1, 1), bool)
    at = jax.jit(jax.grad(lambda x: loss_sum(cfg, x[None, None], label, mask)))
    assert abs(at(jnp.log(9.0))) < 1e-6  # the minimum: logit 2.197
    assert at(jnp.asarray(2.1)) < 0 < at(jnp.asarray(2.3))
    np.testing.assert_allclose(mean("soft", [[0.0]], [[0.9]]), np.log(2), rtol=1e-6)


def test_values_worked_out_by_hand():
    logits, labels = [[2.0, -1.0, 0.5]], [[1.0, 0.25, 0.0]]
    p = sigmoid(logits[0])
    np.testing.assert_allclose(
        mean("hard", logits, labels),
        -(np.log(p[0]) + np.log(p[1]) + np.log(1 - p[2])) / 3,
        rtol=1e-6,
    )
    high = -(np.log(p[0]) + np.log(1 - p[1])) / 2  # what follows an error is left out
    np.testing.assert_allclose(
        mean("hard", logits, labels, threshold=0.5), high, rtol=1e-6
    )
    np.testing.assert_allclose(
        mean("mse", logits, labels),
        ((p[0] - 1) ** 2 + (p[1] - 0.25) ** 2 + p[2] ** 2) / 3,
        rtol=1e-6,
    )
    # Rises of -0.75 and -0.25; how it was before the first step is not known.
    np.testing.assert_allclose(
        mean("progress", logits, labels), ((-1 + 0.75) ** 2 + 0.75**2) / 2, rtol=1e-6
    )
    np.testing.assert_allclose(
        mean("outcome", logits, labels), -np.log(1 - p[2]), rtol=1e-6
    )


def test_ranking_is_the_published_formula():
    q, right = np.array([1.0, -0.5, 0.3, 0.8]), np.array([1, 0, 1, 0], bool)
    against = np.exp(-0.5 + 4) + np.exp(0.8 + 4)
    e = np.exp(q)
    want = -np.log(1 / (1 + against))
    want -= np.log(e[0] / (1 + e[0] + against))
    want -= np.log(e[2] / (1 + e[0] + e[2] + against))
    np.testing.assert_allclose(
        mean("ranking", q[None], right[None]), want / 2, rtol=1e-6
    )


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_ranking_of_one_step_without_margin_is_cross_entropy(label):
    for logit in (-3.0, 0.2, 5.0):
        given = ([[logit]], [[label]])
        np.testing.assert_allclose(
            mean("ranking", *given, margin=0.0), mean("hard", *given), rtol=1e-5
        )


def test_ranking_wants_right_steps_to_rise_and_wrong_ones_below():
    labels = [[1.0, 1.0, 0.0]]
    good = mean("ranking", [[1.0, 5.0, -9.0]], labels)
    assert good < mean("ranking", [[5.0, 1.0, -9.0]], labels)
    assert good < mean("ranking", [[1.0, 5.0, 0.0]], labels)


def draws(seed=0, rows=8, steps=5):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, steps)).astype(np.float32)
    labels = rng.integers(0, 5, (rows, steps)) / 4
    return logits, labels, rng.random((rows, steps)) < 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_padding_change_nothing(kind):
    cfg = StepLossConfig(kind)
    logits, labels, mask = draws()
    whole = float(loss_sum(cfg, *map(jnp.asarray, (logits, labels, mask))))
    count = float(loss_count(cfg, jnp.asarray(labels), jnp.asarray(mask)))
    parts = [
        [x[i : i + 2] for x in (logits, labels, mask)] for i in range(0, len(mask), 2)
    ]
    found = sum(float(loss_sum(cfg, *map(jnp.asarray, part))) for part in parts)
    counts = sum(float(loss_count(cfg, *map(jnp.asarray, p[1:]))) for p in parts)
    np.testing.assert_allclose(found, whole, rtol=1e-5)
    assert counts == count > 0
    fill = ((logits, np.nan), (labels, np.nan), (mask, False))
    wider = [np.pad(x, ((0, 3), (0, 4)), constant_values=v) for x, v in fill]
    np.testing.assert_allclose(
        loss_sum(cfg, *map(jnp.asarray, wider)), whole, rtol=1e-5
    )
    assert loss_count(cfg, jnp.asarray(wider[1]), jnp.asarray(wider[2])) == count


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_learn_is_no_loss_and_no_gradient(kind):
    cfg = StepLossConfig(kind)
    logits = jnp.array([[jnp.nan, 3.0], [1.0, jnp.inf]])
    labels, mask = jnp.full((2, 2), jnp.nan), jnp.zeros((2, 2), bool)
    loss, grad = jax.value_and_grad(lambda x: loss_sum(cfg, x, labels, mask))(logits)
    assert loss == 0 and loss_count(cfg, labels, mask) == 0
    np.testing.assert_array_equal(grad, np.zeros((2, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences_and_finite_at_large_logits(kind):
    cfg = StepLossConfig(kind)
    logits, labels, mask = map(jnp.asarray, draws(1, 4, 4))
    grad = jax.jit(jax.grad(lambda x: loss_sum(cfg, x, labels, mask)))
    with jax.enable_x64(True):
        wide = jnp.asarray(np.asarray(logits, np.float64))
        f = jax.jit(lambda x: loss_sum(cfg, x, labels, mask))
        eps = 1e-5
        units = np.eye(16).reshape(16, 4, 4) * eps
        numeric = [(f(wide + u) - f(wide - u)) / (2 * eps) for u in units]
    np.testing.assert_allclose(grad(logits).ravel(), numeric, atol=2e-5)
    assert np.all(np.isfinite(grad(logits * 1e4)))


def test_steps_after_the_first_error_are_left_out():
    labels = jnp.array([[1.0, 0.0, 1.0, 0.0], [0.5, 0.25, 1.0, 1.0]])
    mask = jnp.array([[1, 1, 1, 1], [1, 1, 0, 1]], bool)
    np.testing.assert_array_equal(
        until_first_error(labels, mask, 0.0), [[1, 1, 0, 0], [1, 1, 0, 1]]
    )
    np.testing.assert_array_equal(
        until_first_error(labels, mask, 0.3), [[1, 1, 0, 0], [1, 1, 0, 0]]
    )
    np.testing.assert_array_equal(
        last_labelled(jnp.array([[1, 1, 0], [0, 0, 0]], bool)), [[0, 1, 0], [0, 0, 0]]
    )


def test_settings_that_mean_nothing_are_refused():
    for how in ({"threshold": 1.0}, {"margin": -1.0}, {"beta": 0.0}):
        (name,) = how
        with pytest.raises(UserError, match=f"prm.loss.{name}="):
            StepLossConfig(**how)


def test_the_docs_have_every_loss_and_every_meaning():
    text = DOCS.read_text(encoding="utf-8")
    assert [kind for kind in get_args(losses.Kind) if f"| `{kind}` |" not in text] == []
    for name in get_args(Semantics):
        rows = [x for x in text.splitlines() if x.startswith(f"| `{name}` |")]
        end = f"| `{default_aggregation(name)}` |"
        assert any(row.endswith(end) for row in rows), name
