# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every command shares: outcome, argument parser, stdout kept clean.

Imports nothing heavy, so that `lrm --help` answers at once.
"""

import argparse
import contextlib
import difflib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

DONE, FAILED, WRONG_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
ENDINGS = {"interrupted": INTERRUPTED, "terminated": TERMINATED, "nan": FAILED}
"""Exit code by why a training ended; 0 for any other reason."""


class Outcome(NamedTuple):
    """What a command hands back.

    Attributes:
      data: the JSON object of `--json`.
      text: what a person reads.
      code: exit code; 1 where a check did not hold.
    """

    data: dict[str, Any]
    text: str
    code: int = DONE


class UsageError(Exception):
    """The command line itself is wrong; the message is one line."""


class Terminated(BaseException):
    """SIGTERM arrived."""


class Command(Protocol):
    """One file of this folder; its docstring opens `lrm COMMAND --help`."""

    @property
    def NAME(self) -> str:
        """Return what is typed."""
        ...

    @property
    def SUMMARY(self) -> str:
        """Return one line for `lrm --help`."""
        ...

    @property
    def EXAMPLE(self) -> str:
        """Return command lines that `lrm COMMAND --help` ends with."""
        ...

    @property
    def TAKES_OVERRIDES(self) -> bool:
        """Return whether words it does not know are config overrides."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what the command takes."""
        ...

    def run(self, args: argparse.Namespace) -> Outcome:
        """Do it; overrides are in `args.overrides`."""
        ...


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line with a suggestion."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make it, without abbreviations (a typing mistake is no option)."""
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(f"{message} (see {self.prog} --help)")

    def leaves(self) -> "list[Parser]":
        """Return the parsers that end a command line: its own, or its actions'."""
        subs = [a for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        if not subs:
            return [self]
        return [leaf for child in subs[0].choices.values() for leaf in child.leaves()]

    def options(self) -> list[str]:
        """Return every option of the command and of its actions."""
        return [
            option
            for leaf in self.leaves()
            for action in leaf._actions
            for option in action.option_strings
        ]

    def nearly_takes(self, word: str) -> bool:
        """Return whether a word is an option but for a letter or a dash."""
        name = word.partition("=")[0]
        if not name.startswith("--") or "." in name:
            return False
        return bool(difflib.get_close_matches(name, self.options(), n=1, cutoff=0.85))

    def unknown(self, words: Sequence[str]) -> UsageError:
        """Return the error for words the command does not take."""
        options = self.options()
        word = words[0].partition("=")[0]
        return UsageError(
            f"unknown argument {words[0]!r}{suggest(word, options)} "
            f"(see {self.prog} --help)"
        )


def suggest(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean 'x'?` where something known is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


class Stdout:
    """The real standard output, kept for the outcome alone."""

    def __init__(self, fd: int) -> None:
        """Take over a file descriptor."""
        self._fd = fd

    def has_color(self) -> bool:
        """Return whether a person with a colour terminal reads it."""
        return os.isatty(self._fd) and "NO_COLOR" not in os.environ

    def write(self, text: str) -> None:
        """Write text as it is; a reader that has left is no error."""
        data = text.encode()
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._fd, data) :]


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[Stdout]:
    """Send whatever any library prints to standard error, below Python too."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield Stdout(kept)
    finally:
        sys.stderr.flush()
        os.dup2(kept, 1)
        os.close(kept)


def show_count(done: int, total: int) -> None:
    """Show how far a command is, where a person looks on."""
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\r{done}/{total}", end=end, file=sys.stderr, flush=True)


class Progress:
    """What runs and how far it is, on standard error: a line a pass, or a bar."""

    def __init__(self, every_s: float = 10.0) -> None:
        """Show at most so often where nobody looks on."""
        self._every_s = every_s
        self._last = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` problems of a pass are through."""
        text = f"{what}: {done}/{total}"
        if sys.stderr.isatty():
            end = "\n" if done >= total else ""
            print(f"\r{text}", end=end, file=sys.stderr, flush=True)
            return
        if done >= total or time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            print(text, file=sys.stderr, flush=True)


def say_inherited(asked: Any, resolved: Any, overrides: Sequence[str]) -> None:
    """Say in one line which keys of a command line `inherit=true` takes elsewhere.

    Args:
      asked: the config with the overrides.
      resolved: the config with what it inherits.
      overrides: as on the command line.
    """
    if not getattr(asked, "inherit", False):
        return
    from lrm_jax.config import flatten

    words = [word.removeprefix("--").partition("=")[0] for word in overrides]
    named = {word.replace("-", "_").replace(".no_", ".") for word in words}
    wanted, found, lost = flatten(asked), flatten(resolved), []
    for key, value in wanted.items():
        given = any(key == name or key.startswith(f"{name}.") for name in named)
        left_open = value == "inherited" or (key, value) == ("model.vocab_size", 0)
        if given and key.startswith(("model.", "tokenizer.")) and not left_open:
            if found.get(key) != value:
                lost.append(f"{key}={found.get(key)} (not {value})")
    if lost:
        whence = resolved.init_from or "its source"
        print(f"inherit=true takes from {whence}: {', '.join(lost)}", file=sys.stderr)


def warning_of(trained: Any) -> dict[str, str]:
    """Why it is not the newest checkpoint that was used (said when it was read)."""
    return {"warning": trained.warning} if trained.warning else {}


def as_json(data: dict[str, Any]) -> str:
    """Return one JSON object on one line; arrays become lists, NaN null."""
    return json.dumps(_plain(data), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy and jax, arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return aligned columns, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [
        bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        for i in range(len(header))
    ]

    def line(words: Sequence[str]) -> str:
        padded = [
            word.rjust(width) if is_right else word.ljust(width)
            for word, width, is_right in zip(words, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), *map(line, cells)])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
