# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the rows of a table: skips finished ones, resumes partial ones, prints it.

A table is a file with `rows(scale) -> {name: config}`, and may have `METRICS`
(names in metrics.jsonl) and `EXPECTED` (a JSON file of published figures). A row
with `init_from="row:NAME"` starts from what another row has trained.
"""

import contextlib
import fnmatch
import importlib.util
import json
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

from lrm_jax.config import apply_overrides, config_hash, replace
from lrm_jax.config.tree import suggest
from lrm_jax.evaluation.metrics import mean_and_se
from lrm_jax.recipes import registry
from lrm_jax.recipes.registry import recipe_of
from lrm_jax.storage.logs import read_log
from lrm_jax.training.files import Path, PathLike, as_path, write_atomic
from lrm_jax.types import UserError

Rows = dict[str, Any]
State = Literal["new", "partial", "finished", "failed"]
TrainFn = Callable[[Any, str], Mapping[str, Any]]
"""Trains or resumes a config in a folder; what `registry.train` returns."""
MARKER = "report/finished.json"
METRICS = ("eval/exact_accuracy",)
_SIGNALS = {"interrupted": signal.SIGINT, "terminated": signal.SIGTERM}
_SEED = re.compile(r",?seed=\d+$")
_ROW = "row:"


class Table(NamedTuple):
    """What a file of `experiments/` declares."""

    name: str
    rows: Callable[[str], Rows]
    metrics: Sequence[str]
    expected: Mapping[str, Mapping[str, float]]  # row -> metric -> published figure


class RowResult(NamedTuple):
    """One run of a row, one seed."""

    run_id: str
    run_dir: str
    state: State
    metrics: dict[str, float]  # the last value of each
    error: str | None = None


def load_table(path: str) -> Table:
    """Import a table's file.

    Raises:
      UserError: no such file, or no `rows` in it.
    """
    file = as_path(path)
    if not file.is_file():
        raise UserError(f"table {path!r}: no such file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UserError(f"table {path!r}: expected a Python file, PATH.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "rows", None)):
        raise UserError(f"table {path!r}: defines no function rows(scale)")
    expected_file: Path | None = vars(module).get("EXPECTED")
    expected = json.loads(expected_file.read_text())["rows"] if expected_file else {}
    metrics = vars(module).get("METRICS", METRICS)
    return Table(file.stem, module.rows, metrics, expected)


def with_seeds(rows: Mapping[str, Any], count: int) -> Rows:
    """Return each row once a seed, as `name,seed=N`."""
    return {
        f"{name},seed={seed}": replace(config, {"seed": seed})
        for name, config in rows.items()
        for seed in range(count)
    }


def run_table(
    table: Table,
    *,
    root: PathLike,
    scale: str,
    only: Sequence[str] = (),
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    train: TrainFn | None = None,
) -> dict[str, Any]:
    """Run a table's rows and return its results with the Markdown text.

    Args:
      table: what `load_table` read.
      root: folder under which each run has its own.
      scale: handed to the table's `rows`.
      only: names or patterns of rows; empty for all.
      overrides: `key.path=value`, applied to every row.
      dry_run: look only.
      train: trains one config in a folder; its own recipe unless given.

    Returns:
      `{name, scale, rows: [{row, ...}], table, path}`.
    """
    rows = {
        name: apply_overrides(cfg, overrides) for name, cfg in table.rows(scale).items()
    }
    rows = with_sources(select(rows, only), rows, root)
    for config in rows.values():
        recipe_of(config).validate(config)
    if dry_run:
        results = {name: inspect(config, root) for name, config in rows.items()}
        text = _dry_text(rows, results)
    else:
        results = run_all(rows, root, train=train)
        text = markdown(rows, results, table.metrics, table.expected)
    path = None if dry_run else as_path(root) / f"{table.name}-{scale}.md"
    if path is not None:
        write_atomic(path, text)
    listed = [{"row": name, **result._asdict()} for name, result in results.items()]
    return {
        "name": table.name,
        "scale": scale,
        "rows": listed,
        "table": text,
        "path": path and str(path),
    }


def select(rows: Rows, only: Sequence[str]) -> Rows:
    """Return the rows whose name, with or without its seed, fits a pattern."""
    labels = {name: _label(name) for name in rows}
    for pattern in only:
        if not any(_fits(pattern, name) for name in rows):
            hint = suggest(pattern, [*labels.values(), *labels])
            raise UserError(f"--only {pattern!r}: no such row{hint}")
    fits = lambda name: not only or any(_fits(pattern, name) for pattern in only)
    return {name: config for name, config in rows.items() if fits(name)}


def with_sources(chosen: Rows, rows: Rows, root: PathLike) -> Rows:
    """Return the chosen rows, each after the row it starts from.

    Args:
      chosen: some of `rows`; `init_from="row:NAME"` names another one.
      rows: all of a table, as they are trained.
      root: folder of the run folders.

    Raises:
      UserError: a row starts from one that is not there, or from itself.
    """
    found: Rows = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        config = rows[name]
        source = getattr(config, "init_from", "")
        if source.startswith(_ROW):
            wanted = source.removeprefix(_ROW)
            if wanted not in rows or wanted in path:
                problem = "itself" if wanted in rows else "no row"
                raise UserError(
                    f"row {name!r}: init_from={source!r} leads to {problem}"
                    f"{suggest(wanted, list(rows))}"
                )
            add(wanted, (*path, wanted))
            folder = as_path(root) / recipe_of(found[wanted]).run_id(found[wanted])
            config = replace(config, {"init_from": str(folder)})
        found.setdefault(name, config)

    for name in chosen:
        add(name, (name,))
    return found


def run_all(
    rows: Mapping[str, Any],
    root: PathLike,
    *,
    train: TrainFn | None = None,
) -> dict[str, RowResult]:
    """Train every row that is not finished; one that fails does not stop the rest.

    Args:
      rows: name -> config; rows of one config share a run.
      root: folder under which each run has its own, named by `run_id`.
      train: trains (or resumes) one config in a folder.

    Raises:
      KeyboardInterrupt: a run was interrupted; its state is saved.
    """
    train = train or registry.train
    as_path(root).mkdir(parents=True, exist_ok=True)
    results = {}
    with shared_programs(root):
        for name, config in rows.items():
            found = inspect(config, root)
            if found.state != "finished":
                found = _run_row(config, found, train)
            results[name] = found
    return results


@contextlib.contextmanager
def shared_programs(root: PathLike) -> Iterator[None]:
    """Keep compiled programs under `root`: most rows share some of theirs.

    A cache that is set already (JAX_COMPILATION_CACHE_DIR) is used as it is.
    """
    ours = {
        "jax_compilation_cache_dir": str(as_path(root) / ".compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
    }
    before = {name: getattr(jax.config, name) for name in ours}
    if before["jax_compilation_cache_dir"]:
        yield
        return
    try:
        for name, value in ours.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def inspect(config: Any, root: PathLike) -> RowResult:
    """Return how far a row's run is, from its folder alone."""
    name = recipe_of(config).run_id(config)
    folder = as_path(root) / name
    metrics = last_metrics(folder)
    state: State = "partial" if (folder / "config.json").exists() else "new"
    if (folder / MARKER).exists():
        state = "finished"
    return RowResult(name, str(folder), state, metrics)


