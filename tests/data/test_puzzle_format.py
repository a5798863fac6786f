# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The published format: read, written again byte for byte, built with a seed."""

import json
import shutil

import numpy as np
import pytest

from lrm_jax.data import puzzle_build, puzzle_format, sudoku, verify_dataset
from lrm_jax.data.pipeline import PuzzleDataConfig, make_source
from lrm_jax.types import UserError

KINDS = [(kind, f) for kind in ("sudoku", "maze", "arc") for f in ("hrm", "trm")]
SIX = PuzzleDataConfig(side=6, train_size=5, test_size=4, seed=3)


def files_of(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize(("kind", "flavour"), KINDS)
def test_reference_folders_are_written_again_byte_for_byte(
    lrm_fixtures, tmp_path, kind, flavour
):
    folder = lrm_fixtures / "datasets" / kind / flavour
    dataset = puzzle_format.read_dataset(folder)
    puzzle_format.write_dataset(tmp_path / "again", dataset)
    assert files_of(tmp_path / "again") == files_of(folder)
    assert ("test_puzzles.json" in dataset.root_files) == (
        (kind, flavour) == ("arc", "trm")
    )
    table = dataset.splits["train"].table()
    info = json.loads((folder.parent / f"{flavour}_build_info.json").read_text())
    for name, (dtype, shape) in info["train_shapes"].items():
        array = getattr(
            dataset.splits["train"].sets["all"],
            name.removeprefix("all__").removesuffix(".npy"),
        )
        assert (str(array.dtype), list(array.shape)) == (dtype, shape)
    assert len(table.example_ids()) == table.n_examples


def test_verify_of_the_reference_folders_finds_nothing(lrm_fixtures):
    diffs = verify_dataset.verify_dataset_folder(lrm_fixtures / "datasets")
    assert set(diffs.values()) == {0.0}
    assert {"sudoku/hrm/bytes", "maze/trm/groups", "arc/trm/invariants"} <= set(diffs)
    assert "hrm_batches/0" in diffs and "trm_batches/11" in diffs


def test_verify_finds_what_was_changed(lrm_fixtures, tmp_path):
    root = tmp_path / "datasets"
    shutil.copytree(
        lrm_fixtures / "datasets", root, copy_function=shutil.copyfile,
        ignore=shutil.ignore_patterns("arc", "trm*", "hrm_batches.json"),
    )  # fmt: skip
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    original = json.loads((lrm_fixtures / "datasets" / "hrm_batches.json").read_text())
    runs = [run for run in original["runs"] if run["kind"] == "sudoku"][:1]
    runs[0]["batches"][1]["inputs_sha256"] = "0" * 64
    (root / "hrm_batches.json").write_text(json.dumps({"runs": runs}))
    labels = root / "sudoku" / "hrm" / "train" / "all__labels.npy"
    array = np.load(labels)
    array[4, [0, 1]] = array[4, [1, 0]]
    np.save(labels, array)
    inputs = root / "maze" / "hrm" / "test" / "all__inputs.npy"
    np.save(inputs, np.load(inputs)[:, ::-1])
    meta = root / "maze" / "hrm" / "test" / "dataset.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()), indent=1))
    diffs = verify_dataset.verify_dataset_folder(root)
    assert diffs["sudoku/hrm/labels"] == 1.0
    assert diffs["maze/hrm/labels"] == 2.0 and diffs["maze/hrm/source"] == 2.0
    assert diffs["maze/hrm/bytes"] == 1.0  # indented JSON is not theirs
    assert diffs["hrm_batches/0"] >= 1.0
    assert diffs["sudoku/hrm/bytes"] == 0.0


def test_verify_needs_a_dataset(tmp_path):
    with pytest.raises(UserError, match="no dataset folder at or below"):
        verify_dataset.verify_dataset_folder(tmp_path)


@pytest.mark.parametrize("flavour", ["hrm", "trm"])
@pytest.mark.parametrize("num_aug", [0, 3])
def test_built_sudoku_folders(tmp_path, flavour, num_aug):
    folder = tmp_path / "set"
    sizes = puzzle_build.build_sudoku(folder, SIX, num_aug=num_aug, flavour=flavour)
    assert sizes["train_groups"] == 5 and sizes["train_examples"] == 5 * (1 + num_aug)
    again = tmp_path / "again"
    puzzle_build.build_sudoku(again, SIX, num_aug=num_aug, flavour=flavour)
    assert files_of(folder) == files_of(again)
    dataset = puzzle_format.read_dataset(folder)
    assert (
        list(files_of(folder))
        and verify_dataset.count_changed_files(folder, dataset) == 0
    )
    train = dataset.splits["train"]
    # The references' dtypes: int64 once augmented, else uint8; test always uint8.
    assert train.sets["all"].inputs.dtype == (np.int64 if num_aug else np.uint8)
    assert dataset.splits["test"].sets["all"].inputs.dtype == np.uint8
    assert train.sets["all"].puzzle_indices.dtype == np.int32
    assert ("total_puzzles" in train.metadata) == (flavour == "trm")
    assert train.metadata["total_groups"] == 5
    diffs = verify_dataset.verify_dataset_folder(folder)
    assert set(diffs) == {
        f"set/{key}" for key in ("bytes", "invariants", "labels", "groups")
    }
    assert set(diffs.values()) == {0.0}
    source = make_source(PuzzleDataConfig(path=str(folder), side=6))
    assert source.rows_per_epoch == 5


def test_built_metadata_has_the_references_keys(lrm_fixtures, tmp_path):
    for flavour in ("hrm", "trm"):
        puzzle_build.build_sudoku(tmp_path / flavour, SIX, num_aug=1, flavour=flavour)
        theirs = lrm_fixtures / "datasets" / "sudoku" / flavour
        for split in ("train", "test"):
            ours = json.loads((tmp_path / flavour / split / "dataset.json").read_text())
            want = json.loads((theirs / split / "dataset.json").read_text())
            assert list(ours) == list(want)
        assert set(files_of(tmp_path / flavour)) == set(files_of(theirs))
        identifiers = (theirs / "identifiers.json").read_bytes()
        assert (tmp_path / flavour / "identifiers.json").read_bytes() == identifiers


def test_build_from_the_references_source(lrm_fixtures, tmp_path):
    """Without augmentation and sampling the maze folder is theirs, byte for byte."""
    source = lrm_fixtures / "datasets" / "maze" / "source"
    cfg = PuzzleDataConfig(
        kind="maze",
        side=8,
        path=str(source / "train.csv"),
        test_path=str(source / "test.csv"),
    )
    for flavour in ("hrm", "trm"):
        puzzle_build.build_maze(tmp_path / flavour, cfg, num_aug=7, flavour=flavour)
        ours = files_of(tmp_path / flavour)
        theirs = files_of(lrm_fixtures / "datasets" / "maze" / flavour)
        assert ours == theirs


def test_originals_come_first_and_augmentations_are_isomorphic(tmp_path):
    puzzle_build.build_sudoku(tmp_path / "set", SIX, num_aug=4)
    table = puzzle_format.read_dataset(tmp_path / "set").splits["train"].table()
    forms = sudoku.canonical_form(table.inputs - 1, sudoku.geometry_for(6))
    assert len(np.unique(forms.reshape(5, 5, 36)[:, 0], axis=0)) == 5
    assert (forms.reshape(5, 5, 36) == forms.reshape(5, 5, 36)[:, :1]).all()


def test_builders_refuse_wrong_settings(tmp_path):
    with pytest.raises(UserError, match="accepted for mazes are 0 and 7"):
        puzzle_build.build_maze(tmp_path / "a", SIX, num_aug=3)
    with pytest.raises(UserError, match="flavour is 'urm'"):
        puzzle_build.build_sudoku(tmp_path / "a", SIX, flavour="urm")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(UserError, match="already there and not empty"):
        puzzle_build.build_sudoku(tmp_path / "full", SIX)
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


def test_several_sets_become_one_table():
    def one(rows, first):
        starts = np.arange(rows + 1, dtype=np.int32)
        tokens = np.full((rows, 4), first, np.uint8)
        ids = np.full(rows, first, np.int32)
        groups = np.array([0, rows], np.int32)
        return puzzle_format.SetArrays(tokens, tokens, ids, starts, groups)

    table = puzzle_format.Split({}, {"a": one(2, 1), "b": one(3, 2)}).table()
    assert table.puzzle_starts.tolist() == [0, 1, 2, 3, 4, 5]
    assert table.group_starts.tolist() == [0, 2, 5]
    assert table.example_ids().tolist() == [1, 1, 2, 2, 2]
