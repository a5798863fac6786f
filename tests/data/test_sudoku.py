# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sudoku: the rating rule, uniqueness, minimality, generation, canonical form."""

import csv
import itertools

import numpy as np
import pytest

from lrm_jax.data import augment, sudoku
from lrm_jax.types import UserError

BOARDS = [sudoku.geometry_for(side) for side in (4, 6, 9)]
EASY = (
    "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
)
EASY_ANSWER = (
    "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
)


def grid(text, geometry=None):
    geometry = geometry or sudoku.geometry_for(round(len(text) ** 0.5))
    return sudoku.parse_grid(text, geometry)


def read_columns(path, *names):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [[row[name] for row in rows] for name in names]


# A second implementation of the rule, written for clarity: sets, recursion.
def slow_rate(puzzle, geometry):
    """Return (solved grid or None, refuted candidates) by the README's words."""
    peers = [set(row) for row in geometry.peers]
    units = [list(u) for u in geometry.units]
    digits = set(range(1, geometry.side + 1))

    def propagate(cells):
        while True:
            options = {
                i: digits - {cells[j] for j in peers[i]} for i in cells if not cells[i]
            }
            if any(not o for o in options.values()):
                return None
            for unit in units:
                for d in digits - {cells[i] for i in unit}:
                    if not any(d in options.get(i, ()) for i in unit):
                        return None
            for i in cells:
                if cells[i] and any(cells[i] == cells[j] for j in peers[i]):
                    return None
            single = next(((i, o) for i, o in options.items() if len(o) == 1), None)
            if single:
                cells[single[0]] = next(iter(single[1]))
                continue
            for unit, d in itertools.product(units, sorted(digits)):
                places = [i for i in unit if d in options.get(i, ())]
                if len(places) == 1:
                    cells[places[0]] = d
                    break
            else:
                return cells, options

    def search(cells):
        state = propagate(cells)
        if state is None:
            return None, 0
        cells, options = state
        if not options:
            return cells, 0
        cell = min(options, key=lambda i: (len(options[i]), i))
        refuted = 0
        for d in sorted(options[cell]):
            solved, below = search({**cells, cell: d})
            refuted += below
            if solved is not None:
                return solved, refuted
            refuted += 1
        return None, refuted

    return search(dict(enumerate(int(d) for d in puzzle)))


def test_solves_a_known_puzzle():
    solved = sudoku.solve(grid(EASY)[None], sudoku.geometry_for(9))
    assert sudoku.format_grid(solved.solutions[0]) == EASY_ANSWER
    assert solved.counts[0] == 1 and solved.ratings[0] == 0


def test_geometry_of_6x6_has_boxes_of_two_rows_and_three_columns():
    board = sudoku.geometry_for(6)
    assert (board.box_rows, board.box_cols) == (2, 3)
    assert board.units[12].tolist() == [0, 1, 2, 6, 7, 8]
    assert board.units[13].tolist() == [3, 4, 5, 9, 10, 11]
    assert board.peers.shape == (36, 12) and not board.square_boxes
    assert sudoku.geometry_for(9).peers.shape == (81, 20)
    assert [len(b.column_orders) for b in BOARDS] == [8, 72, 1296]


def test_unknown_side_is_refused():
    with pytest.raises(UserError, match="side 8: accepted are 4, 6 and 9"):
        sudoku.geometry_for(8)


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: f"{b.side}x{b.side}")
def test_rating_equals_a_slow_second_implementation(board):
    made = sudoku.generate(board, 12, seed=3)
    harder = made.puzzles[made.ratings.argsort()[-4:]]
    for puzzle, rating in zip(harder, np.sort(made.ratings)[-4:], strict=True):
        solved, refuted = slow_rate(puzzle, board)
        assert refuted == rating
        assert sudoku.verify(puzzle[None], np.array([list(solved.values())]), board)[0]


@pytest.mark.parametrize(
    "name",
    [
        "forum_hardest_1905_11plus_5k",
        "clue17_5k",
        "magictour_top1465",
        "sudoku_extreme_train_1k",
    ],
)
def test_rating_equals_the_column_of_real_lists(lrm_data, name):
    questions, answers, ratings = read_columns(
        lrm_data / "sudoku" / f"{name}.csv", "question", "answer", "rating"
    )
    board = sudoku.geometry_for(9)
    sample = slice(0, 400)
    solved = sudoku.solve(np.array([grid(q) for q in questions[sample]]), board)
    assert solved.ratings.tolist() == [int(r) for r in ratings[sample]]
    assert [sudoku.format_grid(s) for s in solved.solutions] == answers[sample]
    assert (solved.counts == 1).all()


