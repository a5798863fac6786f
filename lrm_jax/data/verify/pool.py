# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Child processes for calls that may hang or crash; each call has a deadline.

A child is a fresh interpreter (neither a fork, which JAX's threads forbid, nor a
second run of the caller's main module) in its own session, so that a kill takes
its children too. Calls and results are JSON. A child whose parent died ends.
"""

import collections
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from lrm_jax.data.verify.worker import BOOT, plain
from lrm_jax.types import UserError

_MAX_BATCH = 32  # calls sent to a child at once
_START_S = 120.0  # to start a child and import the target


class Outcome(NamedTuple):
    """What became of one call.

    Attributes:
      status: `ok`, `error` (it raised), `timeout` or `crash` (its process ended).
      value: what it returned, None unless `ok`.
      message: one line on what went wrong, "" for `ok`.
    """

    status: Literal["ok", "error", "timeout", "crash"]
    value: Any
    message: str


class _Child:
    """One process and what it is working on."""

    def __init__(self, settings: dict[str, Any]) -> None:
        cwd = os.getcwd()
        path = sys.path if cwd in sys.path else [*sys.path, cwd]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOT, json.dumps(path), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            # An accelerator belongs to the parent.
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        assert self.process.stdin and self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self.stdin.fileno(), False)
        os.set_blocking(self.stdout.fileno(), False)
        self.ready = False
        self.jobs: collections.deque[int] = collections.deque()
        self.unsent = memoryview(b"")
        self.received = b""
        self.due = time.monotonic() + _START_S

    def give(
        self, jobs: Sequence[int], items: Sequence[Any], deadline_s: float
    ) -> None:
        """Queue calls to be sent."""
        self.jobs.extend(jobs)
        line = json.dumps([items[job] for job in jobs], default=plain).encode() + b"\n"
        self.unsent = memoryview(line)
        self.due = time.monotonic() + deadline_s

    def write(self) -> None:
        """Send what the pipe takes."""
        try:
            sent = os.write(self.stdin.fileno(), self.unsent)
            self.unsent = self.unsent[sent:]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.unsent = memoryview(b"")  # its end shows when reading

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the messages that came, and whether the child is still there."""
        data = b""
        try:
            data = os.read(self.stdout.fileno(), 1 << 20)
        except BlockingIOError:
            return [], True
        lines = (self.received + data).split(b"\n")
        self.received = lines.pop()
        return [json.loads(line) for line in lines], bool(data)

    def kill(self) -> None:
        """End the process and everything it started."""
        # The group may be gone already, or be someone else's once it was waited for.
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self.process.kill()
            self.process.wait()
        for pipe in (self.stdin, self.stdout):
            pipe.close()


def _kill_all(children: list[_Child]) -> None:
    while children:
        children.pop().kill()


class Pool:
    """Calls of one function in child processes, results in order; a context manager.

    Children start with the first call, live on between calls, and end with `close`,
    with the pool's last reference, or with this process, however it ends.
    """

    def __init__(
        self,
        target: str,
        *,
        workers: int = 2,
        deadline_s: float,
        memory_mb: int = 0,
        imports: Sequence[str] = (),
        what: str = "",
    ) -> None:
        """Take a function of one JSON-ready argument.

        Args:
          target: `package.module:function`, found from `sys.path` and the working
            directory, in that order.
          workers: processes at most.
          deadline_s: wall-clock seconds for one call.
          memory_mb: address space of a process; 0 for no limit.
          imports: more functions that a child finds as it starts.
          what: the config key this comes from, for messages.
        """
        if workers < 1 or deadline_s <= 0:
            raise ValueError(f"{workers=} and {deadline_s=} must be above 0")
        self.workers, self.deadline_s = workers, deadline_s
        self.what = what or target
        self._settings = {
            **{"target": target, "imports": list(imports)},
            **{"deadline_s": deadline_s, "memory_mb": memory_mb},
        }
        self._children: list[_Child] = []
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _kill_all, self._children)

    def start(self) -> None:
        """Start one child now, and find out whether the function can be imported.

        Raises:
          UserError: it cannot.
        """
        with self._lock:
            self._run(_Work([]), 1, starting=True)

    def map(self, items: Sequence[Any]) -> list[Outcome]:
        """Call the function with each item.

        Raises:
          UserError: the function cannot be imported.
        """
        if not items:
            return []
        with self._lock:
            work = _Work(items)
            self._run(work, min(self.workers, len(items)))
            return [outcome for outcome in work.outcomes if outcome is not None]

    def _run(self, work: "_Work", wanted: int, starting: bool = False) -> None:
        """Drive the children until every call has an outcome."""
        work.cut(wanted)
        for child in [c for c in self._children if c.process.poll() is not None]:
            self._children.remove(child)  # ended while it had nothing to do
            child.kill()
        try:
            while not work.done or (
                starting and not any(c.ready for c in self._children)
            ):
                open_calls = len(work.batches) + sum(
                    1 for c in self._children if c.jobs
                )
                for _ in range(min(wanted, max(1, open_calls)) - len(self._children)):
                    child = _Child(self._settings)
                    self._children.append(child)
                self._turn(work)
        except BaseException:
            # Answers that are still on their way must not meet the next call.
            _kill_all(self._children)
            raise

    def _turn(self, work: "_Work") -> None:
        """Give out work, wait for what comes first, and take it in."""
        for child in self._children:
            if child.ready and not child.jobs and work.batches:
                child.give(work.batches.popleft(), work.items, self.deadline_s)
        busy = [c for c in self._children if c.jobs or not c.ready]
        with selectors.DefaultSelector() as selector:
            for child in busy:
                selector.register(child.stdout, selectors.EVENT_READ, child)
                if child.unsent:
                    selector.register(child.stdin, selectors.EVENT_WRITE, child)
            due = min((child.due for child in busy), default=time.monotonic())
            events = selector.select(max(0.0, due - time.monotonic()))
        for key, event in events:
            if event & selectors.EVENT_WRITE:
                key.data.write()
            else:
                self._take(key.data, work)
        for child in busy:
            if child in self._children and time.monotonic() > child.due:
                self._drop(child, work, "timeout")

    def _take(self, child: _Child, work: "_Work") -> None:
        """Take in what a child said."""
        messages, alive = child.read()
        for message in messages:
            child.due = time.monotonic() + self.deadline_s
            if "failed" in message:
                raise UserError(f"{self.what}: {message['failed']}")
            if "ready" in message:
                child.ready = True
            elif "error" in message:
                outcome = Outcome("error", None, message["error"])
                work.settle(child.jobs.popleft(), outcome)
            else:
                work.settle(child.jobs.popleft(), Outcome("ok", message["value"], ""))
        if not alive:
            self._drop(child, work, "crash")

    def _drop(
        self, child: _Child, work: "_Work", status: Literal["timeout", "crash"]
    ) -> None:
        """End a child; the call it was at has failed, the others are given anew."""
        self._children.remove(child)
        child.kill()
        if not child.ready:
            ended = f"importing it ended with status {child.process.returncode}"
            late = f"not imported within {_START_S:g} s"
            raise UserError(f"{self.what}: {late if status == 'timeout' else ended}")
        if not child.jobs:
            return
        message = f"no result within {self.deadline_s:g} s"
        if status == "crash":
            message = f"its process ended with status {child.process.returncode}"
        work.settle(child.jobs.popleft(), Outcome(status, None, message))
        if child.jobs:
            work.batches.appendleft(list(child.jobs))

    def close(self) -> None:
        """End all processes; the pool can be used again."""
        _kill_all(self._children)

    def __enter__(self) -> "Pool":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


class _Work:
    """The calls of one `map`."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self.outcomes: list[Outcome | None] = [None] * len(items)
        self.batches: collections.deque[list[int]] = collections.deque()
        self.open = len(items)

    def cut(self, workers: int) -> None:
        """Cut the calls into batches, several for each worker."""
        count = len(self.items)
        size = max(1, min(_MAX_BATCH, count // (4 * workers)))
        for start in range(0, count, size):
            self.batches.append(list(range(start, min(start + size, count))))

    def settle(self, job: int, outcome: Outcome) -> None:
        """Note what became of a call."""
        self.outcomes[job] = outcome
        self.open -= 1

    @property
    def done(self) -> bool:
        """Whether every call has its outcome."""
        return self.open == 0
