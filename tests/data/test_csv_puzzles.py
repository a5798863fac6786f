# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""CSV readers: every bad row is found, with its line and its reason."""

import numpy as np
import pytest

from lrm_jax.data import csv_puzzles, puzzle_load, sudoku
from lrm_jax.data.check import check_dataset
from lrm_jax.data.pipeline import PuzzleDataConfig, make_source
from lrm_jax.data.views import maze_view, sudoku_view
from lrm_jax.types import UserError

HEADER = "source,question,answer,rating\n"
GOOD = "x,12..34....43..21,1234341221434321,0\n"
MAZE_HEADER = HEADER


def write(tmp_path, text, name="puzzles.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8"))
    return path


def unique_4x4():
    made = sudoku.generate(sudoku.geometry_for(4), 3, seed=0)
    return [
        (sudoku.format_grid(p), sudoku.format_grid(s))
        for p, s in zip(made.puzzles, made.solutions, strict=True)
    ]


ROWS = unique_4x4()
GOOD_ROW = f"x,{ROWS[0][0]},{ROWS[0][1]},0\n"


def test_good_rows_become_tokens(tmp_path):
    path = write(tmp_path, HEADER + GOOD_ROW)
    rows = csv_puzzles.read_csv(path)
    assert rows.view.kind == "sudoku" and rows.view.rows == 4 and not rows.bad
    want = [1 if c == "." else int(c) + 1 for c in ROWS[0][0]]
    assert rows.inputs[0].tolist() == want
    assert rows.labels[0].tolist() == [int(c) + 1 for c in ROWS[0][1]]
    assert rows.ratings.tolist() == [0] and rows.lines.tolist() == [2]


def test_zero_is_blank_and_answers_are_computed(tmp_path):
    text = "question,n_solutions\n" + ROWS[0][0].replace(".", "0") + ",1\r\n"
    rows = csv_puzzles.read_csv(write(tmp_path, text))
    assert rows.labels[0].tolist() == [int(c) + 1 for c in ROWS[0][1]]
    assert rows.ratings.tolist() == [-1]


def swap_last(answer):
    return answer[:-2] + answer[-1] + answer[-2]


QUESTION, ANSWER = ROWS[0]
FIRST_CLUE = next(i for i, c in enumerate(QUESTION) if c != ".")
OTHER = "1" if QUESTION[FIRST_CLUE] != "1" else "2"
BAD_ROWS = {
    "question has 15 characters, expected 16": f"x,{QUESTION[:-1]},{ANSWER},0",
    "question character 2 is 'a'": f"x,{QUESTION[0]}a{QUESTION[2:]},{ANSWER},0",
    "question character 1 is 'é'": f"x,é{QUESTION[1:]},{ANSWER},0",
    "answer has 17 characters": f"x,{QUESTION},{ANSWER}1,0",
    "contradicting clues: 1 at row 1 column 1 and at row 1 column 2": (
        f"x,11{'.' * 14},{ANSWER},0"
    ),
    "no solution": f"x,123....4{'.' * 8},{ANSWER},0",
    "answer disagrees with the clue": (
        f"x,{QUESTION},{ANSWER[:FIRST_CLUE]}{OTHER}{ANSWER[FIRST_CLUE + 1 :]},0"
    ),
    "several solutions": f"x,1{'.' * 15},1234341221434321,0",
    "rating 'easy' is not a whole number": f"x,{QUESTION},{ANSWER},easy",
    "question has 1 characters, expected 16": "x,1",
}


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_each_bad_row_is_named_with_its_line(tmp_path, reason):
    text = HEADER + GOOD_ROW + BAD_ROWS[reason] + "\n" + GOOD_ROW
    path = write(tmp_path, text)
    rows = csv_puzzles.read_csv(path)
    assert [bad.line for bad in rows.bad] == [3]
    assert reason in rows.bad[0].reason
    assert rows.lines.tolist() == [2, 4]
    with pytest.raises(UserError, match="line 3: ") as caught:
        make_source(PuzzleDataConfig(path=str(path), side=4))
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    report = check_dataset(path)
    assert not report.ok and report.rows == 3
    assert [b["line"] for b in report.bad] == [3]


def test_all_bad_rows_are_listed(tmp_path):
    text = HEADER + "".join(row + "\n" for row in BAD_ROWS.values()) + GOOD_ROW
    rows = csv_puzzles.read_csv(write(tmp_path, text), sudoku_view(4))
    assert [bad.line for bad in rows.bad] == list(range(2, 2 + len(BAD_ROWS)))
    for bad, reason in zip(rows.bad, BAD_ROWS, strict=True):
        assert reason in bad.reason
    assert len(rows.inputs) == 1
    only_bad = write(tmp_path, HEADER + "x,12345,1,0\n")
    assert len(csv_puzzles.read_csv(only_bad, sudoku_view(4)).bad) == 1


def test_several_solutions_are_accepted_in_evaluation(tmp_path):
    row = f"x,1{'.' * 15},1234341221434321,0\n"
    path = write(tmp_path, HEADER + row)
    assert csv_puzzles.read_csv(path, unique=True).bad
    assert not csv_puzzles.read_csv(path, unique=False).bad
    wrong = write(tmp_path, HEADER + row.replace("4321,0", "4312,0"), "wrong.csv")
    (bad,) = csv_puzzles.read_csv(wrong, unique=False).bad
    assert bad.reason == "answer is not a valid grid"
    source = make_source(PuzzleDataConfig(path=str(path), side=4, allow_multiple=True))
    assert source.train.n_examples == 1