def test_counts_solutions_of_real_lists(lrm_data):
    for name, side in (("serg_multi_solution_1k", 9), ("sudoku_4x4_test", 4)):
        questions, counts = read_columns(
            lrm_data / "sudoku" / f"{name}.csv", "question", "n_solutions"
        )
        board = sudoku.geometry_for(side)
        puzzles = np.array([grid(q) for q in questions])
        found = sudoku.count_solutions(puzzles, board, 5000)
        assert found.tolist() == [int(c) for c in counts]
        assert (sudoku.count_solutions(puzzles, board, 2) == np.minimum(found, 2)).all()


def test_counts_by_brute_force_on_4x4():
    """An empty board has 288 grids; one clue leaves 72; two of a row 24."""
    board = sudoku.geometry_for(4)
    rows = np.array(
        [grid("." * 16), grid("1" + "." * 15), grid("12" + "." * 14)], np.uint8
    )
    assert sudoku.count_solutions(rows, board, 1000).tolist() == [288, 72, 24]


def test_contradictions_have_no_solution():
    board = sudoku.geometry_for(4)
    twice = grid("11" + "." * 14)  # two equal clues in a row
    hidden = grid("123....4" + "." * 8)  # the 4 of row 1 is barred by its column
    rows = np.stack([twice, hidden])
    assert sudoku.count_solutions(rows, board, 10).tolist() == [0, 0]
    assert sudoku.rate(rows, board).tolist() == [0, 0]
    assert sudoku.find_conflict(twice, board) == (0, 1)
    assert sudoku.find_conflict(hidden, board) is None


def test_verify_accepts_any_valid_grid():
    board = sudoku.geometry_for(4)
    puzzle = grid("." * 16)
    good, bad = grid("1234341221434321"), grid("1234341221433421")
    other = grid("2134341212434321")
    rows = np.stack([puzzle, puzzle, puzzle])
    got = sudoku.verify(rows, np.stack([good, bad, other]), board)
    assert got.tolist() == [True, False, True]
    clue = grid("4" + "." * 15)
    assert not sudoku.verify(clue[None], good[None], board)[0]
    assert not sudoku.verify(puzzle[None], puzzle[None], board)[0]


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: f"{b.side}x{b.side}")
def test_generated_puzzles_are_distinct_unique_and_minimal(board):
    made = sudoku.generate(board, 60, seed=11)
    solved = sudoku.solve(made.puzzles, board)
    assert (solved.counts == 1).all()
    np.testing.assert_array_equal(solved.solutions, made.solutions)
    np.testing.assert_array_equal(solved.ratings, made.ratings)
    assert len({p.tobytes() for p in made.puzzles}) == 60
    assert sudoku.is_minimal(made.puzzles, board).all()
    for puzzle in made.puzzles[:5]:  # the same, clue by clue
        for cell in np.flatnonzero(puzzle):
            fewer = puzzle.copy()
            fewer[cell] = 0
            assert sudoku.count_solutions(fewer[None], board, 2)[0] == 2


def test_a_redundant_clue_is_not_minimal():
    made = sudoku.generate(sudoku.geometry_for(6), 1, seed=0)
    more = made.puzzles.copy()
    cell = np.flatnonzero(more[0] == 0)[0]
    more[0, cell] = made.solutions[0, cell]
    assert not sudoku.is_minimal(more, sudoku.geometry_for(6))[0]


def test_generation_is_seeded_and_a_prefix_of_itself():
    board = sudoku.geometry_for(9)
    few, many = sudoku.generate(board, 5, seed=4), sudoku.generate(board, 20, seed=4)
    np.testing.assert_array_equal(few.puzzles, many.puzzles[:5])
    other = sudoku.generate(board, 5, seed=5)
    assert (few.puzzles != other.puzzles).any()


def test_at_most_half_of_9x9_is_rated_zero_in_every_start():
    made = sudoku.generate(sudoku.geometry_for(9), 60, seed=1)
    easy = np.cumsum(made.ratings == 0)
    assert (easy <= np.arange(1, 61) / 2).all()


def test_generation_keeps_to_the_ratings():
    made = sudoku.generate(
        sudoku.geometry_for(9), 10, seed=1, min_rating=3, max_rating=20
    )
    assert made.ratings.min() >= 3 and made.ratings.max() <= 20


def test_impossible_ratings_are_refused():
    with pytest.raises(UserError, match="ask for fewer or widen"):
        sudoku.generate(sudoku.geometry_for(4), 2, seed=0, min_rating=5)


def slow_canonical(puzzle, board):
    """Try every transformation of a 4x4 or 6x6 board."""
    side = board.side
    bands = side // board.box_rows
    row_orders = [
        [b * board.box_rows + r for b, p in zip(order, ps, strict=True) for r in p]
        for order in itertools.permutations(range(bands))
        for ps in itertools.product(
            itertools.permutations(range(board.box_rows)), repeat=bands
        )
    ]
    square = puzzle.reshape(side, side)
    best = None
    for turned in (square, square.T) if board.square_boxes else (square,):
        for rows, columns in itertools.product(row_orders, board.column_orders):
            names, out = {0: 0}, []
            for d in turned[rows][:, columns].ravel():
                out.append(names.setdefault(int(d), len(names)))
            best = out if best is None or out < best else best
    return best


