# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Some rows of a batch, made alone, are those of the whole batch."""

import json

import numpy as np
import pytest

from lrm_jax import processes
from lrm_jax.data.packed_rows import PackedRows
from lrm_jax.data.pipeline import PuzzleDataConfig, make_source
from lrm_jax.data.tasks.addition import Addition
from lrm_jax.data.text_source import TextDataConfig, TextSource, task_or_files
from lrm_jax.data.tokenizer import ByteTokenizer

COUNT, BATCH = 60, 8


def source_of(tmp_path, made):
    if made:
        cfg, task = TextDataConfig(test_size=4), Addition(1, 2)
        return TextSource(cfg, task, task.tokenizer())
    path = tmp_path / "sums.jsonl"
    rows = [
        {"prompt": f"{i}+1=", "answer": i + 1, "solution": "x" * (i % 7)}
        for i in range(COUNT)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    cfg = TextDataConfig(path=str(path), test_size=4)
    return TextSource(cfg, task_or_files(cfg, None), ByteTokenizer())


def rows_of(source, pack=True):
    return PackedRows(source, seq_len=64, batch_size=BATCH, pack=pack, seed=1)


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("pack", [True, False])
def test_packed_rows_by_place(tmp_path, made, pack):
    rows = rows_of(source_of(tmp_path, made), pack)
    for lanes in ([0], [3, 4, 5], range(BATCH)):
        for step in (0, 9):
            whole, part = rows(step), rows(step, np.array(lanes))
            for name, array in whole.items():
                np.testing.assert_array_equal(part[name], array[list(lanes)])


class OfThree:
    """What three processes would tell each other, one after another.

    The lengths that the others measured are taken from a plan made alone.
    """

    def __init__(self, index, lengths):
        self.part = range(
            *(len(lengths) * i // 3 for i in (index, index + 1)),
        )
        self.lengths = lengths

    def shared(self, count, work):
        assert count == len(self.lengths)
        own = work(self.part)
        assert own == self.lengths[self.part.start : self.part.stop]
        return self.lengths


def test_processes_plan_alike_and_read_only_what_they_need(tmp_path, monkeypatch):
    source = source_of(tmp_path, made=False)
    alone = rows_of(source)
    order = source.order(1, 0, source.train_size)
    lengths = [len(source.train_tokens(i).ids) for i in order]
    read = []
    train_tokens = source.train_tokens
    monkeypatch.setattr(
        source, "train_tokens", lambda i: (read.append(i), train_tokens(i))[1]
    )
    for index in range(3):
        told = OfThree(index, lengths)
        monkeypatch.setattr(processes, "shared", told.shared)
        read.clear()
        rows = rows_of(source)
        assert read == order[told.part.start : told.part.stop]
        assert rows.describe() == alone.describe()
        lanes = [2 * index, 2 * index + 1]
        batch, whole = rows(0, lanes), alone(0)
        for name, array in whole.items():
            np.testing.assert_array_equal(batch[name], array[lanes])
        learned = int(batch["segment_ids"].max(axis=1).sum())
        assert len(read) <= len(told.part) + learned
        assert len(set(read)) == len(read)


def test_puzzles_by_place():
    cfg = PuzzleDataConfig(side=4, train_size=20, test_size=4, augment=True)
    source = make_source(cfg)
    lanes = np.array([1, 6, 7])
    batches = source.grain_iterator(5, BATCH, 3, 0, lanes)
    for step in range(3, 6):
        whole, part = source.train_batch(step, BATCH, 5), next(batches)
        for name, array in whole.items():
            np.testing.assert_array_equal(part[name], array[lanes])
