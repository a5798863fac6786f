# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Step labels from a run: rows that training reads, tokens counted, draws fixed."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from lrm_jax import presets
from lrm_jax.cli.main import main
from lrm_jax.data.step_formats import read_plain
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.step_labels import StepLabelConfig, label_run
from lrm_jax.recipes.step_labels_write import Completer
from lrm_jax.recipes.token_run import TokenRun
from lrm_jax.steps import StepRule, join_steps
from lrm_jax.types import UserError


@pytest.fixture(scope="module")
def run():
    config = presets.get("sft_addition_cold")
    model = PolicyConfig(
        vocab_size=19, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_len=32
    )
    weights = jax.jit(token_policy(model).init)(jax.random.key(0))
    return TokenRun(replace(config, model=model), weights)


CONFIG = StepLabelConfig(n=5, solutions=4, completions=2, batch=8)


def test_rows_are_what_training_reads(run, tmp_path):
    out = tmp_path / "steps.jsonl"
    found = label_run(run, str(out), CONFIG)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert found["rows"] == len(rows) > 3
    # Every solution that ended is there or counted; the rest never ended.
    assert found["rows"] + found["refused"] <= 20
    rule = StepRule(separator=",", last="text")
    for row in rows:
        (record,) = read_plain(row)
        assert len(record.steps) == len(record.labels)
        assert all(0 <= label <= 1 for label in record.labels if label is not None)
        assert run.tokenizer.encode(join_steps(record.steps, rule))
        assert row["labels"][-1] == float(row["right"])
    steps = found["steps"]
    assert (
        found["completions"] == 20 + 2 * (steps - len(rows))
        if not found["refused"]
        else found["completions"] >= 20
    )
    again = label_run(run, str(tmp_path / "again.jsonl"), CONFIG)
    assert again["tokens"] == found["tokens"] > 0
    assert again["read_tokens"] == found["read_tokens"] >= 5 * len("12+34=")
    assert (tmp_path / "again.jsonl").read_text() == out.read_text()


def test_prompts_and_prefixes_that_are_read_again_count_again(run):
    writer = Completer(run, run.source, CONFIG, None)
    example = run.source.train_example(0)
    prompt = len(writer.encode(example))
    writer([((), example, 0), (((5, 6), (7,)), example, 0)], 2, "completions")
    assert writer.read_tokens == prompt + prompt + 3
    writer([((), example, 0)], 2, "completions")
    assert writer.read_tokens == 3 * prompt + 3


def test_the_command_line_labels(run, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("lrm_jax.recipes.registry.load", lambda name: run)
    out = str(tmp_path / "steps.jsonl")
    told = ["n=5", "solutions=4", "completions=2", "batch=8"]
    assert main(["data", "steps", "RUN", out, *told, "--json"]) == 0
    printed = capfd.readouterr()
    assert "solutions: 5/5" in printed.err
    found = json.loads(printed.out)
    assert found["rows"] == len((tmp_path / "steps.jsonl").read_text().splitlines()) > 3
    assert main(["data", "steps", "RUN", out, "method=best"]) == 2
    assert "expected one of" in capfd.readouterr().err


@pytest.mark.nightly
def test_labellers_that_disagree_drop_rows(run, tmp_path):
    out = str(tmp_path / "steps.jsonl")
    found = label_run(run, out, replace(CONFIG, consensus=True, mode="hard"))
    assert found["rows"] + found["disagreed"] + found["refused"] <= 20


def test_a_policy_that_is_never_right_has_no_errors_to_find(run, tmp_path):
    config = replace(CONFIG, method="omega", n=3)
    with pytest.raises(UserError, match="no step labels"):
        label_run(run, str(tmp_path / "steps.jsonl"), config)


def test_what_cannot_be_labelled_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="expected mc or omega"):
        StepLabelConfig(method="mcts")  # pyright: ignore
    with pytest.raises(UserError, match="completions=0"):
        StepLabelConfig(completions=0)
    model = replace(run.config.model, max_seq_len=4)
    short = TokenRun(replace(run.config, model=model), run.weights)
    with pytest.raises(UserError, match="leaves no room to write in max_seq_len=4"):
        label_run(short, str(tmp_path / "steps.jsonl"), CONFIG)
    frozen = jax.tree.map(jnp.zeros_like, run.weights)
    never = TokenRun(run.config, frozen)  # writes padding for ever
    config = replace(CONFIG, temperature=0.0)
    with pytest.raises(UserError, match="no step labels: of 5 problems"):
        label_run(never, str(tmp_path / "steps.jsonl"), config)
