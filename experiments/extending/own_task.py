# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task of your own: say a list of digits backwards, written as a `PuzzleSource`.

A task is a function from the data config to what a run needs: training and test
rows as token ids (0 is the pad, never a cell), and the view that writes them as
text. Batches, their order, resume, evaluation, pictures and `lrm solve` follow.

    python -m experiments.extending.own_task
    lrm train sudoku4_tiny data.kind=experiments.extending.own_task:reversal
"""

import sys

import numpy as np

from lrm_jax.cli.main import main as lrm
from lrm_jax.data.pipeline import PuzzleDataConfig, PuzzleSource
from lrm_jax.data.puzzle_table import single_examples
from lrm_jax.data.views import PuzzleView
from lrm_jax.types import UserError

NAME = "experiments.extending.own_task:reversal"
CHARSET = "?12345"  # the character of each token; "?" is the pad
SMALL = ["data.side=3", "model.seq_len=9", "model.l_layers=1", "model.d_model=32"]
SMALL += ["train.total_steps=400", "train.ema_decay=0.9"]


def reversal(cfg: PuzzleDataConfig) -> PuzzleSource:
    """Return distinct lists of side * side digits; the answer is the list backwards."""
    cells, digits = cfg.side**2, len(CHARSET) - 1
    n_train, n_test = cfg.train_size or 2000, cfg.test_size or 500
    if n_train + n_test > digits**cells // 2:
        raise UserError(
            f"data.train_size + data.test_size is {n_train + n_test}; accepted for "
            f"data.side={cfg.side} are up to {digits**cells // 2}"
        )
    rng = np.random.default_rng(cfg.seed)
    lists = np.zeros((0, cells), np.int64)
    while len(lists) < n_train + n_test:
        more = rng.integers(1, digits + 1, (n_train + n_test, cells))
        lists = np.unique(np.concatenate([lists, more]), axis=0)
    lists = rng.permutation(lists)
    train, test = lists[:n_train], lists[n_train : n_train + n_test]
    return PuzzleSource(
        view=PuzzleView("reversal", cfg.side, cfg.side, 0, 0, CHARSET),
        train=single_examples(train, train[:, ::-1]),
        test=single_examples(test, test[:, ::-1]),
        vocab_size=len(CHARSET),
        seq_len=cells,
        seed=cfg.seed,
    )


if __name__ == "__main__":
    words = [f"data.kind={NAME}", *SMALL, *sys.argv[1:]]
    code = lrm(["train", "sudoku4_tiny", *words, "--run-dir", "runs/own_task"])
    sys.exit(code or lrm(["solve", "runs/own_task", "--puzzle", "531 245 312"]))
