# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The scripts for a GPU: run small on a CPU, with nothing but JAX's own company."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from experiments import device_log, gpu_latent, gpu_policy
from lrm_jax.models.policy import Policy, count_params

ROOT = Path(gpu_policy.__file__).parents[1]
ABSENT = ("grain", "tyro", "tokenizers", "safetensors", "numba", "matplotlib", "jinja2")
"""What such a machine need not have; Flax itself needs rich."""


def smoke(name, folder, *words):
    """Run a script as a process in which none of `ABSENT` can be imported."""
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({ABSENT!r})); "
        f"sys.argv[1:] = {['--scale', 'smoke', '--out', str(folder), *words]!r}; "
        f"runpy.run_module('experiments.{name}', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    kept = (folder / f"{name}.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == rows
    assert rows[-1]["failed"] == []
    return rows


@pytest.mark.slow
def test_policy(tmp_path):
    rows = smoke("gpu_policy", tmp_path, "--samples", "2")
    parts = {row["part"] for row in rows}
    assert parts == {"device", "numerics", "sampler_gap", "decode", "train", "end"}
    judged = [row for row in rows if row["part"] == "numerics"]
    assert [row["packed"] for row in judged] == [True, True]
    assert all(row.get("ok", True) and "error" not in row for row in rows)
    skipped = [row["skipped"] for row in judged if "skipped" in row]
    assert len(skipped) == 1 and "needs a CUDA GPU" in skipped[0]
    decode = [row for row in rows if row["part"] == "decode"][-1]
    assert decode["samples"] == 2 and decode["batch"] == 4
    assert decode["floor_s"] < decode["slots_floor_s"]
    train = [row for row in rows if row["part"] == "train"][-1]
    assert 0 < train["mfu"] < train["mfu_full_attention"]
    assert train["compile_s"] > train["median_s"] > 0
    assert (tmp_path / "decode.hlo.txt.gz").stat().st_size > 0


@pytest.mark.slow
def test_latent(tmp_path):
    words = ("--samples", "2", "--preset", "trm_mlp_sudoku")
    rows = smoke("gpu_latent", tmp_path, *words)
    assert {row["part"] for row in rows} == {"device", "numerics", "step", "end"}
    assert [r["ok"] for r in rows if "ok" in r] == [True]
    step = [row for row in rows if row["part"] == "step"][-1]
    assert step["target_s"] == 0.083 and step["steps_per_dispatch"] == 2
    assert step["flops"] > 0 and step["compile_s"] > step["median_s"]


def test_the_published_steps_are_the_ones_timed():
    hrm, trm = (
        gpu_latent.scaled(preset(), smoke=False)
        for preset in (gpu_latent.hrm_sudoku, gpu_latent.trm_mlp_sudoku)
    )
    for config in (hrm, trm):
        assert config.train.batch_size == 768
        assert config.model.dtype == "bfloat16"
        step = gpu_latent.step_of(config, config.model.dtype)
        assert step.halting == config.halting and step.optim == config.optim
        assert step.ema == config.train.ema_decay


def test_floor_of_decoding_by_hand():
    # Two layers, two key heads of 8, bfloat16: 128 bytes a token.
    cfg = gpu_policy.dataclasses.replace(gpu_policy.TINY, n_layers=2)
    attended, slots = gpu_policy.floor_bytes(cfg, 1000, batch=3, prompt=5, new=3)
    assert attended == (1000 + 3 * 6 * 128) + (1000 + 3 * 7 * 128)
    assert slots == 2 * (1000 + 3 * 8 * 128)
    big = gpu_policy.floor_bytes(
        gpu_policy.QWEN3_06B, 2 * 596_049_920, batch=256, prompt=512, new=512
    )
    per_step = [x / 511 for x in big]
    assert per_step[0] == pytest.approx(1.1921e9 + 256 * 768 * 114_688, rel=1e-6)
    assert per_step[1] == pytest.approx(1.1921e9 + 256 * 1024 * 114_688, rel=1e-6)


def test_flops_of_training_by_hand():
    cfg = gpu_policy.QWEN3_06B
    causal, full = gpu_policy.training_flops(cfg, 32, 2048)
    tokens, body = 32 * 2048, 28 * (1024 * (2048 + 2 * 1024 + 2048) + 3 * 1024 * 3072)
    attention = 3 * 28 * 32 * (2 * 2 * 16 * 128 * 2048 * 2048)
    logits = 3 * 2 * tokens * 1024 * 151_936
    assert full == 6 * tokens * body + logits + attention
    assert causal == full - attention // 2
    assert causal == pytest.approx(280e12, rel=0.02)


def test_the_shape_has_as_many_weights_as_published():
    cfg = gpu_policy.dataclasses.replace(gpu_policy.QWEN3_06B, scan_layers=True)
    shapes = gpu_policy.jax.eval_shape(Policy(cfg).init, gpu_policy.jax.random.key(0))
    assert count_params(shapes) == 596_049_920


def test_a_part_that_fails_is_recorded_and_the_rest_goes_on(tmp_path, capsys):
    log = device_log.DeviceLog("run", tmp_path, limit_s=100)

    def bad(log):
        raise MemoryError("no room")

    assert log.run("bad", bad) is None
    assert log.run("late", bad, needs_s=1000) is None
    assert log.run("good", lambda log: 7) == 7
    assert log.exit_code() == 1
    rows = [json.loads(x) for x in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert rows[0]["error"] == "MemoryError: no room"
    assert "skipped" in rows[1] and rows[2]["failed"] == ["bad"]


def test_relative_is_over_the_whole_tree():
    there = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}
    here = {"a": jnp.array([3.0, 0.3]), "b": jnp.array([4.4])}
    assert device_log.relative(here, there) == pytest.approx(0.1)
    nan = {"a": jnp.array([3.0, jnp.nan]), "b": jnp.array([4.0])}
    assert not device_log.relative(nan, there) <= 1
