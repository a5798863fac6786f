# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every script: strict, parsed by bash, clean for ShellCheck, with a --help."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tpu.stand_ins import SETTINGS, TPU, Cloud

FILES = sorted(TPU.glob("*.sh"))
SCRIPTS = [path for path in FILES if path.name != "lib.sh"]


def shellcheck() -> str:
    beside = Path(sys.executable).parent / "shellcheck"
    found = str(beside) if beside.exists() else shutil.which("shellcheck")
    if not found:
        pytest.skip('shellcheck is not here (pip install -e ".[dev]")')
    return found


def test_shellcheck_is_clean():
    command = [shellcheck(), "-x", "-P", str(TPU.parent), *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_bash_parses_all():
    for path in FILES:
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_each_script_is_strict_and_explains_itself(cloud: Cloud, path: Path):
    text = path.read_text()
    assert text.startswith("#!/usr/bin/env bash\n") and os.access(path, os.X_OK)
    assert "\nset -euo pipefail\n" in text and "eval " not in text
    for env in ({}, {"TPU_PROJECT": "Bad", "TPU_NAME": ""}):
        out = cloud.ok(path.name, "--help", **env)
        assert out.startswith((f"tpu/{path.name}", f"{path.name} "))
        assert "--dry-run" in out and "Copyright" not in out
    assert cloud.calls() == []


def test_unknown_words_are_refused(cloud: Cloud):
    for path in SCRIPTS:
        if path.name != "slurm_job.sh":  # it runs whatever it is given
            cloud.refused(path.name, "--what")


def test_an_old_bash_is_told_so(cloud: Cloud):
    check = (TPU / "lib.sh").read_text().split("set -euo pipefail")[0]
    text = re.sub(r"BASH_VERSINFO\[(\d)\]", r"OLD[\1]", check)
    done = cloud.bash(["-c", f"OLD=(3 2)\n{text}"])
    assert done.returncode == 2 and "4.4 or newer" in done.stderr


@pytest.mark.slow
def test_gcloud_knows_every_flag(cloud: Cloud):
    """gcloud's own parser, which reads a command without running it."""
    if not (gcloud := shutil.which("gcloud")):
        pytest.skip("gcloud is not here")
    lines = []
    for env in ({}, {"TPU_SLICES": "2", "TPU_SERVICE_ACCOUNT": ""}):
        for words in (
            ["create.sh", "--spot"],
            ["create.sh", "--reserved"],
            ["setup.sh"],
            ["run.sh", "--", "lrm", "doctor"],
            ["logs.sh"],
            ["status.sh", "--workers"],
            ["delete.sh", "lrm"],
        ):
            shown = cloud.ok(words[0], "--dry-run", *words[1:], **env)
            lines += [x for x in shown.splitlines() if x.startswith("gcloud ")]
    file = cloud.folder / "commands.json"
    file.write_text(json.dumps([{"command_string": x} for x in sorted(set(lines))]))
    done = subprocess.run(
        [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={file}"],
        env={**os.environ, "CLOUDSDK_CONFIG": str(cloud.home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(set(lines)) > 9
    bad = [x["error_message"] for x in found if not x["success"]]
    assert not bad, bad


def test_the_image_copies_what_the_package_needs():
    """Each path of the Dockerfile is there, and kept by its ignore file."""
    text = (TPU / "Dockerfile").read_text()
    kept = (TPU / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [shlex.split(x)[1:-1] for x in text.splitlines() if x.startswith("COPY")]
    names = [name for line in copied for name in line]
    assert {"pyproject.toml", "README.md", "LICENSE", "lrm_jax"} <= set(names)
    for name in names:
        assert (TPU.parent / name).exists() and f"!{name}" in kept
    assert kept[0] == "*"


def test_the_readme_has_the_commands_of_the_folder():
    readme = (TPU.parent / "README.md").read_text()
    docs = (TPU.parent / "docs" / "tpu.md").read_text()
    for name in re.findall(r"tpu/([\w.]+\.(?:sh|yaml|tsv|example))", readme + docs):
        assert (TPU / name).exists(), name
    for path in SCRIPTS:
        assert path.name in docs, path.name
    for name in SETTINGS:
        assert name in docs, name
