# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.reasoning import budget as budget_lib
from lrm_jax.reasoning.budget import ThinkingBudget
from lrm_jax.types import Answer, Signals, UserError


@pytest.mark.parametrize(
    "spelling, cap, expected",
    [
        ("0", 16, (1, None)),
        (0, 16, (1, None)),
        ("1", 16, (1, None)),
        ("16", 16, (16, None)),
        (7, 16, (7, None)),
        ("8+halt", 16, (8, "halt")),
        (" 8+HALT ", 16, (8, "halt")),
        ("-1", 16, (16, "rule")),
        (-1, 5, (5, "rule")),
        ("low", 16, (4, None)),
        ("medium", 16, (8, None)),
        ("high", 16, (16, None)),
        ("low", 6, (2, None)),  # 1.5, rounded up
        ("medium", 5, (3, None)),
        ("low", 1, (1, None)),
    ],
)
def test_resolve_by_hand(spelling, cap, expected):
    assert ThinkingBudget.parse(spelling).resolve(cap) == expected


@pytest.mark.parametrize(
    "unit, least", [("segments", 1), ("tokens", 0), ("simulations", 0)]
)
def test_zero_is_the_least_of_the_unit(unit, least):
    assert ThinkingBudget("0", unit).resolve(8) == (least, None)


@pytest.mark.parametrize("text", ["0", "3", "12+halt", "-1", "low", "medium", "high"])
def test_spelling_round_trips(text):
    budget = ThinkingBudget.parse(text)
    assert str(budget) == text
    assert ThinkingBudget.parse(str(budget)) == budget
    assert ThinkingBudget.parse(budget) is budget


def test_spellings_are_canonical():
    assert ThinkingBudget("08") == ThinkingBudget("8") == ThinkingBudget.parse(8)
    assert str(ThinkingBudget("High")) == "high"


def test_budget_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ThinkingBudget("8").spelling = "9"


@pytest.mark.parametrize(
    "spelling, words",
    [
        ("-2", ["'-2'", "below -1"]),
        (-7, ["-7", "below -1"]),
        ("1.5", ["1.5", "not an integer"]),
        (1.0, ["1.0", "not an integer"]),
        (True, ["True", "not an integer"]),
        (None, ["None", "not an integer"]),
        ("", ["not an integer"]),
        ("1e3", ["not an integer"]),
        ("8 steps", ["not an integer"]),
        ("hihg", ["unknown level", "did you mean 'high'?"]),
        ("med", ["unknown level", "did you mean 'medium'?"]),
        ("xyz", ["unknown level; accepted"]),
        ("8+hlat", ["unknown early stop", "did you mean '8+halt'?"]),
        ("high+halt", ["unknown early stop"]),
        ("0+halt", ["at least 1"]),
        ("-1+halt", ["at least 1"]),
    ],
)
def test_bad_spelling_says_what_is_accepted_in_one_line(spelling, words):
    with pytest.raises(UserError) as error:
        ThinkingBudget.parse(spelling)
    message = str(error.value)
    assert "\n" not in message
    assert "-1, 0, N, N+halt, low, medium or high" in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("spelling", ["17", "17+halt"])
def test_beyond_the_cap_is_refused(spelling):
    with pytest.raises(UserError, match="beyond the cap of 16 segments"):
        ThinkingBudget.parse(spelling, cap=16)
    ThinkingBudget.parse(spelling)  # without a cap the spelling is fine


def test_bad_unit_and_cap():
    with pytest.raises(UserError, match="unit 'words'.*segments, tokens"):
        ThinkingBudget("1", "words")
    with pytest.raises(UserError, match="cap 0"):
        ThinkingBudget("high").resolve(0)


class Counter(NamedTuple):
    limit: jax.Array  # [B] halts from this step on
    steps: jax.Array  # [B]
    draws: jax.Array  # [B]


