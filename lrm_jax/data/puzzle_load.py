# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loads or generates the splits that a data config asks for, and keeps them apart."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lrm_jax.data import counter_rng, csv_puzzles, maze, sudoku
from lrm_jax.data.curriculum import Reveal
from lrm_jax.data.isomorphism import overlaps
from lrm_jax.data.puzzle_table import PuzzleTable, single_examples
from lrm_jax.data.views import PuzzleView, maze_view, sudoku_view
from lrm_jax.types import UserError

if TYPE_CHECKING:
    from lrm_jax.data.pipeline import PuzzleDataConfig, PuzzleSource

_DEFAULT_SIZE = 1000
_TRAIN, _TEST, _SAMPLE, _UNIQUE = 1, 2, 3, 4  # streams of the data seed
_MOST_SPARE = 8  # generated per puzzle that is wanted, before giving up,
_LEAST_SPARE = 1000  # but never with fewer than these
UNIQUE_ROWS_MAX = 50_000
"""Training puzzles of a CSV that are solved to see that they have one solution."""


class Puzzles(NamedTuple):
    """Puzzles as tokens."""

    inputs: np.ndarray  # [n, S]
    labels: np.ndarray  # [n, S]
    ratings: np.ndarray  # [n] int64, -1 where not known
    lines: np.ndarray | None = None  # [n] int64, where they are from a file

    def take(self, rows: Any) -> "Puzzles":
        """Return some rows (numbers or a mask)."""
        lines = None if self.lines is None else self.lines[rows]
        return Puzzles(self.inputs[rows], self.labels[rows], self.ratings[rows], lines)


class Splits(NamedTuple):
    """Training and test puzzles before they become a source."""

    view: PuzzleView
    train: Puzzles
    test: Puzzles
    part_names: tuple[str, ...] = ()
    part_index: np.ndarray | None = None  # [test] int32


def load_source(cfg: "PuzzleDataConfig") -> "PuzzleSource":
    """Load or generate training and test puzzles."""
    from lrm_jax.data.pipeline import Parts, PuzzleSource

    _refuse_unset(cfg)
    if _is_file(cfg) and Path(cfg.path).is_dir():
        from lrm_jax.data import folder_source

        return folder_source.load_folder_source(cfg)
    view, train, test, names, index = load_splits(cfg)
    return PuzzleSource(
        view=view,
        train=single_examples(train.inputs, train.labels),
        test=single_examples(test.inputs, test.labels),
        vocab_size=view.vocab_size,
        seq_len=view.seq_len,
        change=change_for(view) if cfg.augment else "none",
        test_parts=None if index is None else Parts(names, index),
        test_ratings=test.ratings,
        reveal=Reveal(cfg.reveal, cfg.reveal_steps),
    )


def load_splits(cfg: "PuzzleDataConfig") -> Splits:
    """Return both splits of a CSV, or generated ones."""
    if cfg.kind not in ("sudoku", "maze"):
        raise UserError(
            f"data.path is {cfg.path!r}; data.kind {cfg.kind!r} reads a folder in the "
            "published format"
        )
    _refuse_unset(cfg)
    if _is_file(cfg):
        splits = _from_csv(cfg)
    elif cfg.test_path:
        raise UserError(
            f"data.test_path is {cfg.test_path!r} but data.path is {cfg.path!r}; "
            "generated training puzzles come with their own test puzzles"
        )
    elif cfg.holdout == "class":
        splits = _by_class(cfg)
    else:
        splits = _generated(cfg)
    if not len(splits.train.inputs):
        raise UserError("no training puzzles are left; widen the data filters")
    return splits


def _is_file(cfg: "PuzzleDataConfig") -> bool:
    from lrm_jax.data.pipeline import GENERATE

    return cfg.path != GENERATE


def _refuse_unset(cfg: "PuzzleDataConfig") -> None:
    """Refuse to make puzzles where nobody said so."""
    if cfg.path:
        return
    if cfg.kind == "arc":
        raise UserError(
            "data.path is empty: name a folder in the published format to train on"
        )
    raise UserError(
        f"data.path is empty: name a CSV or a folder to train on (data.path={cfg.kind}"
        ".csv), or say data.path=generate to train on puzzles made here"
    )


def load_test(path: str, view: PuzzleView) -> tuple[PuzzleTable, np.ndarray | None]:
    """Return the puzzles of a CSV, or of a folder's test split, and their ratings.

    Puzzles with several solutions are accepted: any valid grid is a right answer.
    """
    if Path(path).is_dir():
        from lrm_jax.data import puzzle_format

        dataset = puzzle_format.read_dataset(path)
        if "test" not in dataset.splits:
            raise UserError(f"{path}: no test split (test/dataset.json)")
        split = dataset.splits["test"]
        told = (split.metadata["seq_len"], split.metadata["vocab_size"])
        if told != (view.seq_len, view.vocab_size):
            raise UserError(
                f"{path}: seq_len and vocab_size are {told[0]} and {told[1]}; the "
                f"model was made for {view.seq_len} and {view.vocab_size}"
            )
        return split.table(), None
    rows = read_puzzles(path, view, unique=False)
    return single_examples(rows.inputs, rows.labels), rows.ratings


