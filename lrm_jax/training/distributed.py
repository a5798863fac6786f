# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Join the other processes of a run: JAX's multi-controller runtime.

Called before anything touches a device. Addresses come from the caller, or from
JAX's own detection (SLURM, Open MPI, GKE, Cloud TPU).
"""

import socket
import time
from typing import NamedTuple

import jax

from lrm_jax.types import UserError

HEARTBEAT_S = 20
SHUTDOWN_S = 10
_RETRY_S = 0.5


class Group(NamedTuple):
    """Which processes make up a run.

    Attributes:
      coordinator: `HOST:PORT` of process 0; "" to have JAX find all three.
      size: how many.
      rank: this one, from 0.
      timeout_s: how long to wait for the others at the start.
    """

    coordinator: str = ""
    size: int = 0
    rank: int = -1
    timeout_s: int = 300


def check(group: Group) -> None:
    """Refuse what cannot be a group.

    Raises:
      UserError: an address, a count or an index that is none.
    """
    if not group.coordinator:
        return
    _address(group.coordinator)
    if group.size < 1:
        raise UserError(f"--num-processes {group.size}: expected 1 or more")
    if not 0 <= group.rank < group.size:
        raise UserError(
            f"--process-id {group.rank}: expected 0 to {group.size - 1}"
            f" (--num-processes {group.size})"
        )


def join(group: Group) -> None:
    """Meet the other processes.

    Raises:
      UserError: they were not met in time, or nothing says where they are.
    """
    check(group)
    if group.coordinator and group.rank > 0:
        _wait_for_coordinator(group)
    known = bool(group.coordinator)
    try:
        jax.distributed.initialize(
            coordinator_address=group.coordinator if known else None,
            num_processes=group.size if known else None,
            process_id=group.rank if known else None,
            initialization_timeout=group.timeout_s,
            heartbeat_timeout_seconds=HEARTBEAT_S,
            shutdown_timeout_seconds=SHUTDOWN_S,
        )
    except ValueError as error:
        text = " ".join(str(error).split())
        raise UserError(
            f"--distributed: JAX found no cluster here ({text}); outside of SLURM, Open"
            " MPI, GKE and Cloud TPU say --coordinator HOST:PORT --num-processes N"
            " --process-id I"
        ) from error
    except RuntimeError as error:
        raise not_met(group) from error


def not_met(group: Group) -> UserError:
    """Return the error of a process that waited for the others in vain.

    The runtime may abort instead of raising: then a supervisor says it.
    """
    where = group.coordinator or "found by JAX"
    return UserError(
        f"the processes did not meet within {group.timeout_s} s at coordinator {where};"
        " did all of them start, with the same address and --num-processes?"
    )


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 1 << 16):
        raise UserError(f"--coordinator {text!r}: expected HOST:PORT")
    return host.strip("[]"), int(port)


def _wait_for_coordinator(group: Group) -> None:
    """Say within the time that it is not there; JAX would end the process instead."""
    host, port = _address(group.coordinator)
    end, reason = time.monotonic() + group.timeout_s, "no answer"
    while True:
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            socket.create_connection((host, port), timeout=min(left, 5)).close()
            return
        except OSError as error:
            reason = error.strerror or str(error)
        time.sleep(min(_RETRY_S, left))
    raise UserError(
        f"coordinator {group.coordinator} cannot be reached within {group.timeout_s} s"
        f" ({reason}); is process 0 running there, and is the port open?"
    )
