# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import csv
import io
import json
import re

import jax.numpy as jnp
import pytest

from lrm_jax.evaluation.harness import evaluate
from lrm_jax.evaluation.report import write_report
from lrm_jax.evaluation.tables import latex
from lrm_jax.evaluation.trace import save_traces
from lrm_jax.types import UserError
from tests.evaluation.boards import SUDOKU, sudoku_trace
from tests.evaluation.fakes import FakeReasoner, make_problems

REASONER = FakeReasoner()
EVALUATION = evaluate(
    REASONER,
    jnp.float32(0),
    make_problems([(1, 1), (2, 3), (0, 2), (4, 0)]),
    budgets=["0", "4", "4+halt"],
    cap=4,
).report


def make_run(folder, *, name="toy_run", seed=0, lr=0.1, evaluation=EVALUATION):
    (folder / "report").mkdir(parents=True)
    config = {"name": name, "seed": seed, "optim": {"lr": lr}}
    (folder / "config.json").write_text(json.dumps(config))
    lines = [json.dumps({"step": s, "time_s": s, "loss/total": 1 / s}) for s in (1, 2)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 3, "lo']))
    if evaluation is not None:
        (folder / "report" / "eval.json").write_text(json.dumps(evaluation))
    save_traces(folder / "report" / "traces.npz", [sudoku_trace()], SUDOKU)
    return folder


def with_accuracy(accuracy):
    evaluation = json.loads(json.dumps(EVALUATION))
    evaluation["results"] = evaluation["results"][1:2]
    evaluation["results"][0]["exact_accuracy"] = accuracy
    return evaluation


def test_report_of_one_run(tmp_path):
    run = make_run(tmp_path / "run")
    result = write_report([run])
    names = {path.rpartition("/")[2] for path in result["files"]}
    assert names == {
        *("table.md", "table.tex", "table.csv", "index.html"),
        *("accuracy_by_budget.png", "training.png", "halting.png", "calibration.png"),
    }
    assert all((run / "report" / name).exists() for name in names)
    # At depth 1 one of four is right, at depth 4 three.
    table = (run / "report" / "table.md").read_text()
    assert "| toy_run | 1 | 0 | 25.0 [4.6, 69.9] | 85.0 | 1.00 | 4 |" in table
    assert "| toy_run | 1 | 4 | 75.0 [30.1, 95.4] | 95.0 | 4.00 | 4 |" in table
    assert result["rows"][0]["train_steps"] == 2


def test_page_is_self_contained(tmp_path):
    run = make_run(tmp_path / "run")
    write_report([run], tmp_path / "out", ("html",))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["index.html"]
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    sources = re.findall(r"src=['\"](.{10})", page)
    assert sources == ["data:image"] * 4
    assert 'id="traces"' in page and "toy_run" in page
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {
        "http://www.w3.org/2000/svg"
    }


def test_seeds_become_one_row(tmp_path):
    runs = [
        make_run(tmp_path / f"s{i}", seed=i, evaluation=with_accuracy(accuracy))
        for i, accuracy in enumerate([0.7, 0.8, 0.9])
    ]
    other = make_run(tmp_path / "other", lr=0.2, evaluation=with_accuracy(0.5))
    result = write_report([*runs, other], tmp_path / "out")
    first, second = result["rows"]
    # Standard deviation 0.1 over 3 seeds.
    assert (first["seeds"], first["exact_accuracy"]) == (3, pytest.approx(0.8))
    assert first["exact_accuracy_se"] == pytest.approx(0.1 / 3**0.5)
    assert first["ci95"] is None and second["seeds"] == 1
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| toy_run (s0) | 3 | 4 | 80.0 ± 5.8 |" in table
    assert "| toy_run (other) | 1 | 4 | 50.0 [30.1, 95.4] |" in table
    assert (tmp_path / "out" / "1_training.png").exists()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/table.csv").read_text())))
    assert float(rows[0]["exact_accuracy"]) == pytest.approx(0.8)
    assert rows[0]["ci95_low"] == "" and float(rows[1]["ci95_low"]) > 0.3


def test_latex_is_escaped(tmp_path):
    run = make_run(tmp_path / "run", name="a_b & 50%")
    rows = write_report([run], tmp_path / "out", ("tex",))["rows"]
    text = latex(rows)
    assert text == (tmp_path / "out" / "table.tex").read_text()
    assert r"a\_b \& 50\% & 1 & 0 & 25.0 {[}4.6, 69.9] & 85.0 & 1.00 & 4 \\" in text
    assert text.count(r"\\") == 4 and r"\bottomrule" in text


def test_run_that_was_never_evaluated(tmp_path):
    run = make_run(tmp_path / "run", evaluation=None)
    result = write_report([run])
    assert "| toy_run | 1 | not evaluated |" in (run / "report/table.md").read_text()
    assert result["rows"][0]["exact_accuracy"] is None


def test_control_and_parts_are_shown(tmp_path):
    evaluation = {
        **EVALUATION,
        "control": {"label": "depth 1", "depth_curve": EVALUATION["depth_curve"][:1]},
        "parts": {
            "unseen classes": {
                "n": 2,
                "4": {"exact_accuracy": 0.5, "ci95": [0.1, 0.9]},
            }
        },
    }
    run = make_run(tmp_path / "run", evaluation=evaluation)
    write_report([run])
    page = (run / "report" / "index.html").read_text("utf-8")
    assert "unseen classes" in page and "50.0 [10.0, 90.0]" in page
    alone = make_run(tmp_path / "alone")
    write_report([alone])
    name = "report/accuracy_by_budget.png"
    assert (run / name).read_bytes() != (alone / name).read_bytes()


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no config.json, so not a run folder"):
        write_report([tmp_path])
    run = make_run(tmp_path / "run")
    with pytest.raises(UserError, match="report format 'pdf': accepted: md, tex"):
        write_report([run], formats=("pdf",))
    with pytest.raises(UserError, match="no run folder given"):
        write_report([])
    (run / "report" / "eval.json").write_text("{")
    with pytest.raises(UserError, match="eval.json.: not JSON"):
        write_report([run])
