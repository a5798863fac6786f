# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notebooks keep their form, and run from top to bottom at smoke scale."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_LINES_MAX = 15
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def _load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _code(notebook: dict) -> list[str]:
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


@each
def test_cells_are_short_and_introduced(path: Path):
    cells = _load(path)["cells"]
    for before, cell in zip([None, *cells], cells, strict=False):
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        assert len(source.splitlines()) <= CELL_LINES_MAX, source
        assert before and before["cell_type"] == "markdown", f"no sentence: {source}"


@each
def test_it_is_stripped_and_defaults_to_smoke_scale(path: Path):
    notebook = _load(path)
    code = _code(notebook)
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    assert not any(cell.get("execution_count") for cell in notebook["cells"])
    assert any('SCALE = "smoke"' in source for source in code)
    assert any("pip install" in source for source in code[:1]), "no install cell"
    assert "colab" in "".join(notebook["cells"][0]["source"]), "no badge"


@each
def test_it_defines_no_algorithm(path: Path):
    for source in _code(_load(path)):
        assert "\ndef " not in f"\n{source}" and "\nclass " not in f"\n{source}"


@pytest.mark.notebook
@each
def test_it_runs(path: Path, tmp_path: Path):
    pytest.importorskip("nbconvert", reason="nbconvert is in the dev extra")
    pytest.importorskip("ipykernel", reason="ipykernel is in the dev extra")
    notebook = _load(path)
    first = next(c for c in notebook["cells"] if c["cell_type"] == "code")
    # The package under test is installed already: the install cell is not run.
    notebook["cells"].remove(first)
    copy = tmp_path / path.name
    copy.write_text(json.dumps(notebook), encoding="utf-8")
    command = "nbconvert --to notebook --execute --output done.ipynb"
    subprocess.run(
        [sys.executable, "-m", *command.split(), str(copy)], check=True, cwd=tmp_path
    )
    assert (tmp_path / "done.ipynb").exists()
