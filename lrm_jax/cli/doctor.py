# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Say what this machine can run, what is missing and the line that mends it."""

import argparse

from lrm_jax.cli.common import DONE, FAILED, Outcome

NAME = "doctor"
SUMMARY = "devices, versions, memory, extras, and how to mend what is missing"
EXAMPLE = "lrm doctor"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes: nothing."""


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.tooling import doctor

    report = doctor.collect()
    code = DONE if report["ok"] else FAILED
    return Outcome(report, doctor.render(report), code)
