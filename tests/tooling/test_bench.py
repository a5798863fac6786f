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


def test_no_steps_are_refused():
    with pytest.raises(UserError, match="--steps 0: expected 1 or more"):
        lib.bench(presets.sudoku4_tiny(), steps=0)
