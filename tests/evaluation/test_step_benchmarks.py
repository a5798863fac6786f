# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of step judges: definitions by hand; constants and oracles on files."""

import json
from pathlib import Path

import numpy as np
import pytest

from lrm_jax.evaluation.prm_bench import INVERTED, evaluate_prm_bench, load_prm_bench
from lrm_jax.evaluation.process_bench import (
    FirstErrorItem,
    evaluate_first_errors,
    first_error_metrics,
    first_wrong,
    load_first_errors,
    tune_threshold,
)
from lrm_jax.evaluation.step_benchmarks import benchmark_rows, evaluate_prm
from lrm_jax.types import UserError


def _constant(value):
    return lambda texts: [[value] * len(steps) for _, steps in texts]


def _oracle(items):
    """Scores 1 but for the first wrong step, and 0.2 after it."""

    def scores(texts):
        assert [steps for _, steps in texts] == [item.steps for item in items]
        return [
            [
                1.0 if not 0 <= item.label <= i else (0.0, 0.2)[i > item.label]
                for i in range(len(item.steps))
            ]
            for item in items
        ]

    return scores


def test_f1_by_hand():
    found = first_error_metrics([-1, 2, 0, -1, 1], [-1, 2, 1, None, 0])
    assert found["acc_error"] == 1 / 3 and found["acc_correct"] == 1 / 2
    assert found["f1"] == pytest.approx(2 / (3 + 2))
    assert (found["n"], found["n_error"], found["unparsable"]) == (5, 3, 1)
    # Unparsable is wrong, on an item without errors too.
    assert first_error_metrics([-1], [None])["acc_correct"] == 0
    # e + c = 0 divides by zero in the published code; here it is 0.
    assert first_error_metrics([-1, 3], [0, -1])["f1"] == 0
    assert first_error_metrics([3], [3])["f1"] is None


def test_the_first_step_below_the_threshold():
    assert first_wrong([0.9, 0.5, 0.49, 0.1], 0.5) == 2
    assert first_wrong([0.9, 0.5], 0.5) == -1
    assert first_wrong([], 0.5) == -1
    assert first_wrong(None, 0.5) is None


def test_a_tuned_threshold_and_what_it_was_tuned_on():
    rng = np.random.default_rng(0)
    labels = [int(x) for x in rng.integers(-1, 4, 200)]
    items = [FirstErrorItem("q", ("s",) * 4, label, "a") for label in labels]

    def judge(texts):  # right steps score 0.3 or more, wrong ones 0.1 or less
        return [
            [
                rng.uniform(0.0, 0.1) if i == label else rng.uniform(0.3, 1)
                for i in range(4)
            ]
            for label in labels
        ]

    fixed = evaluate_first_errors(judge, items, "process_bench")
    assert (fixed["threshold"], fixed["tuned_on"], fixed["n"]) == (0.5, 0, 200)
    assert fixed["f1"] < 0.8
    tuned = evaluate_first_errors(judge, items, "process_bench", threshold=None)
    assert 0.1 < tuned["threshold"] < 0.3
    assert (tuned["tuned_on"], tuned["n"], tuned["f1"]) == (40, 160, 1.0)
    assert tuned["step_auroc"]["auroc"] == 1.0
    assert tune_threshold([0], [[0.5]]) == 0.5  # nothing to choose from
    with pytest.raises(UserError, match="tune_share=0.9: nothing of 1 items is left"):
        evaluate_first_errors(
            _constant(1), items[:1], "process_bench", threshold=None, tune_share=0.9
        )


def _write_process_bench(folder: Path) -> None:
    rows = lambda labels: [
        {"id": f"x-{i}", "problem": "q", "steps": ["a", "b", "c"], "label": label,
         "final_answer_correct": label == -1}
        for i, label in enumerate(labels)
    ]  # fmt: skip
    folder.mkdir()
    (folder / "gsm8k.json").write_text(json.dumps(rows([-1, -1, 0, 2])))
    lines = "".join(json.dumps(row) + "\n" for row in rows([-1, 0, 0, 1]))
    (folder / "math.jsonl").write_text(lines)


