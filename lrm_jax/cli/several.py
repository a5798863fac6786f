# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm train` as one of several processes: options, supervisor and child."""

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

from lrm_jax.cli.common import Outcome, UsageError

_ABORTED = 128 + signal.SIGABRT
Train = Callable[[argparse.Namespace], Outcome]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says which process this is."""
    group = parser.add_argument_group("several processes (each needs --run-dir)")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="one of several, found by JAX (SLURM, Open MPI, GKE, Cloud TPU)",
    )
    add_members(group)


def add_members(group: Any) -> None:
    """Declare, in a group of options, what finds the other processes."""
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where process 0 listens"
    )
    group.add_argument("--num-processes", type=int, metavar="N", help="how many")
    group.add_argument("--process-id", type=int, metavar="I", help="this one, from 0")
    group.add_argument(
        "--join-timeout-s",
        type=int,
        default=300,
        metavar="S",
        help="wait so long for the others at the start (default: %(default)s)",
    )


def wanted(args: argparse.Namespace) -> bool:
    """Return whether this is one of several processes.

    Raises:
      UsageError: the options do not say which one.
    """
    named = (args.coordinator, args.num_processes, args.process_id)
    given = [x is not None for x in named]
    if args.distributed and any(given):
        raise UsageError("--distributed has JAX find the others: leave --coordinator")
    if any(given) and not all(given):
        raise UsageError("--coordinator, --num-processes and --process-id go together")
    if args.join_timeout_s < 1:
        raise UsageError(f"--join-timeout-s {args.join_timeout_s}: expected 1 or more")
    if (args.distributed or any(given)) and not (args.run_dir or args.dry_run):
        raise UsageError("several processes need --run-dir, a folder that all see")
    return args.distributed or any(given)


def run(args: argparse.Namespace, train: Train) -> Outcome:
    """Start the training process and watch it; or, in that process, train."""
    from lrm_jax.training import distributed, run_folder, supervisor

    group = distributed.Group(
        args.coordinator or "",
        args.num_processes or 0,
        -1 if args.process_id is None else args.process_id,
        args.join_timeout_s,
    )
    distributed.check(group)
    if supervisor.supervised():
        return _train(args, group, train)
    run_folder.refuse_strange_folder(args.run_dir)
    ended = supervisor.supervise(_command(args), args.run_dir)
    if not ended.met and ended.code == _ABORTED:
        raise distributed.not_met(group)
    if ended.line:
        print(f"lrm: error: {ended.line}", file=sys.stderr)
    if not ended.output:  # not the first process, or a failed one
        raise SystemExit(ended.code)
    said = json.loads(ended.output)
    return Outcome(said["data"], said["text"], ended.code)


def _command(args: argparse.Namespace) -> list[str]:
    """Return the child's command line: this one, whatever called it."""
    words = [sys.executable, "-m", "lrm_jax.cli.main", "train", args.preset]
    words += [*args.overrides, "--json", "--run-dir", args.run_dir]
    options = ("data", "init_from", "profile", "mesh", "coordinator", "num_processes")
    for name in options:
        if getattr(args, name, None) is not None:
            words += ["--" + name.replace("_", "-"), str(getattr(args, name))]
    if args.process_id is not None:
        words += ["--process-id", str(args.process_id)]
    words += ["--join-timeout-s", str(args.join_timeout_s)]
    words += ["--stall-s", str(args.stall_s)]
    return [*words, "--distributed"] if args.distributed else words


def _train(args: argparse.Namespace, group: Any, train: Train) -> Outcome:
    """Train in the child; whatever goes wrong ends it at once."""
    import secrets
    import traceback

    from lrm_jax import processes
    from lrm_jax.training import distributed, first_error, supervisor
    from lrm_jax.types import UserError

    supervisor.die_with_parent()
    distributed.join(group)
    import jax

    index = jax.process_index()
    start = processes.of_first(secrets.token_hex(4))
    supervisor.tell_start(start, index)
    try:
        outcome = train(args)
    except BaseException as error:
        # Standard error may lie on the disk that is full.
        with contextlib.suppress(OSError):
            if isinstance(error, UserError):
                print(f"lrm: error: {' '.join(str(error).split())}", file=sys.stderr)
            else:
                traceback.print_exc()
        failure = first_error.of_exception(index, error)
        supervisor.fail(args.run_dir, start, failure)
    if outcome.code == first_error.FAILED and not index:
        failure = first_error.of_ending(index, outcome.data["message"])
        first_error.write(args.run_dir, start, failure)
    processes.wait_for_all("end")
    if index:
        raise SystemExit(outcome.code)
    return Outcome({"data": outcome.data, "text": outcome.text}, "", outcome.code)
