# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm bench`: keys that stay, FLOPs by hand."""

import pytest

from lrm_jax import presets
from lrm_jax.config import replace
from lrm_jax.tooling import bench as lib
from lrm_jax.types import UserError

TINY = {
    "model.d_model": 16,
    "model.n_heads": 2,
    "model.ff_multiple": 16,
    "model.h_cycles": 2,
    "model.l_cycles": 2,
    "data.train_size": 32,
    "data.test_size": 16,
    "train.batch_size": 8,
    "mesh.data": 1,
    "train.total_steps": 8,
    "eval.batch_size": 8,
}


def forward_flops_of_a_block(batch, length, d_model, d_ff):
    attention = 2 * batch * length * d_model * (3 * d_model + d_model)
    attention += 2 * 2 * batch * length * length * d_model
    return attention + 2 * batch * length * d_model * 3 * d_ff


def test_bench_counts_and_times(monkeypatch):
    monkeypatch.setattr(lib, "_MATMUL_SIZE", {"cpu": 64})
    config = replace(presets.sudoku4_tiny(), TINY)
    found = lib.bench(config, steps=2)
    stable = {"steps_per_s", "items_per_s", "flops_per_step", "mfu", "compile_s"}
    assert stable | {"peak_bytes"} <= set(found)
    assert found["items_per_s"] == pytest.approx(8 * found["steps_per_s"])
    assert found["mfu"] is None  # no peak is known of a CPU
    assert min(found[k] for k in stable - {"mfu"}) > 0 and found["peak_bytes"] > 0
    # 6 module calls of 2 blocks, of them 3 with gradient, which costs twice more.
    block = forward_flops_of_a_block(8, 16, 16, config.model.d_ff)
    heads = 3 * 2 * 8 * (16 * 16 * 6 + 16 * 2)
    by_hand = (6 + 2 * 3) * 2 * block + heads
    assert by_hand <= found["flops_per_step"] <= 1.15 * by_hand


def test_several_steps_a_dispatch_count_the_same(monkeypatch):
    monkeypatch.setattr(lib, "_MATMUL_SIZE", {"cpu": 64})
    config = replace(presets.sudoku4_tiny(), TINY)
    one = lib.bench(config, steps=1)
    both = {"train.steps_per_dispatch": 2, "data.resident": True}
    two = lib.bench(replace(config, both), steps=1)
    assert two["flops_per_step"] == one["flops_per_step"]
    assert two["steps_timed"] == 2


TINY_POLICY = {
    **{"model.d_model": 16, "model.n_layers": 1, "model.n_heads": 2},
    **{"model.d_ff": 16, "mesh.data": 1, "data.test_size": 8, "eval.batch_size": 8},
}


def test_fine_tuning_counts_tokens(monkeypatch):
    monkeypatch.setattr(lib, "_MATMUL_SIZE", {"cpu": 64})
    changes = {"train.batch_size": 4, "train.steps_per_dispatch": 1}
    config = replace(presets.get("sft_addition_cold"), TINY_POLICY | changes)
    found = lib.bench(config, steps=1)
    assert found["tokens_per_s"] == pytest.approx(4 * 32 * found["steps_per_s"])


def test_reinforcement_learning_is_timed_by_its_parts():
    shape = {"rl.rollout.n_prompts": 4, "rl.rollout.group_size": 2}
    config = replace(presets.get("grpo_addition"), TINY_POLICY | shape)
    found = lib.bench(config, steps=2)
    parts = [found[name] for name in ("rollout_s", "reward_s", "train_s")]
    assert min(parts) > 0
    # The clock of an iteration runs on between its parts; a train_s is read late.
    assert found["rollout_s"] + found["reward_s"] < found["iteration_s"]
    assert found["compile_s"] > found["iteration_s"] and found["recompiles"] == 0
    assert found["completions_per_s"] == pytest.approx(8 / found["iteration_s"])
    written = 8 * found["mean_length"] / found["rollout_s"]
    assert found["rollout_tokens_per_s"] == pytest.approx(written, rel=0.5)
    assert found["train_tokens_per_s"] > 0 and found["steps_timed"] == 2


def test_no_steps_are_refused():
    with pytest.raises(UserError, match="--steps 0: expected 1 or more"):
        lib.bench(presets.sudoku4_tiny(), steps=0)
