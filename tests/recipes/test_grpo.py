# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole runs of reinforcement learning: exact resumes, alarms, samples, metrics."""

import json
import re

import jax
import numpy as np
import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import apply_overrides
from lrm_jax.evaluation.report import write_report
from lrm_jax.evaluation.samples import read_samples
from lrm_jax.recipes import grpo
from lrm_jax.recipes.policy_config import GREEDY
from lrm_jax.rl.metric_names import TRL_NAMES
from lrm_jax.training.checkpoint import list_steps
from lrm_jax.training.loading import load_params
from lrm_jax.types import UserError
from tests.recipes import toy_rl_task

TINY = [
    "task.name=tests.recipes.toy_rl_task:first_digit",
    "task.min_digits=0",
    "task.max_digits=0",
    "model.d_model=16",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.d_ff=16",
    "data.test_size=6",
    "rl.rollout.n_prompts=4",
    "rl.rollout.group_size=4",
    "rl.rollout.max_new_tokens=6",
    "grpo.samples_every=1",
    "train.total_steps=4",
    "train.log_every=1",
    "train.stop_at_accuracy=0",
    "eval.every_steps=2",
    "eval.size=6",
    "eval.batch_size=8",
    "eval.max_new_tokens=6",
    "checkpoint.every_steps=2",
    "checkpoint.keep=9",
    "mesh.data=1",
]
VARIANTS = {
    "refill": ["rl.group_filter.kind=refill", "rl.group_filter.max_rounds=3"],
    "minibatches": [
        "rl.minibatches=2",
        "rl.epochs=2",
        "train.total_steps=16",
        "checkpoint.every_steps=8",
        "eval.every_steps=8",
        "rl.kl.coef=0.1",
        "rl.kl.estimator=k2",
        "rl.reference.kind=reset",
        "rl.reference.every=8",
        "rl.entropy.kind=adaptive",
        "rl.entropy.coef=0.001",
        "rl.entropy.target=2.0",
    ],
    "critic": [
        "model.value_head=true",
        "rl.advantage.kind=gae",
        "rl.advantage.actor_lambda=0.9",
        "rl.value.at_truncation=bootstrap",
        "rl.truncated=keep",
        "grpo.prompt_len=0",
    ],
}


def tiny(*words, base="grpo_addition"):
    return apply_overrides(presets.get(base), [*TINY, *words])


def train(config, folder, **how):
    return lrm_jax.train(config, str(folder), progress="off", **how)


def records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def assert_same_end(first, second):
    """Equal bits of parameters, equal tokens sampled, equal metrics but for time."""
    a, b = load_params(first), load_params(second)
    assert a.step == b.step
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    jax.tree.map(np.testing.assert_array_equal, a.ema, b.ema)
    assert (first / "samples.jsonl").read_text() == (
        second / "samples.jsonl"
    ).read_text()
    timeless = lambda r: {
        k: v for k, v in r.items() if not k.startswith("perf/") and k != "time_s"
    }
    assert [timeless(r) for r in records(first)] == [
        timeless(r) for r in records(second)
    ]


@pytest.fixture(scope="module", params=VARIANTS)
def whole(request, tmp_path_factory):
    """A run that was never stopped."""
    config = tiny(*VARIANTS[request.param])
    folder = tmp_path_factory.mktemp("grpo") / "whole"
    return config, folder, train(config, folder)


def test_a_resumed_run_ends_with_the_same_bits_and_tokens(whole, tmp_path):
    config, folder, result = whole
    assert result["reason"] == "done"
    half = config.train.total_steps // 2
    shorter = apply_overrides(config, [f"train.total_steps={half}"])
    train(shorter, tmp_path / "run")
    again = train(config, tmp_path / "run")
    assert again["resumed_from"] == half
    assert_same_end(folder, tmp_path / "run")


def test_nothing_compiles_after_the_first_iteration(whole):
    config, folder, result = whole
    if config.grpo.prompt_len:  # else one program for each bucket
        assert result["recompiles"] == 0
        steps = [r for r in records(folder) if "perf/compiles" in r]
        assert steps[0]["perf/compiles"] > 0
        assert all(r["perf/compiles"] == 0 for r in steps[1:])


def test_metrics_have_the_names_people_look_for(whole):
    config, folder, _ = whole
    logged = {name for record in records(folder) for name in record}
    expected = set(TRL_NAMES) - {"kl/ref_k3"}
    expected |= {"kl/ref_k3"} if config.rl.needs_reference else set()
    assert expected <= logged
    assert {
        "accuracy/strict",
        "accuracy/lenient",
        "reward_parts/accuracy",
        "verdict/no_tag",
        "sampling/weight_lag",
        "sampling/fresh_logp_difference_max",
        "perf/rollout_tokens_per_s",
        "perf/train_tokens_per_s",
        "optim/grad_norm",
        "eval/greedy_accuracy",
        "eval/best_constant",
    } <= logged


def test_sampler_and_trainer_agree_on_fresh_rollouts(whole):
    _, folder, _ = whole
    for record in records(folder):
        assert record.get("sampling/fresh_logp_difference_max", 0) <= 1e-5


def test_samples_are_read_by_the_report(whole):
    config, folder, _ = whole
    found = read_samples(folder)
    assert found.unreadable == 0 and found.shown > 0
    for group in found.groups:
        assert len(group.samples) == (4 if group.split == "train" else 1)
        for sample in group.samples:
            assert len(sample.tokens) == len(sample.logps) <= 6
            right = "".join(sample.tokens)[:1].isdigit()
            assert (sample.verdict == "right") == right == (sample.reward == 1)
        total = sum(sample.advantage or 0.0 for sample in group.samples)
        assert total == pytest.approx(0, abs=1e-5)


