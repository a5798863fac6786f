# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What heads learn of Monte Carlo labels, against values that are known exactly."""

import itertools
import json
import random
from dataclasses import replace

import jax
import numpy as np
import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import apply_overrides
from lrm_jax.evaluation.step_quality import auroc_within
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.step_labels import StepLabelConfig, label_run
from lrm_jax.recipes.token_run import TokenRun

pytestmark = pytest.mark.nightly

KEEPS = {"a": 1.0, "b": 0.9, "c": 0.6, "d": 0.2}
"""By how much a step lowers the chance that the solution ends right."""
COMPLETIONS, STEPS = 4, 4


def value(steps):
    return float(np.prod([KEEPS[step] for step in steps]))


def write_shares(path, count):
    """Solutions of random steps, labelled by shares of a few completions."""
    rng = random.Random(0)
    rows = []
    for i in range(count):
        steps = rng.choices(list(KEEPS), k=STEPS)
        labels = [
            sum(rng.random() < value(steps[: t + 1]) for _ in range(COMPLETIONS))
            / COMPLETIONS
            for t in range(STEPS)
        ]
        rows.append({"prompt": f"{i % 50}=", "steps": steps, "labels": labels})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["soft", "mse"])
def test_scores_are_the_values_of_states(kind, tmp_path):
    data = write_shares(tmp_path / "shares.jsonl", 4000)
    words = [
        "task=none", "tokenizer.kind=symbols", f"data.path={data}",
        "data.test_size=200", "model.d_model=32", "model.n_heads=2", "model.d_ff=64",
        "model.max_seq_len=16", "prm.seq_len=16", "prm.max_steps=4",
        f"prm.loss.kind={kind}", "train.total_steps=400", "eval.every_steps=400",
        "optim.lr=3e-3", "mesh.data=1",
    ]  # fmt: skip
    config = apply_overrides(presets.get("prm_arithmetic_tiny"), words)
    lrm_jax.train(config, str(tmp_path / "run"), progress="off")
    run = lrm_jax.load(str(tmp_path / "run"))
    every = [*itertools.product(KEEPS, repeat=STEPS)]  # all 256 of them
    scores = np.array([s.steps for s in run.score_all([("7=", y) for y in every])])
    exact = np.array([[value(y[: t + 1]) for t in range(STEPS)] for y in every])
    gap = np.abs(scores - exact)
    fine = auroc_within(
        scores.ravel(), exact.ravel() > 0.3, np.tile(range(STEPS), len(every))
    )
    print(f"{kind}: mean {gap.mean():.3f}, largest {gap.max():.3f}, AUROC {fine:.3f}")
    assert gap.mean() < 0.03
    assert fine > 0.98


def test_labels_by_the_policy_itself_are_trained_on(tmp_path):
    model = PolicyConfig(
        vocab_size=19, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_len=32
    )
    weights = jax.jit(token_policy(model).init)(jax.random.key(0))
    policy = TokenRun(replace(presets.get("sft_addition_cold"), model=model), weights)
    out = tmp_path / "labels.jsonl"
    label_run(policy, str(out), StepLabelConfig(n=8, solutions=4, completions=2))
    words = ["data.test_size=2", "model.d_model=16", "model.d_ff=16", "prm.seq_len=64"]
    words += ["train.total_steps=2", "train.batch_size=8", "eval.batch_size=8"]
    config = apply_overrides(
        presets.get("prm_arithmetic_tiny"), [*words, f"data.path={out}", "mesh.data=1"]
    )
    config = replace(config, task=policy.config.task)
    result = lrm_jax.train(config, str(tmp_path / "run"), progress="off")
    assert result["step"] == 2 and np.isfinite(result["metrics"]["loss/prm"])
