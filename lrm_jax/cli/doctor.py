# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Say what this machine can run, what is missing and the line that mends it."""

import argparse

from lrm_jax.cli import several
from lrm_jax.cli.common import DONE, FAILED, Outcome, UsageError

NAME = "doctor"
SUMMARY = "devices, versions, memory, extras, and how to mend what is missing"
EXAMPLE = "lrm doctor"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    group = parser.add_argument_group("several workers (each runs this command)")
    group.add_argument(
        "--all-workers",
        action="store_true",
        help="one report of all: where they differ, and whether they can talk; JAX"
        " finds them (SLURM, Open MPI, GKE, Cloud TPU) unless these do:",
    )
    several.add_members(group)


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    named = (args.coordinator, args.num_processes, args.process_id)
    given = [x is not None for x in named]
    if any(given) and not (all(given) and args.all_workers):
        raise UsageError(
            "--coordinator, --num-processes and --process-id go together, with"
            " --all-workers"
        )
    if args.join_timeout_s < 1:
        raise UsageError(f"--join-timeout-s {args.join_timeout_s}: expected 1 or more")
    return _all_workers(args) if args.all_workers else _this_machine()


def _this_machine() -> Outcome:
    from lrm_jax.tooling import doctor

    report = doctor.collect()
    code = DONE if report["ok"] else FAILED
    return Outcome(report, doctor.render(report), code)


def _all_workers(args: argparse.Namespace) -> Outcome:
    from lrm_jax.tooling import workers
    from lrm_jax.training.distributed import Group

    found = args.coordinator is None
    group = Group(
        "" if found else args.coordinator,
        0 if found else args.num_processes,
        -1 if found else args.process_id,
        args.join_timeout_s,
    )
    worker, report = workers.collect(group)
    code = DONE if report["ok"] else FAILED
    if worker:
        text = f"worker {worker}: worker 0 has the report"
        return Outcome({"ok": report["ok"], "worker": worker}, text, code)
    return Outcome(report, workers.render(report), code)
