# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows as they stand; lines that cannot be used are named."""

import gzip
import json

import pytest

from lrm_jax.data.jsonl import Columns, read_jsonl
from lrm_jax.types import UserError

GOOD = '{"prompt": "1+1=", "answer": "2"}'


def write(path, *lines):
    path.write_bytes("\n".join(lines).encode())
    return path


def test_rows_keep_what_they_hold(tmp_path):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2?", "name": "Ann"},
    ]
    path = write(
        tmp_path / "x.jsonl",
        json.dumps({"prompt": "1+1=", "answer": 2, "solution": "so 2", "level": [3]}),
        "",
        json.dumps({"prompt": messages, "answer": "4"}) + "\r",
        "",
    )
    first, second = read_jsonl(path)
    assert first == ("1+1=", "2", "so 2", {"level": [3]}, 1)
    assert second == (messages, "4", "", {}, 3)


def test_lines_end_at_newline_only(tmp_path):
    text = "a\u2028b\u2029c\x85d\x0be\x0cf"
    path = write(tmp_path / "x.jsonl", json.dumps({"prompt": text, "answer": "x"}))
    raw = f'{{"prompt": "{text[:5]}", "answer": "y"}}'
    path.write_bytes(path.read_bytes() + b"\n" + raw.encode() + b"\n")
    rows = read_jsonl(path)
    assert [row.prompt for row in rows] == [text, text[:5]]
    assert [row.line for row in rows] == [1, 2]


def test_gzip_and_byte_order_mark(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + GOOD.encode()))
    assert read_jsonl(path)[0].answer == "2"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="x.jsonl.gz: cannot be read"):
        read_jsonl(path)


def test_other_column_names(tmp_path):
    path = write(tmp_path / "x", '{"question": "1", "answer": "s", "final": "f"}')
    names = Columns("question", "final", "answer")
    assert read_jsonl(path, names)[0] == ("1", "f", "s", {}, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON: Expecting property name"),
        ("[1]", "expected an object with a prompt, got a list"),
        ("{} {}", "not valid JSON: Extra data"),
        ('{"prompt": NaN, "answer": ""}', "not valid JSON: NaN is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"prompts": "x"}', "no column 'prompt'; found: 'prompts'"),
        ('{"prompt": "", "answer": "1"}', "prompt: the prompt is empty"),
        ('{"prompt": " \\n", "answer": "1"}', "prompt: the prompt is empty"),
        ('{"prompt": [], "answer": "1"}', "prompt: the prompt is empty"),
        ('{"prompt": null, "answer": "1"}', "text or a list of messages, got nothing"),
        ('{"prompt": ["x"], "answer": ""}', "message 1: expected an object with role"),
        (
            '{"prompt": [{"role": "user"}], "answer": ""}',
            "message 1: content: expected text, got nothing",
        ),
        ('{"prompt": "x"}', "no column 'answer'"),
        ('{"prompt": "x", "answer": [1]}', "answer: expected text or a number, got a"),
        ('{"prompt": "x", "answer": null}', "answer=null: expected an answer"),
        ('{"prompt": "x", "answer": " "}', 'answer=" ": expected an answer'),
        ('{"prompt": "x", "answer": true}', "got true or false"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = write(tmp_path / "x.jsonl", GOOD, "", line, GOOD)
    with pytest.raises(UserError) as excinfo:
        read_jsonl(path)
    assert str(excinfo.value).startswith(f"{path}, line 3")
    assert message in str(excinfo.value) and "\n" not in str(excinfo.value)


def test_bad_bytes_are_named_by_their_line(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD.encode() + b'\n{"prompt": "\xff"}\n')
    with pytest.raises(UserError, match="line 2: not valid JSON: 'utf-8' codec"):
        read_jsonl(path)


@pytest.mark.parametrize("key", ["prompt", "answer", "other"])
def test_half_a_surrogate_pair_is_no_text(tmp_path, key):
    row = {"prompt": "x", "answer": "1", key: "\ud800 x"}
    path = write(tmp_path / "x.jsonl", GOOD, json.dumps(row))
    with pytest.raises(UserError, match="line 2: not valid JSON: .*surrogates"):
        read_jsonl(path)
    whole = json.dumps({"prompt": "\U0001f600", "answer": "1"})  # escaped as a pair
    assert read_jsonl(write(tmp_path / "y.jsonl", whole))[0].prompt == "\U0001f600"


def test_what_is_needed(tmp_path):
    path = write(tmp_path / "x.jsonl", '{"prompt": "x", "solution": "so"}')
    assert read_jsonl(path, needs="completion")[0].solution == "so"
    path = write(tmp_path / "y.jsonl", '{"prompt": "x"}')
    assert read_jsonl(path, needs="prompt")[0].answer == ""
    path = write(tmp_path / "z.jsonl", '{"prompt": "x", "answer": ""}')
    with pytest.raises(UserError, match="line 1: nothing to learn: no 'answer'"):
        read_jsonl(path, needs="completion")


def test_files_that_hold_nothing(tmp_path):
    with pytest.raises(UserError, match="none.jsonl: no such file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="a folder; expected a JSONL file"):
        read_jsonl(tmp_path)
    with pytest.raises(UserError, match="x: no rows"):
        read_jsonl(write(tmp_path / "x", "", ""))


def test_real_files(lrm_data):
    names = Columns("question", "final", "answer")
    path = lrm_data / "gsm8k" / "test.jsonl.gz"
    rows = read_jsonl(path, names, needs="completion")
    assert len(rows) == 1051
    assert all("####" in row.solution for row in rows)
