# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run's folder, the only output of training: one run at a time.

`config.json` (fully resolved), `env.json` (versions, devices, commit),
`metrics.jsonl` (on `gs://` numbered parts in `metrics/`), `checkpoints/`,
`report/`. Of several processes the first one
alone holds and writes it (checkpoints apart); the others only read.
"""

import contextlib
import json
import math
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, Self

import jax

from lrm_jax import processes
from lrm_jax.config import diff
from lrm_jax.storage import logs
from lrm_jax.training import files, folder_lock
from lrm_jax.training.metrics import json_line, kept_lines
from lrm_jax.types import UserError

CONFIG, ENV, METRICS = "config.json", "env.json", "metrics.jsonl"
SAMPLES, LOCK = "samples.jsonl", folder_lock.NAME
_OURS = {CONFIG, ENV, METRICS, SAMPLES, LOCK}
_OURS |= {"checkpoints", "report", "profile", "errors", "metrics", "samples"}
_SHOWN_DIFFERENCES = 6
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class RunFolder:
    """An open run folder; nobody else can open it until `close`.

    Attributes:
      path: the folder.
      resumed: whether it held a run when it was opened.
    """

    def __init__(
        self, path: files.Path, lock: folder_lock.Lock | None, resumed: bool
    ) -> None:
        """Take over a locked folder (no lock: not the first process)."""
        self.path = path
        self.resumed = resumed
        self._lock = lock
        self._parts: logs.BackgroundLog | None = None

    @property
    def checkpoints(self) -> files.Path:
        """Where checkpoints go."""
        return self.path / "checkpoints"

    @property
    def report(self) -> files.Path:
        """Where reports go."""
        return self.path / "report"

    @property
    def lost(self) -> bool:
        """Whether another process has taken the folder over (`gs://` only)."""
        return self._lock is not None and self._lock.lost

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one record to `metrics.jsonl`; NaN and infinity become null.

        On `gs://` it is stored within seconds, or by `settle` and `close`.
        """
        if self._lock is None:
            return
        self._lock.check()
        with files.user_errors(f"metrics of {self.path} cannot be written"):
            if not files.is_remote(self.path):
                files.append_line(self.path / METRICS, json_line(record))
                return
            if self._parts is None:
                self._parts = logs.BackgroundLog(self.path / METRICS, self.confirm)
            self._parts.append(json_line(record))

    def confirm(self) -> None:
        """Raise where another process has taken the folder over."""
        if self._lock is not None:
            self._lock.confirm()

    def settle(self) -> None:
        """Store what was logged so far; raise where the folder is lost."""
        self.confirm()
        if self._parts is not None:
            with files.user_errors(f"metrics of {self.path} cannot be written"):
                self._parts.flush()

    def records(self) -> list[dict[str, Any]]:
        """Return what `metrics.jsonl` holds, without torn lines."""
        with files.user_errors(f"metrics of {self.path} cannot be read"):
            data = logs.read_log(self.path / METRICS) or b""
        text = data.decode("utf-8", errors="replace")
        return [json.loads(line) for line in kept_lines(text, math.inf).splitlines()]

    def rewind(self, step: int) -> None:
        """Cut `metrics.jsonl` back to `step`: drop later and torn records."""
        if self._lock is None:
            return
        with files.user_errors(f"metrics of {self.path} cannot be cut back"):
            logs.trim_log(self.path / METRICS, lambda text: kept_lines(text, step))

    def close(self) -> None:
        """Let others in."""
        if self._lock is None:
            return
        try:
            if self._parts is not None:
                with files.user_errors(f"metrics of {self.path} cannot be written"):
                    self._parts.close(keep=not self.lost)
        finally:
            self._lock.close()

    def __enter__(self) -> Self:
        """Return the folder, to be closed at the end of `with`."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()


def open_run(
    run_dir: files.PathLike,
    config: Mapping[str, Any],
    *,
    identity_ignore: Iterable[str] = (),
) -> RunFolder:
    """Create a run folder, or reopen the one of the same run.

    Args:
      run_dir: the folder.
      config: fully resolved, as JSON values.
      identity_ignore: dotted keys (of a leaf or a whole part) in which a reopened
        run may differ.

    Raises:
      UserError: in use, of another config, of something else, or not writable.
    """
    path = files.as_path(run_dir)
    if not processes.is_first():
        return RunFolder(path, None, processes.of_first(None))
    with files.user_errors(f"run folder {path} cannot be used"):
        refuse_strange_folder(path)
        files.make_folder(path)
        lock = folder_lock.take(path)
        try:
            resumed = _check_or_write_config(path, dict(config), identity_ignore)
            _write_env(path, resumed)
        except BaseException:
            lock.close()
            raise
    return RunFolder(path, lock, processes.of_first(resumed))


def check_run(
    run_dir: files.PathLike,
    config: Mapping[str, Any],
    *,
    identity_ignore: Iterable[str] = (),
) -> None:
    """Refuse what `open_run` would refuse, before time is spent; change nothing.

    Args:
      run_dir: the folder; it need not exist.
      config: fully resolved, as JSON values.
      identity_ignore: as for `open_run`.

    Raises:
      UserError: in use, of another config, or of something else.
    """
    if not processes.is_first():
        return
    path = files.as_path(run_dir)
    with files.user_errors(f"run folder {path} cannot be used"):
        refuse_strange_folder(path)
        folder_lock.refuse_held(path)
        if (path / CONFIG).exists():
            _refuse_other_config(path, _as_read(config), identity_ignore)


def read_config(run_dir: files.PathLike) -> dict[str, Any]:
    """Return the config of a run, as JSON values."""
    path = files.as_path(run_dir) / CONFIG
    try:
        config = json.loads(path.read_text())
    except OSError as error:
        reason = error.strerror or "No such file or directory"
        raise UserError(f"{run_dir} is not a run folder: {CONFIG}: {reason}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is damaged: it holds no object")
    return config


def refuse_strange_folder(run_dir: files.PathLike) -> None:
    """Never mix a run into a folder that holds something else.

    Raises:
      UserError: it holds something else, or is a file.
    """
    path = files.as_path(run_dir)
    if path.exists() and not path.is_dir():
        raise UserError(f"run folder {path} is a file; choose another --run-dir")
    if not path.is_dir() or (path / CONFIG).exists():
        return
    strange = sorted({entry.name for entry in path.iterdir()} - _OURS)
    # What a write that was cut off leaves behind is ours too.
    strange = [name for name in strange if not name.endswith(".part")]
    if strange:
        raise UserError(
            f"run folder {path} holds {strange[0]!r} and no run; choose an empty or"
            " a new folder"
        )


def _as_read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as it will be read back (tuples become lists)."""
    return json.loads(json.dumps(config, allow_nan=False))