def change_for(view: PuzzleView):
    """Return the augmentation of a kind of puzzle."""
    if view.kind == "sudoku":
        return "sudoku"
    return "dihedral" if view.kind == "maze" and view.rows == view.cols else "none"


def _stream(seed: int, stream: int) -> int:
    """Return a 64-bit seed of its own for a part of the data."""
    return int(counter_rng.stream_seeds(seed, stream, 0, 1)[0])


def _generate(cfg: "PuzzleDataConfig", view: PuzzleView, count: int, stream: int):
    """Generate puzzles as tokens."""
    seed = _stream(cfg.seed, stream)
    if view.kind == "sudoku":
        _refuse_more_than_all(view, count)
        top = None if cfg.max_rating == -1 else cfg.max_rating
        made = sudoku.generate(
            view.geometry, count, seed, min_rating=cfg.min_rating, max_rating=top
        )
        return Puzzles(made.puzzles + 1, made.solutions + 1, made.ratings)
    made = maze.generate(
        view.rows,
        count,
        seed,
        min_rating=cfg.min_rating,
        max_rating=max(0, cfg.max_rating),
    )
    return Puzzles(*made)


def _refuse_more_than_all(view: PuzzleView, count: int) -> None:
    """Refuse at once what would be looked for in vain."""
    from lrm_jax.data import sudoku_4x4

    if view.rows == 4 and count > 20_000:
        every = len(sudoku_4x4.all_minimal().puzzles)
        if count > 0.9 * every:
            raise UserError(
                f"data.train_size or data.test_size={count}: there are {every} minimal "
                "4x4 sudokus; ask for fewer, or for all with data.holdout='class'"
            )


def _generated(cfg: "PuzzleDataConfig") -> Splits:
    """Generate both splits; training puzzles that meet the test set are dropped.

    The test set depends on the seed, its size and the filters, not on how many
    training puzzles there are.
    """
    view = sudoku_view(cfg.side) if cfg.kind == "sudoku" else maze_view(cfg.side)
    test = _generate(cfg, view, cfg.test_size or _DEFAULT_SIZE, _TEST)
    wanted = cfg.train_size or _DEFAULT_SIZE
    spare = 0
    while spare <= max(_MOST_SPARE * wanted, 4 * _LEAST_SPARE):
        train = _generate(cfg, view, wanted + spare, _TRAIN)
        train = train.take(~overlaps(view, train.inputs, test.inputs, cfg.holdout))
        missing = wanted - len(train.inputs)
        if missing <= 0:
            return Splits(view, train.take(slice(wanted)), test)
        if missing == wanted and wanted + spare >= _LEAST_SPARE:
            break
        spare = 2 * spare + 2 * missing
    raise UserError(_too_alike(cfg, view, wanted, len(test.inputs)))


def _too_alike(
    cfg: "PuzzleDataConfig", view: PuzzleView, wanted: int, tested: int
) -> str:
    """Say why there are no training puzzles that the test set leaves over."""
    if view.kind == "sudoku" and view.rows == 4:
        return (
            f"data.holdout={cfg.holdout!r}: {tested} test puzzles leave hardly any of "
            "the 36 isomorphism classes of 4x4 sudoku to train on; use 'class'"
        )
    return (
        f"data.holdout={cfg.holdout!r}: hardly one in {_MOST_SPARE} generated puzzles "
        f"is apart from the {tested} test puzzles, so that data.train_size={wanted} "
        "is out of reach; ask for fewer, or widen the ratings"
    )


def _by_class(cfg: "PuzzleDataConfig") -> Splits:
    """Split all minimal 4x4 Sudokus by whole isomorphism classes."""
    from lrm_jax.data import sudoku_4x4

    if cfg.kind != "sudoku" or cfg.side != 4:
        raise UserError(
            f"data.holdout 'class' is for sudoku of side 4, not {cfg.kind} of side "
            f"{cfg.side}; use 'canonical'"
        )
    every = sudoku_4x4.all_minimal()
    split = sudoku_4x4.class_split(
        cfg.train_size, cfg.test_size or _DEFAULT_SIZE, cfg.seed, cfg.held_out_classes
    )
    ratings = np.zeros(len(every.puzzles), np.int64)  # singles solve every one
    puzzles = Puzzles(every.puzzles + 1, every.solutions + 1, ratings)
    tests = (split.test_seen, split.test_unseen)
    return Splits(
        sudoku_view(4),
        puzzles.take(split.train),
        puzzles.take(np.concatenate(tests)),
        (sudoku_4x4.SEEN_CLASS, sudoku_4x4.UNSEEN_CLASS),
        np.repeat(np.arange(2, dtype=np.int32), [len(t) for t in tests]),
    )


