# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Invariance by enumeration; steps more or fewer never pay; values by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.config import (
    AdvantageConfig,
    CorrectionConfig,
    KlConfig,
    PolicyLossConfig,
    ProcessConfig,
    RlConfig,
    RolloutConfig,
)
from lrm_jax.rl.process_reward import (
    completion_returns,
    potential_rewards,
    process_advantages,
    process_metrics,
    step_returns,
)
from lrm_jax.types import UserError
from tests.rl.tabular import Tabular, expected_gradient, objective_gradient

TABLE = Tabular(vocab=3, length=3)  # 15 completions of 1 to 3 tokens, 7 states
OFF = CorrectionConfig(kind="none")


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def config(form, kind="leave_one_out", group_size=2, loss="reinforce", **changes):
    options = {
        "aggregation": "seq_mean_token_sum",
        "truncated": "keep",
        "rollout": RolloutConfig(group_size=group_size, max_new_tokens=4),
        "advantage": AdvantageConfig(kind=kind, eps=0.0),
        "loss": PolicyLossConfig(kind=loss),
        "correction": OFF,
        "process": ProcessConfig(form, coef=0.7),
    }
    return RlConfig(**{**options, **changes})


def made_up(seed=0, share=0.7):
    """Rewards; a score for each state after a token; which of these end a step."""
    rng = np.random.default_rng(seed)
    after = {y[: t + 1] for y in TABLE.completions for t in range(len(y))}
    score = {prefix: rng.random() for prefix in sorted(after)}
    is_end = {prefix: rng.random() < share for prefix in sorted(after)}
    shape = TABLE.mask.shape
    scores, ends = np.full(shape, 9.0), np.zeros(shape, bool)
    for row, y in enumerate(TABLE.completions):
        for t in range(len(y)):
            scores[row, t], ends[row, t] = score[y[: t + 1]], is_end[y[: t + 1]]
    return rng.normal(size=len(scores)), (scores, ends)


# --- what invariance is ------------------------------------------------------


def policies(table):
    """Every deterministic policy: the completion that it writes."""
    choices = itertools.product(range(table.vocab), repeat=len(table.prefixes))
    place = {prefix: i for i, prefix in enumerate(table.prefixes)}
    for choice in choices:
        y = ()
        while y not in table.completions:
            y = (*y, choice[place[y]])
        yield table.completions.index(y)


@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_potentials_move_the_return_of_every_policy_by_the_same(gamma):
    """Un-normalised, discounted returns of all 3^7 policies."""
    rewards, (scores, _) = made_up()
    mask, start = TABLE.mask, np.full(len(rewards), 0.3)
    dense = potential_rewards(*map(jnp.asarray, (scores, mask, start)), gamma=gamma)
    discount = np.where(mask, gamma ** np.arange(mask.shape[1])[None], 0)
    last = discount[np.arange(len(mask)), mask.sum(1) - 1]
    sparse = rewards * last
    shaped = sparse + np.sum(discount * np.asarray(dense), axis=1)
    written = np.array(list(policies(TABLE)))
    assert len(written) == 3**7
    np.testing.assert_allclose(shaped[written], sparse[written] - 0.3, rtol=1e-12)
    assert np.argmax(shaped[written]) == np.argmax(sparse[written])


@pytest.mark.parametrize(
    ("kind", "group_size", "loss"),
    [
        ("leave_one_out", 2, "reinforce"),
        ("leave_one_out", 2, "ppo"),
        ("leave_one_out", 2, "cispo"),
        ("group_centred", 3, "reinforce"),
        ("reward", 1, "reinforce"),
    ],
)
def test_potentials_leave_the_expected_gradient_as_it_was(kind, group_size, loss):
    rewards, steps = made_up()
    theta = TABLE.init(0)
    cfg = config("potential", kind, group_size, loss)
    found = expected_gradient(cfg, TABLE, theta, rewards, steps=steps)
    factor = (group_size - 1) / group_size if kind == "group_centred" else 1
    want = factor * objective_gradient(TABLE, theta, rewards)
    np.testing.assert_allclose(found, want, rtol=1e-11, atol=1e-12)


def test_the_minimum_is_another_objective():
    rewards, steps = made_up()
    theta = TABLE.init(0)
    found = expected_gradient(config("minimum"), TABLE, theta, rewards, steps=steps)
    want = objective_gradient(TABLE, theta, rewards)
    assert np.abs(found - want).max() > 1e-2
    total = completion_returns(
        "minimum", *map(jnp.asarray, (rewards, *steps)), coef=5.0
    )
    assert np.argmax(total) != np.argmax(rewards)


# --- more steps do not pay ---------------------------------------------------


def completion(rng, width=12):
    ends = rng.random(width) < 0.4
    return np.where(ends, rng.random(width), 0), ends


