# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mazes: shortest paths, two ways of judging, statistics of Maze-Hard."""

import csv

import numpy as np
import pytest

from lrm_jax.data import maze
from lrm_jax.types import UserError


def tokens(*rows):
    return maze.parse_maze("".join(rows))


OPEN_4 = tokens("S   ", "    ", "    ", "   G")


def real_mazes(lrm_data, name):
    path = lrm_data / "maze" / f"maze_30x30_hard_{name}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    questions = np.array([maze.parse_maze(r["question"]) for r in rows])
    answers = np.array([maze.parse_maze(r["answer"]) for r in rows])
    return questions, answers, np.array([int(r["rating"]) for r in rows])


@pytest.mark.parametrize("name", ["train", "test"])
def test_published_answers_and_ratings_come_out(lrm_data, name):
    questions, answers, ratings = real_mazes(lrm_data, name)
    solved = maze.solve(questions)
    np.testing.assert_array_equal(solved.solutions, answers)
    np.testing.assert_array_equal(solved.ratings, ratings)
    assert maze.verify(questions, answers).all()


def test_solves_by_hand():
    """Two paths are shortest; the goal is first reached from below."""
    puzzle = tokens("S#  ", " # G", "    ", "####")
    solved = maze.solve(puzzle[None])
    assert maze.format_maze(solved.solutions[0]) == "S#  " + "o# G" + "oooo" + "####"
    assert solved.ratings[0] == 7  # S, five path cells and G


def test_a_walled_goal_has_no_path():
    solved = maze.solve(tokens("S#  ", "### ", "    ", "   G")[None])
    assert solved.ratings[0] == 0
    np.testing.assert_array_equal(
        solved.solutions[0], tokens("S#  ", "### ", "    ", "   G")
    )


def test_verify_tells_shortest_valid_paths_from_others():
    """Six steps from corner to corner: 20 right answers, here two of them."""
    right = [
        tokens("Sooo", "   o", "   o", "   G"),
        tokens("S   ", "oo  ", " oo ", "  oG"),
    ]
    wrong = [
        tokens("Soo ", "   o", "   o", "   G"),  # too short, broken
        tokens("Soo ", " o o", "   o", "   G"),  # right count, not joined
        tokens("Sooo", "   o", "  oo", "   G"),  # one cell too many
        tokens("oSoo", "   o", "   o", "   G"),  # start moved
        OPEN_4,  # no path
        np.zeros(16, np.uint8),  # padding
    ]
    rows = np.stack(right + wrong)
    got = maze.verify(np.repeat(OPEN_4[None], len(rows), 0), rows)
    assert got.tolist() == [True, True] + [False] * len(wrong)


def test_verify_refuses_paths_through_walls():
    puzzle = tokens("S#  ", " # G", "    ", "####")
    through = tokens("Soo ", " #oG", "    ", "####")
    assert not maze.verify(puzzle[None], through[None])[0]


def statistics(puzzles, solutions, ratings):
    walls = puzzles == maze.WALL
    near = walls.reshape(-1, 30, 30)
    blocks = near[:, 1:, 1:] & near[:, 1:, :-1] & near[:, :-1, 1:] & near[:, :-1, :-1]
    return {
        "density": walls.mean(),
        "density spread": walls.mean(1).std(),
        "2x2 walls": blocks.mean(),
        "path": ratings.mean(),
        "path spread": ratings.std(),
    }


def test_statistics_are_those_of_maze_hard(lrm_data):
    want = statistics(*real_mazes(lrm_data, "train"))
    made = maze.generate(30, 150, seed=0)
    got = statistics(*made)
    # Four standard errors of 150 mazes, as measured on the 812 real ones.
    bounds = {
        "density": 0.009,
        "density spread": 0.0065,
        "2x2 walls": 0.0035,
        "path": 2.0,
        "path spread": 2.0,
    }
    for key, bound in bounds.items():
        assert abs(got[key] - want[key]) < bound, (key, got[key], want[key])
    assert made.ratings.min() >= 110


def count_shortest(puzzle, side):
    """Count shortest paths by brute force over layers."""
    cells = {divmod(int(i), side) for i in np.flatnonzero(puzzle != maze.WALL)}
    at = lambda token: divmod(int(np.flatnonzero(puzzle == token)[0]), side)
    start, goal = at(maze.START), at(maze.GOAL)
    ways, seen = {start: 1}, {start}
    while ways and goal not in ways:
        following = {}
        for (r, c), n in ways.items():
            for cell in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if cell in cells and cell not in seen:
                    following[cell] = following.get(cell, 0) + n
        seen |= set(following)
        ways = following
    return ways.get(goal, 0)


@pytest.mark.parametrize("side", [6, 10, 30])
def test_generated_mazes_have_several_shortest_paths(side):
    made = maze.generate(side, 12, seed=2)
    assert len({p.tobytes() for p in made.puzzles}) == 12
    assert maze.verify(made.puzzles, made.solutions).all()
    assert made.ratings.min() >= maze.default_min_rating(side)
    assert ((made.solutions == maze.PATH).sum(1) == made.ratings - 2).all()
    assert all(count_shortest(p, side) > 1 for p in made.puzzles)


def test_generation_is_seeded_and_a_prefix_of_itself():
    few, many = maze.generate(10, 5, seed=3), maze.generate(10, 70, seed=3)
    np.testing.assert_array_equal(few.puzzles, many.puzzles[:5])
    assert (maze.generate(10, 5, seed=4).puzzles != few.puzzles).any()


def test_ratings_asked_for_are_kept_or_refused():
    made = maze.generate(10, 10, seed=0, min_rating=15, max_rating=17)
    assert made.ratings.min() >= 15 and made.ratings.max() <= 17
    with pytest.raises(UserError, match="too rare; min_rating 10 suits"):
        maze.generate(6, 1, seed=0, min_rating=35)
    with pytest.raises(UserError, match="side 3: accepted are 4 and more"):
        maze.generate(3, 1, seed=0)


def test_canonical_form_joins_the_eight_turns():
    puzzle = maze.generate(6, 1, seed=0).puzzles[0].reshape(6, 6)
    turns = np.stack(
        [np.rot90(p, k).ravel() for p in (puzzle, puzzle.T) for k in range(4)]
    )
    forms = maze.canonical_form(turns)
    assert len({f.tobytes() for f in forms}) == 1
    assert forms[0].tobytes() == min(t.tobytes() for t in turns)


def test_parse_maze_keeps_spaces_and_names_foreign_characters():
    assert maze.parse_maze(" S# Go ").tolist() == [2, 3, 1, 2, 4, 5, 2]
    with pytest.raises(UserError, match="character 2 is 'x'"):
        maze.parse_maze("Sx")