def _refuse_other_config(
    path: files.Path, config: dict[str, Any], ignore: Iterable[str]
) -> dict[str, Any]:
    """Return the config of the run that is there; refuse another run's."""
    before = read_config(path)
    found = diff(before, config, ignore)
    if found:
        shown = [f"{d.key} is {d.first!r} there, {d.second!r} here" for d in found]
        more = len(found) - _SHOWN_DIFFERENCES
        tail = f"; and {more} more" if more > 0 else ""
        raise UserError(
            f"run folder {path} holds another run: "
            f"{'; '.join(shown[:_SHOWN_DIFFERENCES])}{tail}; choose another --run-dir"
        )
    return before


def _check_or_write_config(
    path: files.Path, config: dict[str, Any], ignore: Iterable[str]
) -> bool:
    """Write the config, or compare it with the one there; True if one was."""
    config = _as_read(config)
    text = json.dumps(config, indent=2, allow_nan=False) + "\n"
    if not (path / CONFIG).exists():
        files.write_atomic(path / CONFIG, text)
        return False
    if _refuse_other_config(path, config, ignore) != config:
        files.write_atomic(path / CONFIG, text)
    return True


def _write_env(path: files.Path, resumed: bool) -> None:
    """Say what the run ran on; every later start adds itself under `resumed`."""
    env = describe_environment()
    file = path / ENV
    if resumed and file.exists():
        try:
            first = json.loads(file.read_text())
            first["resumed"] = [*first.get("resumed", []), env]
            env = first
        except (ValueError, AttributeError, TypeError):
            print(f"{file} was damaged and is written anew", file=sys.stderr)
    files.write_atomic(file, json.dumps(env, indent=2) + "\n")


def describe_environment() -> dict[str, Any]:
    """Versions, devices, commit and command of this process."""
    versions = {"python": platform.python_version()}
    for package in ("lrm-jax", *_PACKAGES):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "command": sys.argv,
        "versions": versions,
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Commit of the source tree, `+` appended if it was changed; None elsewhere."""
    here = os.path.dirname(os.path.abspath(__file__))
    git = ["git", "-C", here, "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
