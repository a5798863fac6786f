# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data and rewards that write down what each process makes and scores.

One JSON object a line, in `<kind>.<process>` of the folder that LRM_TEST_COUNTS
names.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np

from lrm_jax.data import pipeline
from lrm_jax.data.tasks.addition import Addition
from lrm_jax.data.verify.reward_config import RewardError
from tests.recipes.toy_rl_task import FirstDigit

FOLDER = "LRM_TEST_COUNTS"


def note(kind, value):
    """Write down what this process did."""
    path = Path(os.environ[FOLDER]) / f"{kind}.{jax.process_index()}"
    with open(path, "a") as file:
        file.write(json.dumps(value) + "\n")


def noted(folder, kind, process):
    """Return what a process wrote down."""
    path = Path(folder) / f"{kind}.{process}"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


class CountedSource(pipeline.PuzzleSource):
    """Puzzles that say which rows of which step were made on the host."""

    def batch_fn(self, xp, arrays, seed, step, batch_size, lanes=None):
        if xp is np:
            rows = range(batch_size) if lanes is None else lanes.tolist()
            note("rows", [int(step), list(rows)])
        return super().batch_fn(xp, arrays, seed, step, batch_size, lanes)


def puzzles(cfg):
    """Return Sudokus that are counted."""
    source = pipeline.make_source(dataclasses.replace(cfg, kind="sudoku"))
    fields = dataclasses.fields(pipeline.PuzzleSource)
    return CountedSource(**{f.name: getattr(source, f.name) for f in fields})


class CountedAddition(Addition):
    """Additions whose training examples are counted."""

    def example(self, seed, index, split):
        if split == "train":
            note("examples", index)
        return super().example(seed, index, split)


class FiniteAddition(CountedAddition):
    """Of which there are 40."""

    def size(self, split):
        return 40 if split == "train" else 0


class CountedDigit(FirstDigit):
    """Counts the completions that are scored."""

    def verify_batch(self, completions, examples):
        note("scored", [e.prompt for e in examples])
        return super().verify_batch(completions, examples)


class FailingInOne(FirstDigit):
    """Cannot score the second rollout, in process 1 alone."""

    calls: ClassVar[int] = 0

    def verify_batch(self, completions, examples):
        type(self).calls += 1
        if type(self).calls == 2 and jax.process_index() == 1:
            raise RewardError("reward.user='mine:reward': it raised ValueError: no")
        return super().verify_batch(completions, examples)


def addition(cfg):
    return CountedAddition(min_digits=1, max_digits=cfg.max_digits)


def forty(cfg):
    return FiniteAddition(min_digits=1, max_digits=cfg.max_digits)


def digit(cfg):
    del cfg
    return CountedDigit()


def failing(cfg):
    del cfg
    return FailingInOne()