def test_the_real_files_one_f1_a_subset_and_their_mean(tmp_path):
    folder = tmp_path / "bench"
    _write_process_bench(folder)
    items = load_first_errors(folder, "process_bench")
    assert [item.subset for item in items] == ["gsm8k"] * 4 + ["math"] * 4

    def judge(texts):  # the first step is wrong, but of the first item of each subset
        return [[0.9 if i % 4 == 0 else 0.1, 0.9, 0.9] for i in range(len(texts))]

    found = evaluate_prm(judge, "process_bench", folder)
    gsm8k, math = found["subsets"]["gsm8k"], found["subsets"]["math"]
    assert (gsm8k["acc_error"], gsm8k["acc_correct"]) == (1 / 2, 1 / 2)
    assert (math["acc_error"], math["acc_correct"]) == (2 / 3, 1.0)
    assert found["f1"] == pytest.approx((1 / 2 + 4 / 5) / 2)
    header, rows = benchmark_rows(found)
    assert rows[-1][:2] == ["mean", 8] and len(rows) == 3
    assert rows[-1][header.index("f1")] == found["f1"]
    oracle = evaluate_prm(_oracle(items), "process_bench", folder)
    assert oracle["f1"] == 1.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem": "q", "steps": ["a"], "label": 1}, "label=1 is no step of 1"),
        ({"problem": "q", "steps": ["a"], "label": None}, "label=None is no step"),
        ({"problem": "q", "steps": "a", "label": 0}, "steps: expected a list"),
        ({"input": "q", "steps": ["a"], "mistake_index": 0}, "no column 'problem'"),
    ],
)
def test_items_that_cannot_be_used(tmp_path, row, message):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=f"item 1: {message}"):
        load_first_errors(path, "process_bench")


def test_scores_and_steps_of_different_number(tmp_path):
    _write_process_bench(tmp_path / "bench")
    short = lambda texts: [[0.5]] * len(texts)
    with pytest.raises(UserError, match="item 1: 1 scores of 3 steps"):
        evaluate_prm(short, "process_bench", tmp_path / "bench")
    with pytest.raises(UserError, match="1 answers to 8 items"):
        evaluate_prm(lambda texts: [None], "process_bench", tmp_path / "bench")
    with pytest.raises(UserError, match="benchmark 'x': expected one of process_bench"):
        evaluate_prm(short, "x", tmp_path)  # pyright: ignore[reportArgumentType]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no items of process_bench"):
        load_first_errors(tmp_path / "empty", "process_bench")


def test_big_bench_mistake_constants_and_oracle(lrm_data):
    folder = lrm_data / "prm" / "big_bench_mistake"
    items = load_first_errors(folder, "big_bench_mistake")
    assert len(items) == 784 + 242 + 239 + 244 + 256
    assert sum(item.label == -1 for item in items) == 275 + 5 + 52 + 35 + 30
    never = evaluate_prm(_constant(0.9), "big_bench_mistake", folder)
    assert never["f1"] == 0 and "ProcessBench" not in never["title"]
    for subset in never["subsets"].values():
        assert (subset["acc_error"], subset["acc_correct"]) == (0, 1)
    # No first mistake is at step 0 in this data: always saying so is always wrong.
    always = evaluate_prm(_constant(0.1), "big_bench_mistake", folder)
    assert [s["acc_error"] for s in always["subsets"].values()] == [0] * 5
    # The second step, of every item that has one: counted by eye in the files.
    second = lambda texts: [[1, *[0] * (len(s) - 1)] for _, s in texts]
    found = evaluate_prm(second, "big_bench_mistake", folder)["subsets"]
    assert found["logical_deduction"]["acc_error"] == 80 / (242 - 5)
    assert found["multistep_arithmetic"]["acc_error"] == 59 / (239 - 52)
    assert found["word_sorting"]["acc_error"] == 62 / (256 - 30)
    oracle = evaluate_prm(_oracle(items), "big_bench_mistake", folder)
    assert oracle["f1"] == 1.0
    assert oracle["step_auroc"]["auroc"] == 1.0


def test_mr_gsm8k_is_an_accuracy_alone(lrm_data):
    path = lrm_data / "prm" / "mr_gsm8k_subset.jsonl.gz"
    items = load_first_errors(path, "mr_gsm8k")
    found = evaluate_prm(_constant(0.1), "mr_gsm8k", path)
    assert found["acc_error"] == 38 / 454  # first step wrong
    assert "f1" not in found and "ProcessBench" not in found["title"]
    third = lambda texts: [([1, 1] + [0] * len(s))[: len(s)] for _, s in texts]
    assert evaluate_prm(third, "mr_gsm8k", path)["acc_error"] == 102 / 454
    assert evaluate_prm(_oracle(items), "mr_gsm8k", path)["acc_error"] == 1.0


ROWS = [
    {"question": "q", "steps": list("abcd"), "error_steps": [2, 3],
     "classification": "circular"},
    {"question": "q", "steps": list("ab"), "error_steps": [],
     "classification": "multi_solutions"},
    {"question": "q", "steps": list("abc"), "error_steps": [1],
     "classification": "redundency"},
]  # fmt: skip


