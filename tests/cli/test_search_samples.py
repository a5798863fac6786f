# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm search --samples FILE`: keys, table, exit codes."""

import json

import pytest

from lrm_jax.cli.main import main

KEYS = {"method", "budget", "unit", "n", "accuracy", "ci95", "tokens", "flops"}
KEYS |= {"time_s", "stored", "answered", "left_out"}


@pytest.fixture
def file(tmp_path):
    rows = [
        {"prompt": p, "answer": "7", "completions": ["2+5", f"so {said}"], "scores": s}
        for p in ("a", "b")
        for said, s in (("7", [0.9, 0.8]), ("6", [0.9, 0.1]), ("6", [0.2, 0.3]))
    ]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def search(capfd, *words):
    code = main(["search", *map(str, words)])
    return (code, *capfd.readouterr())


def test_json(file, capfd):
    words = ("--samples", file, "--method", "majority,best_of_n", "--budget", 1, 3)
    code, out, _ = search(capfd, *words, "--json")
    assert code == 0 and out.count("\n") == 1
    data = json.loads(out)
    assert data["n"] == 2 and all(set(r) >= KEYS for r in data["results"])
    found = [(r["method"], r["budget"], r["accuracy"]) for r in data["results"]]
    third = pytest.approx(1 / 3)
    assert found == [
        *(("majority", 1, third), ("majority", 3, 0.0)),
        *(("best_of_n", 1, third), ("best_of_n", 3, 1.0)),
    ]


def test_the_table_says_where_the_lowest_scores_are(file, capfd):
    code, out, _ = search(capfd, "--samples", file, "--aggregation", "min")
    assert code == 0
    assert out.startswith("2 problems, 3 completions or more of each\nmethod ")
    assert "pooled by min; lowest at the last step: 66.7% of the solutions" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "4"], "budget 4: only 3 completions are stored"),
        (["--method", "beam"], "method 'beam'"),
        (["RUN"], "leave out RUN"),
        (["--separator", "x"], "--separator: not with --samples"),
        (["--prm", "nowhere"], "nowhere"),
        (["--split", "eval"], "no completions of split eval"),
    ],
)
def test_bad_input_is_one_line(file, capfd, words, said):
    code, out, err = search(capfd, "--samples", file, *words)
    assert code == 2 and out == ""
    assert said in err and len(err.strip().splitlines()) == 1


def test_options_of_samples_need_samples(capfd):
    code, _, err = search(capfd, "RUN", "--step", "3")
    assert code == 2 and "--step: needs --samples FILE" in err
