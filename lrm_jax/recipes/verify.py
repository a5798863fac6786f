# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm verify`: run reference fixtures and say how far our numbers are from them.

Fixtures are folders of numbers that the PyTorch originals produced. The kind of a
folder is told from its contents; a folder of folders is searched.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from lrm_jax.data import puzzle_format
from lrm_jax.data.verify_dataset import verify_dataset_folder
from lrm_jax.interop.arch import KINDS, kind_of, read_settings
from lrm_jax.recipes.verify_core import verify_run
from lrm_jax.recipes.verify_hf import is_hf, verify_hf
from lrm_jax.recipes.verify_layout import LAYOUT_FILE, layout_kind, verify_layout
from lrm_jax.recipes.verify_pieces import is_pieces, verify_pieces
from lrm_jax.recipes.verify_report import Report
from lrm_jax.types import UserError

RUN_FILES = ("weights", "inputs", "outputs", "grads", "params_after", "outputs_f64")
"""What a folder of an HRM or TRM run holds beside its config.json."""


class Fixture(NamedTuple):
    """One thing to verify.

    Attributes:
      name: path below the folder that was asked for, "." for itself.
      kind: hrm, trm, pieces, datasets, hf, or unknown where its config is damaged.
      run: does it; None where no verifier for the kind is built in.
    """

    name: str
    kind: str
    run: Callable[[], tuple[Report, list[str]]] | None


def verify(
    folder: str | Path,
    *,
    float64: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Verify every fixture in a folder, in float32 and then in float64.

    Args:
      folder: a fixture, or a folder of them.
      float64: also run in float64, where the fixture has such numbers.
      progress: told one line per fixture.

    Returns:
      `ok`; `kind`, or "several"; `max_diff`, the largest difference per output;
      `failed`, one line for each output over tolerance; `folders`, the same for
      each fixture, with `notes`, and `unchecked`, stored arrays that no check
      knows; `skipped`, fixtures of kinds that have no verifier; `errors`, by
      name, what is wrong with each fixture of a tree that is incomplete or
      damaged: the others are verified all the same, and `ok` is false.

    Raises:
      UserError: no fixture is there, or the only one is incomplete or damaged.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected a folder of fixtures")
    fixtures = list(find_fixtures(root, float64=float64))
    runs = [fixture for fixture in fixtures if fixture.run is not None]
    if not runs:
        found = ", ".join(f"{f.name} ({f.kind})" for f in fixtures) or "none"
        raise UserError(
            f"{root}: no fixture of kind hrm, trm, hf, pieces or datasets; "
            f"found {found}"
        )
    # Most of the time is compilation, which threads share; x64 is per thread.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        alone = len(runs) == 1
        futures = [pool.submit(_run, fixture, progress, alone) for fixture in runs]
        try:
            results = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    folders = {fixture.name: r for fixture, r in zip(runs, results, strict=True)}
    skipped = [f"{f.name} ({f.kind})" for f in fixtures if f.run is None]
    errors = {name: r["error"] for name, r in folders.items() if "error" in r}
    more = {"folders": folders, "skipped": skipped, "errors": errors}
    return _merge(folders) | more


def _run(
    fixture: Fixture, progress: Callable[[str], None], alone: bool
) -> dict[str, Any]:
    """Verify one fixture; one of several that cannot be read is a result too."""
    assert fixture.run is not None
    start = time.monotonic()
    try:
        report, unchecked = fixture.run()
    except UserError as error:
        if alone:
            raise
        progress(f"{fixture.name} ({fixture.kind}): {error}")
        return _result(fixture, start, Report(), []) | {
            "failed": [str(error)],
            "error": str(error),
        }
    state = "ok" if report.ok else f"{len(report.failed)} over tolerance"
    progress(f"{fixture.name} ({fixture.kind}): {state}")
    return _result(fixture, start, report, unchecked)


def _result(
    fixture: Fixture, start: float, report: Report, unchecked: list[str]
) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "kind": fixture.kind,
        "max_diff": report.max_diff,
        "failed": report.failed,
        "notes": report.notes,
        "unchecked": unchecked,
        "time_s": round(time.monotonic() - start, 2),
    }


def find_fixtures(root: Path, *, float64: bool = True) -> Iterator[Fixture]:
    """List the fixtures in a folder and below it, in order of their names."""
    yield from _find(root, root, float64)


def _find(root: Path, folder: Path, float64: bool) -> Iterator[Fixture]:
    name = str(folder.relative_to(root))
    try:
        own = _find_own(name, folder, float64)
    except UserError as error:
        # A folder that cannot even be told from others must not end the rest.
        own = Fixture(name, "unknown", lambda error=error: _fail(error))
    if own is not None:
        yield own
        if own.name == name and own.kind != "unknown":
            return
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from _find(root, child, float64)


def _fail(error: UserError) -> NoReturn:
    raise error


def _find_own(name: str, folder: Path, float64: bool) -> Fixture | None:
    """Return the fixture that a folder itself is, or has beside its folders."""
    if (folder / "config.json").is_file() and any(
        (folder / f"{file}.safetensors").is_file() for file in RUN_FILES
    ):
        settings = read_settings(folder / "config.json")
        kind = kind_of(settings["arch"], dict(settings.get("reference") or {}))
        if kind is None:
            kind = "hrm" if settings["arch"].get("H_layers") else "trm"
        run = lambda: verify_run(folder, kind, float64=float64)
        return Fixture(name, kind, run)
    if is_pieces(folder):
        run = lambda: verify_pieces(folder, float64=float64)
        return Fixture(name, "pieces", run)
    if _is_datasets(folder):
        return Fixture(name, "datasets", lambda: (_verify_datasets(folder), []))
    if is_hf(folder):
        return Fixture(name, "hf", lambda: verify_hf(folder, float64=float64))
    if (folder / LAYOUT_FILE).is_file():
        kind = layout_kind(folder)
        run = lambda: (verify_layout(folder, kind), [])
        return Fixture(str(Path(name) / LAYOUT_FILE), kind, run)
    return None


def _is_datasets(folder: Path) -> bool:
    """A folder of data kinds, one kind, or one data set on the published format."""
    if puzzle_format.is_dataset(folder):
        return True
    names = ("batches.json", "build_info.json")
    return any((folder / f"{of}_{name}").is_file() for of in KINDS for name in names)


def _verify_datasets(folder: Path) -> Report:
    report = Report()
    for output, differing in verify_dataset_folder(folder).items():
        report.compare(output, differing, 0.0)
    return report


def _merge(folders: dict[str, dict[str, Any]]) -> dict[str, Any]:
    kinds = {result["kind"] for result in folders.values()}
    max_diff: dict[str, float] = {}
    failed = []
    for name, result in folders.items():
        for output, diff in result["max_diff"].items():
            max_diff[output] = max(max_diff.get(output, 0.0), diff)
        failed += [f"{name}: {line}" for line in result["failed"]]
    return {
        "ok": all(result["ok"] for result in folders.values()),
        "kind": kinds.pop() if len(kinds) == 1 else "several",
        "max_diff": max_diff,
        "failed": failed,
    }
