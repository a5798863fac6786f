# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the README shows works: snippets run, commands parse, links lead somewhere.

A comment before a fenced block says what to do with it: `<!-- test: run -->`
runs it after the ones before, in one folder; `<!-- test: run slow -->` does so
in the nightly run. Every `lrm` line of the other blocks must parse. The folder has a
`Qwen3-0.6B`: that family's layout at a tiny size.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from lrm_jax.cli import main as cli
from lrm_jax.interop.hf import hf_tensors
from lrm_jax.interop.hf_export import hf_config
from lrm_jax.interop.hf_files import write_shards
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from tests.data import hf_folders
from tests.data.test_chat import TURNS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "experiments" / "README.md"]
_BLOCK = re.compile(
    r"(?:<!-- test: (?P<mark>[\w ]+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.S
)
BLOCKS = [match.groupdict() for match in _BLOCK.finditer(PAGES[0].read_text())]
RUN = [block for block in BLOCKS if block["mark"]]


def _lrm_lines() -> list[str]:
    blocks = "\n".join(block["text"] for block in BLOCKS if block["kind"] == "bash")
    indented = re.findall(r"^    (.*)", PAGES[1].read_text(), re.M)
    lines = [*blocks.replace("\\\n", " ").splitlines(), *indented]
    commands = [part.strip() for line in lines for part in line.split("&&")]
    return sorted({c for c in commands if c.startswith("lrm ")})


def _tiny_qwen3(folder: Path) -> None:
    cfg = PolicyConfig(
        vocab_size=400, d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, d_head=8,
        d_ff=16, qk_norm=True, max_seq_len=128,
    )  # fmt: skip
    hf_folders.byte_level(folder, chat_template=TURNS)
    tensors = hf_tensors(cfg, token_policy(cfg).init(jax.random.key(0)), "BF16")
    write_shards(folder, tensors, 10**6, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(hf_config(cfg, None, "bfloat16")))


def _run(block: dict, folder: Path) -> None:
    # A reader waits for a trained model; here it is the lines that are tested.
    text = re.sub(r"(train\.total_steps)=\d+", r"\1=20", block["text"])
    if block["kind"] == "python":
        command = [sys.executable, "-c", text]
    else:
        command = ["bash", "-euo", "pipefail", "-c", text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.notebook
def test_snippets_run_in_order(tmp_path: Path):
    _tiny_qwen3(tmp_path / "Qwen3-0.6B")
    for block in RUN:
        if "slow" not in block["mark"]:
            _run(block, tmp_path)


@pytest.mark.slow
def test_long_snippets_run_in_order(tmp_path: Path):
    _tiny_qwen3(tmp_path / "Qwen3-0.6B")
    for block in RUN:
        _run(block, tmp_path)


def test_there_is_a_snippet_of_python_and_of_bash():
    assert {block["kind"] for block in RUN} == {"python", "bash"}


@pytest.mark.parametrize("line", _lrm_lines())
def test_commands_parse(line: str):
    words = shlex.split(line, comments=True)[1:]
    try:
        cli.parse(words)
    except SystemExit as stop:  # --help, --version
        assert stop.code == 0, line


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.parent.name + "/" + p.name)
def test_links_and_paths_exist(page: Path):
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing, missing


def test_figures_say_where_they_were_measured():
    text = PAGES[0].read_text()
    assert "docs/measurements.md" in text
    assert not re.search(r"(?<![\w.])/(?:home|root|Users|tmp)/\w", text)
