# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every command on one tiny run: stable JSON keys, exit codes, bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lrm_jax.cli.main import main
from lrm_jax.evaluation.step_tree import write_trees
from tests.evaluation.trees import sum_tree

TINY = [
    "model.d_model=8",
    "model.n_heads=2",
    "model.ff_multiple=8",
    "model.l_layers=1",
    "model.h_cycles=1",
    "model.l_cycles=1",
    "halting.max_steps=2",
    "data.train_size=32",
    "data.test_size=16",
    "train.batch_size=8",
    "train.total_steps=4",
    "train.log_every=2",
    "eval.batch_size=8",
    "eval.every_steps=2",
    "eval.num_traces=2",
    "checkpoint.every_steps=2",
]
PUZZLE = "1.....3..2.....4"


def train_words(run_dir, *more):
    return ["train", "sudoku4_tiny", *TINY, "--run-dir", str(run_dir), *more]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(train_words(folder)) == 0
    return folder


@pytest.fixture
def run_json(capfd):
    def call(*words):
        code = main([*map(str, words), "--json"])
        out, _ = capfd.readouterr()
        assert out.count("\n") == 1 and out.endswith("\n")
        return code, json.loads(out)

    return call


@pytest.fixture
def refused(capfd):
    def call(*words):
        for flags in ([], ["--json"]):
            assert main([*map(str, words), *flags]) == 2
            out, err = capfd.readouterr()
            last = err.splitlines()[-1]
            assert out == "" and "Traceback" not in err
            assert last.startswith("lrm: error: ")
        return last.removeprefix("lrm: error: ")

    return call


def test_train_goes_on_where_it_stopped(run_dir, run_json):
    code, data = run_json(*train_words(run_dir))
    assert code == 0
    assert {"run_dir", "step", "metrics", "resumed_from"} <= set(data)
    assert (data["run_dir"], data["step"], data["resumed_from"]) == (str(run_dir), 4, 4)
    assert 0 <= data["metrics"]["eval/exact_accuracy"] <= 1
    code, data = run_json(*train_words(run_dir, "train.total_steps=6"))
    assert (code, data["step"], data["resumed_from"]) == (0, 6, 4)


def test_dry_run_writes_nothing(tmp_path, run_json):
    code, data = run_json(*train_words(tmp_path / "new", "--dry-run"))
    assert code == 0 and not (tmp_path / "new").exists()
    assert data["config"]["model"]["d_model"] == 8
    assert data["batch"] == {"inputs": [8, 16], "labels": [8, 16], "puzzle_ids": [8]}
    # 2 x (6 x 8) tokens and head, 16 x 8 positions, block 4 x 8 x 8 + 3 x 8 x 24,
    # Q head 2 x 8 + 2.
    assert data["params"] == 96 + 96 + 256 + 8 + 576 + 18


def test_eval(run_dir, run_json):
    code, data = run_json("eval", run_dir, "--budget", "0", "2", "-1")
    assert code == 0 and data["n"] == 16
    assert [r["budget"] for r in data["results"]] == ["0", "2", "-1"]
    for result in data["results"]:
        assert {"exact_accuracy", "ci95", "mean_steps"} <= set(result)
    assert data["results"][0]["mean_steps"] == 1


def test_solve(run_dir, run_json, capfd):
    code, data = run_json("solve", run_dir, "--puzzle", PUZZLE, "--budget", "2")
    assert code == 0
    assert {"answer", "valid", "steps", "halted"} <= set(data)
    assert data["steps"] == 2 and data["valid"] is False
    assert main(["solve", str(run_dir), "--puzzle", PUZZLE]) == 0
    out, _ = capfd.readouterr()
    assert "step 1" in out and "\x1b" not in out


