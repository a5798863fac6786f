# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm search` on one tiny latent run: keys, table, progress, bad input."""

import json

import pytest

from lrm_jax.cli.main import main
from tests.cli.test_commands import TINY, train_words

ROW_KEYS = {"method", "budget", "unit", "n", "accuracy", "ci95", "tokens", "flops"}
assert "halting.max_steps=2" in TINY


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(train_words(folder)) == 0
    return folder


def search(capfd, *words):
    code = main(["search", *map(str, words)])
    out, err = capfd.readouterr()
    return code, out, err


def test_json_and_progress(run_dir, capfd):
    words = (run_dir, "--method", "best_q,mode", "--k", 2, "--budget", 4, "--json")
    code, out, err = search(capfd, *words)
    assert code == 0 and out.count("\n") == 1
    data = json.loads(out)
    assert data["n"] == 16 and set(data["results"][0]) >= ROW_KEYS | {"time_s"}
    named = [(r["method"], r["budget"]) for r in data["results"]]
    assert named == [("one_pass", 2), ("one_pass", 4), ("best_q", 4), ("mode", 4)]
    assert data["settings"]["noise"]["sigma"] == 0.3
    assert "one pass of 4: 16/16" in err and "2 trajectories of 2: 16/16" in err


def test_the_table(run_dir, capfd):
    words = (run_dir, "--method", "mode", "augment", "--k", 2, "--sigma", 0.1)
    code, out, _ = search(capfd, *words, "--noise", "z_h,z_l", "--schedule", "cosine")
    assert code == 0
    assert out.startswith("16 puzzles, checkpoint of step 4\nmethod ")
    for word in ("one_pass", "mode", "augment", "an upper bound", "AUROC"):
        assert word in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "beam"], "method 'beam': not for a latent reasoner"),
        (["--k", "0"], "k=0: expected 1 or more"),
        (["--sigma", "-1"], "sigma=-1.0: expected a finite number, 0 or more"),
        (["--budget", "3", "--k", "4"], "3 segments for k=4 candidates"),
        (["--budget", "few"], "budget 'few'"),
        (["--schedule", "step"], "schedule='step': accepted are constant"),
        (["--noise", "z"], "accepted are z_h, z_l or both"),
        (["--lanes", "-2"], "lanes=-2: expected 0 or more"),
        (["--data", "no.csv"], "--data no.csv: no such file or folder"),
        (["--methods", "mode"], "did you mean '--method'"),
    ],
)
def test_bad_input_is_one_line(run_dir, capfd, words, said):
    code, out, err = search(capfd, run_dir, *words)
    assert code == 2 and out == ""
    (line,) = [x for x in err.splitlines() if x.startswith("lrm: error:")]
    assert said in line


def test_a_run_is_needed(capfd):
    code, _, err = search(capfd)
    assert code == 2 and "RUN is missing" in err
    code, _, err = search(capfd, "/nowhere/run")
    assert code == 2 and "/nowhere/run" in err
