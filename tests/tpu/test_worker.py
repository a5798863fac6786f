# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs on a worker: one job at a time, resumed by the same words."""

import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.tpu.stand_ins import Cloud

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("flock", "setsid", "ps"))),
    reason="flock, setsid or ps is not here (util-linux, procps)",
)
# A trainer that resumes: counts its starts, saves at SIGTERM, ends when told to.
TRAINER = """
trap 'echo saved; exit 143' TERM
echo "start $(($(cat starts 2>/dev/null || echo 0) + 1)) $1 NOTE=$NOTE"
echo $(($(cat starts 2>/dev/null || echo 0) + 1)) >starts
echo $$ >trainer.pid
for _ in $(seq 1200); do
  if [ -e code ]; then code=$(cat code); rm -f code; exit "$code"; fi
  sleep 0.05
done
"""


def until(happened, what: str):
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Worker:
    def __init__(self, cloud: Cloud):
        self.cloud = cloud
        self.base = cloud.home / "lrm-jax"
        self.src = self.base / "src"
        self.src.mkdir(parents=True)
        self.trainer = cloud.folder / "trainer.sh"
        self.trainer.write_text(TRAINER)
        # As set by tpu/run.sh: words with spaces, an environment.
        self.words = ["--env", "NOTE=two words", "--"]
        self.words += ["bash", str(self.trainer), "a b"]

    def run(self, *words: str) -> subprocess.CompletedProcess:
        quick = {"LRM_WORKER_PAUSE_S": "0", "LRM_WORKER_STOP_S": "10"}
        return self.cloud.run("worker.sh", *words, **quick)

    def log(self) -> str:
        file = self.base / "job" / "log"
        return file.read_text() if file.exists() else ""

    def saw(self, text: str, times: int = 1):
        until(lambda: self.log().count(text) >= times, f"{text!r} in:\n{self.log()}")

    def ended(self):
        until(lambda: "ended with code" in self.run("status").stdout, "its end")


@pytest.fixture
def worker(cloud: Cloud):
    worker = Worker(cloud)
    yield worker
    worker.run("stop")
    for name in ("trainer.pid",):
        file = worker.src / name
        if file.exists():
            try:
                os.kill(int(file.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass


def test_the_same_command_again(worker: Worker):
    """Left alone while it runs, resumed once it has ended; another is refused."""
    first = worker.run("start", *worker.words)
    assert first.returncode == 0 and "started" in first.stdout, first.stderr
    worker.saw("start 1 a b NOTE=two words")
    again = worker.run("start", *worker.words)
    assert again.returncode == 0 and "runs already" in again.stdout
    other = worker.run("start", "--", "echo", "x")
    assert other.returncode == 2 and "another job runs" in other.stderr
    assert "running since" in worker.run("status").stdout
    (worker.src / "code").write_text("1")
    worker.saw("ended with code 1")
    worker.ended()
    until(lambda: "started" in worker.run("start", *worker.words).stdout, "its lock")
    worker.saw("start 2 a b")


def test_stop_saves(worker: Worker):
    worker.run("start", "--restarts", "5", *worker.words)
    worker.saw("start 1")
    done = worker.run("stop")
    assert done.returncode == 0 and "ended with code 143" in done.stdout, done.stderr
    assert "saved" in worker.log() and "start 2" not in worker.log()
    assert "no job runs" in worker.run("stop").stdout  # twice is fine


def test_it_starts_again_after_any_code_but_0_and_2(worker: Worker):
    worker.run("start", "--restarts", "5", *worker.words)
    for number, code in enumerate(("1", "139", "2"), start=1):
        worker.saw(f"start {number} ")
        (worker.src / "code").write_text(code)
        worker.saw(f"ended with code {code}")
    worker.ended()
    assert "start 4" not in worker.log()


def test_a_killed_supervisor_does_not_make_two_of_it(worker: Worker):
    worker.run("start", *worker.words)
    worker.saw("start 1")
    pid = int((worker.base / "job" / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    assert "runs already" in worker.run("start", *worker.words).stdout
    os.kill(int((worker.src / "trainer.pid").read_text()), signal.SIGKILL)
    until(lambda: "gone, was" in worker.run("status").stdout, "a status that says so")
    assert "started" in worker.run("start", *worker.words).stdout
    worker.saw("start 2")
    os.kill(int((worker.base / "job" / "pid").read_text()), signal.SIGKILL)
    done = worker.run("stop")  # reaches the command without its supervisor
    assert done.returncode == 0, done.stderr
    worker.saw("saved")


def test_log_follows_to_the_end(worker: Worker):
    assert worker.run("log").returncode == 1
    worker.run("start", *worker.words)
    worker.saw("start 1")
    (worker.src / "code").write_text("0")
    done = worker.run("log", "--lines", "50", "--follow")
    assert "ended with code 0" in done.stdout


def test_install_once_a_commit(cloud: Cloud):
    """From the archive that tpu/setup.sh sends; again with the same it does nothing."""
    packed = cloud.folder / "lrm-jax"
    packed.mkdir()
    (packed / "pyproject.toml").write_text("x")
    with tarfile.open(cloud.home / "a.tar.gz", "w:gz") as archive:
        archive.add(packed, "lrm-jax")
    source = (cloud.folder / "bin" / "gcloud").read_text()
    uv = cloud.home / ".local" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    # The stand-ins answer from the folder above their own.
    for path in (uv, cloud.folder / "bin" / "python3"):
        path.write_text(source)
        path.chmod(0o755)
    (cloud.home / ".local" / "replies.json").write_text("[]")
    shown = cloud.ok("worker.sh", "--dry-run", "install", "a.tar.gz", "tpu,gcs")
    base = cloud.home / "lrm-jax"
    assert not base.exists() and cloud.calls() == []
    cloud.ok("worker.sh", "install", "a.tar.gz", "tpu,gcs")
    assert (base / "src" / "pyproject.toml").read_text() == "x"
    pip = ["python3", "-m", "pip", "install", "--user", "--quiet", "--upgrade", "uv"]
    assert cloud.calls() == [pip]
    assert " ".join(pip) in shown
    calls = (uv.parent.parent / "calls.jsonl").read_text()
    assert f'"-e", "{base}/src[tpu,gcs]"' in calls and calls.count("\n") == 2
    assert "is installed" in cloud.ok("worker.sh", "install", "a.tar.gz", "tpu,gcs")
    assert len(cloud.calls()) == 1


def test_bad_words_are_one_line(cloud: Cloud):
    lines = [[], ["fly"], ["start"], ["start", "--"], ["start", "-x"], ["install", "a"]]
    for line in lines:
        cloud.refused("worker.sh", *line)
    assert not Path(cloud.home / "lrm-jax").exists()
