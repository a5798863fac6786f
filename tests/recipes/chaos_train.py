# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kill `lrm train` with SIGKILL at random moments; it must end with the same bits.

    python -m tests.recipes.chaos_train --kills 20 [--resident | --sft] [--seed 0]

One latent reasoner on 4x4 Sudoku (or a policy on worked additions) through the real
command line: starting (imports, data, restore, compile), stepping, saving. Compares
the last checkpoint (parameters, average, optimizer, carry, key, step, counters),
`metrics.jsonl` and `report/eval.json` with those of a run that was never killed.
Prints a tally; exit 1 on a difference. The loop alone, with smaller steps:
`tests/training/chaos_resume.py`.
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lrm_jax.training.checkpoint import list_steps
from tests.training.chaos_resume import compare, half_written

ROOT = Path(__file__).resolve().parents[2]
MOMENTS = ("steps", "save", "start", "save")
TINY = (
    "model.d_model=32",
    "model.n_heads=2",
    "model.ff_multiple=8",
    "halting.max_steps=3",
    "data.train_size=96",
    "data.test_size=32",
    "train.batch_size=32",
    "train.log_every=7",  # a record's window is cut by every save
    "optim.lr_warmup_steps=10",
    "eval.batch_size=16",
    "eval.every_steps=70",
    "eval.num_traces=2",
    "checkpoint.every_steps=20",
)
TINY_SFT = (
    "model.d_model=16",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.d_ff=16",
    "task.max_digits=1",
    "data.test_size=16",
    "train.batch_size=4",
    "train.ema_decay=0.9",
    "train.steps_per_dispatch=2",
    "train.log_every=7",
    "optim.lr_warmup_steps=10",
    "optim.lr_min_ratio=1.0",
    "eval.batch_size=16",
    "eval.every_steps=70",
    "eval.max_new_tokens=20",
    "checkpoint.every_steps=20",
)


class Tally(NamedTuple):
    """What happened.

    Attributes:
      kills: processes killed.
      moments: kills by what the process was about to do.
      in_save: kills that left a half-written checkpoint.
      differences: what is not equal at the end; empty is right.
    """

    kills: int
    moments: dict[str, int]
    in_save: int
    differences: list[str]


def words_of(kind: str) -> list[str]:
    """Return preset and overrides of a kind of run."""
    if kind == "sft":
        return ["sft_addition_tiny", *TINY_SFT]
    words = ["sudoku4_tiny", *TINY]
    if kind == "resident":
        words += ["data.resident=true", "train.steps_per_dispatch=2"]
    return words


def start(run_dir: Path, steps: int, kind: str) -> subprocess.Popen[bytes]:
    """Start the run, or go on with it; what it says goes to a file beside."""
    words = [*words_of(kind), f"train.total_steps={steps}"]
    with open(run_dir.with_suffix(".err"), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lrm_jax.cli.main", "train"]
            + [*words, "--run-dir", str(run_dir)],
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )


def finish(run_dir: Path, steps: int, kind: str) -> float:
    """Let a start go on to the end; return the seconds until its first record."""
    child, began = start(run_dir, steps, kind), time.monotonic()
    wait_for_records(child, run_dir, 1)
    first = time.monotonic() - began
    if child.wait():
        raise RuntimeError(run_dir.with_suffix(".err").read_text())
    return first


def wait_for_records(child: subprocess.Popen[bytes], run_dir: Path, count: int) -> None:
    """Wait until `metrics.jsonl` has grown `count` times: steps are being taken."""
    metrics = run_dir / "metrics.jsonl"
    size = metrics.stat().st_size if metrics.exists() else 0
    while count and child.poll() is None:
        now = metrics.stat().st_size if metrics.exists() else 0
        count -= now > size
        size = now  # at first cut back to the restored step
        time.sleep(0.002)


def kill(
    child: subprocess.Popen[bytes],
    run_dir: Path,
    when: str,
    count: int,
    wait_s: float,
) -> tuple[bool, bool]:
    """Kill at some moment; return whether it lived, and whether a save was cut off.

    Args:
      child: just started.
      run_dir: its folder.
      when: "start", "steps" or "save" (once one has begun).
      count: records to wait for, unless at the start.
      wait_s: a while longer.
    """
    before = half_written(run_dir)
    if when != "start":
        wait_for_records(child, run_dir, count)
    time.sleep(wait_s)
    while when == "save" and child.poll() is None:
        if half_written(run_dir) - before:
            break
        time.sleep(0.0005)
    lived = child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    return lived, bool(half_written(run_dir) - before)


def run_chaos(
    folder: Path, kills: int, seed: int, *, kind: str, steps_per_kill: int = 100
) -> Tally:
    """Kill one run `kills` times and compare it with one never killed."""
    rng, steps = random.Random(seed), kills * steps_per_kill
    killed, whole = folder / "killed", folder / "whole"
    start_s = finish(whole, steps, kind)
    moments: collections.Counter[str] = collections.Counter()
    in_save = 0
    for number in range(kills):
        child = start(killed, steps, kind)
        when = MOMENTS[number % len(MOMENTS)]
        wait_s = rng.uniform(0, start_s if when == "start" else 0.1)
        lived, cut = kill(child, killed, when, rng.randint(1, 10), wait_s)
        if not lived:
            raise RuntimeError(
                f"it ended before kill {number + 1}; give it more steps:\n"
                + killed.with_suffix(".err").read_text()
            )
        moments[when] += 1
        in_save += cut
        where = [i.step for i in list_steps(killed / "checkpoints") if i.complete]
        print(f"kill {number + 1} ({when}): saved {where}, cut off a save: {cut}")
        sys.stdout.flush()
    finish(killed, steps, kind)
    found = compare(killed, whole)
    if kind != "sft":
        pages = [(run / "report" / "eval.json").read_bytes() for run in (killed, whole)]
        if pages[0] != pages[1]:
            found.append("report/eval.json")
    return Tally(kills, dict(moments), in_save, found)


def main() -> None:
    """Run it and print the tally."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--resident", action="store_true", help="data on the device")
    kinds.add_argument("--sft", action="store_true", help="a policy, fine-tuned")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep_folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        kind = "sft" if args.sft else "resident" if args.resident else "streamed"
        tally = run_chaos(folder, args.kills, args.seed, kind=kind)
    print(json.dumps(tally._asdict()))
    sys.exit(bool(tally.differences))


if __name__ == "__main__":
    main()
