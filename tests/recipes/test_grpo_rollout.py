# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rollouts of a planted policy: what a budget does to the reward; starts, ends."""

import jax
import numpy as np
import pytest

from lrm_jax import presets
from lrm_jax.config import apply_overrides
from lrm_jax.recipes import grpo
from lrm_jax.recipes.grpo_build import build
from lrm_jax.recipes.grpo_config import validate
from lrm_jax.recipes.grpo_rollout import RolloutMaker
from lrm_jax.types import UserError
from tests.recipes.test_grpo_eval import COUNTING, plant

SMALL = [
    "rl.rollout.n_prompts=2",
    "rl.rollout.group_size=4",
    "rl.group_filter.kind=none",
    "train.total_steps=4",
]


def _config(*words):
    preset = presets.get("grpo_addition")
    return apply_overrides(preset, [*COUNTING, *SMALL, *words])


def _rolled(*words):
    run = build(grpo.resolve(_config(*words), None, None))
    maker = RolloutMaker(run.config, run.source, run.sampler, run.rewarder)
    weights = plant(run, "<think></think><answer>7</answer>")
    key = jax.random.key(0)
    first = maker.start(weights, key, cursor=0, step=0)
    second = maker.start(weights, key, cursor=2, step=1)  # before the first is read
    done = [maker.finish(first), maker.finish(second)]
    again = maker(weights, key, cursor=2, step=1)
    run.close()
    return done, again


@pytest.mark.parametrize(
    ("budget", "form"),
    [
        ([], 0.0),  # an empty thought that nothing asked for
        (["grpo.budget=6+halt"], 0.0),
        (["grpo.budget=0"], 1.0),  # the budget's own
        (["grpo.budget=0", "grpo.lanes=3"], 1.0),
    ],
)
def test_an_empty_thought_keeps_the_form_where_the_budget_was_0(budget, form):
    done, again = _rolled(*budget)
    for one in done:
        assert set(one.texts) == {"<think></think><answer>7</answer>"}
        assert set(one.rewards.parts["format"].tolist()) == {form}
        forced = one.groups.forced.sum(axis=-1)
        assert (forced == (2 if "grpo.budget=0" in budget else bool(budget))).all()
    for x, y in zip(done[1].groups, again.groups, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["grpo.lanes=-1"], "grpo.lanes=-1: expected 0 or more"),
        (["grpo.min_thinking=-2"], "grpo.min_thinking=-2: expected 0 or more"),
        (["eval.lanes=-1"], "eval.lanes=-1: expected 0 or more"),
        (
            ["grpo.min_thinking=9"],
            r"grpo: min_thinking=9: budget '-1' with a cap of 8 allows 8 tokens of "
            r"thought; expected 0 to 8 \(rl.rollout.max_new_tokens=8\)",
        ),
        (["grpo.budget=0", "grpo.min_thinking=2"], "grpo: min_thinking=2: budget '0'"),
        (
            ["grpo.budget=5", "eval.max_new_tokens=4"],
            r"grpo: budget '5': beyond the cap of 4 .*\(eval.max_new_tokens=4\)",
        ),
        (["grpo.budget=lots"], "grpo: budget 'lots'"),
    ],
)
def test_thoughts_that_no_run_can_have_are_refused(words, says):
    with pytest.raises(UserError, match=says) as refusal:
        validate(_config(*words), 1)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["grpo.budget=5"], r"grpo.budget=5: an exact thought .*; use 5\+halt"),
        (["grpo.min_thinking=2"], "cannot write grpo.wait='Wait', so early ends"),
        (["grpo.min_thinking=2", "grpo.wait="], "cannot write grpo.wait='', so"),
    ],
)
def test_thoughts_whose_ends_are_not_drawn_are_not_learned_from(words, says):
    with pytest.raises(UserError, match=says):
        build(grpo.resolve(_config(*words), None, None))


def test_an_end_replaced_by_a_word_of_the_vocabulary_is_learned_from():
    words = ["grpo.min_thinking=2", "grpo.wait=7"]
    build(grpo.resolve(_config(*words), None, None)).close()