def test_solve_says_that_it_used_an_older_checkpoint(run_dir, run_json, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    (run / "checkpoints/99").mkdir()
    code, data = run_json("solve", run, "--puzzle", PUZZLE)
    assert code == 0
    assert data["warning"].startswith("checkpoint 99 cannot be used: half-written")


def test_what_is_for_the_other_kind_of_run_is_refused(run_dir, refused):
    message = refused("eval", run_dir, "--lanes", 4)
    assert message.startswith("--lanes: needs --compact")
    message = refused("eval", run_dir, "--min-thinking", 4)
    assert (
        message == f"--min-thinking: for token policies; {run_dir} is a latent reasoner"
    )


def test_ckpt(run_dir, run_json, tmp_path):
    code, data = run_json("ckpt", "ls", run_dir)
    assert code == 0 and all(c["complete"] for c in data["checkpoints"])
    assert run_json("ckpt", "verify", run_dir)[1]["ok"] is True
    subprocess.run(["cp", "-r", str(run_dir), str(tmp_path / "copy")], check=True)
    step = data["checkpoints"][-1]["step"]
    folder = tmp_path / "copy" / "checkpoints" / str(step) / "state"
    victim = max(folder.rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    flipped = bytearray(victim.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    victim.write_bytes(flipped)
    code, data = run_json("ckpt", "verify", tmp_path / "copy")
    assert code == 1 and data["ok"] is False
    assert [c["step"] for c in data["checkpoints"] if not c["ok"]] == [step]


def test_report(run_dir, run_json, tmp_path):
    out = tmp_path / "out"
    code, data = run_json("report", run_dir, "--out", out, "--format", "md", "csv")
    assert code == 0 and len(data["files"]) == 2
    assert all(os.path.getsize(path) for path in data["files"])


def test_data_build_and_check(run_json, tmp_path, capfd):
    folder = tmp_path / "set"
    settings = ["side=4", "--train-size", "8", "--test-size=4", "holdout=class"]
    code, data = run_json("data", "build", "sudoku", folder, *settings)
    assert code == 0 and data["train_groups"] == 8
    csv = tmp_path / "bad.csv"
    csv.write_text(f"question,answer\n{PUZZLE},\n{PUZZLE[:-1]},\n")
    code, data = run_json("data", "check", csv)
    assert code == 1 and data["ok"] is False
    assert {"ok", "rows", "bad", "duplicates"} <= set(data)
    assert 3 in [row["line"] for row in data["bad"]]
    assert main(["data", "check", str(csv)]) == 1
    assert "line 3: " in capfd.readouterr().out


def test_data_trees(run_json, refused, tmp_path):
    src, out = tmp_path / "trees.jsonl", tmp_path / "rows.jsonl"
    write_trees(src, [sum_tree()])
    code, data = run_json("data", "trees", "dpo", src, out, "--margin", "0.9")
    assert code == 0
    assert data == {"kind": "dpo", "trees": 1, "rows": 1, "file": str(out)}
    assert json.loads(out.read_text())["rejected"] == "42+5=48\n"
    said = refused("data", "trees", "dpo", src, out, "margin=0.9")
    assert said == "unknown argument 'margin=0.9' of lrm data trees"
    said = refused("data", "trees", "sft", out, out)
    assert said.startswith(f"{out}:1: not a search tree")


def test_presets(run_json, capfd):
    code, data = run_json("presets")
    names = [p["name"] for p in data["presets"]]
    assert code == 0 and "trm_mlp_sudoku" in names
    code, data = run_json("presets", "hrm_sudoku", "model.d_model=256")
    assert code == 0 and data["config"]["model"]["d_model"] == 256
    assert main(["presets", "hrm_sudoku"]) == 0
    out, _ = capfd.readouterr()
    assert json.loads(out)["train"]["total_steps"] == 26_041


def test_sweep_dry_run(run_json, tmp_path):
    table = os.path.join(
        os.path.dirname(__file__), "../../experiments/table_halting.py"
    )
    words = ["sweep", table, "--scale", "smoke", "--root", tmp_path, "--dry-run"]
    code, data = run_json(*words, "--only", "TRM", "train.total_steps=3")
    assert code == 0
    assert [row["row"] for row in data["rows"]] == ["TRM,seed=0"]
    assert "| TRM,seed=0 | table_halting-" in data["table"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "sudoku5"], "unknown preset 'sudoku5'; did you mean 'hrm_sudoku'?"),
        (
            ["train", "sudoku4_tiny", "train.total_stps=3"],
            "unknown key 'train.total_stps'; did you mean 'train.total_steps'?",
        ),
        (
            ["train", "sudoku4_tiny", "--optim.lr", "fast"],
            "optim.lr='fast': expected a number",
        ),
        (
            ["train", "sudoku4_tiny", "model.n_heads=5"],
            "model.n_heads=5: must divide model.d_model=64; for example 2, 4, 8",
        ),
        (
            ["train", "sudoku4_tiny", "train.batch_size=9"],
            "train.batch_size=9: must divide over 8 devices (mesh data x fsdp); the "
            "nearest is 8 or 16",
        ),
        (
            ["train", "sudoku4_tiny", "mesh.model=16"],
            "mesh data=1 x fsdp=1 x model=16 needs 16 devices; there are 8",
        ),
        (["train", "nowhere.presets:mine"], "preset='nowhere.presets:mine': no module"),
        (["presets", "hrm_sudoku", "seed=x"], "seed='x': expected an integer"),
        (["bench", "sudoku4_tiny", "--steps", "0"], "--steps 0: expected 1 or more"),
        (["data", "check", "/nowhere.csv"], "/nowhere.csv: no such file"),
        (["data", "build", "maze", "/x", "sde=3"], "unknown key 'sde'; did you mean"),
        (["sweep", "/nowhere.py"], "table '/nowhere.py': no such file"),
        (["verify", "/nowhere"], "/nowhere: no such folder"),
        (["import", "trm", "/nowhere", "/x"], "/nowhere: no such file or folder"),
        (["eval", "/nowhere"], "/nowhere"),
        (["ckpt", "ls", "/nowhere"], "/nowhere: holds no checkpoints"),
    ],
)
def test_bad_input(words, message, refused):
    assert refused(*words).startswith(message)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("-2", "budget '-2': below -1"),
        ("2.5", "budget '2.5': not an integer"),
        ("hgih", "budget 'hgih'"),
        ("3", "budget '3': beyond the cap of 2 segments"),
    ],
)
def test_bad_budgets(run_dir, refused, budget, message):
    assert refused("eval", run_dir, "--budget", budget).startswith(message)
    words = ["solve", run_dir, "--puzzle", PUZZLE, "--budget", budget]
    assert refused(*words).startswith(message)