@pytest.mark.parametrize("form", ["potential", "minimum"])
def test_splitting_and_appending_steps_never_raise_the_return(form):
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(300):
        scores, ends = completion(rng)
        more = ends | (rng.random(12) < 0.3)  # steps cut in parts, scored anyhow
        split = np.where(ends, scores, rng.random(12))
        tail = np.r_[split, rng.random(4)], np.r_[more, rng.random(4) < 0.8]
        before = np.r_[scores, np.zeros(4)], np.r_[ends, np.zeros(4, bool)]
        if ends.any():  # a first step where there was none is no split
            pairs += [(before, (np.r_[split, np.zeros(4)], np.r_[more, [False] * 4]))]
            pairs += [(before, tail)]
    rewards = jnp.asarray(rng.normal(size=len(pairs)))

    def returns(which):
        scores, ends = (np.stack([p[which][i] for p in pairs]) for i in (0, 1))
        total = completion_returns(
            form, rewards, jnp.asarray(scores), jnp.asarray(ends), coef=0.6
        )
        return np.asarray(total), np.where(ends, scores, 0).sum(1)

    (before, plain_before), (after, plain_after) = returns(0), returns(1)
    assert (after <= before + 1e-12).all()
    assert (plain_after > plain_before).mean() > 0.9  # which a sum rewards


def test_a_completion_without_a_step_gains_nothing():
    scores, ends = jnp.full((1, 4), 0.9), jnp.zeros((1, 4), bool)
    one = jnp.ones(1)
    for form in ("potential", "minimum"):
        assert completion_returns(form, one, scores, ends, coef=1.0)[0] == 1.0


# --- values ------------------------------------------------------------------


def test_returns_of_steps_are_sums_of_their_rewards():
    scores = jnp.array([[0.2, 0.6, 0.9, 0.5]])
    mask, start = jnp.ones((1, 4), bool), jnp.array([0.4])
    phi = 0.7 * scores + 0.3 * 0.4
    dense = potential_rewards(phi, mask, start, gamma=1.0)[0]
    want = 1.5 + np.cumsum(np.asarray(dense)[::-1])[::-1]
    found = step_returns(
        "potential", jnp.array([1.5]), scores, mask, coef=0.7, start=start
    )
    np.testing.assert_allclose(found[0], want, rtol=1e-12)


def test_values_by_hand():
    ends = jnp.array([[0, 1, 0, 1, 0, 1, 0, 0]], bool)
    scores = jnp.array([[7.0, 0.8, 7.0, 0.2, 7.0, 0.6, 7.0, 7.0]])
    one, start = jnp.array([1.0]), jnp.array([0.5])
    found = step_returns("potential", one, scores, ends, coef=1.0, start=start)
    np.testing.assert_allclose(
        found[0], [0.5, 0.5, 0.2, 0.2, 0.8, 0.8, 0.4, 0.4], rtol=1e-12
    )
    found = step_returns("minimum", one, scores, ends, coef=0.5, start=start)
    np.testing.assert_allclose(
        found[0], [1.1, 1.1, 1.1, 1.1, 1.3, 1.3, 1.3, 1.3], rtol=1e-12
    )
    metrics = process_metrics(scores, ends, jnp.ones(1, bool))
    assert {k: float(a / b) for k, (a, b) in metrics.items()} == pytest.approx(
        {
            "process/steps_mean": 3.0,
            "process/score_mean": 1.6 / 3,
            "process/least_mean": 0.2,
        }
    )


def test_advantages_begin_where_those_without_scores_are():
    rng = np.random.default_rng(1)
    scores, ends = map(np.stack, zip(*[completion(rng) for _ in range(6)], strict=True))
    rewards = jnp.asarray(rng.normal(size=6))
    for baseline, want in (
        ("none", rewards),
        ("group", rewards - jnp.repeat(rewards.reshape(2, 3).mean(1), 3)),
    ):
        found = process_advantages(
            "potential", rewards, jnp.asarray(scores), jnp.asarray(ends),
            coef=1.0, group_size=3, baseline=baseline,
        )  # fmt: skip
        np.testing.assert_allclose(found[:, 0], want, rtol=1e-12, atol=1e-12)


# --- what is refused ---------------------------------------------------------


def test_what_has_no_returns_of_steps_is_refused():
    refused = {
        "advantage.kind=group_std": {"kind": "group_std"},
        "loss.kind=gmpo": {"loss": "gmpo", "aggregation": "seq_mean_token_mean"},
        "kl.place=loss": {"kl": KlConfig(0.1, "k1", "reward")},
        "process.coef=1.5": {"process": ProcessConfig("potential", 1.5)},
        "process.coef=-1": {"process": ProcessConfig("minimum", -1)},
    }
    for text, changes in refused.items():
        with pytest.raises(UserError, match=text):
            config("potential", **changes)
