# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a data config to batches: pure functions of (seed, step), host or device."""

import dataclasses
import functools
import hashlib
import importlib
import sys
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lrm_jax.data import augment, puzzle_table
from lrm_jax.data import counter_rng as rng
from lrm_jax.data.curriculum import Reveal
from lrm_jax.data.puzzle_table import PuzzleTable
from lrm_jax.data.views import PuzzleView
from lrm_jax.types import Judge, UserError

# The iterator's length is only a bound: its items are functions of the step.
_MAX_STEPS = 2**31 - 1
GENERATE = "generate"
"""The `data.path` of puzzles that are made."""
_TAKEN = ("exact", "token", "label", "valid", "halting_exact")  # `<name>_accuracy`


@dataclasses.dataclass(frozen=True)
class PuzzleDataConfig:
    """Where puzzles come from and how they are changed on the way.

    Attributes:
      kind: "sudoku", "maze", "arc" or "package.module:name" of a function that
        takes this config and returns a `PuzzleSource`.
      path: CSV or folder in the published format; "generate" makes puzzles; empty is
        refused (as the published presets come: they were trained on given puzzles).
      test_path: CSV or folder to evaluate on; empty uses the folder's test split,
        or holds out `test_size` puzzles of the CSV, drawn by `seed`.
      side: cells in a row (sudoku 4, 6, 9; maze 4 and more); checked where files
        say it themselves, 0 takes it from them.
      train_size: number of training puzzles (sampled from a file); 0 is all of a
        file, all that remain of 4x4 with holdout "class", else 1,000.
      test_size: number of test puzzles; 0 is all of a test file or split, a tenth
        of a CSV that has none (at most 1,000), 1,000 of generated ones.
      augment: change each row as it is drawn (sudoku: digits, bands, rows, stacks,
        columns, transpose; maze: the 8 dihedral turns). ARC folders hold their
        augmentations and are not changed further.
      min_rating: least difficulty of training and test puzzles; for generated
        mazes 0 is the length that suits the side.
      max_rating: greatest difficulty; -1 for no bound.
      seed: chooses generated puzzles, samples and splits (not the order of
        batches, which follows the run's seed).
      allow_multiple: train on Sudokus with several solutions too. Without it they are
        refused: in a CSV of up to 50,000 rows wherever they are, in a longer one (which
        gives its answers) among up to 50,000 of the rows that are trained on.
        `lrm data check` solves every row.
      resident: keep the data on the device and make batches there.
      holdout: what a generated or sampled test set shares with training:
        "canonical" no puzzle isomorphic to a trained one; "class" (sudoku 4x4)
        also whole isomorphism classes that are never trained on; "none" only no
        equal puzzle.
      held_out_classes: how many of the 36 classes holdout "class" keeps back.
      num_workers: processes that make batches; 0 makes them in this one.
      reveal: the largest share of cells shown as extra givens at the first step,
        less by the step (a curriculum; see `data/curriculum.py`); 0 for none.
      reveal_steps: steps until no extra cell is shown.
    """

    kind: str = "sudoku"
    path: str = GENERATE
    test_path: str = ""
    side: int = 9
    train_size: int = 0
    test_size: int = 0
    augment: bool = True
    min_rating: int = 0
    max_rating: int = -1
    seed: int = 0
    allow_multiple: bool = False
    resident: bool = False
    holdout: Literal["canonical", "class", "none"] = "canonical"
    held_out_classes: int = 9
    num_workers: int = 0
    reveal: float = 0.0
    reveal_steps: int = 0

    def __post_init__(self):
        """Refuse values outside what the fields accept."""
        for name in ("train_size", "test_size", "min_rating", "num_workers", "side"):
            value = getattr(self, name)
            if value < 0:
                raise UserError(f"data.{name} is {value}; accepted are 0 and more")
        if self.max_rating != -1 and self.max_rating < self.min_rating:
            raise UserError(
                f"data.max_rating is {self.max_rating}; accepted are -1 (no bound) and "
                f"{self.min_rating} (data.min_rating) and more"
            )
        if self.kind not in ("sudoku", "maze", "arc") and ":" not in self.kind:
            raise UserError(
                f"data.kind is {self.kind!r}; accepted are 'sudoku', 'maze', 'arc' and "
                "'package.module:name'"
            )
        Reveal(self.reveal, self.reveal_steps)
        if self.holdout not in ("canonical", "class", "none"):
            raise UserError(
                f"data.holdout is {self.holdout!r}; accepted are 'canonical', 'class' "
                "and 'none'"
            )


