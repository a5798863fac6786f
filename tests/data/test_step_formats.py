# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labelled steps of every format; soft labels stay soft; bad rows are counted."""

import gzip
import json
from pathlib import Path

import pytest

from lrm_jax.data.step_files import (
    StepCounts,
    StepFileConfig,
    read_steps,
    stream_steps,
)
from lrm_jax.data.step_formats import (
    Excluded,
    Ratings,
    StepRecord,
    guess_format,
    read_chat,
    read_math_aps,
    read_math_aps_tree,
    read_math_shepherd,
    read_plain,
    read_prm800k,
    read_trl,
)
from lrm_jax.types import UserError


def _one(records) -> StepRecord:
    (record,) = records
    return record


def test_trl_keeps_soft_labels():
    row = {"prompt": "1+1?", "completions": ["a", "b", "c"], "labels": [True, 0.9, 0]}
    assert _one(read_trl(row)) == ("1+1?", ("a", "b", "c"), (1.0, 0.9, 0.0), "trl")
    row = {"prompt": "q", "steps": ["a", "b"], "labels": [None, 0.25]}
    assert _one(read_plain(row)).labels == (None, 0.25)


def test_math_shepherd_by_alignment_of_both_texts():
    # The question and a step hold the tag as a word; only signs make tags.
    text = "Где реки? Step 1: у реки ки\nStep 2: две ки"
    signs = "Где реки? Step 1: у реки +\nStep 2: две -"
    record = _one(read_math_shepherd({"input": text, "label": signs}))
    assert record.prompt == "Где реки?"
    assert record.steps == ("Step 1: у реки", "Step 2: две")
    assert record.labels == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "signs", "message"),
    [
        ("q Step 1: a ки", "q Step 1: a ?", "label 1 is '\\?'"),
        ("q Step 1: a ки b", "q Step 1: a + b", "1 labels and 2 steps"),
        ("q Step 1: a ки", "q Step 1: b +", "differ before tag 1"),
        ("q Step 1: a", "q Step 1: a", "1 steps|text after the last tag"),
        ("Step 1: a ки", "Step 1: a +", "where does step 1 begin"),
    ],
)
def test_math_shepherd_refuses(text, signs, message):
    with pytest.raises(UserError, match=message):
        list(read_math_shepherd({"input": text, "label": signs}))


def test_chat_by_turns():
    turn = lambda role, content: {"role": role, "content": content}
    turns = [
        turn("user", "1+1? Step 1: a"),
        turn("assistant", "+"),
        turn("user", "Step 2: b"),
        turn("assistant", "-"),
    ]
    record = _one(read_chat({"conversations": turns}))
    assert record == ("1+1?", ("Step 1: a", "Step 2: b"), (1.0, 0.0), "chat")
    with pytest.raises(UserError, match="1 labels and 2 steps"):
        list(read_chat({"conversations": turns[:3]}))


def _prm800k(**changes):
    done = lambda text, rating, **more: {"text": text, "rating": rating, **more}
    steps = [
        {"completions": [done("a", 1), done("a2", -1)], "chosen_completion": 0},
        {
            "completions": [done("b", -1), done("b2", 0), done("b3", 1, flagged=True)],
            "chosen_completion": None,
            "human_completion": {"text": "h", "rating": None},
        },
        {"completions": [done("c", 0)], "chosen_completion": 0},
        {"completions": [done("d", -1), done("d2", 1)], "chosen_completion": None},
    ]
    return {"question": {"problem": "q"}, "label": {"steps": steps}, **changes}


def test_prm800k_the_way_and_its_alternatives():
    way, *others = read_prm800k(_prm800k())
    assert way == ("q", ("a", "h", "c"), (1.0, None, 1.0), "prm800k")
    assert [(r.steps, r.labels) for r in others] == [
        (("a2",), (0.0,)),
        (("a", "b"), (None, 0.0)),
        (("a", "b2"), (None, 1.0)),
        (("a", "h", "c", "d"), (None, None, None, 0.0)),
        (("a", "h", "c", "d2"), (None, None, None, 1.0)),
    ]


def test_prm800k_ratings_as_declared():
    ratings = Ratings(neutral=0.5, human=1.0)
    way, *_ = read_prm800k(_prm800k(), ratings=ratings)
    assert way.labels == (1.0, 1.0, 0.5)
    (way,) = read_prm800k(_prm800k(), ratings=Ratings(neutral=None), alternatives=False)
    assert way.labels == (1.0, None, None)
    for name in ("is_quality_control_question", "is_initial_screening_question"):
        with pytest.raises(Excluded, match=name):
            list(read_prm800k(_prm800k(**{name: True})))


