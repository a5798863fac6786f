# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The log-prob of a step, and what it says of steps when policies know best."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import presets
from lrm_jax.config import apply_overrides
from lrm_jax.models.policy import token_policy
from lrm_jax.recipes.policy_config import ImportedPolicyConfig
from lrm_jax.recipes.prm import resolve
from lrm_jax.recipes.prm_baseline import logprob_baseline, step_logps
from lrm_jax.recipes.prm_run import RewardRun
from lrm_jax.recipes.prm_step import make_scorer
from lrm_jax.recipes.token_run import TokenRun


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A fresh reward model and a fresh policy of its shape; labels by the policy."""
    path = tmp_path_factory.mktemp("data") / "labels.jsonl"
    rng = np.random.default_rng(0)
    draw = lambda n: "".join(map(str, rng.integers(0, 10, n)))
    rows = [
        {"prompt": draw(3) + "=", "steps": [draw(1) for _ in range(3)],
         "labels": [1.0, 0.0, 1.0]}
        for _ in range(30)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["model.d_model=16", "model.n_layers=1", "model.n_heads=2", "model.d_ff=16"]
    words += ["model.max_seq_len=32", "prm.seq_len=16", "prm.max_steps=4"]
    words += ["prm.steps.last=separator", "mesh.data=1", "eval.batch_size=8"]
    words += [f"data.path={path}", "data.test_size=20", "prm.loss.after_error=learn"]
    config = apply_overrides(presets.get("prm_arithmetic_tiny"), words)
    config = resolve(config, None, None)
    params = jax.jit(make_scorer(config).init)(jax.random.key(0))
    model = dataclasses.replace(config.model, value_head=False)
    shared = {f.name: getattr(config, f.name) for f in dataclasses.fields(
        ImportedPolicyConfig)}  # fmt: skip
    shared |= {"recipe": "policy", "model": model, "tokenizer": config.tokenizer}
    policy = ImportedPolicyConfig(**shared)
    weights = jax.jit(token_policy(model).init)(jax.random.key(1))
    return RewardRun(config, params), TokenRun(policy, weights)


def test_the_log_prob_of_a_step_is_the_sum_over_its_tokens(runs):
    reward, policy = runs
    batch = reward.held_out().batch([0, 1])
    placed = {name: jnp.asarray(x) for name, x in batch.items()}
    found = jax.jit(lambda w, b: step_logps(policy.policy, w, b, chunk=5))(
        policy.weights, placed
    )
    given = (placed[name] for name in ("ids", "positions", "mask"))
    hidden = jax.jit(policy.policy.forward)(policy.weights, *given).hidden
    table = jax.nn.log_softmax(policy.policy.logits(policy.weights, hidden))
    ids, first = batch["ids"][0], int(batch["starts"][0])
    for step, end in enumerate(batch["ends"][0][:3]):
        want = sum(float(table[0, t - 1, ids[t]]) for t in range(first, end + 1))
        assert found[0, step] == pytest.approx(want, abs=1e-4)
        first = end + 1
    assert found[0, 3] == 0


def test_the_baseline_counts_steps_at_their_places(runs):
    found = logprob_baseline(*runs)
    assert found["n"] >= 20
    # Labels depend on the place alone here: in no place are there two kinds.
    assert np.isnan(found["auroc_within_index"])
    assert found["auroc_by_index"] == 0.5
