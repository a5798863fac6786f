# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""End `lrm train` in every way, go on with other devices and processes, and compare.

    python -m tests.recipes.chaos_layouts --kills 50 [--seed 0]

Every start draws a layout (processes x devices) and an end: SIGKILL of all, SIGKILL
of one training process, SIGTERM, or a full disk (a limit on the size of files that
comes into force while it runs). A start must go on from the newest whole checkpoint;
where it repeats steps that were logged before, the losses must be equal bit by bit in
the same layout, and within 1e-5 in another one. Prints a tally; exit 1 on a failure.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from lrm_jax.training.checkpoint import list_steps
from tests.recipes import process_runs as runs
from tests.training.chaos_resume import half_written, records

LAYOUTS = ((1, 1), (1, 8), (2, 4), (1, 2), (2, 2), (1, 4))
ENDS = ("kill", "term", "kill", "disk", "kill one")
WORDS = ("train.total_steps=100000", "checkpoint.every_steps=5")
RELATIVE = 1e-5
TIMEOUT_S = 300


class Tally(NamedTuple):
    """What happened.

    Attributes:
      ends: starts ended, by how.
      layouts: starts by layout.
      in_save: ends that left a half-written checkpoint.
      moved: starts in another layout than the one before.
      repeated: losses that were compared bit by bit, and within 1e-5.
      lost: starts that did not go on from the newest whole checkpoint.
      wrong: repeated losses that differ.
    """

    ends: dict[str, int]
    layouts: dict[str, int]
    in_save: int
    moved: int
    repeated: tuple[int, int]
    lost: list[str]
    wrong: list[str]


def losses(run_dir: Path) -> dict[int, float]:
    """Return the losses logged by step."""
    if not (run_dir / "metrics.jsonl").exists():
        return {}
    found = records(run_dir)
    return {r["step"]: r["loss/total"] for r in found if "loss/total" in r}


def newest(run_dir: Path) -> int:
    """Return the step of the newest whole checkpoint, 0 for none."""
    done = [i.step for i in list_steps(run_dir / "checkpoints") if i.complete]
    return done[-1] if done else 0


def wait_for_steps(
    run_dir: Path, child: subprocess.Popen[str], began: float, step: int
) -> None:
    """Wait until a start has itself logged a step after `step`."""
    metrics = run_dir / "metrics.jsonl"
    while child.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if (
                metrics.stat().st_mtime > began
                and max(losses(run_dir), default=0) > step
            ):
                return
        time.sleep(0.01)
    raise RuntimeError(runs.log_of(run_dir, 0).read_text())


def wait_for_a_save(run_dir: Path, child: subprocess.Popen[str]) -> bool:
    """Wait until a save has begun; return whether it still goes on."""
    before = half_written(run_dir)
    while child.poll() is None:
        if half_written(run_dir) - before:
            return True
        time.sleep(0.0005)
    return False


def training_processes(children: list[subprocess.Popen[str]]) -> list[int]:
    """Return the ids of the processes that train."""
    if len(children) == 1:
        return [children[0].pid]
    return [runs.training_process(child) for child in children]


def end(
    run_dir: Path, children: list[subprocess.Popen[str]], how: str, rng: random.Random
) -> None:
    """End a run in one way and wait until all of it has ended."""
    training, metrics = training_processes(children), run_dir / "metrics.jsonl"
    if how == "term":
        rng.choice(children).send_signal(signal.SIGTERM)
    elif how == "disk":
        for process in training:
            limits = (metrics.stat().st_size, resource.RLIM_INFINITY)
            resource.prlimit(process, resource.RLIMIT_FSIZE, limits)
    elif how == "kill one":
        os.kill(rng.choice(training), signal.SIGKILL)
    else:
        for child in children:
            child.kill()
        for process in training:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    runs.wait(children, TIMEOUT_S)


def expected_codes(how: str, processes: int) -> set[int]:
    """Return the exit codes that an end may have."""
    if how == "term":
        return {143}
    if how == "disk":
        return {2}
    if how == "kill one" and processes > 1:
        return {137}
    return {-signal.SIGKILL}


def run_chaos(folder: Path, kills: int, seed: int) -> Tally:
    """End one run `kills` times, each time going on in a layout of its own."""
    rng, run_dir = random.Random(seed), folder / "run"
    ends: collections.Counter[str] = collections.Counter()
    layouts: collections.Counter[str] = collections.Counter()
    in_save, moved, exact, near = 0, 0, 0, 0
    lost: list[str] = []
    wrong: list[str] = []
    before: tuple[int, int] | None = None
    for number in range(kills):
        layout = before if before and rng.random() < 0.4 else rng.choice(LAYOUTS)
        how = ENDS[number % len(ENDS)]
        known, saved = losses(run_dir), newest(run_dir)
        began = time.time()
        for rank in (0, 1):  # what they say must be smaller than the full disk
            runs.log_of(run_dir, rank).unlink(missing_ok=True)
        children = runs.start(run_dir, *layout, *WORDS)
        wait_for_steps(run_dir, children[0], began, saved + rng.randint(1, 12))
        if how == "kill":
            wait_for_a_save(run_dir, children[0])
        else:
            time.sleep(rng.uniform(0, 0.5))
        cut = half_written(run_dir)
        end(run_dir, children, how, rng)
        in_save += bool(cut and half_written(run_dir) & cut)
        codes = {child.returncode for child in children}
        name = f"start {number + 1} ({layout[0]}x{layout[1]}, {how})"
        if not codes <= expected_codes(how, layout[0]):
            lost.append(f"{name}: exit codes {sorted(codes)}")
        now = losses(run_dir)
        if newest(run_dir) < saved or not all(step in now for step in range(1, saved)):
            lost.append(f"{name}: had step {saved}, has {newest(run_dir)}")
        repeated = [s for s in sorted(now) if s > saved and s in known]
        same = layout == before
        for step in repeated if same else repeated[:3]:
            gap = abs(now[step] - known[step])
            if gap > (0 if same else RELATIVE * abs(known[step])):
                wrong.append(f"{name}: step {step}: {now[step]} is not {known[step]}")
        exact += len(repeated) if same else 0
        near += 0 if same else len(repeated[:3])
        moved += before is not None and not same
        ends[how] += 1
        layouts[f"{layout[0]}x{layout[1]}"] += 1
        before = layout
        print(f"{name}: from {saved}, saved {newest(run_dir)}, {len(repeated)} again")
        sys.stdout.flush()
    repeated_all = (exact, near)
    return Tally(dict(ends), dict(layouts), in_save, moved, repeated_all, lost, wrong)


def main() -> None:
    """Run it and print the tally."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = run_chaos(Path(folder), args.kills, args.seed)
    print(json.dumps(tally._asdict()))
    sys.exit(bool(tally.lost or tally.wrong))


if __name__ == "__main__":
    main()
