# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""GSM8K, MATH, SVAMP and JSONL: what is read, judged, kept apart and refused."""

import gzip
import importlib.util
import json

import pytest

from lrm_jax.data.tasks.base import distinct_examples
from lrm_jax.data.tasks.files import letters_of
from lrm_jax.data.tasks.gsm8k import gsm8k
from lrm_jax.data.tasks.math_task import math
from lrm_jax.data.tasks.registry import TaskConfig, make_task
from lrm_jax.data.tasks.svamp import svamp
from lrm_jax.types import UserError


def write_gsm8k(folder, train, test):
    for name, rows in {"train": train, "test": test}.items():
        lines = [json.dumps({"question": q, "answer": a}) for q, a in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def test_gsm8k_rows_by_hand(tmp_path):
    answer = "She has 3+4=<<3+4=7>>7.\nIn all 1,000 times 7 = <<7*1000=7000>>7,000."
    write_gsm8k(tmp_path, [("How many?", answer + "\n#### 7,000")], [("Q?", "#### 1")])
    task = gsm8k(str(tmp_path))
    example = task.example(0, 0, "train")
    assert example.answer == "7000"
    assert example.solution == (
        "<think>She has 3+4=7.\nIn all 1,000 times 7 = 7,000.</think>"
        "<answer>7000</answer>"
    )
    assert str(example.prompt).startswith("How many?\n\nThink step by step between")
    verdict = task.verify("<think>x</think><answer>$7,000.00</answer>", example)
    assert (verdict.strict, verdict.status) == (1, "right")
    hashes = gsm8k(str(tmp_path), "hashes").example(0, 0, "train")
    assert hashes.solution.endswith("7,000.\n#### 7000")


def test_a_test_prompt_never_trains(tmp_path):
    train = [("How MANY, dear?", "#### 1"), ("Another?", "#### 2")]
    write_gsm8k(tmp_path, train, [("how many dear", "#### 1")])
    task = gsm8k(str(tmp_path))
    assert [e.answer for e in task.rows["train"]] == ["2"]


def test_what_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("LRM_DATA", raising=False)
    with pytest.raises(
        UserError, match="LRM_DATA is not set: give the folder of gsm8k"
    ):
        gsm8k()
    with pytest.raises(UserError, match="none of train.jsonl.gz, train.jsonl is there"):
        gsm8k(str(tmp_path))
    write_gsm8k(tmp_path, [("Q?", "no mark")], [("R?", "#### 1")])
    with pytest.raises(
        UserError, match="train.jsonl, line 1: the answer has no '####'"
    ):
        gsm8k(str(tmp_path))
    (tmp_path / "train.jsonl").write_text('{"question": "Q"}\n')
    with pytest.raises(UserError, match="line 1: column 'answer' is missing"):
        gsm8k(str(tmp_path))


def test_gsm8k_whole(lrm_data):
    task = gsm8k(str(lrm_data / "gsm8k"))
    assert (task.size("train"), task.size("test")) == (6003, 1051)
    examples = distinct_examples(task, 0, "test", 1051)
    verdicts = task.verify_batch([e.solution for e in examples], examples)
    assert {v.status for v in verdicts} == {"right"}
    train = {letters_of(e) for e in task.rows["train"]}
    assert not train & {letters_of(e) for e in examples}
    assert any("\u2028" in str(e.prompt) for e in task.rows["train"])


def test_published_solutions_are_judged_as_published(lrm_data):
    task = gsm8k(str(lrm_data / "gsm8k"), "hashes")
    by_letters = {letters_of(e): e for e in task.rows["test"]}
    path = lrm_data / "gsm8k" / "test_model_solutions.jsonl.gz"
    rows = [json.loads(x) for x in gzip.decompress(path.read_bytes()).split(b"\n") if x]
    tail = str(task.rows["test"][0].prompt).rpartition("\n\n")[2]
    count = 0
    for row in rows:
        example = by_letters[
            letters_of(task.rows["test"][0]._replace(prompt=row["question"] + tail))
        ]
        for model in ("6b_finetuning", "6b_verification", "175b_verification"):
            text = row[model]["solution"]
            lenient = task.verify(text, example).lenient
            strict = task.verify(text.replace("A: ", "#### "), example).strict
            assert lenient == strict == row[model]["is_correct"], text
            count += 1
    assert count == 3 * 1051


@pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None,
    reason="math-verify is not installed (extra math)",
)
def test_math_whole(lrm_data):
    with math(str(lrm_data / "math")) as task:
        # Two training rows have no answer, and one is a test problem in other dress.
        assert (task.size("train"), task.size("test")) == (5981, 385)
        examples = task.rows["test"]
        verdicts = task.verify_batch([e.solution for e in examples], examples)
        assert {v.status for v in verdicts} == {"right"}
        assert all(e.answer for e in task.rows["train"])


def test_svamp_whole(lrm_data):
    task = svamp(str(lrm_data / "svamp"))
    assert task.size("train") + task.size("test") <= 813
    assert 100 < task.size("test") < 220
    example = task.example(0, 0, "test")
    completion = f"<think>x</think><answer>{example.answer}</answer>"
    assert task.verify(completion, example).status == "right"


def test_jsonl_keeps_columns_and_judges_by_kind(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [
        {"prompt": f"{n} halves\u2028?", "answer": f"{n}/2", "level": n}
        for n in range(20)
    ]
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n")
    cfg = TaskConfig(name="jsonl", path=str(path), test_size=5, form="boxed")
    task = make_task(cfg)
    assert (task.size("train"), task.size("test")) == (15, 5)
    example = task.example(0, 0, "test")
    level = example.columns["level"]
    assert example.answer == f"{level}/2"
    assert task.verify(rf"so \boxed{{\frac{{{level}}}{{2}}}}", example).strict == 1
    with pytest.raises(UserError, match="task.path is empty"):
        make_task(TaskConfig(name="jsonl"))
    path.write_text('{"prompt": "x", "answer": "1"}\nnot json\n')
    with pytest.raises(UserError, match="mine.jsonl, line 2: not valid JSON"):
        make_task(cfg)
