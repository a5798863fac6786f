# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm data check`: duplicates, overlap up to isomorphism, faults of folders."""

import json

import numpy as np
import pytest

from lrm_jax.data import augment, maze, puzzle_build, puzzle_format, sudoku
from lrm_jax.data.check import check_dataset
from lrm_jax.data.pipeline import PuzzleDataConfig
from lrm_jax.types import UserError

BOARD = sudoku.geometry_for(6)


def write_csv(path, puzzles, solutions):
    rows = [
        f"x,{sudoku.format_grid(p)},{sudoku.format_grid(s)},0\n"
        for p, s in zip(puzzles, solutions, strict=True)
    ]
    path.write_text("source,question,answer,rating\n" + "".join(rows))
    return path


def test_counts_duplicates_inside_and_overlap_up_to_isomorphism(tmp_path):
    made = sudoku.generate(BOARD, 8, seed=5)
    rows, answers = made.puzzles, made.solutions
    clean = write_csv(tmp_path / "clean.csv", rows[:4], answers[:4])
    report = check_dataset(clean)
    assert report.ok and report.rows == 4 and report.duplicates == 0

    change = augment.sudoku_change(np, BOARD, 1, np.arange(8))
    moved = augment.apply_change(np, change, rows + 1) - 1
    solved = augment.apply_change(np, change, answers + 1) - 1
    test = write_csv(
        tmp_path / "test.csv",
        np.concatenate([rows[4:], moved[1:3]]),
        np.concatenate([answers[4:], solved[1:3]]),
    )
    report = check_dataset(test, against=clean)
    assert not report.ok and report.duplicates == 2
    assert report.details["isomorphic_between"] == 2
    assert report.details["pairs"] == [[6, 3], [7, 4]]  # line numbers
    assert json.loads(json.dumps(report.as_json()))["ok"] is False

    twice = write_csv(tmp_path / "twice.csv", rows[[0, 1, 0]], answers[[0, 1, 0]])
    report = check_dataset(twice)
    assert not report.ok and report.duplicates == 1
    assert report.details["pairs"] == [[2, 4]]
    dressed = write_csv(
        tmp_path / "dressed.csv",
        np.concatenate([rows[:2], moved[:1]]),
        np.concatenate([answers[:2], solved[:1]]),
    )
    report = check_dataset(dressed)
    assert report.ok and report.details["isomorphic_inside"] == 1


def test_different_kinds_are_not_compared(tmp_path):
    made = sudoku.generate(BOARD, 2, seed=5)
    six = write_csv(tmp_path / "six.csv", made.puzzles, made.solutions)
    four = tmp_path / "four.csv"
    four.write_text("question,n_solutions\n" + "." * 16 + ",288\n")
    with pytest.raises(UserError, match="sudoku of 4x4.*sudoku of 6x6"):
        check_dataset(six, against=four)


def test_real_lists(lrm_data):
    report = check_dataset(lrm_data / "sudoku" / "magictour_top1465.csv")
    assert report.ok and report.rows == 1175
    assert report.details["pairs"] == [[250, 257]]
    mazes = lrm_data / "maze"
    report = check_dataset(
        mazes / "maze_30x30_hard_train.csv", mazes / "maze_30x30_hard_test.csv"
    )
    assert report.ok and report.rows == 812


@pytest.fixture(params=["sudoku", "maze"])
def folder(request, tmp_path):
    side = 6 if request.param == "sudoku" else 8
    cfg = PuzzleDataConfig(kind=request.param, side=side, train_size=6, test_size=4)
    if request.param == "sudoku":
        puzzle_build.build_sudoku(tmp_path / "set", cfg, num_aug=2)
    else:
        puzzle_build.build_maze(tmp_path / "set", cfg, num_aug=7)
    return tmp_path / "set"


def edit(path, change):
    array = np.load(path)
    np.save(path, change(array))


def set_value(index, value):
    def change(array):
        array[index] = value
        return array

    return change


def edit_metadata(folder, **values):
    path = folder / "train" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


