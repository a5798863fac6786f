# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""End `lrm train` in every way, go on with other devices and processes, and compare.

    python -m tests.recipes.chaos_layouts --kills 50 [--seed 0]

Every start draws a layout (processes x devices, weights split or not) and an end:
SIGKILL of all at the start, at any moment or in a save, SIGKILL of one training
process, SIGTERM, a full disk (filled for real where a small one may be mounted, else
a limit on the size of files). Each must go on from the newest whole checkpoint and
leave every record up to it as it was. What the checkpoint holds is restored here on
another mesh, where values must be equal to the bit, and replayed: the run's next
losses must be within 1e-5 of that. Steps that the same layout took before from the
same checkpoint must have the same bits. Prints a tally; exit 1 on a failure.
"""

import argparse
import collections
import contextlib
import dataclasses
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

import jax

from lrm_jax.training.checkpoint import list_steps, verify
from tests.recipes import process_runs as runs
from tests.recipes.chaos_replay import Replay, unlike
from tests.training import disks
from tests.training.chaos_resume import half_written

WORDS = ("checkpoint.every_steps=5", "checkpoint.every_s=0")
ENDLESS = "train.total_steps=100000"
RELATIVE = 1e-5
TIMEOUT_S = 300


class Layout(NamedTuple):
    """Processes, devices of each, and devices over which weights are split."""

    processes: int
    devices: int
    fsdp: int = 1

    def __str__(self) -> str:
        """Return `2x2`, or `2x2/4` where weights are split over four devices."""
        split = f"/{self.fsdp}" if self.fsdp > 1 else ""
        return f"{self.processes}x{self.devices}{split}"


LAYOUTS = (
    *(Layout(1, 1), Layout(1, 8), Layout(1, 4, 4), Layout(1, 2)),
    *(Layout(2, 1), Layout(2, 2, 4)),
)
ENDS = ("kill in a save", "term", "kill", "disk", "kill one", "kill at the start")


@dataclasses.dataclass
class Tally:
    """What happened.

    Attributes:
      ends: starts ended, by how.
      layouts: starts by layout.
      moved: starts in another layout than the one before.
      in_save: ends that left a half-written checkpoint.
      restored: checkpoints restored on another mesh with equal values.
      replayed: losses within 1e-5 of the replay on another mesh.
      repeated: losses equal to the bit to those of the same layout before.
      lost: starts that did not go on from the newest whole checkpoint.
      wrong: values and losses that differ.
    """

    ends: collections.Counter[str]
    layouts: collections.Counter[str]
    moved: int = 0
    in_save: int = 0
    restored: int = 0
    replayed: int = 0
    repeated: int = 0
    lost: list[str] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)


class Found(NamedTuple):
    """A run folder between two starts: newest whole step, records by step, the cut."""

    saved: int
    lines: dict[int, str]
    cut: set[int]


def look(run_dir: Path) -> Found:
    """Look at a run folder in which nothing runs."""
    done = [i.step for i in list_steps(run_dir / "checkpoints") if i.complete]
    metrics, lines = run_dir / "metrics.jsonl", {}
    for line in metrics.read_text().splitlines() if metrics.exists() else ():
        with contextlib.suppress(ValueError):  # torn by a kill
            lines[json.loads(line)["step"]] = line
    return Found(done[-1] if done else 0, lines, half_written(run_dir))


def last_step(run_dir: Path, since: float) -> int:
    """Return the last step logged after a moment, -1 for none."""
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        with open(run_dir / "metrics.jsonl", "rb") as file:
            if os.fstat(file.fileno()).st_mtime > since:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                whole = file.read().rpartition(b"\n")[0]
                return json.loads(whole.splitlines()[-1])["step"]
    return -1


class Chaos:
    """One run that is ended again and again."""

    def __init__(
        self, folder: Path, seed: int, layouts: tuple[Layout, ...], disk: bool
    ) -> None:
        """Begin with an empty run folder, which may be a disk of its own."""
        self.run_dir = folder
        self.rng = random.Random(seed)
        self.layouts = layouts
        self.disk = disk
        self.replay = Replay((*runs.TINY, *WORDS, ENDLESS))
        self.tally = Tally(collections.Counter(), collections.Counter())
        self.before: Layout | None = None
        self.start_s = 5.0
        # Losses after the newest whole checkpoint, by step and layout.
        self.known: dict[tuple[int, Layout], float] = {}

    def start_and_end(self, how: str) -> None:
        """Start in some layout, end it, and see what is left."""
        stay = self.before is not None and self.rng.random() < 0.4
        layout = self.before if stay else self.rng.choice(self.layouts)
        assert layout is not None
        found, began = look(self.run_dir), time.time()
        name = f"start {self.tally.ends.total() + 1} ({layout}, {how})"
        expected = self.expect(found.saved, name)
        children = self.start(layout, ENDLESS)
        if how == "kill at the start":
            time.sleep(self.rng.uniform(0, self.start_s))
        elif not self.wait_for_steps(children, found.saved + self.rng.randint(1, 12)):
            self.tally.lost.append(f"{name} did not go on: {self.said(children)}")
            how = "kill"
        end(self.run_dir, children, how, self.rng, disk=self.disk)
        self.tally.ends[how] += 1
        self.tally.layouts[str(layout)] += 1
        self.tally.moved += self.before not in (None, layout)
        self.before = layout
        codes = {child.returncode for child in children}
        if not codes <= expected_codes(how, layout.processes):
            said = f"exit codes {sorted(codes)}: {self.said(children)}"
            self.tally.lost.append(f"{name}: {said}")
        again = self.check(name, layout, found, expected)
        print(f"{name}: from {found.saved}, {again} in {time.time() - began:.0f} s")
        sys.stdout.flush()

    def said(self, children: list[subprocess.Popen[str]]) -> list[str]:
        """Return the end of what each wrote on standard error."""
        logs = [runs.log_of(self.run_dir, rank) for rank in range(len(children))]
        return [log.read_text()[-2000:] for log in logs]

    def start(self, layout: Layout, *words: str) -> list[subprocess.Popen[str]]:
        """Start all processes of a layout."""
        for rank in (0, 1):
            runs.log_of(self.run_dir, rank).unlink(missing_ok=True)
        words = (*WORDS, *words, f"mesh.fsdp={layout.fsdp}")
        return runs.start(self.run_dir, layout.processes, layout.devices, *words)

    def wait_for_steps(self, children: list[subprocess.Popen[str]], step: int) -> bool:
        """Wait until these processes have logged a step; whether they have."""
        began, first = time.time(), True
        while (at := last_step(self.run_dir, began)) < step:
            if first and at >= 0:
                self.start_s, first = time.time() - began, False
            late = time.time() > began + TIMEOUT_S
            if late or any(child.poll() is not None for child in children):
                return False
            time.sleep(0.005)
        return True

    def expect(self, saved: int, name: str) -> dict[int, float]:
        """Restore the newest checkpoint here; return the losses that follow it."""
        checkpoints = self.run_dir / "checkpoints"
        state = self.replay.restore(checkpoints, saved)
        if saved:
            bad = unlike(checkpoints, saved, state)
            self.tally.restored += not bad
            self.tally.wrong += [f"{name}: restored {leaf} differs" for leaf in bad]
        return self.replay.losses(state, saved)

    def check(
        self, name: str, layout: Layout, before: Found, expected: dict[int, float]
    ) -> str:
        """Compare what a start left behind with what was there and what must follow."""
        now, tally = look(self.run_dir), self.tally
        tally.in_save += bool(now.cut - before.cut)
        whole = not now.saved or not verify(self.run_dir / "checkpoints", now.saved)
        if now.saved < before.saved or not whole:
            tally.lost.append(f"{name}: had step {before.saved}, has {now.saved}")
        if any(now.lines.get(s) != before.lines[s] for s in range(1, before.saved + 1)):
            tally.lost.append(f"{name}: records up to {before.saved} changed")
        fresh = {
            step: json.loads(line)["loss/total"]
            for step, line in now.lines.items()
            if step > before.saved and before.lines.get(step) != line
        }
        steps = sorted(fresh)
        if steps != [before.saved + 1 + i for i in range(len(steps))]:
            tally.lost.append(f"{name}: went on with steps {steps[:3]}")
        again = self.compare(name, layout, fresh, expected)
        if now.saved != before.saved:
            self.known = {}
        late = {(s, layout): x for s, x in fresh.items() if s > now.saved}
        self.known.update(late)
        return f"saved {now.saved}, {again} repeated"

    def compare(
        self,
        name: str,
        layout: Layout,
        fresh: dict[int, float],
        expected: dict[int, float],
    ) -> int:
        """Compare new losses; return how many the same layout had before."""
        again = 0
        for step, loss in fresh.items():
            want = self.known.get((step, layout))
            if want is not None:
                again += 1
                if loss != want:
                    self.tally.wrong.append(f"{name}: step {step}: {loss} was {want}")
            near = expected.get(step)
            if near is not None:
                self.tally.replayed += 1
                if abs(loss - near) > RELATIVE * abs(near):
                    self.tally.wrong.append(f"{name}: step {step}: {loss} not {near}")
        self.tally.repeated += again
        return again

    def finish(self) -> None:
        """Let it go on to its end, which must come as if nothing had happened."""
        total = look(self.run_dir).saved + 5
        (child,) = self.start(Layout(1, 1), f"train.total_steps={total}")
        runs.wait([child], TIMEOUT_S)
        if child.returncode or look(self.run_dir).saved != total:
            said = runs.log_of(self.run_dir, 0).read_text()
            self.tally.lost.append(f"the run did not end: {said}")


def end(
    run_dir: Path,
    children: list[subprocess.Popen[str]],
    how: str,
    rng: random.Random,
    *,
    disk: bool,
) -> None:
    """End a run in one way and wait until all of it has ended."""
    if how == "kill in a save":
        wait_for_a_save(run_dir, children[0])
    elif how != "kill at the start":
        time.sleep(rng.uniform(0, 0.5))
    if how == "term":
        rng.choice(children).send_signal(signal.SIGTERM)
    elif how == "kill one":
        os.kill(rng.choice(training_processes(children)), signal.SIGKILL)
    elif how != "disk":
        kill_all(children)
    elif disk:
        disks.fill(run_dir / "filler")
    else:
        size = (run_dir / "metrics.jsonl").stat().st_size
        for process in training_processes(children):
            limits = (size, resource.RLIM_INFINITY)
            resource.prlimit(process, resource.RLIMIT_FSIZE, limits)
    runs.wait(children, TIMEOUT_S)
    (run_dir / "filler").unlink(missing_ok=True)


def wait_for_a_save(run_dir: Path, child: subprocess.Popen[str]) -> None:
    """Wait until a save has begun."""
    before = half_written(run_dir)
    while child.poll() is None and not half_written(run_dir) - before:
        time.sleep(0.0005)


def training_processes(children: list[subprocess.Popen[str]]) -> list[int]:
    """Return the ids of the processes that train."""
    if len(children) == 1:
        return [children[0].pid]
    return [process for child in children for process in children_of(child.pid)]


def children_of(process: int) -> list[int]:
    """Return the ids of a process's children."""
    ask = ["ps", "-o", "pid=", "--ppid", str(process)]
    said = subprocess.run(ask, capture_output=True, text=True).stdout
    return [int(word) for word in said.split()]


