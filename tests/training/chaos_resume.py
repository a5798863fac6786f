# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kill a run with SIGKILL at random moments; it must end with the same bits.

    python tests/training/chaos_resume.py --kills 20 [--seed 0] [--keep-folder D]

Every other kill waits for the middle of a save, every fourth comes at the start.
Compares the last checkpoint of the killed run with that of a run that was never killed
(every array, the key, the counters), and their metrics apart from time. Prints a tally;
exit 1 on a difference.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lrm_jax.storage.logs import read_log
from lrm_jax.storage.paths import PathLike, to_read
from lrm_jax.training import manifest, trees
from lrm_jax.training.checkpoint import list_steps
from lrm_jax.training.files import as_path

ROOT = Path(__file__).resolve().parents[2]
TOY = Path(__file__).with_name("toy.py")
CLOCK = ("time_s", "perf/")  # what may differ


class Tally(NamedTuple):
    """What happened.

    Attributes:
      kills: processes killed.
      in_save: kills that left a half-written checkpoint.
      differences: what is not equal at the end; empty is right.
    """

    kills: int
    in_save: int
    differences: list[str]


def start(run_dir: PathLike, steps: int, *options: str) -> subprocess.Popen[str]:
    """Start the toy recipe; returns when it is about to take its first step."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, str(TOY), str(run_dir), f"--steps={steps}", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    if line.strip() != "ready":
        raise RuntimeError(f"the run did not start: {child.communicate()[1]}")
    return child


def half_written(run_dir: Path) -> set[int]:
    """Inodes of the checkpoints that were begun and not ended."""
    found = set()
    for path in (run_dir / "checkpoints").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError):
            if not (path / manifest.NAME).exists():
                found.add(path.stat().st_ino)
    return found


def kill(child: subprocess.Popen[str], run_dir: Path, when: str, wait_s: float) -> bool:
    """Kill at some moment; True if a save was cut off.

    Args:
      child: waits to take its first step.
      run_dir: its folder.
      when: "start" (restoring, compiling, first steps), "steps" or "save".
      wait_s: a while, from the start or from the first step.
    """
    assert child.stdout is not None
    before = half_written(run_dir)
    if when != "start":
        child.stdout.readline()  # "running"
    time.sleep(wait_s)
    while when == "save" and child.poll() is None:
        if half_written(run_dir) - before:
            break
        time.sleep(0.0005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return bool(half_written(run_dir) - before)


def last_arrays(run_dir: PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Every array of the newest checkpoint, and its counters."""
    folder = as_path(run_dir) / "checkpoints"
    path = folder / str(list_steps(folder)[-1].step)
    assert manifest.problems(path) == []
    names = [tuple(name.split("/")) for name in manifest.read(path)["leaves"]]
    arrays = trees.read_arrays(path, dict.fromkeys(names))
    extra = manifest.read_extra(path)
    counters = {name: value for name, value in extra.items() if name != "time_s"}
    counters["last"] = without_clock(counters["last"])
    return {"/".join(n): np.asarray(x) for n, x in arrays.items()}, counters


def without_clock(record: dict[str, Any]) -> dict[str, Any]:
    """A record's reproducible part."""
    return {k: v for k, v in record.items() if not k.startswith(CLOCK)}


def records(run_dir: PathLike) -> list[dict[str, Any]]:
    """The reproducible part of `metrics.jsonl`."""
    lines = (read_log(to_read(run_dir) / "metrics.jsonl") or b"").splitlines()
    return [without_clock(json.loads(line)) for line in lines]


def compare(killed: PathLike, whole: PathLike) -> list[str]:
    """Name everything in which two runs differ."""
    (one, counters_one), (two, counters_two) = last_arrays(killed), last_arrays(whole)
    found = (
        [f"array names: {one.keys() ^ two.keys()}"] if one.keys() != two.keys() else []
    )
    found += [
        name
        for name in one.keys() & two.keys()
        if one[name].dtype != two[name].dtype
        or one[name].tobytes() != two[name].tobytes()
    ]
    if counters_one != counters_two:
        found.append(f"counters: {counters_one} is not {counters_two}")
    if records(killed) != records(whole):
        found.append("metrics.jsonl")
    return found


def run_chaos(folder: Path, kills: int, seed: int, steps_per_kill: int = 60) -> Tally:
    """Kill one run `kills` times and compare it with one never killed."""
    rng, steps = random.Random(seed), kills * steps_per_kill
    killed, whole = folder / "killed", folder / "whole"
    child = start(whole, steps)
    _, errors = child.communicate()
    assert child.returncode == 0, errors
    in_save = 0
    for number in range(kills):
        child = start(killed, steps)
        when = ("steps", "save", "start", "save")[number % 4]
        cut = kill(child, killed, when, rng.uniform(0, 1.0))
        in_save += cut
        where = [i.step for i in list_steps(killed / "checkpoints") if i.complete]
        print(f"kill {number + 1} ({when}): saved {where}, cut off a save: {cut}")
    child = start(killed, steps)
    _, errors = child.communicate()
    assert child.returncode == 0, errors
    return Tally(kills, in_save, compare(killed, whole))


def main() -> None:
    """Run it and print the tally."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-folder", type=Path)
    args = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep_folder or Path(temporary)
        tally = run_chaos(folder, args.kills, args.seed)
    print(json.dumps(tally._asdict()))
    sys.exit(bool(tally.differences))


if __name__ == "__main__":
    main()
