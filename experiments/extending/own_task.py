# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task of your own: say a list of digits backwards, written as a `PuzzleSource`.

A function from the data config to rows of token ids (0 is the pad, never a cell),
the view that writes them as text, and rules that judge answers besides the stored
ones. Batches, their order, resume, evaluation, pictures and `lrm solve` follow.

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
SMALL = "data.side=3 model.seq_len=9 model.grid_shape=3,3,1,1 model.l_layers=1".split()


def backwards(ids, problem):
    """Return bool `[B]`: whether each answer `[B, S]` is its list said backwards."""
    return (ids[:, ::-1] == problem["inputs"]).all(-1)


def reversal(cfg: PuzzleDataConfig) -> PuzzleSource:
    """Return distinct lists of side * side digits; the answer is the list backwards."""
    cells, digits = cfg.side**2, len(CHARSET) - 1
    n_train, most = cfg.train_size or 2000, digits**cells // 2
    wanted = n_train + (cfg.test_size or 500)
    if wanted > most:
        told = f"data.train_size + data.test_size is {wanted}; accepted for"
        raise UserError(f"{told} data.side={cfg.side} are up to {most}")
    rng = np.random.default_rng(cfg.seed)
    lists = np.zeros((0, cells), np.int64)
    while len(lists) < wanted:
        more = rng.integers(1, digits + 1, (wanted, cells))
        lists = np.unique(np.concatenate([lists, more]), axis=0)
    train, test = np.split(rng.permutation(lists)[:wanted], [n_train])
    return PuzzleSource(
        view=PuzzleView("reversal", cfg.side, cfg.side, 0, 0, CHARSET),
        train=single_examples(train, train[:, ::-1]),
        test=single_examples(test, test[:, ::-1]),
        vocab_size=len(CHARSET),
        seq_len=cells,
        judges={"backwards": backwards},  # reported as backwards_accuracy
    )


if __name__ == "__main__":
    words = [f"data.kind={NAME}", *SMALL, "train.total_steps=300", *sys.argv[1:]]
    code = lrm(["train", "sudoku4_tiny", *words, "--run-dir", "runs/own_task"])
    sys.exit(code or lrm(["solve", "runs/own_task", "--puzzle", "531 245 312"]))