def last_metrics(run_dir: Path) -> dict[str, float]:
    """Return the last value of every metric in a run's metrics.jsonl."""
    last: dict[str, float] = {}
    for line in (read_log(run_dir / "metrics.jsonl") or b"").splitlines():
        record = json.loads(line)
        numbers = {k: v for k, v in record.items() if isinstance(v, int | float)}
        last.update(numbers)
    return last


def markdown(
    rows: Mapping[str, Any],
    results: Mapping[str, RowResult],
    metrics: Sequence[str],
    expected: Mapping[str, Mapping[str, float]],
) -> str:
    """Return the table: mean and standard error over seeds, published, difference."""
    groups: dict[str, list[str]] = {}
    for name, config in rows.items():
        same = config_hash(config, {"seed", "name", "init_from", "init_from_sha256"})
        groups.setdefault(f"{_label(name)}\n{same}", []).append(name)
    header = ["row", "runs", "steps"]
    for metric in metrics:
        header += [metric, "published", "difference"] if expected else [metric]
    lines = [header, ["---"] * len(header)]
    for key, names in groups.items():
        label = key.partition("\n")[0]
        found = [results[name] for name in names]
        published = expected.get(label, {}) if expected else None
        lines.append(_table_line(label, found, metrics, published))
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
    errors = [f"\n{n}: {r.error}" for n, r in results.items() if r.error]
    return text + "".join(errors)


def _table_line(
    label: str,
    found: Sequence[RowResult],
    metrics: Sequence[str],
    expected: Mapping[str, float] | None,
) -> list[str]:
    steps = {r.metrics["step"] for r in found if "step" in r.metrics}
    shown_steps = "-".join(f"{s:g}" for s in sorted({min(steps), max(steps)}))
    cells = [label, str(len(found)), shown_steps if steps else "none"]
    for metric in metrics:
        values = [r.metrics[metric] for r in found if metric in r.metrics]
        mean, error, _ = mean_and_se(values) if values else (None, None, 0)
        spread = f" ± {error:.4f}" if error is not None else ""
        cells.append(_number(mean) + spread if values else "not measured")
        if expected is None:
            continue
        published = expected.get(metric)
        gap = None if mean is None or published is None else mean - published
        cells += [_number(published), "" if gap is None else f"{gap:+.4f}"]
    return cells


def _run_row(config: Any, found: RowResult, train: TrainFn) -> RowResult:
    folder = as_path(found.run_dir)
    try:
        outcome = train(config, found.run_dir)
    except UserError as error:
        failed = found._replace(state="failed", error=str(error))
        return failed._replace(metrics=last_metrics(folder))
    if outcome["reason"] in _SIGNALS:
        signal.raise_signal(_SIGNALS[outcome["reason"]])  # as if it came to us
    if outcome["reason"] == "nan":
        failed = found._replace(state="failed", error=outcome["message"])
        return failed._replace(metrics=last_metrics(folder))
    marker = folder / MARKER
    marker.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(marker, json.dumps({"step": int(outcome["step"])}) + "\n")
    return found._replace(state="finished", metrics=last_metrics(folder))


def _dry_text(rows: Rows, results: Mapping[str, RowResult]) -> str:
    lines = ["| row | run | state | steps |", "| --- | --- | --- | --- |"]
    for name, config in rows.items():
        found = results[name]
        steps = config.train.total_steps
        lines.append(f"| {name} | {found.run_id} | {found.state} | {steps} |")
    return "\n".join(lines) + "\n"


def _label(name: str) -> str:
    return _SEED.sub("", name) or name


def _fits(pattern: str, name: str) -> bool:
    return any(fnmatch.fnmatchcase(n, pattern) for n in (name, _label(name)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
