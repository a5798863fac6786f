# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""First fit against its definition; batches by hand."""

import random

import numpy as np
import pytest

from lrm_jax.data.packing import Tokens, collate, fill, first_fit


def plain_first_fit(lengths, capacity):
    rows, room = [], []
    for i, length in enumerate(lengths):
        for row, free in enumerate(room):
            if free >= length:
                rows[row].append(i)
                room[row] -= length
                break
        else:
            rows.append([i])
            room.append(capacity - length)
    return rows


def test_first_fit_by_hand():
    assert first_fit([6, 5, 4, 5, 3, 1], 10) == [[0, 2], [1, 3], [4, 5]]
    assert first_fit([], 10) == []
    assert first_fit([10, 10], 10) == [[0], [1]]
    assert fill([[0, 2], [1]], [3, 4, 5], 10) == pytest.approx(0.6)


def test_first_fit_is_first_fit():
    rng = random.Random(0)
    for _ in range(50):
        capacity = rng.randint(1, 40)
        lengths = [rng.randint(1, capacity) for _ in range(rng.randint(0, 60))]
        rows = first_fit(lengths, capacity)
        assert rows == plain_first_fit(lengths, capacity)
        assert sorted(i for row in rows for i in row) == list(range(len(lengths)))


@pytest.mark.parametrize("length", [0, 11, -1])
def test_what_does_not_fit_is_no_silent_loss(length):
    with pytest.raises(ValueError, match="does not fit a row of 10"):
        first_fit([3, length], 10)


def test_a_batch_by_hand():
    rows = [[Tokens([5, 6, 7, 8], 2), Tokens([9, 4], 0)], [Tokens([3], 0)], []]
    batch = collate(rows, 7, pad_id=0)
    wanted = {
        "ids": [[5, 6, 7, 8, 9, 4, 0], [3, 0, 0, 0, 0, 0, 0], [0] * 7],
        "targets": [[6, 7, 8, 0, 4, 0, 0], [0] * 7, [0] * 7],
        "positions": [[0, 1, 2, 3, 0, 1, 0], [0] * 7, [0] * 7],
        "segment_ids": [[1, 1, 1, 1, 2, 2, 0], [1, 0, 0, 0, 0, 0, 0], [0] * 7],
        "loss_mask": [[0, 1, 1, 0, 1, 0, 0], [0] * 7, [0] * 7],
    }
    for name, array in batch.items():
        np.testing.assert_array_equal(array, np.array(wanted[name]), name)
    with pytest.raises(ValueError, match="row 0 holds more than 3"):
        collate(rows, 3, pad_id=0)


def test_as_many_targets_as_completion_tokens():
    rng = random.Random(1)
    examples = []
    for _ in range(40):
        length = rng.randint(2, 9)
        examples.append(Tokens(range(10, 10 + length), rng.randint(1, length - 1)))
    rows = first_fit([len(e.ids) for e in examples], 16)
    batch = collate([[examples[i] for i in row] for row in rows], 16, pad_id=0)
    learned = sum(len(e.ids) - e.start for e in examples)
    assert batch["loss_mask"].sum() == learned
    # A target is the next token of the same example, one position on.
    b, t = np.nonzero(batch["loss_mask"])
    np.testing.assert_array_equal(batch["targets"][b, t], batch["ids"][b, t + 1])
    same = batch["segment_ids"][b, t] == batch["segment_ids"][b, t + 1]
    assert same.all() and (batch["segment_ids"][b, t] > 0).all()
