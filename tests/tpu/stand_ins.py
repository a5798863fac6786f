# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for gcloud, kubectl and SLURM: they record their calls and answer.

Every call is one JSON line: the program's name, its words, and what it read
where `--filename=-` is among them. What a script must not touch is not there.
"""

import json
import subprocess
import sys
from pathlib import Path

TPU = Path(__file__).resolve().parent.parent.parent / "tpu"
PROGRAMS = ("gcloud", "kubectl", "sbatch", "srun", "scontrol")
SETTINGS = {
    "TPU_PROJECT": "my-project",
    "TPU_ZONE": "us-west4-a",
    "TPU_NAME": "lrm",
    "TPU_ACCELERATOR": "v5litepod-16",
    "TPU_RUN_DIR": "gs://my-bucket/runs/first",
    "GKE_IMAGE": "us-docker.pkg.dev/my-project/lrm/lrm-jax:0.1",
    "GKE_SERVICE_ACCOUNT": "trainer",
}
_STAND_IN = """#!{python} -SE
import json, os, sys
folder = os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0])))
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
read = sys.stdin.read() if "--filename=-" in words else None
with open(folder + "/calls.jsonl", "a+") as file:
    file.write(json.dumps([words, read]) + "\\n")
    file.flush()
    file.seek(0)
    past = [" ".join(json.loads(line)[0]) for line in file]
for text, outputs, code in json.load(open(folder + "/replies.json")):
    if text in past[-1]:
        turn = min(sum(text in line for line in past), len(outputs)) - 1
        sys.stdout.write(outputs[turn])
        sys.exit(code)
"""


class Cloud:
    """The scripts of tpu/, run against the stand-ins."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.home = folder / "home"
        self.path = f"{folder / 'bin'}:/usr/bin:/bin"
        self.settings = dict(SETTINGS)
        self._replies: list = []
        (folder / "bin").mkdir()
        self.home.mkdir()
        for name in PROGRAMS:
            program = folder / "bin" / name
            program.write_text(_STAND_IN.format(python=sys.executable))
            program.chmod(0o755)
        self._save()

    def _save(self):
        (self.folder / "replies.json").write_text(json.dumps(self._replies))

    def reply(self, text: str, *outputs: str, code: int = 0):
        """What a call with this text in it prints: each in turn, then the last."""
        self._replies.insert(0, (text, outputs or ("",), code))
        self._save()

    def run(self, script: str, *words: str, **env: str) -> subprocess.CompletedProcess:
        return self.bash([str(TPU / script), *words], **env)

    def bash(self, words: list[str], **env: str) -> subprocess.CompletedProcess:
        base = {"PATH": self.path, "HOME": str(self.home), "LANG": "C.UTF-8"}
        quiet = {"TPU_ENV_FILE": "", "TPU_POLL_S": "0"}
        return subprocess.run(
            ["bash", *words],
            env={**base, **quiet, **self.settings, **env},
            cwd=self.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def ok(self, script: str, *words: str, **env: str) -> str:
        done = self.run(script, *words, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, script: str, *words: str, **env: str) -> str:
        """The one line of a wrong input; nothing was called."""
        done = self.run(script, *words, **env)
        assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
        assert self.calls() == []
        return done.stderr.strip()

    def _lines(self) -> list:
        file = self.folder / "calls.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text().splitlines()]

    def calls(self) -> list[list[str]]:
        return [words for words, _ in self._lines()]

    def inputs(self) -> list[str]:
        return [read for _, read in self._lines() if read is not None]

    def forget(self):
        (self.folder / "calls.jsonl").unlink(missing_ok=True)

    def files(self) -> list[str]:
        return sorted(str(path) for path in self.home.rglob("*"))

    def dry_run_says_the_same(self, script: str, *words: str, verb: bool = False):
        """The dry run calls and changes nothing; a shell that reads it calls the same.

        With `verb`, the first word names what to do and --dry-run follows it.
        """
        self.forget()
        before = self.files()
        first, rest = words[: int(verb)], words[int(verb) :]
        shown = self.ok(script, *first, "--dry-run", *rest)
        assert self.calls() == [] and self.files() == before
        self.ok(script, *words)
        real = self._lines()
        assert real
        self.forget()
        read_back = self.bash(["-c", shown])
        assert read_back.returncode == 0, read_back.stderr
        assert self._lines() == real
