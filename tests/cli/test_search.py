# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm search` on one tiny latent run: keys, table, progress, bad input."""

import json

import pytest

from lrm_jax.cli.main import main
from lrm_jax.recipes import registry
from lrm_jax.recipes.token_run import TokenRun
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
        (["--budgets", "4"], "did you mean '--budget'"),
        (["--prm", "runs/prm"], "--prm: not for a latent reasoner"),
        (["--step-tokens", "4"], "--step-tokens: not for a latent reasoner"),
        (["--final", "vote"], "answer='vote': accepted are best, weighted, visits"),
        (["--samples", "s.jsonl"], "--samples reads a file, not a run"),
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


def test_a_policy_gets_its_own_settings(monkeypatch, capfd):
    class Policy(TokenRun):
        warning = None

        def __init__(self):
            pass

        def search(self, data=None, *, progress=None, **settings):
            self.told = data, settings
            row = {"method": "beam", "budget": 8, "unit": "candidates", "n": 2}
            row |= {"accuracy": 0.5, "ci95": [0.1, 0.9], "tokens": 7.0}
            row |= {"flops": None, "time_s": 1.0}
            return {"n": 2, "results": [row], "step": 3}

    policy = Policy()
    monkeypatch.setattr(registry, "load", lambda run: policy)
    words = ("runs/p", "--method", "beam,mcts", "--budget", 8, "16", "--prm", "runs/r")
    code, out, _ = search(capfd, *words, "--data", "p.jsonl", "--step-tokens", 5)
    assert code == 0 and out.startswith("2 problems, checkpoint of step 3\nmethod ")
    assert policy.told == (
        "p.jsonl",
        {
            "methods": ("beam", "mcts"),
            "budgets": ("8", "16"),
            "prm": "runs/r",
            "step_tokens": 5,
        },
    )
    code, _, err = search(capfd, "runs/p", "--sigma", 0.3)
    assert code == 2 and "--sigma: not for a policy, which runs/p is" in err


def samples_file(folder):
    """Two prompts of four stored completions; the second is mostly wrong."""
    rows = [
        {"prompt": f"What is {i} + {i}?", "answer": str(2 * i), "completion": said}
        for i, told in ((1, "2223"), (2, "4555"))
        for said in (f"So it is {x}.\n#### {x}" for x in told)
    ]
    file = folder / "samples.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_stored_samples_are_scored_without_a_run(tmp_path, capfd):
    file = samples_file(tmp_path)
    words = ("--samples", file, "--method", "majority,pass", "--budget", 1, 4)
    code, out, err = search(capfd, *words, "--json")
    assert code == 0, err
    data = json.loads(out)
    found = {(r["method"], r["budget"]): r["accuracy"] for r in data["results"]}
    # Of one drawn: (3/4 + 1/4) / 2; of all four the majority is right in one of two.
    assert found["majority", 1] == pytest.approx(0.5)
    assert found["majority", 4] == pytest.approx(0.5)
    assert found["pass", 4] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--k", "2"], "--k: not with --samples"),
        (["--sigma", "0.1"], "--sigma: not with --samples"),
        (["--separator", "x"], "--separator: not with --samples"),
        (["--method", "beam"], "beam"),
        (["--prm", "/nowhere/prm"], "/nowhere/prm"),
    ],
)
def test_bad_input_with_samples(tmp_path, capfd, words, said):
    code, out, err = search(capfd, "--samples", samples_file(tmp_path), *words)
    assert code == 2 and out == ""
    (line,) = [x for x in err.splitlines() if x.startswith("lrm: error:")]
    assert said in line
