# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which examples a step sees: a function of (seed, step); what is learned of them."""

import json

import numpy as np
import pytest

from lrm_jax.data.jsonl_task import judge_text
from lrm_jax.data.packed_rows import PackedRows
from lrm_jax.data.tasks.addition import Addition
from lrm_jax.data.text_source import TextDataConfig, TextSource, shuffled, task_or_files
from lrm_jax.data.tokenizer import ByteTokenizer, SymbolTokenizer
from lrm_jax.types import UserError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sums.jsonl"
    rows = [
        {"prompt": f"{i}+1=", "answer": i + 1, "solution": f"so {i + 1}", "level": "x"}
        for i in range(40)
    ]
    rows += rows[:3]  # equal prompts
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def from_file(file, tokenizer=None, **changes):
    cfg = TextDataConfig(path=str(file), **{"test_size": 8, **changes})
    return TextSource(cfg, task_or_files(cfg, None), tokenizer or ByteTokenizer())


def made_up(**changes):
    cfg, task = TextDataConfig(**{"test_size": 16, **changes}), Addition(1, 2)
    return TextSource(cfg, task_or_files(cfg, task), task.tokenizer())


def test_every_epoch_is_a_new_order_of_all():
    order = shuffled(7, 3, 5, 0, 21)
    epochs = [order[i : i + 7] for i in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for first in range(15):
        assert shuffled(7, 3, 5, first, 6) == order[first : first + 6]
    assert shuffled(7, 4, 5, 0, 21) != order


def test_files_hold_out_whole_prompts(file):
    source = from_file(file)
    train = [source.train_example(i).prompt for i in range(source.train_size)]
    test = [example.prompt for example in source.test]
    assert len(test) == 8 and not set(test) & set(train)
    shuffled_file = file.with_name("other.jsonl")
    lines = file.read_text().splitlines()
    shuffled_file.write_text("\n".join(lines[::-1]))
    again = from_file(shuffled_file)
    assert {e.prompt for e in again.test} == set(test)
    assert {e.prompt for e in from_file(file, seed=1).test} != set(test)


def test_a_test_file_of_its_own(file, tmp_path):
    test = tmp_path / "test.jsonl"
    test.write_text('{"prompt": "7+7=", "answer": "14"}\n' * 3)
    source = from_file(file, test_path=str(test), test_size=2, train_size=5)
    assert source.train_size == 5 and len(source.test) == 2
    assert source.test[0].answer == "14" and source.task.size("train") == 5


def test_made_up_problems_have_no_end_and_no_overlap():
    source = made_up()
    assert source.train_size == 0 and source.describe()["train"] == "endless"
    first = source.order(0, 10, 5)
    assert first == source.order(0, 8, 7)[2:] and first != source.order(1, 10, 5)
    test = {example.prompt for example in source.test}
    seen = {source.train_example(i).prompt for i in source.order(0, 0, 300)}
    assert len(test) == 16 and not test & seen
    few = made_up(train_size=6)
    assert sorted(few.order(0, 6, 6)) == list(range(6))


def test_what_is_learned(file):
    example = from_file(file).train_example(0)
    assert from_file(file).completion(example) == example.solution
    tagged = from_file(file, completion="<think>{solution}</think>{answer}|{level}")
    assert tagged.completion(example) == (
        f"<think>{example.solution}</think>{example.answer}|x"
    )
    tokens = tagged.tokens(example)
    text = example.prompt + tagged.completion(example)
    assert tagged.tokenizer.decode(tokens.ids) == text
    assert tokens.ids[-1] == 1 and tokens.start == len(example.prompt)
    with pytest.raises(UserError, match="'levl' is no column; there are: level, ans"):
        from_file(file, completion="{levl}").completion(example)
    with pytest.raises(UserError, match="data.completion='{x': expected '}'"):
        TextDataConfig(completion="{x")


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("made", [True, False])
def test_batches_are_functions_of_seed_and_step(file, made, pack):
    how = {"seq_len": 90, "batch_size": 4, "pack": pack, "seed": 2}
    source = made_up() if made else from_file(file)
    rows, again = PackedRows(source, **how), PackedRows(source, **how)
    batches = [rows(step) for step in range(12)]
    for step in (7, 0, 11):
        for name, array in again(step).items():
            np.testing.assert_array_equal(array, batches[step][name])
    other = PackedRows(source, **(how | {"seed": 3}))(0)
    assert (other["ids"] != batches[0]["ids"]).any()
    segments = np.stack([batch["segment_ids"] for batch in batches])
    assert (segments.max(-1) > 1).any() == pack
    assert all(batch["ids"].shape == (4, 90) for batch in batches)


def test_an_epoch_of_rows_holds_every_example_once(file):
    source = from_file(file)
    rows = PackedRows(source, seq_len=64, batch_size=1, pack=True, seed=0)
    there = rows.describe()
    texts = []
    for step in range(there["rows"]):
        batch = rows(step)
        for number in range(1, batch["segment_ids"].max() + 1):
            ids = batch["ids"][batch["segment_ids"] == number]
            texts.append(source.tokenizer.decode(ids))
    wanted = [source.train_example(i) for i in range(source.train_size)]
    assert sorted(texts) == sorted(e.prompt + e.solution for e in wanted)
    assert 0.7 < there["fill"] <= 1 and there["dropped"] == 0


def test_what_does_not_fit(file):
    with pytest.raises(UserError) as excinfo:
        PackedRows(from_file(file), seq_len=9, batch_size=1, pack=True, seed=0)
    assert "sums.jsonl, line " in str(excinfo.value)
    assert "tokens, more than sft.seq_len=9; raise it, or set" in str(excinfo.value)
    drop = from_file(file, too_long="drop")
    rows = PackedRows(drop, seq_len=9, batch_size=1, pack=True, seed=0)
    assert 0 < rows.dropped < 30 and rows.describe()["dropped"] == rows.dropped
    with pytest.raises(UserError, match="no example fits sft.seq_len=3"):
        PackedRows(drop, seq_len=3, batch_size=1, pack=True, seed=0)
    endless = PackedRows(
        made_up(too_long="drop"), seq_len=3, batch_size=1, pack=True, seed=0
    )
    with pytest.raises(UserError, match="addition: no example fits sft.seq_len=3"):
        endless(0)


def test_what_cannot_be_encoded_is_named_by_its_line(file):
    source = from_file(file, SymbolTokenizer("0123456789+= "))
    with pytest.raises(UserError, match=r"sums.jsonl, line \d+: character 's'"):
        source.train_tokens(0)


def test_nothing_to_train_on(file):
    with pytest.raises(UserError, match="data.path is empty and there is no task"):
        task_or_files(TextDataConfig(), None)
    with pytest.raises(UserError, match="data.path=.* and task 'addition': give one"):
        task_or_files(TextDataConfig(path=str(file)), Addition())
    with pytest.raises(UserError, match="data.test_size=99: nothing of .* is left"):
        from_file(file, test_size=99)
    with pytest.raises(UserError, match="data.test_size=-1: expected 0 or more"):
        TextDataConfig(test_size=-1)


def test_fingerprints_follow_the_data(file):
    same = from_file(file).fingerprint()
    assert from_file(file).fingerprint() == same
    assert from_file(file, test_size=7).fingerprint() != same
    assert made_up().fingerprint() == made_up(test_size=5).fingerprint()
    assert made_up(seed=1).fingerprint() != made_up().fingerprint()


@pytest.mark.parametrize(
    ("completion", "strict", "lenient", "status"),
    [
        ("So Paris", 1, 1, "right"),
        ("<think>hm</think> So Paris\n", 1, 1, "right"),
        ("<think>x</think><answer>So Paris</answer>", 1, 1, "right"),
        ("so  paris", 0, 1, "wrong"),
        ("<think>So Paris", 0, 0, "no_answer"),
        ("So Paris, London", 0, 0, "wrong"),
        ("", 0, 0, "no_answer"),
    ],
)
def test_judging_by_text(completion, strict, lenient, status):
    verdict = judge_text(completion, "So Paris")
    assert (verdict.strict, verdict.lenient) == (strict, lenient)
    assert verdict.status == status
