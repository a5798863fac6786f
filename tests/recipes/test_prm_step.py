# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Micro-batches and padding change nothing; the reference stays where it was."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.lora import LoraConfig
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.prm.losses import StepLossConfig, loss_sum
from lrm_jax.prm.scorer import score_steps
from lrm_jax.recipes.prm_config import MEANS, PrmConfig, PrmRunConfig, with_head
from lrm_jax.recipes.prm_step import (
    PrmStep,
    make_scorer,
    make_updater,
    read_steps,
    scorer_params,
)
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import UserError

LENGTH, STEPS, ROWS = 16, 4, 8


def config(kind="soft", **changes):
    model = PolicyConfig(
        vocab_size=13, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_len=32
    )
    semantics = MEANS[kind][0]
    made = PrmRunConfig(
        model=model,
        optim=OptimConfig("adamw", lr=1e-2),
        train=TrainConfig(total_steps=4, batch_size=ROWS),
        prm=PrmConfig(semantics, StepLossConfig(kind), chunk=5),
    )
    return with_head(dataclasses.replace(made, **changes))


def make(made):
    step = PrmStep(
        make_scorer(made), made.prm.loss, make_updater(made), made.train.grad_accum
    )
    return step, jax.jit(step.init)(jax.random.key(0))


def rows(left=False, seed=0):
    """Texts of 1 to 4 steps of three tokens after a prompt of two; one is empty."""
    rng = np.random.default_rng(seed)
    count = np.array([4, 1, 2, 3, 0, 4, 2, 1])
    length = np.where(count > 0, 2 + 3 * count, 0)
    first = LENGTH - length if left else 0 * length
    places = np.arange(LENGTH)[None] - first[:, None]
    mask = (places >= 0) & (places < length[:, None])
    ids = np.zeros((ROWS, LENGTH), int)
    for row in range(ROWS):
        ids[row, mask[row]] = rng.integers(1, 13, length[row])
    at = np.arange(STEPS)[None]
    there = at < count[:, None]
    labels = rng.integers(0, 5, (ROWS, STEPS)) / 4
    batch = {
        "ids": ids.astype(np.int32),
        "positions": np.maximum(places, 0).astype(np.int32),
        "mask": mask,
        "ends": np.where(there, first[:, None] + 4 + 3 * at, -1).astype(np.int32),
        "labels": np.where(there, labels, 0).astype(np.float32),
        "label_mask": there & (rng.random((ROWS, STEPS)) < 0.9),
        "starts": (first + 2).astype(np.int32),
    }
    return {name: jnp.asarray(x) for name, x in batch.items()}


def taken(step, state, count=3):
    take = jax.jit(step)
    for i in range(count):
        state, metrics = take(state, rows(seed=i))
    return state, {name: float(a) / float(b) for name, (a, b) in metrics.items()}


def close(a, b, tolerance=2e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance), a, b)


USUAL = ("ranking", "implicit")
ALL = [
    pytest.param(kind, marks=() if kind in USUAL else (pytest.mark.nightly,))
    for kind in MEANS
]


@pytest.mark.parametrize("kind", ALL)
def test_micro_batches_and_the_side_of_the_padding_change_nothing(kind):
    made = config(kind)
    step, state = make(made)
    grads, metrics = jax.jit(step.gradients)(state.params, rows())
    micro = dataclasses.replace(step, grad_accum=4)
    again, sums = jax.jit(micro.gradients)(state.params, rows())
    close(grads, again)
    for name, (total, weight) in metrics.items():
        np.testing.assert_allclose(total / weight, sums[name][0] / sums[name][1],
                                   rtol=1e-5, atol=1e-6)  # fmt: skip
    other, _ = jax.jit(step.gradients)(state.params, rows(left=True))
    close(grads, other)


def test_compiled_is_not_compiled():
    step, state = make(config("ranking"))
    batch = {name: x[:2] for name, x in rows().items()}

    def loss(params):
        logits = read_steps(step.scorer, params["weights"], batch)
        return loss_sum(step.loss, logits, batch["labels"], batch["label_mask"])

    with jax.disable_jit():
        plain = loss(state.params)
    np.testing.assert_allclose(plain, jax.jit(loss)(state.params), rtol=1e-6)


def test_nothing_to_learn_is_no_gradient():
    step, state = make(config())
    batch = rows() | {"label_mask": jnp.zeros((ROWS, STEPS), bool)}
    grads, metrics = jax.jit(step.gradients)(state.params, batch)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0 * x), grads)
    assert metrics["loss/prm"][0] == 0


def test_a_step_learns_and_says_what_it_did():
    step, state = make(config())
    take = jax.jit(step)
    first = take(state, rows())[1]["loss/prm"]
    for _ in range(30):
        state, metrics = take(state, rows())
    last = metrics["loss/prm"]
    assert last[0] / last[1] < 0.9 * first[0] / first[1]
    assert metrics["prm/labels"][0] == metrics["prm/accuracy"][1] > 0


def test_an_implicit_model_starts_at_its_reference_and_leaves_it():
    made = config("implicit")
    step, state = make(made)
    batch = rows()
    logits = read_steps(step.scorer, scorer_params(step.scorer, state.params), batch)
    np.testing.assert_allclose(logits, 0, atol=1e-6)
    before = jax.tree.map(np.asarray, state.params["reference"])
    close(before, state.params["weights"], 0)
    after, _ = taken(step, state)
    jax.tree.map(np.testing.assert_array_equal, before, after.params["reference"])
    moved = jax.tree.map(lambda a, b: jnp.any(a != b), before, after.params["weights"])
    assert any(jax.tree.leaves(moved))


def test_implicit_scores_are_log_ratios_of_the_solution_alone():
    made = config("implicit")
    step, state = make(made)
    params = taken(step, state)[0].params
    scorer, batch = step.scorer, rows()
    parts = scorer_params(scorer, params)
    row, end = 0, int(batch["ends"][0, 1])
    given = [batch[name][row : row + 1] for name in ("ids", "positions", "mask")]

    def logps(weights):
        hidden = jax.jit(scorer.policy.forward)(weights, *given).hidden
        logits = scorer.policy.logits(weights, hidden)[0]
        table = np.asarray(jax.nn.log_softmax(logits))
        ids = np.asarray(given[0][0])
        return sum(table[t - 1, ids[t]] for t in range(2, end + 1))

    want = 0.05 * (logps(parts["policy"]) - logps(parts["reference"]))
    found = read_steps(scorer, parts, batch)[row, 1]
    np.testing.assert_allclose(found, want, atol=1e-6)
    scores = score_steps(scorer, parts, batch["ids"], batch["mask"], batch["ends"],
                         starts=batch["starts"])  # fmt: skip
    np.testing.assert_allclose(scores[row, 1], 1 / (1 + np.exp(-want)), rtol=1e-5)


@pytest.mark.parametrize("kind", ["soft", "implicit"])
def test_adapters_alone_are_trained(kind):
    made = config(kind, lora=LoraConfig(rank=2))
    step, state = make(made)
    assert "reference" not in state.params
    after, _ = taken(step, state)
    close(after.params["weights"], state.params["weights"], 0)
    moved = jax.tree.map(
        lambda a, b: jnp.any(a != b), state.params["lora"], after.params["lora"]
    )
    assert any(jax.tree.leaves(moved))


def test_scores_that_a_loss_does_not_give_are_refused():
    with pytest.raises(UserError, match="prm.semantics='progress': scores trained by"):
        PrmConfig("progress", StepLossConfig("soft"))
    with pytest.raises(UserError, match="kind='implicit' mean implicit"):
        PrmConfig("future_success", StepLossConfig("implicit"))
