# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole runs of reward models: resumed exactly, opened, scored with, refused."""

import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.cli.main import main
from lrm_jax.config import apply_overrides
from lrm_jax.data.tasks.registry import TaskConfig
from lrm_jax.data.tokenizer import SymbolTokenizer
from lrm_jax.recipes import prm
from lrm_jax.recipes.aot import plan
from lrm_jax.recipes.explain import explain
from lrm_jax.recipes.prm_run import open_run, refuse_other_tokenizer
from lrm_jax.training.loading import load_params
from lrm_jax.types import UserError
from tests.recipes import process_runs as runs
from tests.recipes.step_labels import write_labels

TINY = [
    "model.d_model=16",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.d_ff=16",
    "model.max_seq_len=48",
    "prm.seq_len=48",
    "prm.max_steps=4",
    "data.test_size=20",
    "train.batch_size=8",
    "train.total_steps=6",
    "train.log_every=2",
    "eval.every_steps=3",
    "eval.batch_size=8",
    "checkpoint.every_steps=3",
    "optim.lr_warmup_steps=2",
    "optim.lr_min_ratio=1.0",
]
RIGHT = ("1,2,3=", ["1+2=3", "3+3=6"])


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return write_labels(tmp_path_factory.mktemp("data") / "labels.jsonl", 100)


@pytest.fixture(scope="module")
def tiny(labels):
    def make(*words):
        config = presets.get("prm_arithmetic_tiny")
        return apply_overrides(config, [*TINY, f"data.path={labels}", *words])

    return make


def train(config, folder, **how):
    return lrm_jax.train(config, str(folder), progress="off", **how)