def kill_all(children: list[subprocess.Popen[str]]) -> None:
    """Kill supervisors and what they have started, none of which outlives this."""
    for child in children:
        child.send_signal(signal.SIGSTOP)  # starts nothing more
    below = [process for child in children for process in children_of(child.pid)]
    for process in [*(child.pid for child in children), *below]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def expected_codes(how: str, processes: int) -> set[int]:
    """Return the exit codes that an end may have."""
    if how == "kill one" and processes > 1:
        return {137}
    return {"term": {143}, "disk": {2}}.get(how, {-signal.SIGKILL})


def run_chaos(
    folder: Path,
    kills: int,
    seed: int,
    layouts: tuple[Layout, ...] = LAYOUTS,
    *,
    finish: bool = True,
) -> Tally:
    """End one run `kills` times, each time going on in a layout of its own.

    Args:
      folder: an empty one.
      kills: how often.
      seed: of layouts and moments.
      layouts: to draw from.
      finish: let the run go on to its end after the last one.
    """
    run_dir = folder / "run"
    run_dir.mkdir()
    with disks.mounted(run_dir, "32m") as disk:
        chaos = Chaos(run_dir, seed, layouts, disk)
        for number in range(kills):
            chaos.start_and_end(ENDS[number % len(ENDS)])
        if finish:
            chaos.finish()
    return chaos.tally


def main() -> None:
    """Run it and print the tally."""
    # Programs that run once are compiled quickly, and kept: as in the tests.
    import tests.conftest  # noqa: F401

    jax.config.update("jax_platforms", "cpu")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = run_chaos(Path(folder), args.kills, args.seed)
    print(json.dumps(vars(tally)))
    sys.exit(bool(tally.lost or tally.wrong))


if __name__ == "__main__":
    main()