FAULTS = {
    "train/all__labels.npy: is missing": lambda f: (
        f / "train" / "all__labels.npy"
    ).unlink(),
    "train/all__labels.npy: has shape": lambda f: edit(
        f / "train" / "all__labels.npy", lambda a: a[:-1]
    ),
    "train/all__puzzle_identifiers.npy, row 2: puzzle id 7 is beyond the table of 1": (
        lambda f: edit(f / "train" / "all__puzzle_identifiers.npy", set_value(2, 7))
    ),
    "train/all__labels.npy, row 3: every label is ignored": lambda f: edit(
        f / "train" / "all__labels.npy", set_value(3, 0)
    ),
    "train/all__inputs.npy, row 1: a token is outside": lambda f: edit(
        f / "train" / "all__inputs.npy", set_value((1, 0), 99)
    ),
    "train/all__puzzle_indices.npy: runs from 0 to": lambda f: edit(
        f / "train" / "all__puzzle_indices.npy", set_value(-1, 5)
    ),
    "train/all__group_indices.npy": lambda f: edit(
        f / "train" / "all__group_indices.npy", lambda a: a[:0]
    ),
    "cannot be read as an array": lambda f: (
        f / "train" / "all__inputs.npy"
    ).write_bytes(b"\x93NUMPY nothing"),
    "has dtype float64, expected integers": lambda f: edit(
        f / "train" / "all__inputs.npy", lambda a: a.astype(np.float64)
    ),
    "train/dataset.json: key 'sets' is missing": lambda f: (
        f / "train" / "dataset.json"
    ).write_text('{"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, '
                 '"vocab_size": 8, "seq_len": 36, "num_puzzle_identifiers": 1, '
                 '"total_groups": 1, "mean_puzzle_examples": 1.0}'),
    "train/dataset.json: not JSON": lambda f: (
        f / "train" / "dataset.json"
    ).write_text("{"),
    "total_groups is 17": lambda f: edit_metadata(f, total_groups=17),
    "mean_puzzle_examples is 3.0": lambda f: edit_metadata(f, mean_puzzle_examples=3.0),
    "num_puzzle_identifiers is 9, identifiers.json has 1": lambda f: edit_metadata(
        f, num_puzzle_identifiers=9
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", FAULTS)
def test_faulty_folders_are_refused_and_listed(folder, reason):
    assert check_dataset(folder).ok
    FAULTS[reason](folder)
    with pytest.raises(UserError) as caught:
        puzzle_format.read_dataset(folder)
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    report = check_dataset(folder)
    assert not report.ok and any(reason in b["reason"] for b in report.bad)


def test_pickled_arrays_are_never_loaded(folder):
    path = folder / "train" / "all__labels.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read as an array"):
        puzzle_format.read_dataset(folder)


def test_wrong_labels_and_shared_puzzles_of_a_folder(folder):
    labels, inputs = (folder / "test" / f"all__{n}.npy" for n in ("labels", "inputs"))
    edit(labels, set_value(1, 2))
    report = check_dataset(folder)
    assert not report.ok and report.bad[0]["line"] == 1
    assert "does not solve" in report.bad[0]["reason"]
    train = folder / "train"
    edit(inputs, set_value(1, np.load(train / "all__inputs.npy")[1]))
    edit(labels, set_value(1, np.load(train / "all__labels.npy")[1]))
    report = check_dataset(folder)
    assert not report.bad and report.details["isomorphic_between"] == 1
    assert not report.ok and report.duplicates == 1


def test_maze_csv_duplicates(tmp_path):
    made = maze.generate(6, 3, seed=0)
    turned = made.puzzles[0].reshape(6, 6).T.ravel()
    rows = [*made.puzzles, turned]
    text = "question,n_solutions\n"
    text += "".join(maze.format_maze(r) + ",1\n" for r in rows)
    (tmp_path / "m.csv").write_text(text)
    report = check_dataset(tmp_path / "m.csv")
    assert report.ok and report.details["isomorphic_inside"] == 1
