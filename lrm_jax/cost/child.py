# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The child process that libtpu is loaded in: a request in, a reply out, logs apart.

libtpu logs at will, on standard error and output; the parent shows none of it unless
the child fails.
"""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import jax

from lrm_jax.types import UserError

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    # A cached executable keeps no text to count in, and TPUs' are not ours to keep.
    "JAX_ENABLE_COMPILATION_CACHE": "false",
}
"""What the child is started with: the compiler without a machine to ask."""

_DROPPED = ("TPU_", "LIBTPU_", "JAX_COORDINATOR", "JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
"""Beginnings of variables that would make the child look for a TPU, or a cluster."""


def check_libtpu() -> None:
    """Refuse to start without the compiler.

    Raises:
      UserError: it is not installed; says what to type.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "libtpu, the compiler for TPUs, is not installed: "
            f'pip install "jax[tpu]=={jax.__version__}"'
        )


def ask_all(
    module: str, requests: Sequence[dict[str, Any]], timeout_s: float
) -> list[dict[str, Any]]:
    """Run `python -m module` on every request, as many at a time as there are cores.

    Args:
      module: calls `answer`.
      requests: JSON; the first ones are begun first.
      timeout_s: after which a child is ended.

    Returns:
      The replies, in order.

    Raises:
      UserError: a child refuses its request, or takes too long; the others are ended.
      RuntimeError: it fails; the message ends with the last of its log.
    """
    check_libtpu()
    running: set[subprocess.Popen[str]] = set()
    ended = threading.Event()

    def one(request: dict[str, Any]) -> dict[str, Any]:
        return _ask(module, request, timeout_s, running, ended)

    with ThreadPoolExecutor(min(len(requests), _cores())) as pool:
        waiting = [pool.submit(one, request) for request in requests]
        try:
            wait(waiting, return_when=FIRST_EXCEPTION)
            failed = [w for w in waiting if w.done() and w.exception()]
            return [w.result() for w in failed or waiting]
        finally:
            ended.set()
            for child in list(running):
                child.kill()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _ask(
    module: str,
    request: dict[str, Any],
    timeout_s: float,
    running: set[subprocess.Popen[str]],
    ended: threading.Event,
) -> dict[str, Any]:
    if ended.is_set():
        raise RuntimeError("another program's process has failed")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_DROPPED)}
    with subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=kept | ENVIRONMENT,
    ) as child:
        running.add(child)
        if ended.is_set():
            child.kill()
        try:
            out, log = child.communicate(json.dumps(request), timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            message = f"--timeout {timeout_s:g}: compiling takes longer"
            raise UserError(message) from error
        finally:
            running.discard(child)
            child.kill()
    if child.returncode or not out:
        raise RuntimeError(
            f"the compiler's process ended with {child.returncode}:\n{log[-4000:]}"
        )
    reply = json.loads(out)
    if "refused" in reply:
        raise UserError(reply["refused"])
    return reply


def answer(make: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read the request, write the reply; nothing else goes to standard output.

    Args:
      make: from request to reply; what it raises as `UserError` is a refusal.
    """
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        reply = make(json.load(sys.stdin))
    except UserError as error:
        reply = {"refused": str(error)}
    with os.fdopen(kept, "w") as out:
        json.dump(reply, out)
