# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of labelled steps: one supervised token a label; whole steps or none."""

import numpy as np
import pytest

from lrm_jax.data.step_formats import StepRecord
from lrm_jax.data.step_rows import StepRowConfig, StepRows
from lrm_jax.data.tokenizer import SymbolTokenizer
from lrm_jax.steps import StepRule, step_end_mask, step_table
from lrm_jax.types import UserError

TOKENIZER = SymbolTokenizer(["\n", *"abcdefgh"])  # newline 2, a 3, b 4, ...


def _record(steps, labels, prompt="ab"):
    return StepRecord(prompt, tuple(steps), tuple(labels), "test")


def _rows(records, batch_size=1, **changes):
    cfg = StepRowConfig(
        **{"rule": StepRule(), "seq_len": 10, "max_steps": 4, **changes}
    )
    return StepRows(records, TOKENIZER, cfg, batch_size=batch_size, seed=0)


def test_a_row_by_hand():
    batch = _rows([_record(["a", "bc"], [0.9, 0.25])])(0)
    assert batch["ids"].tolist() == [[3, 4, 3, 2, 4, 5, 2, 0, 0, 0]]
    assert batch["positions"].tolist() == [[0, 1, 2, 3, 4, 5, 6, 0, 0, 0]]
    assert batch["mask"].tolist() == [[True] * 7 + [False] * 3]
    assert batch["ends"].tolist() == [[3, 6, -1, -1]]
    assert batch["labels"].dtype == np.float32
    np.testing.assert_array_equal(batch["labels"], np.float32([[0.9, 0.25, 0, 0]]))
    assert batch["label_mask"].tolist() == [[True, True, False, False]]


def test_truncation_drops_whole_steps():
    long = _record(["abc", "def", "gh"], [1, 1, 0])  # ends at 5, 9, 12
    rows = _rows([long])
    assert rows(0)["ends"].tolist() == [[5, 9, -1, -1]]
    assert rows(0)["mask"].all()
    rows = _rows([long], seq_len=9)
    assert rows(0)["ends"].tolist() == [[5, -1, -1, -1]]
    assert rows(0)["mask"].sum() == 6  # nothing of a step that is not whole
    assert (rows.cut, len(rows)) == (1, 1)
    assert _rows([long], max_steps=1)(0)["ends"].tolist() == [[5]]


def test_a_row_without_a_label_is_removed_and_counted():
    good = _record(["a"], [1])
    none_fits = _record(["abcdefgh"], [1])
    unlabelled = _record(["a", "abcdefgh"], [None, 1.0])
    spoilt = _record(["a\na"], [1])
    rows = _rows([good, none_fits, unlabelled, spoilt])
    assert len(rows) == 1
    assert rows.dropped == {
        "without a labelled step that fits": 2,
        "whose steps are not told apart as tokens": 1,
    }
    assert "record 4: step 1 of 1 holds" in rows.describe()["first_bad"]
    with pytest.raises(UserError, match="gives a row: 1 without a labelled step"):
        _rows([none_fits])
    with pytest.raises(UserError, match=r"record 2 \(test\): step 1 of 1 holds"):
        _rows([good, spoilt], bad_steps="refuse")


@pytest.mark.parametrize(
    ("labels", "after_error", "expected"),
    [
        ([1, 0, 1, 0], "mask", [1, 1, 0, 0]),
        ([1, 0, 1, 0], "keep", [1, 1, 1, 1]),
        ([1, None, 0.0, 0.5], "mask", [1, 0, 1, 0]),
        ([0.5, 0.1, 0.9, 1], "mask", [1, 1, 1, 1]),
    ],
)
def test_steps_after_the_first_error(labels, after_error, expected):
    rows = _rows([_record("abcd", labels)], after_error=after_error)
    assert rows(0)["label_mask"].tolist() == [[bool(x) for x in expected]]


def test_wrong_at_says_which_labels_are_wrong():
    rows = _rows([_record("abcd", [0.5, 0.1, 0.9, 1])], wrong_at=0.25)
    assert rows(0)["label_mask"].tolist() == [[True, True, False, False]]


def test_as_many_supervised_tokens_as_labels_and_where_the_device_finds_them():
    rng = np.random.default_rng(0)
    records = [
        _record(
            ["".join(rng.choice(list("abc"), rng.integers(1, 4))) for _ in range(n)],
            [float(x) for x in rng.integers(0, 2, n)],
        )
        for n in rng.integers(1, 6, 20)
    ]
    rows = _rows(records, batch_size=20, seq_len=40, max_steps=6, after_error="keep")
    batch = rows(0)
    assert batch["label_mask"].sum() == sum(len(r.steps) for r in records)
    assert rows.describe()["labels"] == batch["label_mask"].sum()
    mask = batch["mask"].copy()
    mask[:, :2] = False  # the prompts
    table = step_table(TOKENIZER, StepRule())
    found = np.asarray(step_end_mask(batch["ids"], mask, table))  # pyright: ignore
    for b in range(20):
        kept = batch["ends"][b] >= 0
        assert np.flatnonzero(found[b]).tolist() == batch["ends"][b][kept].tolist()


def test_batches_are_a_function_of_the_step():
    records = [_record("abcdefgh"[: 1 + i % 4], [1.0] * (1 + i % 4)) for i in range(7)]
    rows, again = (_rows(records, batch_size=3) for _ in range(2))
    for step in (5, 0, 2):
        for name, value in rows(step).items():
            np.testing.assert_array_equal(value, again(step)[name])
            np.testing.assert_array_equal(value[[2, 0]], rows(step, [2, 0])[name])
    seen = np.concatenate([rows(step)["mask"].sum(1) for step in range(7)])
    lengths = [len(row.ids) for row in rows.rows]
    assert sorted(seen.tolist()) == sorted(lengths * 3)  # three whole epochs
    assert rows.fingerprint() == again.fingerprint()
    assert rows.fingerprint() != _rows(records[:6]).fingerprint()


def test_what_no_run_can_mean():
    with pytest.raises(UserError, match="seq_len=0"):
        StepRowConfig(seq_len=0)
    messages = [{"role": "user", "content": "x"}]
    rows = [StepRecord(messages, ("a",), (1.0,), "test"), _record("a", [1])]
    with pytest.raises(UserError, match="needs a chat template"):
        _rows(rows, bad_steps="refuse")
