# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reward models on benchmarks, through the command line; nothing is left out."""

import json

import jax
import numpy as np
import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.cli import main as cli
from lrm_jax.config import apply_overrides
from lrm_jax.evaluation.process_bench import load_first_errors
from lrm_jax.interop.hf import hf_tensors
from lrm_jax.interop.hf_export import hf_config
from lrm_jax.interop.hf_files import write_shards
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes import registry
from lrm_jax.recipes.import_reward import import_reward
from lrm_jax.recipes.step_benchmark import evaluate_benchmark
from lrm_jax.types import UserError
from tests.data import hf_folders

TINY = PolicyConfig(
    vocab_size=420, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8,
    d_ff=16, qk_norm=True, max_seq_len=64, tied_embeddings=True,
)  # fmt: skip
ITEMS = [
    {"input": "1+1?", "steps": ["the fox", "a dog", "so 2"], "mistake_index": 1},
    {"input": "1+2?", "steps": ["the dog", "so 3"], "mistake_index": None},
    {"input": "2+2?", "steps": ["two\nlines", "so 4"], "mistake_index": 0},
    {"input": "3+2?", "steps": ["very " * 60, "so 5"], "mistake_index": 1},
]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward") / "hf"
    hf_folders.byte_level(folder)
    shapes = jax.eval_shape(token_policy(TINY).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), shapes)
    head = [
        ("score.weight", rng.standard_normal((2, 16), np.float32)),
        ("score.bias", rng.standard_normal(2, np.float32)),
    ]
    tensors = [*hf_tensors(TINY, params, "F32"), *head]
    write_shards(folder, tensors, 10**9, {"format": "pt"})
    raw = hf_config(TINY, None, "float32")
    raw["architectures"] = ["Qwen3ForTokenClassification"]
    (folder / "config.json").write_text(json.dumps(raw))
    import_reward(folder, folder.parent / "run", reader="trl")
    return folder.parent / "run"


@pytest.fixture
def bench(tmp_path):
    path = tmp_path / "mistakes.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    return path


def test_what_cannot_be_read_counts_as_wrong(run_dir, bench):
    run = registry.load(str(run_dir))
    found = evaluate_benchmark(run, "big_bench_mistake", str(bench))
    assert (found["n"], found["unreadable"]) == (4, 2)
    assert "holds the separator" in found["first_unreadable"]
    subset = found["subsets"]["mistakes"]
    assert subset["unparsable"] == 2
    # By the scores of the two that are read, as the run gives them.
    items = load_first_errors(bench, "big_bench_mistake")[:2]
    scores = [x.steps for x in run.score_all([(i.prompt, i.steps) for i in items])]
    said = [next((i for i, x in enumerate(s) if x < 0.5), -1) for s in scores]
    assert subset["acc_error"] == (said[0] == 1) / 3
    assert subset["acc_correct"] == float(said[1] == -1)


def test_a_reward_model_needs_a_reader(run_dir, capfd):
    src = str(run_dir.parent / "hf")
    assert cli.main(["import", "hf", src, str(run_dir) + "-plain"]) == 2
    assert "a reward model; say how it is read: --reader" in capfd.readouterr().err


def test_thresholds(run_dir, bench):
    run = registry.load(str(run_dir))
    found = evaluate_benchmark(run, "big_bench_mistake", str(bench), threshold="0")
    assert (found["threshold"], found["subsets"]["mistakes"]["acc_correct"]) == (0, 1)
    tuned = evaluate_benchmark(run, "big_bench_mistake", str(bench), threshold="tuned")
    assert (tuned["tuned_on"], tuned["n"]) == (1, 3)
    with pytest.raises(UserError, match="threshold 'x': expected a number, or 'tuned'"):
        evaluate_benchmark(run, "big_bench_mistake", str(bench), threshold="x")
    bench.write_text(json.dumps(ITEMS[2]) + "\n")
    with pytest.raises(UserError, match="no solution can be read: step 1 of 2 holds"):
        evaluate_benchmark(run, "big_bench_mistake", str(bench))


def test_from_the_command_line(run_dir, bench, capfd):
    words = ["eval", str(run_dir), "--benchmark", "big_bench_mistake"]
    assert cli.main([*words, "--data", str(bench)]) == 0
    out = capfd.readouterr().out
    assert "first-error F1 on BIG-Bench Mistake: 4 solutions, threshold 0.5" in out
    assert "2 could not be read" in out and "mean" in out
    assert cli.main([*words, "--data", str(bench), "--limit", "2", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["n"] == 2
    assert cli.main(words) == 2
    assert "name its files with --data" in capfd.readouterr().err


def test_labelled_steps_of_any_format(run_dir, tmp_path, capfd):
    rows = [
        {"prompt": "1+1?", "completions": ["the fox", "so 2"], "labels": [True, False]},
        {"prompt": "1+1?", "completions": ["a fox", "so 3"], "labels": [False, True]},
        {"prompt": "1+1?", "completions": ["a\nb"], "labels": [True]},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(["eval", str(run_dir), "--data", str(path), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["n"], found["unreadable"]) == (2, 1)
    run = registry.load(str(run_dir))
    scores = [run.score(r["prompt"], r["completions"]).steps for r in rows[:2]]
    right, wrong = [scores[0][0], scores[1][1]], [scores[0][1], scores[1][0]]
    expected = np.mean([[a > b for b in wrong] for a in right])
    assert found["metrics"]["prm/auroc"] == expected
    assert cli.main(["eval", str(run_dir)]) == 2
    assert "an import has no data; name --data" in capfd.readouterr().err
    assert cli.main(["eval", str(run_dir), "--data", "x", "--threshold", "1"]) == 2
    assert "--threshold: needs --benchmark" in capfd.readouterr().err


def test_training_takes_the_backbone_and_says_so(run_dir, tmp_path, capfd):
    row = {"steps": ["the fox", "so 2"], "labels": [1, 0]}
    path = tmp_path / "labels.jsonl"
    rows = [json.dumps({"prompt": f"{i}+1?", **row}) for i in range(20)]
    path.write_text("\n".join(rows) + "\n")
    words = [f"data.path={path}", "data.test_size=4", "prm.seq_len=48"]
    config = apply_overrides(presets.get("prm_jsonl"), words)
    told = lrm_jax.train(
        config, str(tmp_path / "run"), init_from=str(run_dir), dry_run=True
    )
    assert told["config"]["model"]["d_model"] == 16
    assert "begins with a head of its own" in capfd.readouterr().err
