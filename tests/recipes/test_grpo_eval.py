# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Held-out evaluation, and the alarm of a policy that guesses, on planted weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import presets
from lrm_jax.config import apply_overrides
from lrm_jax.recipes import grpo
from lrm_jax.recipes.alarms import AlarmConfig, AlarmWatch
from lrm_jax.recipes.grpo_build import build
from lrm_jax.recipes.grpo_eval import PolicyEvaluation

COUNTING = [
    "task.name=counting",
    "task.min_digits=0",
    "task.max_digits=0",
    "task.letters=3",
    "task.length=6",
    "data.test_size=12",
    "model.vocab_size=0",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.d_model=32",
    "model.tied_embeddings=false",
    "grpo.prompt_len=10",
    "rl.rollout.max_new_tokens=8",
    "eval.size=12",
    "eval.batch_size=6",
    "eval.max_new_tokens=8",
    "grpo.eval_samples=3",
    "mesh.data=1",
]


@pytest.fixture(scope="module")
def evaluation():
    config = apply_overrides(presets.get("grpo_addition"), COUNTING)
    run = build(grpo.resolve(config, None, None))
    return PolicyEvaluation(run.config, run.source, run.sampler), run


def plant(run, said):
    """Weights under which `said` follows every prompt, whatever it asks.

    Attention and feed-forward give nothing; each token alone decides the next.
    """
    tokenizer, policy = run.source.tokenizer, run.policy
    weights = jax.tree.map(jnp.zeros_like, policy.init(jax.random.key(0)))
    rows = policy.cfg.rows
    weights["embed_tokens"]["embedding"] = jnp.eye(rows, policy.cfg.d_model)
    weights["final_norm"]["scale"] = jnp.ones(policy.cfg.d_model)
    chain = [*tokenizer.encode("="), *tokenizer.encode(said), tokenizer.eos_ids[0]]
    assert len(set(chain)) == len(chain)
    kernel = np.zeros((policy.cfg.d_model, rows), np.float32)
    for token, following in zip(chain, chain[1:], strict=False):
        kernel[token, following] = 30.0
    weights["lm_head"]["kernel"] = jnp.asarray(kernel)
    return weights


def test_a_policy_that_always_says_the_same_is_told(evaluation):
    evaluate, run = evaluation
    answers = [example.answer for example in evaluate.examples]
    mode = max(set(answers), key=answers.count)
    other = "7" if mode != "7" else "8"
    weights = plant(run, f"<think>{other}</think><answer>{mode}</answer>")
    found = evaluate(weights)
    share = answers.count(mode) / len(answers)
    assert found["eval/greedy_accuracy"] == pytest.approx(share)
    assert found["eval/best_constant"] == pytest.approx(share)
    assert found["eval/answer_entropy"] == 0 < found["eval/true_answer_entropy"]
    assert found["eval/sampled_accuracy"] == pytest.approx(share)
    assert found["eval/pass_at_2"] == pytest.approx(share)
    assert found["eval/thinking_tokens"] == 1
    notices = AlarmWatch(AlarmConfig()).see({"step": 50, **found})
    assert [notice.name for notice in notices] == ["modal_collapse"]
    assert f"{share:.1%}" in notices[0].text


def test_what_is_wrong_everywhere_is_no_modal_answer_of_the_truth(evaluation):
    evaluate, run = evaluation
    found = evaluate(plant(run, "<think>1</think><answer>8</answer>"))
    assert found["eval/greedy_accuracy"] == found["eval/pass_at_2"] == 0
    # It does say one thing only, below what the most frequent answer would get.
    notices = AlarmWatch(AlarmConfig()).see({"step": 50, **found})
    assert [notice.name for notice in notices] == ["modal_collapse"]


def test_draws_of_evaluation_are_the_same_each_time(evaluation):
    evaluate, run = evaluation
    weights = run.policy.init(jax.random.key(0))
    first, second = (evaluate.write(weights, count=3) for _ in range(2))
    assert first.texts == second.texts
    assert len({text for row in first.texts for text in row}) > 20
