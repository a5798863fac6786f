# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Traces of a 4x4 Sudoku and a maze, written out cell by cell."""

import numpy as np

from lrm_jax.data.views import maze_view, sudoku_view
from lrm_jax.evaluation.trace import ThoughtTrace

SUDOKU = sudoku_view(4)
MAZE = maze_view(4)

PUZZLE = "1... ..2. .3.. ...4".replace(" ", "")
STEPS = [
    "1111 1121 1311 1114".replace(" ", ""),
    "1243 4321 2314 3124".replace(" ", ""),  # the last line's middle is wrong
    "1243 4321 2134 3412".replace(" ", ""),
]


def ids(text, view):
    return np.array([view.charset.index(c) for c in text], np.int32)


def sudoku_trace(labels="1243432123143124"):
    """Three steps; the second equals the labels, the third leaves them again."""
    preds = np.stack([ids(text, SUDOKU) for text in STEPS])
    confidence = np.full(preds.shape, 0.25, np.float32)
    confidence[1:] = 0.9
    return ThoughtTrace(
        inputs=ids(PUZZLE, SUDOKU),
        preds=preds,
        confidence=confidence,
        halt_prob=np.array([0.02, 0.97, 0.4], np.float32),
        labels=None if labels is None else ids(labels, SUDOKU),
    )


MAZE_PUZZLE = "S # " + "#   " + "# # " + "   G"
MAZE_STEPS = [
    "So# " + "#   " + "# # " + "   G",
    "So# " + "#oo " + "# #o" + "   G",
    "So# " + "#o  " + "#o# " + " ooG",
]


def maze_trace():
    preds = np.stack([ids(text, MAZE) for text in MAZE_STEPS])
    return ThoughtTrace(
        inputs=ids(MAZE_PUZZLE, MAZE),
        preds=preds,
        confidence=np.full(preds.shape, 0.8, np.float32),
        halt_prob=np.array([0.1, 0.2, 0.9], np.float32),
        labels=ids(MAZE_STEPS[-1], MAZE),
    )
