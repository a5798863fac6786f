# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A parent that touches no device, so that one lost process ends them all soon.

The runtime aborts a process that has lost another, or leaves it waiting in a
collective: nothing in that process can then speak. Its parent can: it watches
the run folder for what failed first, prints that and returns that exit code.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import NamedTuple, NoReturn

from lrm_jax.training import files, first_error
from lrm_jax.training.first_error import Failure
from lrm_jax.types import UserError

CHANNEL = "LRM_SUPERVISOR_FD"
INTERRUPTED = 130
# Longer than heartbeat and shutdown: who can end by itself does.
_GRACE_S = 5.0
_POLL_S = 0.25
_STORE_POLL_S = 2.0  # every host of a pod asks
_MOMENT_S = 1.0
_PR_SET_PDEATHSIG = 1


class Ended(NamedTuple):
    """How a supervised process ended.

    Attributes:
      code: exit code, that of the failure that began it.
      output: what it wrote on standard output.
      line: what is to be told; "" where it has been.
      met: whether it ever met the others.
    """

    code: int
    output: bytes
    line: str
    met: bool


def supervised() -> bool:
    """Return whether this process is the child of a supervisor."""
    return CHANNEL in os.environ


def tell_start(start: str, process: int) -> None:
    """Tell the supervisor (from the child) what records belong to this start."""
    with os.fdopen(int(os.environ.pop(CHANNEL)), "w") as channel:
        channel.write(f"{start} {process}\n")


def die_with_parent() -> None:
    """Have SIGTERM sent to this process when its supervisor is killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def fail(run_dir: str, start: str, failure: Failure) -> NoReturn:
    """Leave the record and end soon: no exit handler waits for the others.

    When process 0 ends the runtime aborts the others at once: those that fail for
    the same reason have a moment to say so themselves.
    """
    try:
        first_error.write(run_dir, start, failure)
        if failure.process == 0:
            time.sleep(_MOMENT_S)
    except UserError as error:
        with contextlib.suppress(OSError):
            print(f"lrm: {error}", file=sys.stderr)
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(failure.code)


def supervise(command: Sequence[str], run_dir: str) -> Ended:
    """Run a training process and end when it does, or when another has failed.

    Args:
      command: the child's, which calls `tell_start`.
      run_dir: the run's folder.
    """
    return _Supervisor(command, run_dir).run()


class _Supervisor:
    """One child, its channel and its output."""

    def __init__(self, command: Sequence[str], run_dir: str) -> None:
        self.run_dir = run_dir
        self.poll_s = _STORE_POLL_S if files.is_remote(run_dir) else _POLL_S
        self.asked: int | None = None
        self.killed = False
        read, write = os.pipe()
        self.child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            pass_fds=[write],
            env={**os.environ, CHANNEL: str(write)},
            start_new_session=True,  # Ctrl-C comes through `ask`
        )
        os.close(write)
        self.start, self.process = "", -1
        self.output = b""
        self.readers = [
            threading.Thread(target=self._read_channel, args=(read,), daemon=True),
            threading.Thread(target=self._read_output, daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def run(self) -> Ended:
        """Wait for the end."""
        before = {
            n: signal.signal(n, self.ask) for n in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            self.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
        for reader in self.readers:
            reader.join(_GRACE_S)
        return self.ended()

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Hand a signal on, as the runtime wants it; a second Ctrl-C ends at once."""
        del frame
        again = self.asked is not None and number == signal.SIGINT
        self.asked = self.asked or number
        self.child.send_signal(signal.SIGKILL if again else signal.SIGTERM)

    def wait(self) -> None:
        """Wait for the child; once another has failed, not for long."""
        failed_at = None
        while True:
            try:
                self.child.wait(self.poll_s)
                return
            except subprocess.TimeoutExpired:
                pass  # it runs on: look whether another has failed
            if failed_at is None and self.first_failure() is not None:
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() - failed_at > _GRACE_S:
                self.child.kill()
                self.killed = True

    def first_failure(self) -> Failure | None:
        """Return what failed first in this start, if anything did."""
        try:
            return first_error.first(self.run_dir, self.start) if self.start else None
        except files.StoreAwayError:
            return None  # asked again in a moment

    def told(self) -> Failure | None:
        """Return what the child itself left; None where nobody knows."""
        try:
            return first_error.of(self.run_dir, self.start, self.process)
        except files.StoreAwayError:
            return None

    def tell(self, failure: Failure) -> None:
        """Leave a record; a store that is away takes nothing from how it ended."""
        try:
            first_error.write(self.run_dir, self.start, failure)
        except files.StoreAwayError as error:
            print(f"the failure is not noted: {error}", file=sys.stderr)

    def cause(self) -> Failure | None:
        """Return what failed first; wait for who was lost to say why, not for long."""
        end = time.monotonic() + _GRACE_S
        while True:
            found = self.first_failure()
            if found is None or not found.lost or time.monotonic() > end:
                return found
            time.sleep(_POLL_S)

    def ended(self) -> Ended:
        """Say how it ended."""
        code = self.child.returncode
        # What the child itself left a record of it has told.
        said = self.told()
        asked = code in (0, 143) or self.asked == signal.SIGINT
        first = self.first_failure()
        # Who was lost may be told by others before this one notices.
        if self.start and not (asked or self.killed) and (not first or first.lost):
            own = first_error.of_code(self.process, code)
            self.tell(own)
        failure = self.cause()
        if failure is not None and code != 0:
            told = said is not None and said.line == failure.line
            line = "" if told else f"process {failure.process}: {failure.line}"
            return Ended(failure.code, self.output, line, True)
        if self.asked == signal.SIGINT and code in (143, -signal.SIGKILL):
            return Ended(INTERRUPTED, self.output, "", bool(self.start))
        line = f"the training process was ended by signal {-code}" if code < 0 else ""
        code = 128 - code if code < 0 else code
        return Ended(code, self.output, line, bool(self.start))

    def _read_channel(self, read: int) -> None:
        with os.fdopen(read) as channel:
            for line in channel:
                start, process = line.split()
                self.process, self.start = int(process), start

    def _read_output(self) -> None:
        assert self.child.stdout is not None
        with self.child.stdout as stdout:
            self.output = stdout.read()