@dataclasses.dataclass(frozen=True)
class Parts:
    """Named parts of a test set.

    Attributes:
      names: the parts.
      index: int32 `[n]`, the part of each test row.
    """

    names: tuple[str, ...]
    index: np.ndarray


@dataclasses.dataclass(frozen=True)
class PuzzleSource:
    """Puzzles to train and test on, and the pure function that makes batches.

    Attributes:
      view: how the puzzles are written and judged.
      train: the training split.
      test: the test split.
      vocab_size: number of tokens, pad included.
      seq_len: cells of a puzzle.
      num_puzzle_ids: size of the puzzle-embedding table.
      change: which augmentation rows get as they are drawn.
      ignore_label_id: the label token that is not supervised; None for none.
      test_parts: named parts of the test set.
      test_ratings: int64 `[n]` difficulty of the test rows, -1 where not known.
      seed: the run's seed where a method is not given one.
      reveal: extra givens at the start of training.
      judges: the task's own rules by name: `(answer ids [B, S], problem) -> right
        [B] bool` in jax.numpy. Each is reported as `<name>_accuracy` beside the
        exact match; all of them decide what `lrm solve` calls valid, so they go by
        the inputs where they can (there are no labels then).
    """

    view: PuzzleView
    train: PuzzleTable
    test: PuzzleTable
    vocab_size: int
    seq_len: int
    num_puzzle_ids: int = 1
    change: Literal["none", "sudoku", "dihedral"] = "none"
    ignore_label_id: int | None = 0
    test_parts: Parts | None = None
    test_ratings: np.ndarray | None = None
    seed: int = 0
    reveal: Reveal = Reveal(0.0, 0)
    judges: Mapping[str, Judge] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Refuse judges whose figures would hide others."""
        for name in self.judges:
            if not name.isidentifier() or name in _TAKEN:
                raise UserError(
                    f"judges: {name!r} is no name of a judge; accepted are letters, "
                    f"digits and _, and none of {', '.join(_TAKEN)}"
                )

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays `batch_fn` gathers from; put them on the device as they are."""
        return puzzle_table.table_arrays(self.train)

    def train_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays `batch_fn` gathers from."""
        return self.arrays

    @property
    def rows_per_epoch(self) -> int:
        """Rows of one epoch: one per group and example of its puzzles."""
        return len(self.arrays["slot_group"])

    def batch_fn(
        self,
        xp: rng.Xp,
        arrays: Any,
        seed: Any,
        step: Any,
        batch_size: int,
        lanes: Any = None,
    ) -> dict[str, Any]:
        """Make the batch of a step; the same bits under numpy and jax.numpy.

        Args:
          xp: `numpy` or `jax.numpy`.
          arrays: `train_arrays()`, on the host or the device.
          seed: the run's seed, a Python int or a traced uint32.
          step: which batch, a Python int or a traced integer.
          batch_size: rows of the whole (global) batch.
          lanes: rows wanted, integers `[b]` in [0, batch_size); None for all.

        Returns:
          "inputs", "labels" `[b, S]` and "puzzle_ids" `[b]`, int32; ignored labels
          are -100. A row depends on its place in the stream of epochs alone, not
          on the batch size.
        """
        if lanes is None:
            lanes = xp.arange(batch_size, dtype=np.int32)
        rows = puzzle_table.gather_rows(xp, arrays, seed, step, batch_size, lanes)
        inputs, labels = rows.inputs, rows.labels
        words = (*puzzle_table.seed_words(seed), rows.epoch, rows.position)
        change = self._draw_change(xp, *words)
        if change is not None:
            inputs = augment.apply_change(xp, change, inputs)
            labels = augment.apply_change(xp, change, labels)
        labels = puzzle_table.ignore_labels(xp, labels, self.ignore_label_id)
        inputs = self.reveal(xp, inputs, labels, step, *words, rng.REVEAL)
        return {
            "inputs": inputs.astype(np.int32),
            "labels": labels,
            "puzzle_ids": rows.puzzle_ids,
        }

    def _draw_change(self, xp: rng.Xp, *words: Any) -> augment.Change | None:
        if self.change == "sudoku":
            return augment.sudoku_change(xp, self.view.geometry, *words)
        if self.change == "dihedral":
            return augment.maze_change(xp, self.view.rows, self.vocab_size, *words)
        return None

    def train_batch(
        self,
        step: int,
        batch_size: int,
        seed: int | None = None,
        lanes: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the batch of a step, or some rows of it, on the host: `batch_fn`."""
        seed = self.seed if seed is None else seed
        return self.batch_fn(np, self.arrays, seed, step, batch_size, lanes)

    def test_set(self) -> dict[str, np.ndarray]:
        """Return all test rows: "inputs", "labels" `[n, S]`, "puzzle_ids" `[n]`."""
        return {
            "inputs": self.test.inputs.astype(np.int32),
            "labels": puzzle_table.ignore_labels(
                np, self.test.labels, self.ignore_label_id
            ),
            "puzzle_ids": self.test.example_ids(),
        }

    def total_steps(self, epochs: int, batch_size: int) -> int:
        """Return the references' number of steps for so many epochs."""
        rows = epochs * self.train.n_groups * self.train.mean_puzzle_examples
        return int(rows / batch_size)

    def describe(self) -> dict[str, Any]:
        """Return the sizes of the data, for logs and reports."""
        parts = {}
        if self.test_parts is not None:
            counts = np.bincount(
                self.test_parts.index, minlength=len(self.test_parts.names)
            )
            parts = dict(zip(self.test_parts.names, counts.tolist(), strict=True))
        return {
            "kind": self.view.kind,
            "rows": self.view.rows,
            "cols": self.view.cols,
            "train_groups": self.train.n_groups,
            "train_puzzles": len(self.train.puzzle_ids),
            "train_examples": self.train.n_examples,
            "test_examples": self.test.n_examples,
            "test_parts": parts,
            "vocab_size": self.vocab_size,
            "seq_len": self.seq_len,
            "num_puzzle_ids": self.num_puzzle_ids,
            "augment": self.change,
        }

    def fingerprint(self) -> str:
        """Return a sha256 over all that training batches are made of."""
        parts = (self.change, self.ignore_label_id, self.num_puzzle_ids)
        digest = hashlib.sha256(repr(parts).encode())
        for name, array in sorted(self.arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def grain_iterator(
        self,
        seed: int,
        batch_size: int,
        start_step: int = 0,
        num_workers: int = 0,
        lanes: np.ndarray | None = None,
    ) -> Any:
        """Return a Grain iterator over the batches from `start_step` on.

        Of every batch it makes the rows `lanes` alone, where they are given. It has
        `get_state` and `set_state`; what it yields does not depend on the number of
        worker processes. With workers the program's main module must be
        importable (`if __name__ == "__main__":`).
        """
        import grain.python as grain
        from absl import flags

        if num_workers and not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain reads its own, nobody set them
        steps = _Batches(self, seed, batch_size, start_step, lanes)
        read = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
        batches = grain.MapDataset.source(steps).to_iter_dataset(read)
        if num_workers:
            options = grain.MultiprocessingOptions(num_workers=num_workers)
            batches = batches.mp_prefetch(options)
        return iter(batches)


@dataclasses.dataclass(frozen=True)
class _Batches:
    """Random access to the batches of a run, for Grain."""

    source: PuzzleSource
    seed: int
    batch_size: int
    start_step: int
    lanes: np.ndarray | None = None

    def __len__(self) -> int:
        return _MAX_STEPS - self.start_step

    def __getitem__(self, index: Any) -> dict[str, np.ndarray]:
        step = self.start_step + int(index)
        return self.source.train_batch(step, self.batch_size, self.seed, self.lanes)

    def __repr__(self) -> str:
        return f"_Batches({self.source.view.kind}, {self.seed}, {self.batch_size})"


def make_source(cfg: PuzzleDataConfig) -> PuzzleSource:
    """Build the source a config asks for; a user's own kind is called by its name."""
    if ":" in cfg.kind:
        return _call_named(cfg)
    from lrm_jax.data import puzzle_load

    return puzzle_load.load_source(cfg)


def _call_named(cfg: PuzzleDataConfig) -> PuzzleSource:
    """Call `package.module:name` with the config."""
    module_name, _, name = cfg.kind.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        if error.name not in (module_name, module_name.partition(".")[0]):
            raise
        raise UserError(
            f"data.kind {cfg.kind!r}: no module {module_name!r} on the path "
            f"({sys.path[0] or '.'} and the installed packages)"
        ) from None
    except AttributeError:
        raise UserError(
            f"data.kind {cfg.kind!r}: module {module_name!r} has no {name!r}"
        ) from None
    source = function(cfg)
    if not isinstance(source, PuzzleSource):
        raise UserError(
            f"data.kind {cfg.kind!r} returned {type(source).__name__}; it must return "
            "a lrm_jax.data.pipeline.PuzzleSource"
        )
    return source