@pytest.fixture(scope="module")
def run_dir(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prm") / "run"
    result = train(tiny(), folder)
    assert result["step"] == 6 and result["recompiles"] == 0
    return folder


def weights_of(folder):
    return load_params(str(folder)).params["weights"]


def same_bits(first, second):
    one, two = weights_of(first), weights_of(second)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_resumed_run_is_an_uninterrupted_one(tiny, run_dir, tmp_path):
    train(tiny("train.total_steps=3"), tmp_path / "half")
    again = train(tiny(), tmp_path / "half")
    assert again["resumed_from"] == 3
    same_bits(run_dir, tmp_path / "half")


def test_metrics_and_what_they_are_best_by(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    trained = [r for r in records if "loss/prm" in r]
    measured = [r for r in records if "prm/auroc" in r]
    assert [r["step"] for r in trained] == [2, 4, 6]
    assert [r["step"] for r in measured] == [3, 6]
    assert all(0 <= r["prm/accuracy"] <= 1 for r in trained)
    for r in measured:
        assert 0 <= r["prm/auroc_within_index"] <= 1
        # Steps go wrong one after another: the place says something by itself.
        assert r["prm/auroc_by_index"] > 0.5
        assert 0.3 < r["prm/held_out_label_rate"] < 0.9


def test_an_opened_run_scores_and_says_what_that_means(run_dir):
    run = lrm_jax.load(str(run_dir))
    assert run.semantics == "future_success"
    found = run.score(*RIGHT)
    assert len(found.steps) == 2 and found.how == "last"
    assert found.total == found.steps[-1] and 0 < found.total < 1
    assert run.score(*RIGHT, how="min").total == pytest.approx(min(found.steps))
    many = run.score_all([RIGHT, ("9,9=", ["9+9=18"])] * 5)  # of two batches
    for again in many[::2]:
        np.testing.assert_allclose(again.steps, found.steps, rtol=1e-5)
    longer = run.score(RIGHT[0], [*RIGHT[1], "6+1=7"])
    np.testing.assert_allclose(longer.steps[:1], found.steps[:1], atol=1e-5)
    measured = run.evaluate()
    saved = json.loads((run_dir / "report" / "eval.json").read_text())
    assert measured["metrics"] == saved["metrics"] and measured["n"] >= 20


def test_the_command_prints_the_metrics(run_dir, labels, capfd):
    assert main(["eval", str(run_dir)]) == 0
    shown = capfd.readouterr().out
    assert "scores of future_success" in shown and "prm/auroc_within_index" in shown
    assert main(["eval", str(run_dir), "--data", str(labels), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["n"] == 100
    assert main(["eval", str(run_dir), "--budget", "4"]) == 2
    assert "is a reward model" in capfd.readouterr().err
    assert main(["sample", str(run_dir), "--prompt", "1,2="]) == 2
    assert "a reward model writes no text" in capfd.readouterr().err


def test_a_dry_run_and_an_explanation_write_nothing(tiny, tmp_path):
    config = tiny("mesh.data=2", "mesh.fsdp=2", "mesh.model=2")
    found = train(config, tmp_path / "run", dry_run=True)
    assert found["batch"]["ends"] == [8, 4] and found["data"]["refused"] == 0
    assert not (tmp_path / "run").exists()
    config = prm.resolve(config, None, None)
    leaves = {leaf.path: leaf for leaf in explain(config)["leaves"]}
    head = leaves["params/weights/value_head/kernel"]
    assert head.spec == ("fsdp", None)
    assert leaves["batch/labels"].shape == (1, 8, 4)
    assert leaves["batch/labels"].spec[1] == "data+fsdp"
    _, (work,) = plan(config, prm.build(config).mesh)
    assert work.name == "update" and work.model_flops > 0


def test_it_starts_from_a_policy(tiny, tmp_path):
    source = tmp_path / "source"
    words = [*TINY[:5], *TINY[8:10], "model.vocab_size=0"]
    words += ["eval.greedy=false", "checkpoint.best_metric=eval/loss"]
    words += ["train.total_steps=1", "data.test_size=8", "sft.seq_len=48"]
    policy = apply_overrides(presets.get("sft_addition_tiny"), words)
    policy = dataclasses.replace(policy, task=TaskConfig(name="arithmetic"))
    train(policy, source)
    words = ["train.total_steps=1", "optim.lr=0.0", "inherit=true"]
    train(tiny(*words), tmp_path / "head", init_from=str(source))
    mine, theirs = weights_of(tmp_path / "head"), weights_of(source)
    np.testing.assert_array_equal(mine.pop("value_head")["kernel"], 0)
    jax.tree.map(np.testing.assert_array_equal, mine, theirs)
    implicit = ["prm.semantics=implicit", "prm.loss.kind=implicit"]
    train(tiny(*words, *implicit), tmp_path / "implicit", init_from=str(source))
    run = open_run(str(tmp_path / "implicit"))
    np.testing.assert_allclose(run.score(*RIGHT).steps, [0.5, 0.5], atol=1e-6)


@pytest.mark.nightly
def test_it_starts_from_a_reward_model(tiny, run_dir, tmp_path):
    words = ["train.total_steps=1", "optim.lr=0.0", "inherit=true"]
    train(tiny(*words), tmp_path / "run", init_from=str(run_dir))
    jax.tree.map(
        np.testing.assert_array_equal,
        weights_of(tmp_path / "run"),
        weights_of(run_dir),
    )


def test_adapters_train_and_open(tiny, tmp_path):
    words = [
        "lora=LoraConfig",
        "lora.rank=2",
        "train.total_steps=2",
        "model.dtype=bfloat16",
    ]
    train(tiny(*words), tmp_path / "run")
    assert 0 < open_run(str(tmp_path / "run")).score(*RIGHT).total < 1


@pytest.mark.nightly
@pytest.mark.parametrize("mesh", [[], ["mesh.data=2", "mesh.fsdp=2"]])
def test_two_processes_are_one(labels, tmp_path, mesh):
    words = [*TINY, f"data.path={labels}"]
    base = ("prm_arithmetic_tiny", *words)
    runs.run_all(tmp_path / "two", 2, 2, *mesh, base=base)
    runs.train_alone(tmp_path / "one", *(mesh or ["mesh.data=4"]), base=base)
    runs.assert_close(tmp_path / "one", tmp_path / "two", "loss/prm")
    for name in ("prm/auroc", "prm/held_out_loss"):
        one, two = (runs.values_of(tmp_path / n, name) for n in ("one", "two"))
        assert len(one) == 2 and one == pytest.approx(two, abs=1e-5)


# --- what is refused ---------------------------------------------------------


def broken(labels, path, change):
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    change(rows[3])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"data.path={path}"


def refuse(config, folder, text):
    with pytest.raises(UserError, match=re.escape(text)):
        train(config, folder, dry_run=True)


def test_labels_that_are_no_probabilities_are_refused(tiny, labels, tmp_path):
    words = broken(
        labels, tmp_path / "bad.jsonl", lambda row: row.update(labels=[1, 1.5, 0])
    )
    refuse(tiny(words), tmp_path / "r", "record 4: label 2 is 1.5; expected 0 to 1")


def test_steps_that_cannot_be_told_apart_are_refused(tiny, labels, tmp_path):
    def inside(row):
        row["steps"][1] = "1+1,=2"

    words = broken(labels, tmp_path / "bad.jsonl", inside)
    refuse(tiny(words), tmp_path / "r", "step 2 of 3 holds the separator ','")
    found = train(tiny(words, "prm.bad_steps=drop"), tmp_path / "r", dry_run=True)
    assert sum(found["data"]["dropped"].values()) <= 1
    refuse(tiny("prm.steps.separator=;"), tmp_path / "r", "character ';' (U+003B)")


def test_labels_and_steps_of_different_number_are_counted(
    tiny, labels, tmp_path, capfd
):
    words = broken(labels, tmp_path / "bad.jsonl", lambda row: row["labels"].pop())
    found = train(tiny(words), tmp_path / "r", dry_run=True)
    assert found["data"]["refused"] == 1
    assert "1 of 100 rows cannot be used; line 4: 2 labels and 3" in (
        capfd.readouterr().err
    )


def test_another_tokenizer_is_refused(tiny, run_dir, tmp_path):
    words = ["task=none", "tokenizer.kind=bytes", "prm.seq_len=48"]
    refuse_from = {"init_from": str(run_dir), "dry_run": True}
    with pytest.raises(UserError, match="its tokenizer has 21 ids and the reward"):
        train(tiny(*words), tmp_path / "r", **refuse_from)
    with pytest.raises(UserError, match="run X: another tokenizer .* id 2 writes 'b'"):
        refuse_other_tokenizer(
            SymbolTokenizer(["a", "b"]), SymbolTokenizer(["b", "a"]), "run X"
        )


def test_runs_that_score_nothing_and_held_out_sets_of_nothing(tiny, run_dir, tmp_path):
    refuse(tiny("data.test_size=0"), tmp_path / "r", "data.test_size=0")
    refuse(tiny("data.test_size=100"), tmp_path / "r", "hold out some and leave some")
    refuse(tiny("data.path="), tmp_path / "r", "data.path is empty")
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    config = json.loads((other / "config.json").read_text())
    config = {k: v for k, v in config.items() if k != "prm"} | {"recipe": "policy"}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="recipe 'policy', which scores nothing"):
        open_run(str(other))
