# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import sharding
from lrm_jax.evaluation.compact import evaluate_compact, lane_ladder
from lrm_jax.evaluation.harness import evaluate
from lrm_jax.reasoning.budget import lane_keys, think_for
from lrm_jax.types import Signals
from tests.evaluation.fakes import FakeReasoner, make_problems, random_plots, solution

REASONER = FakeReasoner()
ZERO = jnp.float32(0)


def compact(plots, budget="4+halt", cap=6, seed=0, reasoner=REASONER, **kwargs):
    return evaluate_compact(
        reasoner, ZERO, make_problems(plots, seed), budget=budget, cap=cap, **kwargs
    )


def test_two_lanes_by_hand():
    # Steps 1, 3, 2, 4, 4 (never halts): queue 2, 3, 4.
    # seg  lane 0  lane 1
    #  1   p0 ends p1        -> lane 0 takes p2
    #  2   p2      p1
    #  3   p2 ends p1 ends   -> p3, p4
    #  4-7 p3      p4        both end at their 4th
    plots = [(1, 1), (3, 3), (2, 3), (4, 0), (0, 4)]
    result = compact(plots, lanes=2, widths=1)
    np.testing.assert_array_equal(result.steps, [1, 3, 2, 4, 4])
    np.testing.assert_array_equal(result.halted, [True, True, True, True, False])
    np.testing.assert_array_equal(result.correct, [True, True, False, False, True])
    report = result.report
    assert report["lane_segments_launched"] == 14
    assert report["idle_lane_segments"] == 0
    assert report["full_depth_lane_segments"] == 20
    assert report["share_of_full_depth"] == pytest.approx(0.7)
    assert report["mean_steps"] == pytest.approx(14 / 5)
    assert report["exact_accuracy"] == pytest.approx(3 / 5)
    inputs = make_problems(plots)["inputs"]
    want = np.array(solution(inputs))
    want[[2, 3], -1] = (want[[2, 3], -1] + 1) % 12
    np.testing.assert_array_equal(result.ids, want)


def test_tail_moves_to_narrower_lanes_by_hand():
    # Eight lanes, all seated at once; seven end at step 1, one at step 5.
    plots = [(1, 1)] * 3 + [(5, 5)] + [(1, 1)] * 4
    wide = compact(plots, budget="5+halt", lanes=8, widths=1).report
    assert wide["lane_segments_launched"] == 8 * 5
    assert wide["idle_lane_segments"] == 7 * 4
    # With 8, 2: one segment of eight lanes, then four of two.
    narrow = compact(plots, budget="5+halt", lanes=8, shrink=4, widths=2)
    assert narrow.report["lane_segments_launched"] == 8 + 4 * 2
    assert narrow.report["idle_lane_segments"] == 4
    np.testing.assert_array_equal(narrow.steps, [1, 1, 1, 5, 1, 1, 1, 1])
    assert narrow.correct.all()


@pytest.mark.parametrize(
    "budget, lanes, shrink, widths",
    [("5+halt", 1, 4, 3), ("5+halt", 7, 2, 3), ("3", 16, 4, 2), ("-1", 7, 4, 2)],
)
def test_equals_the_depth_pass_and_accounts_for_every_segment(
    budget, lanes, shrink, widths
):
    plots = random_plots(41, 5, seed=lanes)
    result = compact(plots, budget, 8, 1, lanes=lanes, shrink=shrink, widths=widths)
    whole = evaluate(REASONER, ZERO, make_problems(plots, 1), budgets=[budget], cap=8)
    np.testing.assert_array_equal(result.correct, whole.correct[budget])
    np.testing.assert_array_equal(result.steps, whole.steps[budget])
    line = whole.report["results"][0]
    for name, value in line.items():
        assert result.report[name] == pytest.approx(value), name
    busy = result.report["lane_segments_launched"] - result.report["idle_lane_segments"]
    assert busy == result.steps.sum()


class RandomReasoner(FakeReasoner):
    """Halts by chance and answers what it drew: any mix-up of lanes shows."""

    def think(self, params, carry, keys):
        carry, _ = super().think(params, carry, keys)
        mixed = jnp.sin(37 * carry.noise + carry.inputs.sum(-1))
        return carry, Signals(mixed - 0.6, mixed, mixed > 2)

    def answer(self, params, carry):
        answer = super().answer(params, carry)
        drawn = (carry.noise * 1e4).astype(jnp.int32)[:, None] + carry.inputs
        return answer._replace(ids=drawn)


def test_equals_every_problem_run_alone():
    reasoner, n = RandomReasoner(), 30
    problems = make_problems(random_plots(n, 5, 2))
    key = jax.random.key(9)
    result = evaluate_compact(
        reasoner, ZERO, problems, budget="8+halt", cap=8, lanes=8, shrink=2, key=key
    )

    @jax.jit
    def alone(problem, keys):
        thought = think_for(
            reasoner, ZERO, problem, keys, max_steps=8, early_stop="halt"
        )
        return thought.answer.ids, thought.steps, thought.halted

    for i in range(n):
        one = {name: value[i : i + 1] for name, value in problems.items()}
        ids, steps, halted = alone(one, lane_keys(key, jnp.array([i])))
        np.testing.assert_array_equal(result.ids[i], ids[0])
        assert result.steps[i] == steps[0]
        assert result.halted[i] == halted[0]
    assert len(np.unique(result.steps)) > 3  # the case is not trivial


def test_equal_shapes_compile_once():
    reasoner = FakeReasoner()
    for seed in range(3):
        compact(random_plots(20, 5, seed), seed=seed, reasoner=reasoner, lanes=8)
    # One trace of `think` a width: 8, 2 (8 // 16 is no width).
    assert reasoner.traces["think"] == 2


def test_more_lanes_than_problems():
    result = compact([(2, 2), (1, 1)], lanes=256)
    np.testing.assert_array_equal(result.steps, [2, 1])
    assert result.report["lanes"] == 2
    assert result.report["lane_segments_launched"] <= 4


def test_carry_without_a_lane_axis_is_refused():
    class Shared(FakeReasoner):
        def start(self, params, problem, keys):
            return super().start(params, problem, keys), jnp.float32(0)

    with pytest.raises(ValueError, match=r"shape \(\) has no lane axis of 2"):
        compact([(1, 1), (2, 2)], reasoner=Shared())


def test_lane_ladder_by_hand():
    assert lane_ladder(768, 4, 3) == (768, 192, 48)
    assert lane_ladder(3, 2, 5) == (3, 1)
    assert lane_ladder(1, 4, 3) == (1,)
    with pytest.raises(ValueError, match="too small"):
        lane_ladder(8, 1, 2)


@pytest.mark.parametrize("lanes", [16, 12])
def test_lanes_split_over_eight_devices_give_the_same(lanes):
    def split(problem):
        return {
            name: sharding.constrain(x, "batch", *[None] * (x.ndim - 1))
            for name, x in problem.items()
        }

    plots = random_plots(40, 5, 3)
    alone = compact(plots, lanes=lanes, widths=2)
    with sharding.use_mesh(sharding.make_mesh(sharding.MeshConfig())):
        spread = compact(plots, lanes=lanes, widths=2, constrain=split)
        whole = evaluate(
            REASONER,
            ZERO,
            make_problems(plots),
            budgets=["4+halt"],
            cap=6,
            batch_size=lanes,
            constrain=split,
        )
    np.testing.assert_array_equal(spread.ids, alone.ids)
    np.testing.assert_array_equal(spread.steps, alone.steps)
    np.testing.assert_array_equal(whole.correct["4+halt"], alone.correct)
    assert spread.report == alone.report