def test_math_aps_each_node_is_labelled_once():
    values = {
        "q": 0.5,
        "q\n\na": 0.75,
        "q\n\na\n\nb": 1.0,
        "q\n\na\n\nc": 0.0,
        "q d": 0.2,
    }
    prefixes = [{"solution_prefix": t, "mc_value": v} for t, v in values.items()]
    found = list(read_math_aps({"question": "q", "reasoning_steps": prefixes}))
    assert [(r.steps, r.labels) for r in found] == [
        (("d",), (0.2,)),
        (("a", "b"), (0.75, 1.0)),
        (("a", "c"), (None, 0.0)),
    ]
    node = lambda text, value, *children: {
        "text": text,
        "mc_value": value,
        "children": list(children),
    }
    tree = node(
        "q", 0.5, node("a", 0.75, node("b", 1.0), node("c", 0.0)), node("d", 0.2)
    )
    found = list(read_math_aps_tree({"question": "q", "reasoning_steps": tree}))
    assert [(r.steps, r.labels) for r in found] == [
        (("a", "b"), (0.75, 1.0)),
        (("a", "c"), (None, 0.0)),
        (("d",), (0.2,)),
    ]


def _write(path: Path, rows, packed: bool = False) -> Path:
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(body) if packed else body)
    return path


ROWS = [
    {"prompt": "q", "completions": ["a", "b"], "labels": [1, 0]},
    {"prompt": "q", "completions": ["a", "b"], "labels": [1]},
    {"prompt": "q", "completions": ["a", ""], "labels": [1, 1]},
    {"prompt": "q", "completions": ["a"], "labels": ["yes"]},
    {"prompt": "q", "completions": ["a"]},
    {"prompt": "q", "completions": ["c"], "labels": [0.5]},
]


@pytest.mark.parametrize("packed", [False, True])
def test_rows_that_cannot_be_used_are_counted(tmp_path, packed):
    path = _write(tmp_path / "steps.jsonl", ROWS, packed)
    records, counts = read_steps(path)
    assert [r.labels for r in records] == [(1.0, 0.0), (0.5,)]
    assert (counts.rows, counts.records, counts.labels, counts.refused) == (6, 2, 3, 4)
    assert [one["line"] for one in counts.bad] == [2, 3, 4, 5]
    reasons = [one["reason"] for one in counts.bad]
    assert reasons[0] == "1 labels and 2 steps"
    assert reasons[1].startswith("step 2 of 2 is empty")
    assert reasons[2].startswith("label 1 is 'yes'")
    assert "'labels'" in reasons[3]
    with pytest.raises(UserError, match=r"steps.jsonl, line 2: 1 labels and 2 steps"):
        list(stream_steps(path))


def test_nothing_to_use_is_an_error(tmp_path):
    path = _write(tmp_path / "steps.jsonl", ROWS[1:3])
    with pytest.raises(
        UserError, match="no labelled steps in 2 rows: line 1: 1 labels"
    ):
        read_steps(path)
    path = _write(tmp_path / "other.jsonl", [{"a": 1}])
    with pytest.raises(UserError, match=r"line 1: columns 'a' are of no format"):
        read_steps(path)
    with pytest.raises(UserError, match="format='xyz': expected one of steps, trl"):
        StepFileConfig(format="xyz")


def test_a_stream_holds_one_row_at_a_time(tmp_path):
    path = _write(tmp_path / "steps.jsonl", [ROWS[0]] * 3)
    counts = StepCounts()
    stream = stream_steps(path, counts=counts)
    next(stream)
    assert counts.rows == 1


@pytest.mark.parametrize(
    ("name", "format", "rows", "excluded"),
    [
        ("prm800k_samples.jsonl", "prm800k", 6, 0),
        ("math_shepherd_samples.jsonl", "math_shepherd", 4, 0),
        ("math_aps_samples.jsonl", "math_aps", 2, 0),
        ("math_aps_tree_samples.jsonl", "math_aps_tree", 2, 0),
    ],
)
def test_real_samples(lrm_data, name, format, rows, excluded):
    path = lrm_data / "prm" / name
    records, counts = read_steps(path)
    assert (counts.rows, counts.refused) == (rows, 0)
    assert sum(counts.excluded.values()) == excluded
    assert {record.source for record in records} == {format}
    first = json.loads(path.read_text(encoding="utf-8").split("\n")[0])
    assert guess_format(first) == format
    assert all(0 <= x <= 1 for r in records for x in r.labels if x is not None)


def test_real_samples_counted_by_hand(lrm_data):
    folder = lrm_data / "prm"
    records, counts = read_steps(folder / "math_shepherd_samples.jsonl")
    assert [len(r.steps) for r in records] == [5, 5, 2, 3]
    assert records[2].labels == (0.0, 0.0)
    raw = (folder / "math_shepherd_samples.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in raw.splitlines()]
    plus = sum(row["label"].count(" +\n") + row["label"].endswith(" +") for row in rows)
    assert sum(x or 0 for r in records for x in r.labels) == plus
    # Every node of the trees but the roots is labelled once.
    _, counts = read_steps(folder / "math_aps_tree_samples.jsonl")
    assert counts.labels == 90 + 24 - 2
    # Row 2 of PRM800K by eye: six steps chosen, one -1 alternative and three +1 ones.
    path = folder / "prm800k_samples.jsonl"
    record = [r for r in stream_steps(path) if "Senate" in str(r.prompt)]
    assert [r.labels.count(None) for r in record] == [0, 6, 6, 6, 6]
    assert record[0].labels == (1.0,) * 6
    assert [r.labels[-1] for r in record[1:]] == [0.0, 1.0, 1.0, 1.0]
