# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Environments against their truth: enumeration, rational arithmetic, data sets."""

import itertools
import json
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data import sudoku as generator
from lrm_jax.search.domains import countdown, sorting
from lrm_jax.search.domains.countdown import Countdown
from lrm_jax.search.domains.enumeration import enumerate_tree
from lrm_jax.search.domains.sorting import Sorting
from lrm_jax.search.domains.sudoku import SudokuSteps
from lrm_jax.types import UserError

PUZZLE_6 = "1.3...4.6.2..4.6.13.....5.2.4..1.3."


def _fractions(states, node):
    """The numbers that a node has left."""
    pairs = zip(states.num[node], states.den[node], strict=True)
    return [Fraction(int(a), int(b)) for a, b in pairs if b]


def _countdown(numbers, target):
    model = Countdown(len(numbers), max(numbers))
    return model, enumerate_tree(model, None, model.problem([numbers], [target]))


@pytest.mark.parametrize(
    ("numbers", "target"),
    [([3, 8, 8], 3), ([2, 7, 9], 32), ([5, 5, 5], 7), ([6, 4], 2)],
)
def test_countdown_is_rational_arithmetic_at_every_node(numbers, target):
    model, tree = _countdown(numbers, target)
    assert np.flatnonzero(tree.depth == len(numbers) - 1).tolist() == (
        np.flatnonzero(tree.terminal).tolist()
    )
    for node in range(len(tree.parent)):
        left = _fractions(tree.states, node)
        assert len(left) == len(numbers) - tree.depth[node]
        if node:
            before = _fractions(tree.states, tree.parent[node])
            pair = model.pairs[tree.action[node] // 6]
            sign = countdown.SIGNS[tree.action[node] % 6]
            assert sorted(left) == sorted(_play(tree, node, pair, sign))
            assert len(before) == len(left) + 1
        if tree.terminal[node]:
            assert tree.reward[node] == (left == [target])
        else:
            for policy in ("best", "uniform"):
                want = countdown.exact_value(left, target, policy)
                assert getattr(tree, policy)[node] == pytest.approx(want, abs=1e-12)


def _play(tree, node, pair, sign):
    """What Python makes of a step."""
    above = tree.parent[node]
    num, den = tree.states.num[above], tree.states.den[above]
    a, b = (Fraction(int(num[p]), int(den[p])) for p in pair)
    made = eval(sign, {"a": a, "b": b})
    rest = [
        Fraction(int(num[p]), int(den[p]))
        for p in range(len(num))
        if den[p] and p not in pair
    ]
    return [*rest, made]


def test_nothing_is_divided_by_zero():
    _, tree = _countdown([4, 4, 9], 9)
    first = np.flatnonzero((tree.depth == 1) & (tree.action == 1))[0]  # 4 - 4
    assert sorted(_fractions(tree.states, first)) == [0, 9]
    signs = tree.action[tree.parent == first] % 6
    assert signs.tolist() == [0, 1, 2, 3, 4]  # 0 / 9, but not 9 / 0


def test_the_famous_hard_ones():
    assert countdown.exact_value([3, 3, 8, 8], 24) == 1  # 8 / (3 - 8 / 3)
    assert countdown.exact_value([1, 1, 1, 1], 24) == 0
    assert countdown.exact_value([Fraction(8, 3), 8, 3], 24) == 1


def test_steps_in_writing():
    model = Countdown(3, 9)
    problem = model.problem([[7, 9, 2]], [32])
    row = countdown.Numbers(*(x[0] for x in problem))
    texts = [model.text(row, a) for a in range(6)]
    assert texts == ["7+9=16", "7-9=-2", "9-7=2", "7*9=63", "7/9=7/9", "9/7=9/7"]
    minus = row._replace(num=np.array([-2, 7, 0]), den=np.array([1, 3, 0]))
    assert model.text(minus, 2) == "(7/3)-(-2)=13/3"


def test_the_bound_of_fractions_is_kept_and_needed():
    model, tree = _countdown([100, 99, 98], 1)
    assert np.abs(tree.states.num).max() <= 4 * 100**3
    assert tree.states.den.max() <= 4 * 100**3
    with pytest.raises(UserError, match=r"count=5, largest=100.*160000000000"):
        Countdown(5, 100)
    with pytest.raises(UserError, match="count=1"):
        Countdown(1, 9)


@pytest.mark.parametrize(
    ("numbers", "targets", "said"),
    [
        ([[1, 2]], [3], "row 0: 2 numbers, expected 3"),
        ([[1, 2, 3], [1, 2, 14]], [3, 3], r"row 1: 14 is not in 1 .. 13"),
        ([[1, 2, 3]], [3, 4], "2 targets of 1 rows"),
    ],
)
def test_countdown_refuses(numbers, targets, said):
    with pytest.raises(UserError, match=said):
        Countdown(3, 13).problem(numbers, targets)


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_stored_row_is_solvable(lrm_data):
    rows = _rows(lrm_data / "countdown" / "countdown_3num_test.jsonl")
    assert len(rows) == 198
    assert all(countdown.exact_value(r["numbers"], r["target"]) == 1 for r in rows)
    # and of the Game of 24 every 20th; all of them in the nightly run
    rows = _rows(lrm_data / "countdown" / "game24.jsonl")[::20]
    assert all(countdown.exact_value(r["numbers"], 24) == 1 for r in rows)


@pytest.mark.nightly
def test_the_game_of_24_is_solvable_throughout(lrm_data):
    rows = _rows(lrm_data / "countdown" / "game24.jsonl")
    assert len(rows) == 1108
    assert all(countdown.exact_value(r["numbers"], 24) == 1 for r in rows)


def test_a_stored_row_by_the_model_itself(lrm_data):
    row = _rows(lrm_data / "countdown" / "countdown_3num_test.jsonl")[0]
    model, tree = _countdown(row["numbers"], row["target"])
    assert tree.best[0] == 1
    # Walk down the best children and read the solution off.
    node, lines = 0, []
    while not tree.terminal[node]:
        below = np.flatnonzero(tree.parent == node)
        seen = tree.reward[below] + tree.best[below]
        child = below[np.argmax(seen)]
        state = jax.tree.map(lambda x, n=node: x[n], tree.states)
        lines.append(model.text(state, int(tree.action[child])))
        node = child
    assert lines[-1].endswith(f"={row['target']}") and len(lines) == 2


@pytest.mark.parametrize("adjacent", [False, True])
def test_sorting_is_worth_what_its_cycles_or_inversions_say(adjacent):
    model = Sorting(length=3, swaps=3, adjacent=adjacent, discount=0.5)
    for items in itertools.permutations(range(3)):
        tree = enumerate_tree(model, None, jnp.array([items]))
        for node in range(len(tree.parent)):
            row, left = tree.states.items[node], int(tree.states.left[node])
            assert tree.best[node] == model.exact_value(row, left)


def test_fewest_swaps_are_those_of_a_breadth_first_walk():
    for adjacent in (False, True):
        pairs = Sorting(length=5, adjacent=adjacent).pairs
        found = {tuple(range(5)): 0}
        wave = list(found)
        while wave:
            items = wave.pop(0)
            for i, j in pairs:
                other = list(items)
                other[i], other[j] = other[j], other[i]
                if tuple(other) not in found:
                    found[tuple(other)] = found[items] + 1
                    wave.append(tuple(other))
        assert len(found) == 120
        for items, need in found.items():
            assert sorting.fewest_swaps(items, adjacent=adjacent) == need


def test_sorting_refuses():
    with pytest.raises(UserError, match="discount=0"):
        Sorting(discount=0)


def _puzzles(side, count, seed=0):
    made = generator.generate(generator.geometry_for(side), count, seed)
    return np.asarray(made.puzzles), np.asarray(made.solutions)


@pytest.mark.parametrize("rule", ["fewest", "first"])
@pytest.mark.parametrize("actions", ["conflict_free", "all"])
def test_sudoku_has_one_way_to_its_only_solution(rule, actions):
    puzzles, solutions = _puzzles(4, 2)
    model = SudokuSteps(4, rule, actions)
    for puzzle, solution in zip(puzzles, solutions, strict=True):
        if rule == "first" and actions == "all":
            puzzle = np.where(np.arange(16) < 10, solution, puzzle)
        tree = enumerate_tree(model, None, puzzle[None])
        solved = np.flatnonzero(tree.terminal & (tree.reward == 1))
        assert len(solved) == 1
        np.testing.assert_array_equal(tree.states.digits[solved[0]], solution)
        assert tree.best[0] == 1
        for node in np.flatnonzero(~tree.terminal):
            grid = tree.states.digits[node]
            assert tree.best[node] == model.exact_value(grid)
            assert grid[tree.states.cell[node]] == 0
        for node in np.flatnonzero(tree.terminal):
            assert tree.reward[node] == bool(
                (tree.states.digits[node] == solution).all()
            )


def test_dead_ends_and_conflicts_end_the_game():
    # Row 1 holds 1 2 3, column 4 a 4: its last cell has no digit left.
    grid = np.zeros((4, 4), np.int32)
    grid[0, :3], grid[2, 3] = [1, 2, 3], 4
    model = SudokuSteps(4)
    said, state = model.root(None, grid.reshape(1, -1), jax.random.key(0)[None])
    assert bool(said.terminal[0]) and not said.valid.any() and said.reward[0] == 0
    assert model.exact_value(grid.ravel()) == 0
    grid[2, 3], grid[1, 0] = 0, 1  # two 1s in a box
    said, _ = model.root(None, grid.reshape(1, -1), jax.random.key(0)[None])
    assert bool(said.terminal[0])
    assert model.exact_value(grid.ravel()) == 0


def test_the_cell_of_fewest_digits_is_next():
    grid = np.zeros((4, 4), np.int32)
    grid[2, 1:3] = [1, 2]  # row 3 has 3 and 4 left, all other cells three or more
    for rule, cell in (("fewest", 8), ("first", 0)):
        _, state = SudokuSteps(4, rule).root(
            None, grid.reshape(1, -1), jax.random.key(0)[None]
        )
        assert state.cell.tolist() == [cell]


@pytest.mark.parametrize("side", [6, 9])
def test_larger_sudoku_by_its_own_rule(side):
    puzzles, solutions = _puzzles(side, 1)
    model = SudokuSteps(side)
    # All but ten open cells are given, so that the whole tree is small.
    open_cells = np.flatnonzero(puzzles[0] == 0)
    puzzle = solutions[0].copy()
    puzzle[open_cells[:10]] = 0
    tree = enumerate_tree(model, None, puzzle[None].astype(np.int32))
    assert tree.best[0] == 1 == model.exact_value(puzzle)
    for node in np.flatnonzero(~tree.terminal):
        assert tree.best[node] == model.exact_value(tree.states.digits[node])


@pytest.mark.parametrize(
    ("model", "problems"),
    [
        (Countdown(3, 9), Countdown(3, 9).problem([[1, 2, 3], [8, 8, 3]], [6, 5])),
        (Sorting(length=4), jnp.array([[3, 2, 1, 0], [0, 1, 3, 2]])),
        (SudokuSteps(4), _puzzles(4, 2)[0].astype(np.int32)),
    ],
    ids=["countdown", "sorting", "sudoku"],
)
def test_lanes_do_not_depend_on_each_other_nor_on_jit(model, problems):
    keys = jax.random.split(jax.random.key(0), 2)
    both, states = jax.jit(model.root)(None, problems, keys)
    for lane in range(2):
        one = jax.tree.map(lambda x, at=lane: x[at : at + 1], problems)
        alone, state = model.root(None, one, keys[lane : lane + 1])
        for a, b in zip(
            jax.tree.leaves((alone, state)),
            jax.tree.leaves((both, states)),
            strict=True,
        ):
            np.testing.assert_array_equal(a[0], b[lane])
    assert hash(model) == hash(type(model)(**vars(model)))
    assert not both.reward.any() and not both.value.any()


def test_an_enumeration_says_when_it_is_too_large():
    with pytest.raises(UserError, match="limit=10 nodes at depth 3"):
        enumerate_tree(Sorting(length=3), None, jnp.array([[2, 1, 0]]), limit=10)
