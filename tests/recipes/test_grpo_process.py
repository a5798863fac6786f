# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs whose completions are scored step by step by a trained reward model."""

import dataclasses
import json
import random
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import apply_overrides
from lrm_jax.data.tasks.registry import TaskConfig
from lrm_jax.recipes.aot import plan
from lrm_jax.recipes.grpo_process import ProcessJudge
from lrm_jax.recipes.prm_run import open_run
from lrm_jax.steps import step_table
from lrm_jax.training.loading import load_params
from lrm_jax.types import UserError
from tests.recipes.test_grpo import TINY, records, tiny, train

TASK = TaskConfig(
    name="tests.recipes.toy_rl_task:first_digit", min_digits=0, max_digits=0
)
PRM = [
    *TINY[3:7],
    "data.test_size=10",
    "model.max_seq_len=64",
    "prm.seq_len=64",
    "train.batch_size=8",
    "train.total_steps=2",
    "eval.every_steps=2",
    "eval.batch_size=8",
    "mesh.data=1",
]


@pytest.fixture(scope="module")
def judge_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge")
    rng = random.Random(0)
    rows = []
    for _ in range(60):
        steps = [f"{rng.randrange(10)}+{rng.randrange(10)}" for _ in range(3)]
        labels = [float(s < "5") for s in steps]
        rows.append({"prompt": f"{rng.randrange(99)}+1=", "steps": steps,
                     "labels": labels})  # fmt: skip
    (folder / "labels.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    config = apply_overrides(
        presets.get("prm_arithmetic_tiny"), [*PRM, f"data.path={folder}/labels.jsonl"]
    )
    lrm_jax.train(
        dataclasses.replace(config, task=TASK), str(folder / "run"), progress="off"
    )
    return folder / "run"


def scored(judge_dir, *words, form="potential"):
    words = [f"process_reward={judge_dir}", f"rl.process.form={form}", *words]
    return tiny("rl.process.coef=0.5", "rl.advantage.kind=leave_one_out", *words)


def test_a_run_says_what_its_steps_scored(judge_dir, tmp_path):
    config = scored(judge_dir, "train.total_steps=2", "grpo.eval_samples=0")
    assert train(config, tmp_path / "run")["recompiles"] == 0
    found = [r for r in records(tmp_path / "run") if "process/score_mean" in r]
    assert len(found) == 2
    assert all(0 < r["process/score_mean"] < 1 for r in found)
    assert all(1 <= r["process/steps_mean"] <= 6 for r in found)


@pytest.mark.nightly
@pytest.mark.parametrize("form", ["potential", "minimum"])
def test_a_resumed_run_ends_with_the_same_bits(judge_dir, tmp_path, form):
    config = scored(judge_dir, form=form)
    train(config, tmp_path / "whole")
    half = apply_overrides(config, ["train.total_steps=2"])
    train(half, tmp_path / "run")
    assert train(config, tmp_path / "run")["resumed_from"] == 2
    one, two = (load_params(str(tmp_path / n)).params for n in ("whole", "run"))
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_steps_of_rollouts_score_as_written_steps_do(judge_dir):
    run = open_run(str(judge_dir))
    steps, prompt = ["1+2", "7+7", "3"], "12+1="
    want = run.score(prompt, steps).steps
    encode = run.tokenizer.encode
    prompt_ids, written = encode(prompt), encode(",".join(steps))
    width = len(prompt_ids) + 3  # padded on the right, as rollouts' prompts are
    tail = [run.tokenizer.eos_ids[0], 0, 0]
    ids = [*prompt_ids, 0, 0, 0, *written, *tail]
    mask = [1] * len(prompt_ids) + [0] * 3 + [1] * (len(written) + 1) + [0, 0]
    table = step_table(run.tokenizer, run.config.prm.steps)
    judge = ProcessJudge(run.scorer, jax.device_get(table))
    given = jnp.asarray([ids]), jnp.asarray([mask], bool)
    scores, ends = jax.jit(judge, static_argnums=3)(run.params, *given, width)
    places = np.flatnonzero(ends[0])
    assert places.tolist() == [3, 7, 8]
    np.testing.assert_allclose(scores[0][places], want, atol=1e-5)


def refuse(config, folder, text):
    with pytest.raises(UserError, match=re.escape(text)):
        train(config, folder, dry_run=True)


def test_combinations_that_make_no_sense_are_refused(judge_dir, tmp_path):
    run = f"process_reward={judge_dir}"
    refuse(tiny(run), tmp_path / "r", "rl.process.form=none and process_reward='")
    words = ["rl.process.form=minimum", "rl.advantage.kind=leave_one_out"]
    refuse(tiny(*words), tmp_path / "r", "form=minimum and process_reward=''")
    with pytest.raises(UserError, match="advantage.kind=group_std"):
        scored(judge_dir, "rl.advantage.kind=group_std")
    with pytest.raises(UserError, match="what a reward model costs in a step"):
        plan(scored(judge_dir), None)


def test_what_cannot_judge_is_refused(judge_dir, tmp_path):
    other = tmp_path / "other"
    (other / "checkpoints").mkdir(parents=True)
    config = json.loads((judge_dir / "config.json").read_text())

    def judged_by(text, **changes):
        prm = config["prm"] | changes.pop("prm", {})
        (other / "config.json").write_text(json.dumps(config | changes | {"prm": prm}))
        refuse(scored(other), tmp_path / "r", text)

    loss = config["prm"]["loss"] | {"kind": "progress"}
    judged_by("its scores are progress", prm={"semantics": "progress", "loss": loss})
    short = config["model"] | {"max_seq_len": 8}
    judged_by("reads 8 tokens", model=short, prm={"seq_len": 8})
    task = config["task"] | {"name": "arithmetic", "min_digits": 0, "max_digits": 0}
    judged_by("its tokenizer has", task=task)
