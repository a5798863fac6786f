# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sources: batches as functions of (seed, step), splits kept apart, iterators."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data import isomorphism, pipeline, puzzle_table
from lrm_jax.data.pipeline import PuzzleDataConfig, make_source
from lrm_jax.data.views import sudoku_view
from lrm_jax.types import UserError

SMALL = PuzzleDataConfig(side=6, train_size=50, test_size=20)


@functools.cache
def source_of(cfg):
    return make_source(cfg)


def assert_equal_batches(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype == np.int32
        np.testing.assert_array_equal(a[key], np.asarray(b[key]))


CONFIGS = [
    PuzzleDataConfig(side=4, holdout="class", train_size=300, test_size=100),
    SMALL,
    dataclasses.replace(SMALL, augment=False),
    PuzzleDataConfig(side=9, train_size=20, test_size=10),
    PuzzleDataConfig(kind="maze", side=10, train_size=30, test_size=10),
]


@pytest.mark.parametrize("cfg", CONFIGS, ids=lambda c: f"{c.kind}{c.side}{c.augment}")
def test_device_batches_are_host_batches(cfg):
    source = source_of(cfg)
    step_fn = jax.jit(functools.partial(source.batch_fn, jnp), static_argnums=(1, 3))
    for step in (0, 7, 100_000):
        host = source.train_batch(step, 16, seed=3)
        assert_equal_batches(host, step_fn(source.train_arrays(), 3, step, 16))
        assert source.view.is_valid(host["inputs"], host["labels"]).all()
        assert host["inputs"].shape == (16, source.seq_len)


def test_a_traced_seed_gives_the_same_rows():
    source = source_of(SMALL)
    traced = jax.jit(functools.partial(source.batch_fn, jnp), static_argnums=3)
    got = traced(source.train_arrays(), np.uint32(3), 5, 8)
    assert_equal_batches(source.train_batch(5, 8, seed=3), got)


def test_rows_do_not_depend_on_the_batch_size_or_on_lanes():
    source = source_of(SMALL)
    big = source.train_batch(0, 24, seed=1)
    small = [source.train_batch(i, 8, seed=1) for i in range(3)]
    joined = {k: np.concatenate([b[k] for b in small]) for k in big}
    assert_equal_batches(big, joined)
    part = source.batch_fn(np, source.arrays, 1, 0, 24, np.arange(8, 16))
    assert_equal_batches(part, small[1])


def test_an_epoch_visits_every_puzzle_once():
    source = source_of(dataclasses.replace(SMALL, augment=False))
    epochs = []
    for epoch in range(3):
        rows = source.train_batch(epoch, 50, seed=2)["inputs"]
        assert {r.tobytes() for r in rows} == {
            r.tobytes() for r in source.train.inputs.astype(np.int32)
        }
        epochs.append(rows)
    assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()
    other = source.train_batch(0, 50, seed=3)["inputs"]
    assert (other != epochs[0]).any()


def grouped_table():
    """Two groups: three puzzles of two examples; two puzzles of one example."""
    inputs = np.arange(8, dtype=np.uint8)[:, None] * np.ones((1, 4), np.uint8)
    return puzzle_table.PuzzleTable(
        inputs,
        inputs,
        np.arange(1, 6, dtype=np.int32),
        np.array([0, 2, 4, 6, 7, 8], np.int32),
        np.array([0, 3, 5], np.int32),
    )


def test_groups_give_one_random_puzzle_an_epoch():
    view = dataclasses.replace(sudoku_view(4), rows=2, cols=2)
    source = pipeline.PuzzleSource(
        view, grouped_table(), grouped_table(), vocab_size=9, seq_len=4,
        num_puzzle_ids=6,
    )  # fmt: skip
    assert source.rows_per_epoch == 3
    picked = set()
    for epoch in range(60):
        batch = source.train_batch(epoch, 3, seed=0)
        ids, rows = batch["puzzle_ids"], batch["inputs"][:, 0]
        first = sorted(ids[ids <= 3])
        assert len(first) == 2 and first[0] == first[1]
        assert set(rows[ids <= 3]) == {2 * first[0] - 2, 2 * first[0] - 1}
        assert ids[ids > 3].tolist() in ([4], [5])
        picked |= set(ids)
    assert picked == {1, 2, 3, 4, 5}


def test_ignored_labels_become_minus_100():
    view = dataclasses.replace(sudoku_view(4), rows=2, cols=2)
    source = pipeline.PuzzleSource(
        view, grouped_table(), grouped_table(), vocab_size=9, seq_len=4,
        ignore_label_id=3,
    )  # fmt: skip
    labels = source.test_set()["labels"]
    assert (labels[3] == -100).all() and (labels[0] == 0).all()
    kept = dataclasses.replace(source, ignore_label_id=None)
    assert (kept.test_set()["labels"][3] == 3).all()


def test_total_steps_is_the_references_formula():
    """Sudoku-1k: 60,000 epochs of 1,000 groups in batches of 768: 78,125 steps."""
    table = puzzle_table.single_examples(np.ones((1000, 16)), np.ones((1000, 16)))
    source = pipeline.PuzzleSource(sudoku_view(4), table, table, 6, 16)
    assert source.total_steps(60_000, 768) == 78_125


@pytest.mark.parametrize(
    "cfg", [CONFIGS[1], CONFIGS[3], CONFIGS[4]], ids=["6", "9", "m"]
)
def test_no_test_puzzle_is_isomorphic_to_a_trained_one(cfg):
    source = source_of(cfg)
    shared = isomorphism.overlaps(source.view, source.test.inputs, source.train.inputs)
    assert not shared.any()
    assert len(source.train.inputs) == cfg.train_size
    assert len(source.test.inputs) == cfg.test_size


def test_test_puzzles_do_not_depend_on_the_training_size():
    more = source_of(dataclasses.replace(SMALL, train_size=90))
    np.testing.assert_array_equal(more.test.inputs, source_of(SMALL).test.inputs)
    other = source_of(dataclasses.replace(SMALL, seed=1))
    assert (other.test.inputs != more.test.inputs).any()


def test_class_holdout_names_its_parts():
    source = source_of(CONFIGS[0])
    parts = source.test_parts
    assert parts.names == ("seen-class", "unseen-class")
    assert np.bincount(parts.index).tolist() == [50, 50]
    unseen = source.test.inputs[parts.index == 1]
    view = source.view
    assert not isomorphism.overlaps(view, unseen, source.train.inputs).any()
    seen = source.test.inputs[parts.index == 0]
    assert not isomorphism.overlaps(view, seen, source.train.inputs, "none").any()
    with pytest.raises(UserError, match="holdout 'class' is for sudoku of side 4"):
        make_source(dataclasses.replace(SMALL, holdout="class"))


def test_csv_sources(lrm_data):
    extreme = str(lrm_data / "sudoku" / "sudoku_extreme_train_1k.csv")
    source = make_source(PuzzleDataConfig(path=extreme, test_size=90, train_size=500))
    assert source.describe()["train_examples"] == 500
    assert source.test.n_examples == 90
    hard = make_source(PuzzleDataConfig(path=extreme, min_rating=50))
    assert 200 < hard.train.n_examples < 500
    serg = str(lrm_data / "sudoku" / "serg_multi_solution_1k.csv")
    with pytest.raises(UserError, match="line 2: several solutions"):
        make_source(PuzzleDataConfig(path=serg))
    both = make_source(PuzzleDataConfig(path=extreme, test_path=serg, test_size=9))
    batch = both.test_set()
    assert both.view.is_valid(batch["inputs"], batch["labels"]).all()
    allowed = PuzzleDataConfig(path=serg, allow_multiple=True)
    source = make_source(allowed)  # a tenth is held out where no test file is named
    assert (source.train.n_examples, source.test.n_examples) == (812 - 81, 81)
    with pytest.raises(UserError, match="81 characters, expected 36"):
        make_source(PuzzleDataConfig(path=extreme, side=6))


@pytest.mark.parametrize("kind", ["sudoku", "maze", "arc"])
@pytest.mark.parametrize("flavour", ["hrm", "trm"])
def test_folder_sources(lrm_fixtures, kind, flavour):
    path = str(lrm_fixtures / "datasets" / kind / flavour)
    source = make_source(PuzzleDataConfig(kind=kind, path=path, side=0))
    batch = source.train_batch(0, 6, seed=0)
    assert batch["inputs"].shape == (6, source.seq_len)
    assert batch["puzzle_ids"].max() < source.num_puzzle_ids
    if kind == "arc":
        assert source.num_puzzle_ids == 18 and (batch["labels"] == -100).any()
        assert source.rows_per_epoch == 4 + 3 + 2 + 2 + 3 + 2
        assert source.total_steps(100, 2) == int(100 * 6 * (46 / 17) / 2)
    else:
        assert source.view.is_valid(batch["inputs"], batch["labels"]).all()
    few = make_source(PuzzleDataConfig(kind=kind, path=path, side=0, train_size=2))
    assert few.train.n_groups == 2
    with pytest.raises(UserError, match="not of kind|boxes|side"):
        wrong = "maze" if kind == "sudoku" else "sudoku"
        make_source(PuzzleDataConfig(kind=wrong, path=path, side=0))


def test_grain_iterator_resumes_and_ignores_worker_count():
    source = source_of(SMALL)
    want = [source.train_batch(step, 4, seed=9) for step in range(6)]
    for workers in (0, 2):
        iterator = source.grain_iterator(9, 4, num_workers=workers)
        for step in range(3):
            assert_equal_batches(next(iterator), want[step])
        state = iterator.get_state()
        assert_equal_batches(next(iterator), want[3])
        again = source.grain_iterator(9, 4, num_workers=workers)
        again.set_state(state)
        assert_equal_batches(next(again), want[3])
        assert_equal_batches(next(again), want[4])
        del iterator, again
    late = source.grain_iterator(9, 4, start_step=5)
    assert_equal_batches(next(late), want[5])


def test_user_named_kinds(tmp_path, monkeypatch):
    (tmp_path / "my_task.py").write_text(
        "from lrm_jax.data import pipeline, puzzle_table, views\n"
        "import numpy as np\n"
        "def build(cfg):\n"
        "    rows = np.full((cfg.train_size, 16), 2)\n"
        "    table = puzzle_table.single_examples(rows, rows)\n"
        "    return pipeline.PuzzleSource(views.sudoku_view(4), table, table, 6, 16)\n"
        "def wrong(cfg):\n"
        "    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = make_source(PuzzleDataConfig(kind="my_task:build", train_size=7))
    assert source.train.n_examples == 7
    with pytest.raises(UserError, match="my_task:wrong' returned int"):
        make_source(PuzzleDataConfig(kind="my_task:wrong"))
    with pytest.raises(UserError, match="module 'my_task' has no 'missing'"):
        make_source(PuzzleDataConfig(kind="my_task:missing"))
    with pytest.raises(UserError, match="no module 'no_such_task'"):
        make_source(PuzzleDataConfig(kind="no_such_task:build"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "chess"}, "data.kind is 'chess'; accepted are 'sudoku'"),
        ({"train_size": -1}, "data.train_size is -1"),
        ({"max_rating": 2, "min_rating": 5}, "data.max_rating is 2"),
        ({"holdout": "rows"}, "data.holdout is 'rows'"),
    ],
)
def test_wrong_config_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **change)


def test_wrong_paths_are_refused(tmp_path):
    with pytest.raises(UserError, match="nothing.csv: no such file"):
        make_source(PuzzleDataConfig(path=str(tmp_path / "nothing.csv")))
    with pytest.raises(UserError, match="not a dataset folder"):
        make_source(PuzzleDataConfig(path=str(tmp_path)))
    with pytest.raises(UserError, match="data.kind 'arc' reads a folder"):
        make_source(PuzzleDataConfig(kind="arc"))


@pytest.mark.parametrize("name", ["exact", "valid", "two words", ""])
def test_a_judge_does_not_take_the_name_of_another_figure(name):
    source = make_source(PuzzleDataConfig(side=4, test_size=10, holdout="class"))
    with pytest.raises(UserError, match=f"judges: {name!r} is no name of a judge"):
        dataclasses.replace(source, judges={name: lambda ids, problem: ids[:, 0] > 0})
