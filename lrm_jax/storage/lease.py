# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The lock of a run folder on `gs://`: an object that its holder writes again.

There is no flock there, and a killed holder leaves its object behind. So the
holder renews it, each time in place of its own last writing; one that was not
renewed for a minute, or whose process is known to be gone, is taken over. Who
finds another's writing in place of its own has lost the folder and must stop.
"""

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from typing import Any

from lrm_jax.storage import gcs
from lrm_jax.storage.paths import Path
from lrm_jax.types import UserError

LEASE_S = 60.0
RENEW_S = 15.0
_LOOK_S = 2.0


class Lease:
    """A held lock; a thread renews it until `close`."""

    def __init__(self, path: Path, body: dict[str, Any], generation: int) -> None:
        """Take over an object that was just written."""
        self._path, self._body, self._generation = path, body, generation
        self._lost = ""
        self._count, self._renewed = 0, time.monotonic()
        self._one = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise if another process is known to hold the folder by now.

        Raises:
          UserError: it does.
        """
        if self._lost:
            raise UserError(self._lost)

    def confirm(self) -> None:
        """Make sure that the folder is still held: ask, where the lease ran out.

        Raises:
          UserError: another process holds it.
          StoreAwayError: nobody knows.
        """
        if time.monotonic() - self._renewed > LEASE_S:
            self._renew()
        self.check()

    @property
    def lost(self) -> bool:
        """Whether another process holds the folder by now."""
        return bool(self._lost)

    def close(self) -> None:
        """Let others in."""
        self._end.set()
        self._thread.join()
        if not self._lost:
            # A store that is away keeps the object; it is stale in a minute.
            with contextlib.suppress(OSError):
                gcs.remove(self._path, self._generation)

    def _keep(self) -> None:
        while not self._end.wait(RENEW_S) and not self._lost:
            try:
                self._renew()
            except OSError as error:
                reason = error.strerror or error
                print(f"{self._path}: not renewed ({reason})", file=sys.stderr)

    def _renew(self) -> None:
        """Write the object anew, or find another's in its place."""
        with self._one:
            begun = time.monotonic()
            self._count += 1
            data = _text({**self._body, "renewed": self._count})
            found = gcs.write_if(self._path, data, self._generation)
            if found is None:
                there = gcs.read_stored(self._path)
                if there is None or _read(there).get("token") != self._body["token"]:
                    self._lost = _lost(self._path, there)
                    return
                found = there.generation  # ours; the answer to it got lost
            self._generation, self._renewed = found, begun


def take(path: Path) -> Lease:
    """Hold a folder by its lock object, once nobody else does.

    A holder of whom it is not known whether it lives is watched until it renews
    or its time is over.

    Raises:
      UserError: another process holds it.
    """
    body = _ourselves()
    while True:
        there = wait_until_free(path)
        generation = there.generation if there else 0
        written = gcs.write_if(path, _text(body), generation)
        if written is not None:
            if there is not None:
                silent = f"silent for {there.age_s:.0f} s"
                _say(path, f"taken over from {_holder(there)}, {silent}")
            return Lease(path, body, written)


def wait_until_free(path: Path) -> gcs.Stored | None:
    """Return what a holder that is gone has left; None where there is no holder.

    Raises:
      UserError: a process holds the folder, and lives.
    """
    first = gcs.read_stored(path)
    told, there = False, first
    while there is not None:
        alive = _lives_here(_read(there))
        if alive or (first and there.generation != first.generation):
            raise UserError(
                f"run folder {path.parent} is in use by {_holder(there)}; wait for it"
                " to end or choose another --run-dir"
            )
        if alive is False or there.age_s >= LEASE_S:
            return there
        if not told:
            left = LEASE_S - there.age_s
            holder = _holder(there)
            said = f"held by {holder}; waiting up to {left:.0f} s to see if it lives"
            _say(path, said)
            told = True
        time.sleep(min(_LOOK_S, LEASE_S / 10))
        there = gcs.read_stored(path)
    return there


def _say(path: Path, what: str) -> None:
    print(f"run folder {path.parent}: {what}", file=sys.stderr, flush=True)


def _lost(path: Path, there: gcs.Stored | None) -> str:
    holder = _holder(there) if there else "nobody: its lock was deleted"
    return f"run folder {path.parent} is held by {holder} now; this run of it has ended"


def _holder(there: gcs.Stored) -> str:
    return str(_read(there).get("holder") or "another process")


def _read(there: gcs.Stored) -> dict[str, Any]:
    try:
        body = json.loads(there.data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _text(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _ourselves() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "holder": f"process {pid} on {socket.gethostname()}",
        "pid": pid,
        "machine": _machine(),
        "started": _started(pid),
        "token": secrets.token_hex(8),
    }


def _lives_here(body: dict[str, Any]) -> bool | None:
    """Whether a holder on this very machine lives; None where nobody can tell."""
    if not body.get("machine") or body["machine"] != _machine():
        return None
    return _started(int(body["pid"])) == body["started"]


def _machine() -> str:
    """What all processes that see each other's ids share (Linux); "" elsewhere."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            boot = file.read().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process began, in the system's ticks; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
