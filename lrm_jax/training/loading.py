# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Parameters out of a run folder (evaluation, `--init-from`) and into one."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from lrm_jax.training import checkpoint, files, manifest, trees
from lrm_jax.types import Params, UserError

CHECKPOINTS = "checkpoints"


class LoadedParams(NamedTuple):
    """Parameters of one checkpoint.

    Attributes:
      params: as the model wants them.
      ema: averaged trainable weights, or None.
      step: the checkpoint's step.
      source_hash: sha256 that stands for the whole checkpoint.
      extra: what was saved beside it.
      warning: which newer checkpoints cannot be used, and why; None where this is
        the one that was asked for.
    """

    params: Params
    ema: Params | None
    step: int
    source_hash: str
    extra: dict[str, Any]
    warning: str | None = None


def parse_source(text: str) -> tuple[str, int | str]:
    """Split `RUN[@step]`; step is a number, `latest` (the default) or `best`."""
    run, at, which = text.rpartition("@")
    if not at:
        return text, "latest"
    if which in ("latest", "best"):
        return run, which
    if not which.isdigit():
        raise UserError(
            f"{text!r}: {which!r} is not a step; accepted: a number, latest, best"
        )
    return run, int(which)


def load_params(
    run: files.PathLike,
    which: int | str = "latest",
    *,
    abstract: Params | None = None,
    place: Callable[[Any], Any] | None = None,
) -> LoadedParams:
    """Load the parameters of a run's checkpoint, after checking every byte of it.

    Args:
      run: run folder.
      which: step number, `latest` (newest that is whole) or `best`.
      abstract: arrays or `jax.ShapeDtypeStruct` like the parameters; mismatching
        names and shapes are refused by name, shardings are followed. Without it
        the parameters come as nested dicts.
      place: from nested dicts of shapes to those of shardings, where there is no
        `abstract`; without it the parameters come to the default device.
    """
    root = files.as_path(run)
    step, warning = _find_step(root, which)
    path = root / CHECKPOINTS / str(step)
    found = manifest.problems(path)
    if found:
        raise UserError(f"checkpoint {path} cannot be used: {found[0]}")
    body = manifest.read(path)
    params = _part(path, body, "params", abstract, place)
    if params is None:
        raise UserError(
            f"checkpoint {path} of kind {body['kind']!r} holds no parameters"
        )
    return LoadedParams(
        params=params,
        ema=_part(path, body, "ema", None, place),
        step=step,
        source_hash=manifest.source_hash(path),
        extra=manifest.read_extra(path),
        warning=warning,
    )


def write_params(
    run: files.PathLike,
    params: Params,
    *,
    step: int = 0,
    ema: Params | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write parameters alone (imported ones) as a checkpoint of a run folder."""
    folder = files.as_path(run) / CHECKPOINTS
    saver = checkpoint.Checkpointer(folder, kind="params")
    tree = {"params": params} if ema is None else {"params": params, "ema": ema}
    saver.save(step, tree, extra)
    saver.wait()


def _find_step(root: files.Path, which: int | str) -> tuple[int, str | None]:
    """Return the step, and why it is not the newest one if that was asked for."""
    folder = root / CHECKPOINTS
    if not folder.is_dir():
        raise UserError(f"{root} is not a run folder: it has no {CHECKPOINTS}/")
    infos = checkpoint.list_steps(folder)
    if which == "latest":
        lines: list[str] = []

        def report(line: str) -> None:
            lines.append(line)
            print(line, file=sys.stderr)

        try:
            step = checkpoint.Checkpointer(folder, report=report).newest_whole()
        except FileNotFoundError as error:
            raise UserError(f"{error} was ever finished") from error
        return step, f"{'; '.join(lines)}: step {step}" if lines else None
    if which == "best":
        best = [info.step for info in infos if info.best]
        if not best:
            raise UserError(f"no checkpoint in {folder} was evaluated; choose latest")
        return best[0], None
    steps = [info.step for info in infos]
    if which not in steps:
        known = ", ".join(map(str, steps)) or "none"
        raise UserError(f"{folder} has no checkpoint {which!r}; there are: {known}")
    return int(which), None


def _part(
    path: files.Path,
    body: dict[str, Any],
    top: str,
    abstract: Any,
    place: Callable[[Any], Any] | None,
) -> Any | None:
    """One branch of the saved tree, or None where it was not saved."""
    leaves = {
        name: entry
        for name, entry in body["leaves"].items()
        if name.partition("/")[0] == top
    }
    if not leaves:
        return None
    if abstract is None:
        abstract = {top: _abstract_tree(leaves)[top]}
        if place is not None:
            abstract = jax.tree.map(
                lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
                abstract,
                place(abstract),
            )
    else:
        abstract = {top: abstract}
    return trees.restore_tree(path, {**body, "leaves": leaves}, abstract)[top]


def _abstract_tree(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts of shapes from a manifest's list of leaves."""
    return trees.nest(
        {
            tuple(name.split("/")): jax.ShapeDtypeStruct(
                tuple(entry["shape"]), entry["dtype"]
            )
            for name, entry in leaves.items()
        }
    )