def _prm_bench(tmp_path, rows=ROWS):
    path = tmp_path / "prmbench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_prm_score_by_hand(tmp_path):
    path = _prm_bench(tmp_path)
    scores = [[1, 0, 1, 0], [1, 1], [1, 0, 1]]
    found = evaluate_prm(lambda texts: scores, "prmbench", path)
    # Right steps 6: judged right 4. Wrong steps 3: judged wrong 1. Judged right 6.
    assert found["f1"] == pytest.approx(2 * 4 / (6 + 6))
    assert found["f1_neg"] == pytest.approx(2 * 1 / (3 + 3))
    assert found["prm_score"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert found["first_error_acc"] == 1 / 2
    assert (found["steps"], found["validity"]) == (9, 1.0)
    several = found["classes"]["multi_solutions"]
    assert (several["f1"], several["f1_neg"], several["prm_score"]) == (1.0, None, None)
    header, rows = benchmark_rows(found)
    assert rows[-1][0] == "all" and rows[-1][header.index("n")] == 3


def test_what_could_not_be_judged_lowers_validity_alone(tmp_path):
    found = evaluate_prm(
        lambda texts: [[1, 0, 0, 1], None, [0, 1, 1]], "prmbench", _prm_bench(tmp_path)
    )
    assert found["validity"] == 2 / 3
    assert (found["prm_score"], found["steps"]) == (1.0, 7)


def test_redundancy_is_of_inverted_polarity(tmp_path):
    items = load_prm_bench(_prm_bench(tmp_path))

    def judge(texts):  # how redundant a step is, where that is the question
        return [
            [float((i in x.wrong) == (x.kind in INVERTED)) for i in range(len(x.steps))]
            for x in items
        ]

    assert evaluate_prm_bench(judge, items, redundancy=True)["prm_score"] == 1.0
    assert evaluate_prm_bench(judge, items)["classes"]["circular"]["prm_score"] == 0.0


def test_prm_bench_constants_and_oracle(lrm_data):
    path = lrm_data / "prm" / "prmbench.jsonl.gz"
    items = load_prm_bench(path)
    wrong, steps = 10431, 65158
    right = evaluate_prm(_constant(0.9), "prmbench", path)
    assert (right["n"], right["steps"], right["validity"]) == (4924, steps, 1.0)
    # Precision is the share of right steps, recall 1; nothing is judged wrong.
    f1 = 2 * (steps - wrong) / (2 * steps - wrong)
    assert (right["f1"], right["f1_neg"]) == (pytest.approx(f1), 0.0)
    assert right["prm_score"] == pytest.approx(0.456496, abs=1e-6)
    never = evaluate_prm(_constant(0.1), "prmbench", path)
    assert (never["f1"], never["f1_neg"]) == (
        0,
        pytest.approx(2 * wrong / (steps + wrong)),
    )
    assert never["prm_score"] == pytest.approx(0.137997, abs=1e-6)
    assert (right["first_error_acc"], never["first_error_acc"]) == (0.0, 1.0)
    oracle = lambda texts: [
        [float(i not in x.wrong) for i in range(len(x.steps))] for x in items
    ]
    found = evaluate_prm(oracle, "prmbench", path)
    assert (found["prm_score"], found["first_error_acc"]) == (1.0, 1.0)
    # Labels count from 1: read from 0 they would name other steps.
    shifted = lambda texts: [
        [float(i + 1 not in x.wrong) for i in range(len(x.steps))] for x in items
    ]
    assert evaluate_prm(shifted, "prmbench", path)["prm_score"] < 0.8


def test_bad_rows_of_prm_bench(tmp_path):
    for change, message in (
        ({"error_steps": [0]}, r"error_steps=\[0\]: expected numbers from 1 to 4"),
        ({"error_steps": [5]}, r"error_steps=\[5\]: expected numbers from 1 to 4"),
        ({"steps": []}, "steps: expected a list"),
    ):
        with pytest.raises(UserError, match=f"line 1: {message}"):
            load_prm_bench(_prm_bench(tmp_path, [ROWS[0] | change]))
    with pytest.raises(UserError, match="no column 'question'; is it PRMBench"):
        load_prm_bench(_prm_bench(tmp_path, [{"a": 1}]))
    path = _prm_bench(tmp_path)
    with pytest.raises(UserError, match="1 scores of 4 steps"):
        evaluate_prm(lambda texts: [[1]] * 3, "prmbench", path)
    with pytest.raises(UserError, match="a threshold is not tuned there"):
        evaluate_prm(_constant(1), "prmbench", path, threshold=None)
