# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Search finds what enumeration knows: countdown, sorting, Sudoku by step."""

import json
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data import sudoku as generator
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.domains.countdown import Countdown, exact_value
from lrm_jax.search.domains.enumeration import enumerate_tree
from lrm_jax.search.domains.sorting import Sorting
from lrm_jax.search.domains.sudoku import SudokuSteps
from lrm_jax.search.mcts import search_jit


def _search(model, problem, simulations, **changes):
    """A search whose values are those of the best plan found."""
    rows = len(jax.tree.leaves(problem)[0])
    keys = jax.random.split(jax.random.key(0), rows)
    settings = {"method": "uct", "backup": "max", "recommend": "value"} | changes
    config = SearchConfig(simulations=simulations, **settings)
    return search_jit(model, None, problem, keys, config)


def _game(lrm_data, name, rows):
    lines = (lrm_data / "countdown" / name).read_text().splitlines()
    return [json.loads(line) for line in lines[:rows]]


def test_every_stored_countdown_row_is_solved(lrm_data):
    rows = _game(lrm_data, "countdown_3num_test.jsonl", 198)
    model = Countdown(3, 100)
    problem = model.problem([r["numbers"] for r in rows], [r["target"] for r in rows])
    # 18 + 18 * 6 nodes at most: 126 simulations see all.
    found = _search(model, problem, 126)
    assert found.closed.all()
    np.testing.assert_array_equal(found.value, np.ones(198))
    # The step it takes leaves numbers that make the target.
    tree = jax.device_get(found.tree)
    for row, action in enumerate(np.asarray(found.action)):
        child = tree.children[row, 0, action]
        num, den = tree.states.num[row, child], tree.states.den[row, child]
        pairs = zip(num.tolist(), den.tolist(), strict=True)
        left = [Fraction(n, d) for n, d in pairs if d]
        assert exact_value(left, rows[row]["target"]) == 1


@pytest.mark.parametrize("method", ["uct", "puct", "gumbel"])
def test_a_search_that_sees_all_knows_the_exact_value(method):
    model = Sorting(length=3, swaps=3, discount=0.5)
    problem = jnp.array([[2, 0, 1], [1, 0, 2], [2, 1, 0], [0, 1, 2]])
    size = max(
        len(enumerate_tree(model, None, problem[i : i + 1]).parent) for i in range(4)
    )
    found = _search(model, problem, size, method=method)
    assert found.closed.all()
    want = [model.exact_value(row) for row in problem.tolist()]
    np.testing.assert_array_equal(found.value, np.array(want, np.float32))
    assert want == [0.5, 1, 1, 0]


@pytest.mark.parametrize("side", [4, 9])
def test_sudoku_is_solved_to_the_last_cell(side):
    count = 4 if side == 4 else 2
    made = generator.generate(generator.geometry_for(side), count, 1)
    puzzles = np.asarray(made.puzzles, np.int32)
    if side == 9:  # 30 of the open cells
        for puzzle, solution in zip(puzzles, made.solutions, strict=True):
            given = np.flatnonzero(puzzle == 0)[30:]
            puzzle[given] = solution[given]
    found = _search(SudokuSteps(side), jnp.asarray(puzzles), 192)
    assert found.closed.all()
    np.testing.assert_array_equal(found.value, np.ones(count))
    tree = jax.device_get(found.tree)
    for row, solution in enumerate(made.solutions):
        won = np.flatnonzero(tree.terminal[row] & (tree.rewards[row] == 1))
        assert len(won) == 1
        np.testing.assert_array_equal(tree.states.digits[row, won[0]], solution)


@pytest.mark.nightly
def test_the_game_of_24_is_solved(lrm_data):
    rows = _game(lrm_data, "game24.jsonl", 1108)[::40]
    model = Countdown(4, 13)
    problem = model.problem([r["numbers"] for r in rows], [24] * len(rows))
    # 36 + 36 * 18 + 36 * 18 * 6 nodes at most.
    found = _search(model, problem, 4572)
    assert found.closed.all()
    np.testing.assert_array_equal(found.value, np.ones(len(rows)))
