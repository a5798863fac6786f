# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm train` as several processes on this host, each with its own CPU devices."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import apply_overrides
from tests.training.chaos_resume import last_arrays, records

ROOT = Path(__file__).resolve().parents[2]
TINY = (
    "sudoku4_tiny",
    "model.d_model=32",
    "model.n_heads=2",
    "model.ff_multiple=8",
    "model.l_layers=1",
    "model.h_cycles=2",
    "model.l_cycles=1",
    "optim.kind=adamw",
    "halting.max_steps=2",
    "data.train_size=96",
    "data.test_size=16",
    "train.batch_size=16",
    "train.log_every=1",
    "optim.lr_warmup_steps=10",
    "eval.batch_size=16",
    "eval.every_steps=0",
    "eval.num_traces=1",
)
SFT = (
    "sft_addition_tiny",
    "model.d_model=16",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.d_ff=16",
    "model.max_seq_len=80",
    "task.max_digits=1",
    "data.test_size=12",
    "train.batch_size=8",
    "train.log_every=1",
    "eval.every_steps=0",
    "eval.batch_size=8",
    "eval.max_new_tokens=8",
    "optim.lr_warmup_steps=2",
    "optim.lr_min_ratio=1.0",
)
GRPO = (
    "grpo_addition",
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
    "grpo.eval_samples=0",
    "train.total_steps=4",
    "train.log_every=1",
    "train.stop_at_accuracy=0",
    "eval.every_steps=0",
    "eval.size=6",
    "eval.batch_size=8",
    "eval.max_new_tokens=6",
)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    run_dir: Path,
    count: int,
    devices: int,
    *words: str,
    base: tuple[str, ...] = TINY,
) -> list[subprocess.Popen[str]]:
    """Start `count` processes of one run; what they say goes to files beside it."""
    port = free_port()
    return [
        start_one(run_dir, count, devices, rank, port, *words, base=base)
        for rank in range(count)
    ]


def start_one(
    run_dir: Path,
    count: int,
    devices: int,
    rank: int,
    port: int,
    *words: str,
    base: tuple[str, ...] = TINY,
) -> subprocess.Popen[str]:
    """Start process `rank` of a run."""
    command = [sys.executable, "-m", "lrm_jax.cli.main", "train", *base, *words]
    command += ["--run-dir", str(run_dir), "--json"]
    if count > 1:
        command += ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(count)]
        command += ["--process-id", str(rank)]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    with open(log_of(run_dir, rank), "a") as log:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env={**env, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def log_of(run_dir: Path, rank: int) -> Path:
    """Return where a process's standard error goes."""
    return run_dir.with_name(f"{run_dir.name}.{rank}.err")


def wait(children: list[subprocess.Popen[str]], timeout_s: float) -> list[str]:
    """Return what each wrote on standard output, once all have ended."""
    try:
        return [child.communicate(timeout=timeout_s)[0] for child in children]
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()


def said_by(run_dir: Path, rank: int) -> str:
    """Return what a process wrote on standard error."""
    return log_of(run_dir, rank).read_text()


def run_all(
    run_dir: Path,
    count: int,
    devices: int,
    *words: str,
    base: tuple[str, ...] = TINY,
    timeout_s: float = 240,
) -> list[str]:
    """Run to the end, which must be a good one; what each wrote on standard output."""
    children = start(run_dir, count, devices, *words, base=base)
    outputs = wait(children, timeout_s)
    codes = [child.returncode for child in children]
    if any(codes):
        errors = [said_by(run_dir, rank) for rank in range(count)]
        raise RuntimeError(f"{codes}: {errors}")
    return outputs


def wait_for_records(run_dir: Path, count: int, child: subprocess.Popen[str]) -> None:
    """Wait until `metrics.jsonl` holds so many records."""
    metrics = run_dir / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < count:
        if child.poll() is not None:
            raise RuntimeError(log_of(run_dir, 0).read_text())
        time.sleep(0.02)


def training_process(supervisor: subprocess.Popen[str]) -> int:
    """Return the id of the process that a supervisor watches."""
    ask = ["ps", "-o", "pid=", "--ppid", str(supervisor.pid)]
    return int(subprocess.run(ask, capture_output=True, text=True, check=True).stdout)


def train_alone(run_dir, *words, base=TINY):
    """Train in this process; what `lrm_jax.train` returns."""
    config = apply_overrides(presets.get(base[0]), [*base[1:], *words])
    return lrm_jax.train(config, str(run_dir), progress="off")


def values_of(run_dir, name):
    """Return a metric of every record that has it."""
    return [r[name] for r in records(run_dir) if name in r]


def assert_close(one, two, metric="loss/total"):
    """Every leaf of the last state, and a metric of all steps, to 1e-5; counters."""
    (arrays, counters), (others, _) = last_arrays(one), last_arrays(two)
    assert arrays.keys() == others.keys()
    for name in arrays:
        if arrays[name].dtype.kind != "f":
            np.testing.assert_array_equal(arrays[name], others[name], err_msg=name)
            continue
        a, b = arrays[name].astype(np.float64), others[name].astype(np.float64)
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a), name
    first, second = (values_of(run, metric) for run in (one, two))
    assert first, f"no record has {metric}"
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)
    return counters
