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
from collections.abc import Callable
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


def ask(module: str, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Run `python -m module` on a request and return its reply.

    Args:
      module: calls `answer`.
      request: JSON.
      timeout_s: after which the child is ended.

    Raises:
      UserError: the child refuses the request, or takes too long.
      RuntimeError: it fails; the message ends with the last of its log.
    """
    check_libtpu()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_DROPPED)}
    child = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=kept | ENVIRONMENT,
    )
    try:
        out, log = child.communicate(json.dumps(request), timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"--timeout {timeout_s:g}: compiling takes longer") from error
    finally:
        child.kill()
        child.wait()
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