def test_greedy_completions_of_each_evaluation_are_written(whole, tmp_path):
    config, folder, _ = whole
    groups = [g for g in read_samples(folder).groups if g.split == "eval"]
    evaluated = [r["step"] for r in records(folder) if GREEDY in r]
    shown = min(config.grpo.samples, len({g.prompt for g in groups}))
    assert [g.step for g in groups] == [s for s in evaluated for _ in range(shown)]
    assert len({g.prompt for g in groups}) == shown > 0
    for group in groups:
        (sample,) = group.samples
        assert sample.advantage is None and sample.reward == sample.strict
        assert sample.tokens and max(sample.logps) <= 0 > min(sample.logps)
    write_report([folder], tmp_path, ["html"])
    shown = re.findall(r'"split": ?"(\w+)"', (tmp_path / "index.html").read_text())
    assert set(shown) == {"train", "eval"}


def test_sigterm_in_the_middle_of_an_iteration(tmp_path, monkeypatch):
    task = "task.name=tests.recipes.toy_rl_task:interrupting"
    config = tiny(task, "train.total_steps=5", "eval.every_steps=0")
    monkeypatch.setattr(toy_rl_task.Interrupting, "calls", 10)
    train(config, tmp_path / "whole")
    monkeypatch.setattr(toy_rl_task.Interrupting, "calls", 0)
    stopped = train(config, tmp_path / "run")
    assert stopped["reason"] == "terminated" and stopped["step"] < 5
    assert train(config, tmp_path / "run")["reason"] == "done"
    assert_same_end(tmp_path / "whole", tmp_path / "run")


def test_a_failing_reward_leaves_the_state_saved(tmp_path, monkeypatch):
    config = tiny(
        "task.name=tests.recipes.toy_rl_task:failing",
        "checkpoint.every_steps=0",
        "eval.every_steps=0",
    )
    monkeypatch.setattr(toy_rl_task.Failing, "calls", 10)
    train(config, tmp_path / "whole")
    monkeypatch.setattr(toy_rl_task.Failing, "calls", 0)
    with pytest.raises(UserError, match="mine:reward"):
        train(config, tmp_path / "run")
    saved = list_steps(tmp_path / "run" / "checkpoints")
    assert [info.step for info in saved] == [2]
    goes_on = apply_overrides(config, ["reward.on_error=zero"])  # as the error says
    assert train(goes_on, tmp_path / "run")["reason"] == "done"
    assert_same_end(tmp_path / "whole", tmp_path / "run")


def test_a_policy_without_any_success_raises_the_alarm_once(tmp_path):
    words = ["task.name=addition", "task.min_digits=1", "task.max_digits=1"]
    config = tiny(*words, "grpo.alarms.window=2", "train.total_steps=5")
    train(config, tmp_path)
    told = [r for r in records(tmp_path) if r.get("alarm") == "no_signal"]
    assert [r["step"] for r in told] == [2]
    assert "100%" in told[0]["message"]


def test_a_dry_run_compiles_and_writes_nothing(tmp_path):
    found = train(tiny(), tmp_path / "run", dry_run=True)
    assert found["batch"] == {"prompts": [4, 6], "completions": [4, 4, 6]}
    assert not (tmp_path / "run").exists()


REFUSED = {
    "train.batch_size=17": "train.batch_size=17: follows from rl",
    "train.total_steps=7 rl.minibatches=2": "total_steps=7",
    "rl.advantage.kind=gae": "model.value_head=false",
    "rl.rollout.max_new_tokens=30": "leaves 2 of model.max_seq_len=32",
    "grpo.prompt_len=0 rl.group_filter.kind=refill": "grpo.prompt_len=0: with",
    "grpo.samples=-1": "grpo.samples=-1",
    "model.rope.kind=dynamic model.rope.factor=2": "model.rope.kind='dynamic'",
    "rl.kl.coef=0.1 rl.kl.estimator=k1": "k1_in_loss",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_run_is_refused_in_one_line(words, tmp_path):
    with pytest.raises(UserError) as error:
        train(tiny(*words.split()), tmp_path / "run")
    assert REFUSED[words] in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_prompt_that_is_too_long_is_named(tmp_path):
    with pytest.raises(UserError, match="grpo.prompt_len") as error:
        train(tiny("grpo.prompt_len=4"), tmp_path / "run")
    assert "train example" in str(error.value) and "room for 4" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_every_line_of_a_file_is_measured_before_the_run_begins(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"{i % 10}+1=", "answer": "1"} for i in range(20)]
    rows += [{"prompt": "123456+1=", "answer": "1"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    words = [w for w in TINY if not w.startswith("task.")]
    words += ["task=none", "tokenizer.kind=symbols", f"data.path={path}"]
    words += ["tokenizer.symbols=0 1 2 3 4 5 6 7 8 9 + =", "data.test_size=0"]
    config = apply_overrides(presets.get("grpo_addition"), words)
    message = "line 21: the prompt has 9 tokens; there is room for 6 "
    for dry_run in (True, False):
        with pytest.raises(UserError, match=message):
            train(config, tmp_path / "run", dry_run=dry_run)
    assert not (tmp_path / "run").exists()


def test_identity_allows_other_samples_and_alarms_but_no_other_objective():
    config = grpo.resolve(tiny(), None, None)
    free = grpo.not_identity(config)
    assert {"grpo.samples_every", "grpo.alarms", "eval", "mesh"} <= free
    assert not any(key.startswith("rl") for key in free)
    assert "train.steps_per_dispatch" not in free
