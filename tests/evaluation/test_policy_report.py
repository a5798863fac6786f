# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import csv
import io
import json

import pytest

from lrm_jax.evaluation.report import write_report
from tests.evaluation.browsing import open_page
from tests.evaluation.test_report import make_run
from tests.evaluation.written import make_policy_run


def names(result):
    return {path.rpartition("/")[2] for path in result["files"]}


def test_report_of_a_policy_run(tmp_path):
    run = make_policy_run(tmp_path / "run")
    result = write_report([run])
    tables = {"table.md", "table.tex", "table.csv"}
    assert names(result) == {*tables, "training.png", "index.html"}
    table = (run / "report" / "table.md").read_text()
    assert "| run | seeds | budget | solved | lenient | thought | tokens |" in table
    assert (
        "| adder | 1 | -1 | 75.0 [70.0, 80.0] | 80.0 | 13.0 | 20.5 | 1.0 | 512 |"
        in (table)
    )
    (row,) = csv.DictReader(io.StringIO((run / "report/table.csv").read_text()))
    assert row["mean_tokens"] == "20.5" and row["lenient_accuracy"] == "0.8"
    page = (run / "report" / "index.html").read_text("utf-8")
    assert 'id="completions"' in page and 'id="traces"' not in page
    assert "step 12: no signal: in 99% &lt;b&gt;" in page


def test_several_budgets_are_drawn(tmp_path):
    run = make_policy_run(tmp_path / "run")
    file = run / "report" / "eval.json"
    found = json.loads(file.read_text())
    found["results"].append({**found["results"][0], "budget": "4", "mean_steps": 4.0})
    file.write_text(json.dumps(found))
    assert "accuracy_by_tokens.png" in names(write_report([run]))


def test_a_run_without_samples_or_evaluation(tmp_path):
    run = make_policy_run(tmp_path / "run", recipe="sft", lines=[])
    (run / "report" / "eval.json").unlink()
    (run / "metrics.jsonl").unlink()
    assert names(write_report([run])) >= {"index.html", "table.md"}
    assert "not evaluated" in (run / "report" / "table.md").read_text()
    assert 'id="completions"' not in (run / "report" / "index.html").read_text()


def test_what_training_measured_stands_in_for_an_evaluation(tmp_path):
    run = make_policy_run(tmp_path / "run", recipe="sft", lines=[])
    (run / "report" / "eval.json").unlink()
    record = {"eval/greedy_accuracy": 0.375, "eval/greedy_lenient": 0.5}
    record |= {"eval/greedy_length": 7.0}
    lines = [{"step": 1, "eval/greedy_accuracy": 0.25}, {"step": 2, **record}]
    lines.append({"step": 3, "loss/lm": 1.0})
    (run / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (row,) = write_report([run])["rows"]
    assert (row["exact_accuracy"], row["lenient_accuracy"]) == (0.375, 0.5)
    assert (row["mean_tokens"], row["mean_steps"], row["n"]) == (7.0, None, None)
    table = (run / "report" / "table.md").read_text()
    assert "| 1 | in training | 37.5 | 50.0 |  | 7.0 |" in table


def test_policies_and_latent_reasoners_share_a_table(tmp_path):
    runs = [make_run(tmp_path / "latent"), make_policy_run(tmp_path / "policy")]
    result = write_report(runs, tmp_path / "out")
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| run | seeds | budget | solved | mean steps | problems |" in table
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/table.csv").read_text())))
    assert len(rows) == len(result["rows"]) == 4
    assert rows[0]["mean_tokens"] == "" and rows[3]["mean_tokens"] == "20.5"


def test_seeds_of_a_policy_become_one_row(tmp_path):
    runs = [make_policy_run(tmp_path / f"s{i}", seed=i) for i in (0, 1)]
    (row,) = write_report(runs, tmp_path / "out")["rows"]
    assert row["seeds"] == 2 and row["mean_tokens_se"] == 0.0


def test_seeds_that_started_from_seeds_are_one_row(tmp_path):
    runs = []
    for seed in (0, 1):
        cold = make_policy_run(tmp_path / f"cold{seed}", recipe="sft", seed=seed)
        run = make_policy_run(tmp_path / f"warm{seed}", seed=seed)
        file = run / "config.json"
        started = {"init_from": f"{cold}@20", "init_from_sha256": str(seed)}
        file.write_text(json.dumps(json.loads(file.read_text()) | started))
        runs.append(run)
    assert len(write_report(runs, tmp_path / "out", ("md",))["rows"]) == 1
    (tmp_path / "cold1" / "config.json").unlink()
    assert len(write_report(runs, tmp_path / "out", ("md",))["rows"]) == 2


@pytest.mark.browser
def test_browser_opens_both_kinds_on_one_page(tmp_path):
    runs = [make_run(tmp_path / "latent"), make_policy_run(tmp_path / "policy")]
    write_report(runs, tmp_path / "out", ("html",))
    dom = open_page(tmp_path, (tmp_path / "out" / "index.html").read_text("utf-8"))
    assert "Step 3 of 3" in dom and "(2 of 2): 3 of 3 right" in dom
