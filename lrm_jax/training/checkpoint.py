# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that survive: asynchronous, complete or not there, checked.

`checkpoints/<step>/` holds `state/` (Orbax, OCDBT), `extra.json` and, written
last, `manifest.json`. Orbax writes every process's own shards and restores onto
whatever shardings the abstract state names; no pickle is written or read. Of
several processes each lists what it wrote, and the first one closes the list.
"""

import contextlib
import dataclasses
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax

from lrm_jax import processes
from lrm_jax.storage.owner import Owner
from lrm_jax.training import files, manifest, trees
from lrm_jax.types import UserError

Report = Callable[[str], None]

TRAIN_STATE = "train_state"


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When to save and what to keep.

    Attributes:
      every_steps: save after so many steps; 0 = not by steps.
      every_s: save after so many seconds; 0 = not by time.
      keep: newest checkpoints that stay; the best one stays beside them.
      best_metric: what decides the best.
      best_mode: whether more or less of it is better.
    """

    every_steps: int = 1000
    every_s: float = 600.0
    keep: int = 2
    best_metric: str = "eval/exact_accuracy"
    best_mode: Literal["max", "min"] = "max"

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        for name, least in (("every_steps", 0), ("every_s", 0), ("keep", 1)):
            value = getattr(self, name)
            if not value >= least:
                accepted = f"accepted: {least} or more"
                raise UserError(f"checkpoint.{name} is {value!r}; {accepted}")
        if self.best_mode not in ("max", "min"):
            accepted = "accepted: max, min"
            raise UserError(f"checkpoint.best_mode is {self.best_mode!r}; {accepted}")


class StepInfo(NamedTuple):
    """One checkpoint on the disk.

    Attributes:
      step: optimizer steps done.
      complete: whether its manifest was written and can be read.
      metric: value of the metric that decides the best, or None.
      best: whether it is the best of the complete ones.
      bytes: size of its files.
      time: when it was finished, seconds since 1970 (0 when incomplete).
    """

    step: int
    complete: bool
    metric: float | None
    best: bool
    bytes: int
    time: float


def list_steps(folder: files.PathLike) -> list[StepInfo]:
    """List the checkpoints in a `checkpoints/` folder, oldest first.

    The best is so by the metric and the mode that the newest rated one names.
    """
    infos: list[StepInfo] = []
    rated: list[tuple[str, str, StepInfo]] = []
    for path in _step_folders(files.as_path(folder)):
        info, body = _step_info(path)
        infos.append(info)
        if info.metric is not None:
            rated.append((body["metric_name"], body["metric_mode"], info))
    if not rated:
        return infos
    name, mode, _ = rated[-1]
    sign = -1 if mode == "min" else 1
    # Of equals the first, so that the best does not change without reason.
    best = max(
        (sign * (info.metric or 0.0), -info.step)
        for other, _, info in rated
        if other == name
    )
    return [info._replace(best=info.step == -best[1]) for info in infos]


def verify(folder: files.PathLike, step: int) -> list[str]:
    """Check every byte of one checkpoint; one line for each problem."""
    path = files.as_path(folder) / str(step)
    if not path.exists():
        return [f"checkpoint {step} does not exist"]
    return manifest.problems(path)


