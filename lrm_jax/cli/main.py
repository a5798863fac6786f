# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm`: finds the command, runs it, prints its outcome, returns its exit code.

0 done, 1 a check did not hold (or a bug: with a traceback), 2 the input is
wrong (one line), 130 interrupted, 143 terminated.
"""

import argparse
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from lrm_jax import __version__
from lrm_jax.cli import (
    aot,
    bench,
    ckpt,
    data,
    doctor,
    eval,
    export,
    import_,
    presets,
    quickstart,
    report,
    sample,
    search,
    solve,
    sweep,
    train,
    verify,
)
from lrm_jax.cli.common import (
    FAILED,
    INTERRUPTED,
    TERMINATED,
    WRONG_INPUT,
    Command,
    Outcome,
    Parser,
    Terminated,
    UsageError,
    as_json,
    stdout_to_stderr,
    suggest,
)
from lrm_jax.tooling.host_memory import keep_large_blocks

COMMANDS: tuple[Command, ...] = (
    quickstart,
    presets,
    train,
    eval,
    solve,
    search,
    sample,
    sweep,
    report,
    data,
    import_,
    export,
    verify,
    aot,
    bench,
    ckpt,
    doctor,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        command, args = parse(words)
    except UsageError as error:
        return _refuse(error)
    except SystemExit as stop:  # --help, --version
        return int(stop.code or 0)
    keep_large_blocks()  # before any command imports JAX
    with stdout_to_stderr() as stdout:
        args.color = stdout.has_color()
        code, outcome = _run(command, args)
        if outcome is not None:
            as_text = outcome.text.rstrip("\n") + "\n"
            stdout.write(as_json(outcome.data) if args.json else as_text)
    return code


def parse(words: list[str]) -> tuple[Command, argparse.Namespace]:
    """Return the command's module and its arguments.

    Raises:
      UsageError: words that no command takes.
    """
    parser, sub_parsers = build_parser()
    name = next((word for word in words if not word.startswith("-")), None)
    if name is not None and name not in sub_parsers:
        raise UsageError(
            f"unknown command {name!r}{suggest(name, list(sub_parsers))} "
            "(see lrm --help)"
        )
    args, unknown = parser.parse_known_args(words)
    command = next(c for c in COMMANDS if args.command == c.NAME)
    if unknown and not command.TAKES_OVERRIDES:
        raise sub_parsers[command.NAME].unknown(unknown)
    for word in unknown:  # a mistyped flag is no override
        if sub_parsers[command.NAME].nearly_takes(word):
            raise sub_parsers[command.NAME].unknown([word])
    args.overrides = unknown
    return command, args


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of `lrm` and those of its commands."""
    parser = Parser(prog="lrm", description="Research on large reasoning models.")
    parser.add_argument("--version", action="version", version=__version__)
    subs = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )
    made: dict[str, Parser] = {}
    for command in COMMANDS:
        made[command.NAME] = subs.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=(command.__doc__ or "").strip(),
            epilog=f"example:\n  {command.EXAMPLE}",
        )
        command.add_arguments(made[command.NAME])
        for leaf in made[command.NAME].leaves():
            leaf.add_argument(
                "--json",
                action="store_true",
                help="print one JSON object on standard output and nothing else there",
            )
    return parser, made


def _run(command: Command, args: argparse.Namespace) -> tuple[int, Outcome | None]:
    """Run the command; turn what it raises into an exit code."""
    before = _on_sigterm(_terminate)
    try:
        outcome = command.run(args)
        return outcome.code, outcome
    except UsageError as error:
        return _refuse(error), None
    except (KeyboardInterrupt, Terminated) as stop:
        return _stopped(stop), None
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt | Terminated):
            return _stopped(error.__cause__), None  # compiled code wraps it
        from lrm_jax.types import UserError  # imports jax: not for --help

        if isinstance(error, UserError):
            return _refuse(error), None
        from lrm_jax.storage.paths import StoreAwayError

        if isinstance(error, StoreAwayError):
            _refuse(error)
            return FAILED, None
        traceback.print_exc()
        return FAILED, None
    finally:
        _on_sigterm(before)


def _refuse(error: Exception) -> int:
    print(f"lrm: error: {' '.join(str(error).split())}", file=sys.stderr)
    return WRONG_INPUT


def _stopped(stop: BaseException) -> int:
    interrupted = isinstance(stop, KeyboardInterrupt)
    print(f"lrm: {'interrupted' if interrupted else 'terminated'}", file=sys.stderr)
    return INTERRUPTED if interrupted else TERMINATED


def _terminate(signum: int, frame: object) -> None:
    raise Terminated


def _on_sigterm(handler: Any) -> Any:
    """Install a handler where Python allows it; return the one before."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