def test_in_a_long_file_only_rows_that_are_trained_on_are_solved(tmp_path, monkeypatch):
    monkeypatch.setattr(puzzle_load, "UNIQUE_ROWS_MAX", 4)
    lone = f"x,1{'.' * 15},1234341221434321,0\n"
    distinct = sudoku.generate(sudoku.geometry_for(4), 7, seed=1)
    good = "".join(
        f"x,{sudoku.format_grid(p)},{sudoku.format_grid(s)},0\n"
        for p, s in zip(distinct.puzzles, distinct.solutions, strict=True)
    )
    path = str(write(tmp_path, HEADER + good + lone))
    tests = str(write(tmp_path, HEADER + GOOD_ROW, "tests.csv"))

    def load(**changes):
        return make_source(
            PuzzleDataConfig(path=path, test_path=tests, side=4, **changes)
        )

    # Of eight rows three are trained on: the ninth line is among them or not.
    outcomes = []
    for seed in range(12):
        open_cells = np.array([])
        try:
            open_cells = (load(train_size=3, seed=seed).train.inputs == 1).sum(1)
        except UserError as error:
            assert str(error).startswith(f"{path}, line 9: several solutions")
        outcomes.append(len(open_cells) > 0)
        assert (open_cells < 15).all()
    assert 0 < sum(outcomes) < 12
    assert load(allow_multiple=True).train.n_examples == 8
    report = check_dataset(path)  # solves every row, however many
    assert [b["line"] for b in report.bad] == [9]
    # Without answers every row is solved in any case.
    alone = write(tmp_path, "question,n_solutions\n" + "".join(
        line.split(",")[1] + ",1\n" for line in (good + lone).splitlines()
    ), "alone.csv")  # fmt: skip
    with pytest.raises(UserError, match="line 9: several solutions"):
        make_source(PuzzleDataConfig(path=str(alone), side=4, train_size=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("\n", "empty file"),
        (HEADER, "no rows after the header"),
        ("source,puzzle,answer\nx,1,2\n", "no column 'question'"),
        ("question,answer\n12345,\n", "neither a sudoku"),
        ("source,question\nx,1234\n", "no column 'answer' in header"),
        ("question\n\xff\n", None),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, text, message):
    path = write(tmp_path, text)
    if message is None:
        path.write_bytes(b"question\n\xff\xfe\n")
        message = "not a CSV in UTF-8"
    for use in (csv_puzzles.read_csv, check_dataset):
        with pytest.raises(UserError, match=message) as caught:
            use(path)
        assert "\n" not in str(caught.value) and path.name in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        csv_puzzles.read_csv(tmp_path / "none.csv")


MAZE = "S   " + "    " + "    " + "   G"
PATH = "Sooo" + "   o" + "   o" + "   G"


def test_maze_rows_keep_their_spaces(tmp_path):
    question = "    " + " S  " + "  G " + "    "
    answer = "    " + " So " + "  G " + "    "
    text = HEADER + f",{question},{answer},3\n,{MAZE},{PATH},7\n"
    rows = csv_puzzles.read_csv(write(tmp_path, text))
    assert rows.view.kind == "maze" and not rows.bad
    assert rows.view.render(rows.inputs[0]) == question
    assert rows.view.render(rows.labels[1]) == PATH


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        (MAZE.replace("G", " "), PATH, "0 cells 'G', expected one"),
        (MAZE.replace("   G", "S  G"), PATH, "2 cells 'S', expected one"),
        (PATH, PATH, "question contains path cells"),
        ("S#  " + "##  " + "    " + "   G", PATH, "no path from S to G"),
        (MAZE, MAZE, "answer is not a shortest path"),
        (MAZE.replace("S ", "S#"), PATH, "answer is not a shortest path"),
        (MAZE[:-1], PATH, "question has 15 characters"),
        (MAZE.replace("S", "X"), PATH, "question character 1 is 'X'"),
    ],
)
def test_bad_maze_rows(tmp_path, question, answer, reason):
    good = f",{MAZE},{PATH},7\n"
    text = HEADER + good + f",{question},{answer},7\n"
    rows = csv_puzzles.read_csv(write(tmp_path, text), maze_view(4))
    assert [bad.line for bad in rows.bad] == [3] and reason in rows.bad[0].reason


def test_declared_counts_are_checked(tmp_path):
    lone = f"1{'.' * 15}"
    text = f"question,n_solutions\n{lone},72\n{QUESTION},1\n{lone},71\n"
    report = check_dataset(write(tmp_path, text))
    assert [b["line"] for b in report.bad] == [4]
    assert report.bad[0]["reason"] == "n_solutions is 71, there are 72"
    assert report.details["multiple_solutions"] == 2


def test_real_lists_are_good(lrm_data):
    for name in ("sudoku_extreme_train_1k", "magictour_top1465"):
        rows = csv_puzzles.read_csv(lrm_data / "sudoku" / f"{name}.csv")
        assert not rows.bad and rows.inputs.dtype == np.uint8
    serg = csv_puzzles.read_csv(lrm_data / "sudoku" / "serg_multi_solution_1k.csv")
    assert len(serg.bad) == 812 and not len(serg.inputs)