class Checkpointer:
    """Saves and restores the checkpoints of one run.

    One save runs in the background at a time. Its failure is raised, as one
    line, by the next call of `save`, `wait` or `check`; what was there before
    it stays.

    Attributes:
      cfg: when to save and what to keep.
    """

    def __init__(
        self,
        folder: files.PathLike,
        cfg: CheckpointConfig | None = None,
        *,
        kind: str = TRAIN_STATE,
        report: Report | None = None,
        owner: Owner | None = None,
    ) -> None:
        """Use `folder` (a run's `checkpoints/`), creating it at the first save.

        Args:
          folder: where the steps live.
          cfg: retention and the metric that decides the best.
          kind: what these checkpoints hold; another kind is refused.
          report: takes one line about a checkpoint that could not be used.
          owner: of the folder; asked before a checkpoint is closed.
        """
        self._owner = owner
        self._folder = files.as_path(folder)
        self.cfg = cfg or CheckpointConfig()
        self._kind = kind
        self._report = report or (lambda line: print(line, file=sys.stderr))
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._bad: set[int] = set()
        self._orbax: Any = None

    def save(
        self,
        step: int,
        state: Any,
        extra: Mapping[str, Any] | None = None,
        *,
        metric: float | None = None,
    ) -> None:
        """Start saving; returns once the state is copied off the device.

        Training may go on and donate `state`. A complete checkpoint of the same
        step is left alone.

        Args:
          step: optimizer steps done.
          state: pytree of arrays; typed keys are welcome.
          extra: JSON values to keep beside it (cursor, best, counters).
          metric: value of `cfg.best_metric` at this step, if it was measured.
        """
        self.wait()
        path = self._folder / str(step)
        if processes.of_first(manifest.exists(path) and step not in self._bad):
            return
        text = json.dumps(extra or {}, allow_nan=False)
        leaves = trees.named_leaves(state)
        rated = metric is not None and math.isfinite(metric)
        body = {
            "format": manifest.FORMAT,
            "kind": self._kind,
            "step": step,
            "metric": metric if rated else None,
            "metric_name": self.cfg.best_metric,
            "metric_mode": self.cfg.best_mode,
            "leaves": {"/".join(name): trees.describe(x) for name, x in leaves.items()},
        }
        data = {name: trees.key_to_data(leaf) for name, leaf in leaves.items()}
        tree = trees.nest(data)
        try:
            if processes.is_first():
                self._settle()
                _remove(path)
                files.make_folder(path)
            self._checkpointer().save(
                path / trees.STATE, args=trees.orbax().args.PyTreeSave(tree)
            )
        except Exception as error:
            self._fail(step, error)
            self.check()
        self._thread = threading.Thread(
            target=self._finish, args=(step, text, body), daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Wait for the save in the background; raise what went wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def check(self) -> None:
        """Raise what went wrong with a finished save, without waiting."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def list_steps(self) -> list[StepInfo]:
        """List the checkpoints on the disk, oldest first."""
        return list_steps(self._folder)

    def verify(self, step: int) -> list[str]:
        """Check every byte of one checkpoint; one line for each problem."""
        return verify(self._folder, step)

    def restore(
        self, abstract_state: Any, step: int | None = None
    ) -> tuple[Any, dict[str, Any], int]:
        """Return (state, extra, step) of the newest checkpoint that is whole.

        Half-written and damaged ones are reported, one line each, and passed.

        Args:
          abstract_state: arrays or `jax.ShapeDtypeStruct` with the shapes, types
            and shardings to restore to (any mesh).
          step: this one and no other.

        Raises:
          FileNotFoundError: no checkpoint was ever finished.
          UserError: all are damaged, or this one does not fit `abstract_state`.
        """
        self.wait()
        step = self._newest_of_first() if step is None else self._whole(step)
        path = self._folder / str(step)
        body = manifest.read(path)
        if body["kind"] != self._kind:
            raise UserError(
                f"checkpoint {path} is of kind {body['kind']!r}, not {self._kind!r}"
                " (start from its parameters with --init-from)"
            )
        state = trees.restore_tree(path, body, abstract_state)
        return state, manifest.read_extra(path), step

    def _newest_of_first(self) -> int:
        """Have the first process check, so that all restore the same step."""
        found = None
        if processes.is_first():
            with contextlib.suppress(FileNotFoundError):
                found = self.newest_whole()
        found = processes.of_first(found)
        if found is None:
            raise FileNotFoundError(f"no checkpoint in {self._folder}")
        return found

    def newest_whole(self) -> int:
        """Return the newest step without a fault, reporting those that have one."""
        infos = self.list_steps()
        for info in reversed(infos):
            found = self.verify(info.step)
            if not found:
                return info.step
            self._bad.add(info.step)
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            self._report(
                f"checkpoint {info.step} cannot be used: {found[0]}{more};"
                " trying the one before"
            )
        if any(manifest.exists(self._folder / str(info.step)) for info in infos):
            raise UserError(
                f"no checkpoint in {self._folder} can be used (see the lines above);"
                " choose another --run-dir, or delete the folder to start again"
            )
        raise FileNotFoundError(f"no checkpoint in {self._folder}")

    def _whole(self, step: int) -> int:
        found = self.verify(step)
        if found:
            path = self._folder / str(step)
            raise UserError(f"checkpoint {path} cannot be used: {found[0]}")
        return step

    def _finish(self, step: int, extra: str, body: dict[str, Any]) -> None:
        """Close a save (in its own thread): wait for Orbax, seal, prune."""
        path = self._folder / str(step)
        try:
            self._checkpointer().wait_until_finished()
            if not processes.is_first():
                manifest.write_part(path, jax.process_index())
                manifest.wait_until_closed(path)
                return
            files.write_atomic(path / "extra.json", extra)
            parts = manifest.wait_for_parts(path, jax.process_count() - 1)
            body = {**body, "time": time.time()}
            manifest.write(path, body, parts, settle=self._settle)
            files.sync_folder(self._folder)
        except Exception as error:
            self._fail(step, error)
            return
        self._bad.discard(step)
        try:
            if not self._is_lost():
                self._prune()
        except OSError as error:
            self._report(f"an old checkpoint could not be removed: {error}")

    def _fail(self, step: int, error: Exception) -> None:
        """Remember a failed save and give its space back.

        Only the first process removes: it alone knows whether it was closed.
        """
        reason, after = _one_line(error), ""
        try:
            kept = [i.step for i in self.list_steps() if i.complete and i.step != step]
            after = f"; checkpoint {kept[-1]} is kept" if kept else ""
            if processes.is_first() and not self._is_lost():
                _remove(self._folder / str(step))
        except (OSError, UserError) as second:
            reason += f" (and it could not be removed: {_one_line(second)})"
        told = isinstance(error, UserError | PermissionError)
        # A store that is away is no mistake: such a run is to be started again.
        away = files.is_remote(self._folder) and not told
        self._error = (files.StoreAwayError if away else UserError)(
            f"checkpoint {step} could not be written to {self._folder}: {reason}{after}"
        )
        self._error.__cause__ = error

    def _settle(self) -> None:
        if self._owner is not None:
            self._owner.settle()

    def _is_lost(self) -> bool:
        """Whether the checkpoints are another's now, not to be deleted from here."""
        with contextlib.suppress(UserError):  # raised again when one is saved
            if self._owner is not None:
                self._owner.confirm()
            return False
        return True

    def _prune(self) -> None:
        """Delete what is neither among the newest nor the best."""
        infos = self.list_steps()
        whole = [i.step for i in infos if i.complete and i.step not in self._bad]
        stay = {*whole[-self.cfg.keep :], *(i.step for i in infos if i.best)}
        for info in infos:
            damaged = info.step in self._bad and info.complete
            if info.step not in stay and not damaged:
                _remove(self._folder / str(info.step))

    def _checkpointer(self) -> Any:
        if self._orbax is None:
            self._orbax = trees.orbax().AsyncCheckpointer(trees.handler())
        return self._orbax


def _step_folders(root: files.Path) -> list[files.Path]:
    if not root.is_dir():
        return []
    steps = [path for path in root.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(steps, key=lambda path: int(path.name))


def _step_info(path: files.Path) -> tuple[StepInfo, dict[str, Any]]:
    step = int(path.name)
    try:
        body = manifest.read(path)
    except ValueError:
        size = files.bytes_under(path)
        return StepInfo(step, False, None, False, size, 0.0), {}
    size = sum(entry["bytes"] for entry in body["files"].values())
    return StepInfo(step, True, body["metric"], False, size, body["time"]), body


def _remove(path: files.Path) -> None:
    """Delete a checkpoint, manifest first: half of it must not look damaged."""
    if not path.exists():
        return
    files.remove_file(path / manifest.NAME)
    files.remove_tree(path)


def _one_line(error: Exception) -> str:
    """Say what went wrong; of a full disk, nothing but that."""
    text = " ".join(str(error).split())
    for reason in ("No space left on device", "File too large", "Read-only file"):
        if reason in text:
            return reason
    return text[:300] or type(error).__name__