@pytest.mark.parametrize(
    ("puzzle", "message"),
    [
        ("1..", "puzzle of 3 characters"),
        ("x" + PUZZLE[1:], "character 1 is 'x'"),
        ("11" + PUZZLE[2:], "puzzle cannot be solved"),
    ],
)
def test_bad_puzzles(run_dir, refused, puzzle, message):
    assert message in refused("solve", run_dir, "--puzzle", puzzle)


def test_another_config_is_refused_by_its_keys(run_dir, refused):
    message = refused(*train_words(run_dir, "optim.lr=0.5", "seed=3"))
    assert "optim.lr" in message and "seed" in message
    assert (run_dir / "config.json").exists()


def test_a_signal_saves_and_says_how_to_go_on(tmp_path):
    """SIGTERM to a real process: 143, one object, and a run that goes on."""
    words = train_words(tmp_path / "run", "train.total_steps=100000", "--json")
    child = subprocess.Popen(
        [sys.executable, "-m", "lrm_jax.cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    until = time.monotonic() + 240
    while not metrics.exists() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=240)
    assert child.returncode == 143, err
    data = json.loads(out)
    assert data["reason"] == "terminated" and data["step"] >= 2
    assert "run the same command again to go on" in err
    assert (tmp_path / "run" / "checkpoints" / str(data["step"])).is_dir()
