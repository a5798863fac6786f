# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm data check` of labelled steps."""

import json

import pytest

from lrm_jax.cli import main as cli
from lrm_jax.data.step_check import check_steps
from lrm_jax.types import UserError


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _row(prompt="What is 1 + 1?", steps=("a", "b"), labels=(1, 0)):
    return {"prompt": prompt, "steps": list(steps), "labels": list(labels)}


def test_a_good_file(tmp_path, capfd):
    rows = [_row(), _row(labels=(1, 1)), _row(prompt="q", labels=(None, 0.5))]
    path = _write(tmp_path / "steps.jsonl", rows)
    found = check_steps(path)
    assert (found.ok, found.kind, found.rows) == (True, "steps (steps)", 3)
    assert found.details["labels"] == 5 and found.details["problems"] == 2
    assert cli.main(["data", "check", str(path)]) == 0
    assert capfd.readouterr().out.rstrip().endswith("ok")
    assert cli.main(["data", "check", str(path), "--allow-multiple"]) == 2


def test_bad_rows_and_records_twice(tmp_path, capfd):
    rows = [_row(), _row(labels=(1,)), _row()] + [_row(steps=("a", " "))] * 25
    path = _write(tmp_path / "steps.jsonl", rows)
    found = check_steps(path)
    assert (found.ok, len(found.bad), found.duplicates) == (False, 26, 1)
    assert found.bad[0] == {"line": 2, "reason": "1 labels and 2 steps"}
    assert cli.main(["data", "check", str(path)]) == 1
    out = capfd.readouterr().out
    assert "line 2: 1 labels and 2 steps" in out and "and 6 more" in out


def test_problems_shared_with_another_file(tmp_path):
    path = _write(tmp_path / "steps.jsonl", [_row(prompt="q"), _row()])
    other = [{"problem": "no"}, {"problem": "what is $1+1$"}, {"problem": "Q!"}]
    found = check_steps(path, _write(tmp_path / "test.jsonl", other))
    assert not found.ok
    assert found.details["pairs"] == [[2, 2], [1, 3]]
    other = [{"question": {"problem": "WHAT IS 1+1"}}]
    assert not check_steps(path, _write(tmp_path / "prm.jsonl", other)).ok
    assert check_steps(path, _write(tmp_path / "no.jsonl", [{"prompt": "x"}])).ok
    with pytest.raises(UserError, match="row 1: no problem; expected a column prompt"):
        check_steps(path, _write(tmp_path / "bad.jsonl", [{"a": 1}]))


def test_real_files(lrm_data):
    found = check_steps(
        lrm_data / "prm" / "prm800k_samples.jsonl",
        lrm_data / "math" / "math500.jsonl.gz",
    )
    assert (found.kind, found.rows, found.bad) == ("steps (prm800k)", 6, [])
    # The samples are of PRM800K's own test part: each is a MATH-500 problem.
    assert found.details["problems_shared"] == 6 and not found.ok