def sample_rows(count: int, wanted: int, seed: int) -> np.ndarray:
    """Return sorted numbers of a random sample without replacement."""
    if not 0 < wanted < count:
        return np.arange(count)
    words = counter_rng.split_seed(seed)
    order = counter_rng.random_permutation(np, count, *words, _SAMPLE)
    return np.sort(order[:wanted])


def _expected_view(cfg: "PuzzleDataConfig") -> PuzzleView | None:
    """Return the view the config names; None where the file decides."""
    if not cfg.side:
        return None
    return sudoku_view(cfg.side) if cfg.kind == "sudoku" else maze_view(cfg.side)


def read_puzzles(
    path: str, view: PuzzleView | None, *, unique: bool
) -> csv_puzzles.CsvPuzzles:
    """Read a CSV without bad rows; a long one without looking for several solutions."""
    rows = csv_puzzles.read_csv(
        path, view, unique=unique, unique_rows_max=UNIQUE_ROWS_MAX
    )
    return csv_puzzles.require_good(rows, path)


def _within(cfg: "PuzzleDataConfig", view: PuzzleView, puzzles: Puzzles) -> Puzzles:
    """Keep the puzzles whose difficulty is asked for; rate them where needed."""
    if cfg.min_rating == 0 and cfg.max_rating == -1:
        return puzzles
    ratings = puzzles.ratings
    if (ratings < 0).any():
        if view.kind == "sudoku":
            ratings = sudoku.rate(puzzles.inputs - 1, view.geometry)
        else:
            ratings = maze.rate(puzzles.inputs)
    good = ratings >= cfg.min_rating
    if cfg.max_rating != -1:
        good &= ratings <= cfg.max_rating
    return puzzles._replace(ratings=ratings).take(good)


def _from_csv(cfg: "PuzzleDataConfig") -> Splits:
    """Read training and test puzzles from one or two CSVs."""
    read = read_puzzles(cfg.path, _expected_view(cfg), unique=not cfg.allow_multiple)
    splits = _split_csv(cfg, read.view, _within(cfg, read.view, _puzzles(read)))
    if not (read.unique or cfg.allow_multiple):
        _refuse_multiple(cfg, splits.view, splits.train)
    return splits


def _puzzles(rows: csv_puzzles.CsvPuzzles) -> Puzzles:
    return Puzzles(rows.inputs, rows.labels, rows.ratings, rows.lines)


def _refuse_multiple(cfg: "PuzzleDataConfig", view: PuzzleView, train: Puzzles) -> None:
    """Refuse Sudokus with several solutions among the training rows of a long file."""
    if view.kind != "sudoku" or train.lines is None:
        return
    pick = sample_rows(len(train.inputs), UNIQUE_ROWS_MAX, _stream(cfg.seed, _UNIQUE))
    counts = sudoku.count_solutions(train.inputs[pick] - 1, view.geometry, 2)
    bad = [
        csv_puzzles.BadRow(int(line), csv_puzzles.MULTIPLE)
        for line in train.lines[pick][counts > 1]
    ]
    csv_puzzles.refuse_bad(bad, cfg.path)


def _split_csv(cfg: "PuzzleDataConfig", view: PuzzleView, rows: Puzzles) -> Splits:
    """Sample training puzzles, and test puzzles from the test file or the same."""
    if cfg.test_path:
        test = _puzzles(read_puzzles(cfg.test_path, view, unique=False))
        test = _within(cfg, view, test)
        pick = sample_rows(len(test.inputs), cfg.test_size, _stream(cfg.seed, _TEST))
        test = test.take(pick)
        pick = sample_rows(len(rows.inputs), cfg.train_size, _stream(cfg.seed, _TRAIN))
        return Splits(view, rows.take(pick), test)
    held = np.zeros(len(rows.inputs), bool)
    count = cfg.test_size or min(len(held) // 10, _DEFAULT_SIZE)
    if count >= len(held):
        raise UserError(
            f"data.test_size is {count}; {cfg.path} has {len(held)} puzzles in all"
        )
    if count:
        held[sample_rows(len(held), count, _stream(cfg.seed, _TEST))] = True
    test = rows.take(held)
    train = rows.take(~held & ~overlaps(view, rows.inputs, test.inputs, cfg.holdout))
    pick = sample_rows(len(train.inputs), cfg.train_size, _stream(cfg.seed, _TRAIN))
    return Splits(view, train.take(pick), test)
