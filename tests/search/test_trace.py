# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A log of operators builds the same tree again, to the bit."""

import json

import jax
import numpy as np
import pytest

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.domains.mdp import MdpModel, random_mdps
from lrm_jax.search.mcts import search_jit
from lrm_jax.search.replay import replay
from lrm_jax.search.trace import (
    OPERATORS,
    read_trace,
    search_recorded,
    trace_lines,
    write_trace,
)
from lrm_jax.types import UserError

COUNT = 6
CONFIGS = {
    "puct": SearchConfig(simulations=16, dirichlet_fraction=0.25),
    "gumbel_leaves": SearchConfig(simulations=16, method="gumbel", leaves=4),
    "capped": SearchConfig(simulations=16, method="uct", solved="count", max_depth=2),
}
recorded_jit = jax.jit(search_recorded, static_argnames=("model", "config"))


def arguments():
    mdp = random_mdps(4, count=COUNT, terminal_share=0.3, invalid_share=0.3)
    value = np.array(mdp.value)
    value[2, mdp.next_state[2, 0, 0]] = np.nan
    keys = jax.random.split(jax.random.key(3), COUNT)
    problem = {"index": np.arange(COUNT, dtype=np.int32)}
    return MdpModel(4), mdp._replace(value=value), problem, keys


@pytest.fixture(scope="module")
def puct():
    config = CONFIGS["puct"]
    return (*recorded_jit(*arguments(), config), config)


@pytest.mark.parametrize(
    "name",
    ["puct", *(pytest.param(x, marks=pytest.mark.nightly) for x in list(CONFIGS)[1:])],
)
def test_a_trace_replays_to_the_same_bits(name, tmp_path):
    config = CONFIGS[name]
    result, rounds = recorded_jit(*arguments(), config)
    plain = search_jit(*arguments(), config)
    jax.tree.map(np.testing.assert_array_equal, result, plain)
    seen = set()
    for lane in range(COUNT):
        lines = trace_lines(result, rounds, lane, config)
        write_trace(tmp_path / "trace.jsonl", lines)
        tree = replay(read_trace(tmp_path / "trace.jsonl"))
        expected = jax.tree.map(
            lambda x: np.asarray(x[lane : lane + 1]),  # noqa: B023
            result.tree._replace(states=None),
        )
        # What is stored where no node is counts for nothing.
        there = expected.visits > 0
        for field in set(tree._fields) - {"states"}:
            here, was = getattr(tree, field), getattr(expected, field)
            np.testing.assert_array_equal(here[there], was[there], err_msg=field)
        np.testing.assert_array_equal(tree.visits, expected.visits)
        seen |= {line["op"] for line in lines[1:]}
        waves = [x for x in lines if x.get("op") == "backpropagate"]
        assert len(waves) == result.simulations[lane]
    missing = {"puct": {"collide"}, "gumbel_leaves": set(), "capped": {"collide"}}
    missing["capped"] |= {"prune"}
    assert seen == set(OPERATORS) - missing[name]


def test_operators_come_in_the_order_of_their_application(puct):
    result, rounds, config = puct
    lines = trace_lines(result, rounds, 0, config)
    first = [line for line in lines[1:] if line["simulation"] == 0]
    names = [line["op"] for line in first]
    assert names[:4] == ["select", "expand", "evaluate", "backpropagate"]
    assert first[0]["path"] == [0] and first[1]["node"] == 1
    assert first[1]["key"] == first[2]["key"] == result.tree.keys[0, 1].tolist()
    assert first[3]["path"] == [1, 0]


def test_traces_that_cannot_be_read_are_refused(puct, tmp_path):
    result, rounds, config = puct
    lines = trace_lines(result, rounds, 0, config)
    path = tmp_path / "trace.jsonl"

    def refused(changed, match):
        path.write_text("".join(json.dumps(line) + "\n" for line in changed))
        with pytest.raises(UserError, match=match) as refusal:
            replay(read_trace(path))
        assert "\n" not in str(refusal.value)

    refused([lines[0] | {"version": 2}, *lines[1:]], "version 2; this release reads")
    refused([{"hello": 1}], "not a search trace")
    refused([*lines, {"op": "teleport"}], f":{len(lines) + 1}: operator 'teleport'")
    moved = [dict(line) for line in lines]
    moved[2]["node"] = 7
    refused(moved, "expands what it did not reach")
    open_root = {"op": "prune", "simulation": 1, "nodes": [0]}
    if not result.closed[0]:
        refused([*lines, open_root], "node 0 is pruned")
    with pytest.raises(UserError, match="no such trace"):
        read_trace(tmp_path / "none.jsonl")
