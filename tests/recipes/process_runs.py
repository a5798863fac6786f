# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm train` as several processes on this host, each with its own CPU devices."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

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


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    run_dir: Path, count: int, devices: int, *words: str
) -> list[subprocess.Popen[str]]:
    """Start `count` processes of one run; what they say goes to files beside it."""
    port = free_port()
    return [
        start_one(run_dir, count, devices, rank, port, *words) for rank in range(count)
    ]


def start_one(
    run_dir: Path, count: int, devices: int, rank: int, port: int, *words: str
) -> subprocess.Popen[str]:
    """Start process `rank` of a run."""
    command = [sys.executable, "-m", "lrm_jax.cli.main", "train", *TINY, *words]
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
