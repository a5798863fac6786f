# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The quickstart's policy part, shrunk: it runs to its report and its text."""

import json

import pytest

from lrm_jax import presets
from lrm_jax.config import apply_overrides
from lrm_jax.evaluation.report import write_report
from lrm_jax.recipes import quickstart, quickstart_policy
from lrm_jax.types import UserError

SHARED = [
    "task.min_digits=1",
    "task.max_digits=1",
    "data.test_size=10",
    "model.d_model=16",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.d_ff=16",
    "eval.size=10",
    "eval.batch_size=5",
    "mesh.data=1",
]
COLD = ["train.total_steps=4", "train.batch_size=4", "eval.every_steps=4"]
GRPO = [
    "train.total_steps=2",
    "train.log_every=1",
    "rl.rollout.n_prompts=2",
    "rl.rollout.group_size=2",
    "grpo.samples_every=1",
]


def test_a_shrunk_quickstart_runs_to_its_report(tmp_path):
    split = {}
    found = quickstart_policy.run(
        str(tmp_path),
        split,
        cold_config=apply_overrides(presets.get("sft_addition_cold"), SHARED + COLD),
        config=apply_overrides(presets.get("grpo_addition"), SHARED + GRPO),
        progress="off",
    )
    assert found["n"] == 10 and found["step"] == 2 and found["recompiles"] == 0
    assert found["cold_start"]["step"] == 4
    for side in ("before", "after"):
        numbers = found[side]
        assert 0 <= numbers["greedy_accuracy"] <= numbers["greedy_ci95"][1] <= 1
        assert numbers["pass_at_8"] >= numbers["pass_at_1"]
    assert len(found["examples"]) == quickstart_policy.SHOWN
    assert [point["step"] for point in found["curve"]] == [2]
    assert {"cold_start_s", "grpo_s", "measure_s", "grpo_loop_s"} <= set(split)
    json.dumps(found, allow_nan=False)
    text = quickstart_policy.describe(found)
    assert text.startswith("10 unseen additions, before and after 2 steps of GRPO")
    assert text.count("wrong") + text.count("right ") >= 2 * quickstart_policy.SHOWN
    report = json.loads((tmp_path / "policy" / "report" / "eval.json").read_text())
    assert report["n"] == 10
    pages = write_report([found["run_dir"]])["files"]
    assert any(page.endswith("index.html") for page in pages)
    assert (tmp_path / "policy" / "samples.jsonl").exists()


def test_an_unknown_part_is_refused():
    with pytest.raises(UserError, match="latent, policy, all"):
        quickstart.run("tokens")
