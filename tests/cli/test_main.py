# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The frame of `lrm`: exit codes, one-line errors, JSON alone on stdout."""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

from lrm_jax.cli import main as cli
from lrm_jax.cli.common import Outcome, as_json, table
from lrm_jax.types import UserError


@pytest.fixture
def fake(monkeypatch):
    """A command named `fake`; set `fake.run` to what it should do."""
    command = types.ModuleType("fake", "A command.")
    command.NAME, command.SUMMARY, command.EXAMPLE = "fake", "fakes", "lrm fake x"
    command.TAKES_OVERRIDES = False
    command.add_arguments = lambda parser: parser.add_argument("--size", type=int)
    command.run = lambda args: Outcome({"n": 1}, "one")
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, command))
    return command


def error_line(capfd):
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("lrm: error: ") and err.count("\n") == 1, err
    return err


def test_text_and_json(fake, capfd):
    assert cli.main(["fake"]) == 0
    assert capfd.readouterr() == ("one\n", "")
    assert cli.main(["fake", "--json"]) == 0
    assert capfd.readouterr() == ('{"n": 1}\n', "")


def test_nothing_but_the_object_reaches_stdout(fake, capfd):
    def run(args):
        print("from python")
        sys.stdout.write("from sys.stdout\n")
        os.write(1, b"from the descriptor\n")
        ctypes.CDLL(None).puts(b"from C")
        ctypes.CDLL(None).fflush(None)
        subprocess.run(["echo", "from a child"], check=True)
        return Outcome({"n": np.int32(2), "x": np.arange(2), "y": float("nan")}, "")

    fake.run = run
    assert cli.main(["fake", "--json"]) == 0
    out, err = capfd.readouterr()
    assert out == '{"n": 2, "x": [0, 1], "y": null}\n'
    for source in ("python", "sys.stdout", "the descriptor", "C", "a child"):
        assert f"from {source}\n" in err


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize(
    ("raised", "code", "err"),
    [
        (UserError("model.d_model=3: no"), 2, "lrm: error: model.d_model=3: no\n"),
        (KeyboardInterrupt(), 130, "lrm: interrupted\n"),
    ],
)
def test_what_a_command_raises_becomes_a_code(fake, capfd, flags, raised, code, err):
    def run(args):
        raise raised

    fake.run = run
    assert cli.main(["fake", *flags]) == code
    assert capfd.readouterr() == ("", err)


def test_sigterm_is_143_and_handlers_are_put_back(fake, capfd):
    before = signal.getsignal(signal.SIGTERM)
    fake.run = lambda args: signal.raise_signal(signal.SIGTERM)
    assert cli.main(["fake"]) == 143
    assert capfd.readouterr() == ("", "lrm: terminated\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_inside_compiled_code_is_no_bug(fake, capfd):
    def run(args):
        raise SystemError("a result with an exception set") from KeyboardInterrupt()

    fake.run = run
    assert cli.main(["fake"]) == 130
    assert capfd.readouterr() == ("", "lrm: interrupted\n")


def test_a_bug_shows_its_traceback_and_exits_1(fake, capfd):
    fake.run = lambda args: 1 // 0
    assert cli.main(["fake", "--json"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" in err and err.rstrip().endswith(
        "ZeroDivisionError: integer division or modulo by zero"
    )


def test_a_check_that_does_not_hold_still_prints(fake, capfd):
    fake.run = lambda args: Outcome({"ok": False}, "no", 1)
    assert cli.main(["fake", "--json"]) == 1
    assert capfd.readouterr().out == '{"ok": false}\n'


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        ([], "the following arguments are required: COMMAND"),
        (["fake", "--sise", "3"], "unknown argument '--sise'; did you mean '--size'?"),
        (["fake", "--size", "big"], "argument --size: invalid int value: 'big'"),
        (["fake", "--si", "3"], "unknown argument '--si'; did you mean '--size'?"),
        (["eval"], "the following arguments are required: RUN"),
        (["export", "gguf", "a", "b"], "argument kind: invalid choice: 'gguf'"),
        (["data", "chek", "x"], "invalid choice: 'chek'"),
    ],
)
def test_a_wrong_command_line_is_one_line(fake, capfd, argv, message):
    assert cli.main(argv) == 2
    assert message in error_line(capfd)


@pytest.mark.parametrize("name", [c.NAME for c in cli.COMMANDS])
def test_every_command_has_help_with_an_example(name, capfd):
    assert cli.main([name, "--help"]) == 0
    out, err = capfd.readouterr()
    assert f"example:\n  lrm {name}" in out and err == ""


def test_help_starts_fast_and_without_jax():
    code = (
        "import sys; from lrm_jax.cli.main import main; main(['--help']);"
        "main(['train', '--help']); sys.exit('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for command in cli.COMMANDS:
        assert re.search(rf"^ +{command.NAME}\b", done.stdout, re.MULTILINE)


def test_a_reader_that_leaves_is_no_error(fake):
    read, write = os.pipe()
    os.close(read)
    kept = os.dup(1)
    os.dup2(write, 1)
    try:
        assert cli.main(["fake"]) == 0
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(write)


def test_as_json_is_strict():
    data = {"a": (1, 2), "b": np.float32(0.5), 3: None, "inf": float("inf")}
    assert json.loads(as_json(data)) == {"a": [1, 2], "b": 0.5, "3": None, "inf": None}


def test_table_aligns():
    text = table(["budget", "n"], [["0", 3], ["high", 12], ["-1", None]])
    assert text == "budget  n\n0       3\nhigh    12\n-1      -"
    assert table(["a", "n"], [["x", 0.25], ["y", 12.0]]) == "a     n\nx  0.25\ny    12"