class CountingReasoner:
    """Halts lane i at step `limit[i]`; its rule stops every lane at step 4."""

    def start(self, params, problem, keys):
        zero = jnp.zeros_like(problem["limit"])
        return Counter(problem["limit"], zero, jax.vmap(jax.random.uniform)(keys))

    def think(self, params, carry, keys):
        draws = carry.draws * params + jax.vmap(jax.random.uniform)(keys)
        steps = carry.steps + 1
        halt = (steps - carry.limit).astype(jnp.float32) + 0.5
        done = steps >= 4
        return Counter(carry.limit, steps, draws), Signals(halt, halt, done)

    def answer(self, params, carry):
        ids = carry.steps[:, None]
        return Answer(ids, carry.draws[:, None, None], jnp.ones_like(ids, bool))


REASONER = CountingReasoner()
LIMITS = jnp.array([1, 3, 9, 2], jnp.int32)


def keys_for(indices):
    return budget_lib.lane_keys(jax.random.key(3), jnp.asarray(indices))


def think(how, limits, keys, **kwargs):
    function = getattr(budget_lib, how)
    return jax.jit(
        lambda limits, keys: function(
            REASONER, jnp.float32(0.5), {"limit": limits}, keys, **kwargs
        )
    )(limits, keys)


@pytest.mark.parametrize("how", ["think_for", "think_until"])
@pytest.mark.parametrize(
    "early_stop, steps, halted",
    [
        (None, [6, 6, 6, 6], [False] * 4),
        ("halt", [1, 3, 6, 2], [True, True, False, True]),
        ("rule", [4, 4, 4, 4], [True] * 4),
    ],
)
def test_steps_by_hand(how, early_stop, steps, halted):
    thought = think(how, LIMITS, keys_for(range(4)), max_steps=6, early_stop=early_stop)
    np.testing.assert_array_equal(thought.steps, steps)
    np.testing.assert_array_equal(thought.halted, halted)
    np.testing.assert_array_equal(thought.answer.ids[:, 0], steps)


@pytest.mark.parametrize("how", ["think_for", "think_until"])
def test_halted_lane_equals_running_alone(how):
    together = think(how, LIMITS, keys_for(range(4)), max_steps=6, early_stop="halt")
    for lane, limit in enumerate([1, 3, 9, 2]):
        alone = think(
            "think_for",
            LIMITS[lane : lane + 1],
            keys_for([lane]),
            max_steps=min(limit, 6),
        )
        np.testing.assert_array_equal(
            alone.answer.logits[0], together.answer.logits[lane]
        )


def test_observe_sees_every_step_and_frozen_lanes_stay():
    def observe(carry, signals):
        return {"steps": carry.steps, "halt": signals.halt}

    thought = think(
        "think_for",
        LIMITS,
        keys_for(range(4)),
        max_steps=4,
        early_stop="halt",
        observe=observe,
    )
    np.testing.assert_array_equal(
        thought.record["steps"],
        [[1, 1, 1, 1], [1, 2, 2, 2], [1, 3, 3, 2], [1, 3, 4, 2]],
    )
    np.testing.assert_allclose(
        thought.record["halt"],
        [
            [0.5, -1.5, -7.5, -0.5],
            [0.5, -0.5, -6.5, 0.5],
            [0.5, 0.5, -5.5, 0.5],
            [0.5, 0.5, -4.5, 0.5],
        ],
    )


def test_scan_equals_python_loop():
    keys = keys_for(range(4))
    thought = think("think_for", LIMITS, keys, max_steps=3)
    step = jnp.zeros(4, jnp.int32)
    carry = REASONER.start(0.5, {"limit": LIMITS}, budget_lib.step_keys(keys, step))
    for _ in range(3):
        step = step + 1
        carry, _ = REASONER.think(
            jnp.float32(0.5), carry, budget_lib.step_keys(keys, step)
        )
    np.testing.assert_allclose(thought.carry.draws, carry.draws, rtol=1e-6)


def test_no_steps_is_an_empty_thought():
    thought = think("think_for", LIMITS, keys_for(range(4)), max_steps=0)
    np.testing.assert_array_equal(thought.steps, [0, 0, 0, 0])
