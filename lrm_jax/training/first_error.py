# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Why a run of several processes ended, for those that did not fail themselves.

A process that fails leaves a record in `errors/` of the run folder, named by
the start it belongs to; all supervisors read it there. A start is told apart by
an id that all of its processes agreed on, so that records of other starts (and
of another run that was refused this folder) mean nothing.
"""

import json
import signal
import time
from typing import NamedTuple

from lrm_jax.training import files
from lrm_jax.types import UserError

FOLDER = "errors"
FAILED, WRONG_INPUT = 1, 2
# What a process says that merely lost another one.
_LOST = (
    *("Gloo", "gloo", "Connection closed", "Connection reset", "heartbeat"),
    *("coordination service", "CoordinationService", "UNAVAILABLE", "NCCL"),
)


class Failure(NamedTuple):
    """How a process ended that failed.

    Attributes:
      process: its index.
      code: its exit code.
      line: what it said, one line.
      time: seconds since 1970.
      lost: whether it only lost another process.
    """

    process: int
    code: int
    line: str
    time: float
    lost: bool


def of_exception(process: int, error: BaseException) -> Failure:
    """Return the record of what ended a process."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, UserError):
        return Failure(process, WRONG_INPUT, text, time.time(), False)
    lost = any(word in text for word in _LOST)
    line = f"{type(error).__name__}: {text}"
    return Failure(process, FAILED, line, time.time(), lost)


def of_ending(process: int, message: str) -> Failure:
    """Return the record of a run that all processes ended together, having failed."""
    line = " ".join(message.split())[:500]
    return Failure(process, FAILED, line, time.time(), False)


def of_code(process: int, code: int) -> Failure:
    """Return the record of a process that left none (code below 0: a signal)."""
    now = time.time()
    if code >= 0:
        return Failure(process, code, f"ended with code {code}", now, False)
    number = -code
    if number == signal.SIGABRT:  # so the runtime ends who has lost another
        line = "lost another process (killed, or its machine is gone) and ended"
        return Failure(process, FAILED, line, now, True)
    name = signal.Signals(number).name
    hint = " (out of memory?)" if number == signal.SIGKILL else ""
    return Failure(process, 128 + number, f"was ended by {name}{hint}", now, False)


def write(run_dir: files.PathLike, start: str, failure: Failure) -> None:
    """Leave the record for the others; the first one of a process stays.

    Raises:
      UserError: the run folder cannot be written.
    """
    folder = files.as_path(run_dir) / FOLDER
    path = folder / f"{start}-{failure.process}.json"
    with files.user_errors(f"the failure cannot be noted in {folder}"):
        files.make_folder(folder)
        if not path.exists():
            files.write_atomic(path, json.dumps(failure._asdict()) + "\n")


def of(run_dir: files.PathLike, start: str, process: int) -> Failure | None:
    """Return the record of one process, if it left one."""
    path = files.as_path(run_dir) / FOLDER / f"{start}-{process}.json"
    return Failure(**json.loads(path.read_text())) if path.exists() else None


def first(run_dir: files.PathLike, start: str) -> Failure | None:
    """Return the failure that began it: the earliest that has its own cause."""
    folder = files.as_path(run_dir) / FOLDER
    found = []
    for path in folder.glob(f"{start}-*.json"):
        found.append(Failure(**json.loads(path.read_text())))
    return min(found, key=lambda f: (f.lost, f.time), default=None)