@pytest.mark.parametrize("board", BOARDS[:2], ids=["4x4", "6x6"])
def test_canonical_form_equals_brute_force(board):
    made = sudoku.generate(board, 4, seed=8)
    rows = np.concatenate([made.puzzles, made.solutions[:1]])
    got = sudoku.canonical_form(rows, board)
    assert got.tolist() == [slow_canonical(p, board) for p in rows]


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: f"{b.side}x{b.side}")
def test_canonical_form_is_kept_by_every_transformation(board):
    made = sudoku.generate(board, 25, seed=2)
    rows = np.concatenate([made.puzzles, made.solutions[:5]])
    forms = sudoku.canonical_form(rows, board)
    change = augment.sudoku_change(np, board, 1, np.arange(len(rows)))
    moved = augment.apply_change(np, change, rows + 1) - 1
    np.testing.assert_array_equal(sudoku.canonical_form(moved, board), forms)
    np.testing.assert_array_equal(sudoku.canonical_form(forms, board), forms)
    # A canonical form is a puzzle of the class: same clues, same uniqueness.
    assert ((forms > 0).sum(1) == (rows > 0).sum(1)).all()
    assert (sudoku.count_solutions(forms[:25], board, 2) == 1).all()


def test_6x6_transposition_is_not_an_isomorphism():
    board = sudoku.geometry_for(6)
    solution = sudoku.generate(board, 1, seed=0).solutions[0].reshape(6, 6)
    assert not sudoku.verify(np.zeros((1, 36)), solution.T.reshape(1, 36), board)[0]


def test_known_isomorphic_pair_of_a_real_list(lrm_data):
    """Lines 250 and 257 of the magictour list are one puzzle in two dresses."""
    (questions,) = read_columns(
        lrm_data / "sudoku" / "magictour_top1465.csv", "question"
    )
    rows = np.array([grid(questions[i - 2]) for i in (249, 250, 257)])
    classes = sudoku.isomorphism_classes(rows, sudoku.geometry_for(9))
    assert classes[1] == classes[2] != classes[0]


def test_parse_grid_names_what_is_wrong():
    board = sudoku.geometry_for(4)
    with pytest.raises(UserError, match="15 characters"):
        sudoku.parse_grid("." * 15, board)
    with pytest.raises(UserError, match="character 3 is 'x'.*1 to 4"):
        sudoku.parse_grid("12x" + "." * 13, board)
    with pytest.raises(UserError, match="character 1 is '5'"):
        sudoku.parse_grid("5" + "." * 15, board)


def test_kernels_compile_where_nothing_can_be_cached(monkeypatch):
    """A read-only install without a writable home: numba finds no cache folder."""
    caching = pytest.importorskip("numba.core.caching")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    from lrm_jax.data import jit

    assert jit.kernel(lambda x: x + 1)(2) == 3


@pytest.mark.parametrize("side", [4, 6, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_verify_agrees_with_sorting_every_unit(side, dtype, monkeypatch):
    monkeypatch.setattr(sudoku, "_VERIFIED_AT_ONCE", 7)
    board = sudoku.geometry_for(side)
    made = sudoku.generate(board, 30, seed=3)
    rng = np.random.default_rng(side)
    answers = made.solutions.astype(dtype)
    for row in answers[::2]:  # one cell wrong, or two exchanged
        i, j = rng.choice(board.cells, 2, replace=False)
        foreign = [0, 255, side + 1, row[j]] + ([-1, 300] if dtype == np.int32 else [])
        row[i], row[j] = rng.choice([*foreign, row[j]]), rng.choice([row[i], row[j]])
    want = [
        all(sorted(row[unit]) == list(range(1, side + 1)) for unit in board.units)
        and all(p in (0, a) for p, a in zip(puzzle, row, strict=True))
        for puzzle, row in zip(made.puzzles, answers, strict=True)
    ]
    assert sudoku.verify(made.puzzles, answers, board).tolist() == want
    assert 0 < sum(want) < 30


def test_solving_in_threads_keeps_the_order(monkeypatch):
    board = sudoku.geometry_for(6)
    made = sudoku.generate(board, 50, seed=5)
    whole = sudoku.solve(made.puzzles, board)
    monkeypatch.setattr(sudoku, "_SOLVED_AT_ONCE", 3)
    for a, b in zip(whole, sudoku.solve(made.puzzles, board), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(sudoku.solve(made.puzzles[:0], board).counts) == 0
