# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports point one way (DESIGN: the rooms), and importing stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lrm_jax"
HEADER = [
    "# Copyright 2026 The LRM-JAX Authors.",
    "# SPDX-License-Identifier: Apache-2.0",
]

_BASE = {"types", "config", "processes"}
_NUMERIC = _BASE | {"masked", "losses", "logprobs", "steps", "sharding"}
_BELOW = _NUMERIC | {
    *{"cost", "data", "models", "reasoning", "prm", "search", "rl"},
    *{"storage", "training", "evaluation", "interop"},
}
_TOP = _BELOW | {"meshes", "recipes", "presets", "tooling"}
# A room (a module or folder of lrm_jax/) -> the other rooms it may import.
ALLOWED: dict[str, set[str]] = {
    "types": set(),
    "config": {"types"},
    "processes": set(),
    "storage": {"types"},
    "masked": _BASE,
    "steps": _BASE,
    "sharding": _BASE,
    "meshes": _BASE | {"sharding"},
    "losses": _BASE | {"masked"},
    "logprobs": {"types"},
    "cost": _BASE | {"sharding"},
    "data": _BASE | {"steps"},
    "models": _BASE | {"masked", "sharding"},
    "reasoning": _NUMERIC,
    "prm": _NUMERIC,
    "search": _NUMERIC | {"reasoning", "prm"},
    "rl": _NUMERIC | {"reasoning", "prm"},
    "training": _BASE | {"masked", "sharding", "cost", "storage"},
    "evaluation": _BASE
    | {"masked", "data", "reasoning", "search", "prm", "cost", "storage"},
    "interop": _BASE | {"models"},
    "recipes": _TOP,
    "presets": _TOP,
    "tooling": _TOP,
    "cli": _TOP | {"__init__"},
    "__init__": _TOP,
}


def _sources(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported, nested imports too."""
    module = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(module[: -node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                yield node.lineno, ".".join([*base, alias.name])


def _room(name: str) -> str | None:
    """The room of a dotted name, None where the name is not ours."""
    parts = name.split(".")
    if parts[0] != "lrm_jax" or name == "lrm_jax.__version__":
        return None
    if len(parts) == 1 or not _is_module(parts[1]):
        return "__init__"
    return parts[1]


def _is_module(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()


def test_every_room_is_in_the_table():
    found = {p.stem for p in PACKAGE.glob("*.py")}
    found |= {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert found <= set(ALLOWED), "a new room needs a line in ALLOWED"


def test_the_table_has_no_cycle():
    waiting = {room: ALLOWED[room] for room in _BELOW}
    while waiting:
        free = {room for room, needs in waiting.items() if not needs & set(waiting)}
        assert free, f"these rooms import each other: {sorted(waiting)}"
        waiting = {k: v for k, v in waiting.items() if k not in free}


@pytest.mark.parametrize("path", _sources("lrm_jax"), ids=lambda p: p.stem)
def test_imports_point_down(path: Path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    room = parts[0]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in _imports(path)
        if (target := _room(name)) not in (None, room) and target not in ALLOWED[room]
    ]
    assert not wrong, "\n".join(wrong)


# The templates of a user's own code: a block of theirs is a Linen module.
LINEN = {("lrm_jax", "models"), ("experiments", "extending")}


def test_only_models_imports_linen():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in _sources("lrm_jax", "experiments")
        for line, name in _imports(path)
        if name.startswith(("flax.linen", "flax.nnx"))
        and path.relative_to(ROOT).parts[:2] not in LINEN
    ]
    assert not wrong, wrong


def test_nothing_imports_cli_or_experiments():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in _sources("lrm_jax")
        for line, name in _imports(path)
        if name.split(".")[0] in {"experiments", "notebooks", "tests"}
        or (name.startswith("lrm_jax.cli") and path.parent.name != "cli")
    ]
    assert not wrong, wrong


def test_every_file_has_the_header():
    wrong = [
        str(path.relative_to(ROOT))
        for path in _sources("lrm_jax", "tests", "experiments", "tpu")
        if path.read_text(encoding="utf-8").splitlines()[:2] != HEADER
    ]
    assert not wrong, wrong


_IMPORT_TIMER = """
import time
import jax, jax.numpy
start = time.process_time()
import lrm_jax
print(time.process_time() - start)
"""


def test_import_is_light():
    # Processor time, the best of three: other load on the machine adds none.
    times_s = [
        float(
            subprocess.run(
                [sys.executable, "-c", _IMPORT_TIMER],
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(times_s) < 2.0, f"import lrm_jax takes {times_s} s beyond jax"
