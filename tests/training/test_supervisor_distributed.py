# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Supervisors of children that need no JAX: who failed first, and with what code."""

import os
import signal
import socket
import sys
import threading
import time

import pytest

from lrm_jax.training import distributed, files, first_error, supervisor
from lrm_jax.training.first_error import Failure
from lrm_jax.types import UserError

TELL = "import os; os.write(int(os.environ['LRM_SUPERVISOR_FD']), b'%s %d\\n'); "
SLEEP = "import time; time.sleep(60)"


def child(code, process=0, start="abc"):
    return [sys.executable, "-c", TELL % (start, process) + code]


def test_a_childs_code_and_output_are_passed_on(tmp_path):
    ended = supervisor.supervise(
        child("import sys; print('{}'); sys.exit(143)"), str(tmp_path)
    )
    assert (ended.code, ended.output, ended.line) == (143, b"{}\n", "")


def test_a_child_waiting_for_others_is_ended_with_their_error(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "_GRACE_S", 0.5)
    other = Failure(1, 2, "data.path=x: no such file", time.time(), False)
    later = Failure(2, 1, "lost another process", time.time() - 9, True)

    def fail():
        time.sleep(0.5)
        first_error.write(tmp_path, "abc", later)
        first_error.write(tmp_path, "abc", other)

    thread = threading.Thread(target=fail)
    thread.start()
    began = time.monotonic()
    ended = supervisor.supervise(child(SLEEP), str(tmp_path))
    thread.join()
    assert (ended.code, ended.line) == (2, "process 1: data.path=x: no such file")
    assert time.monotonic() - began < 20


def test_a_killed_child_leaves_a_record_for_the_others(tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    ended = supervisor.supervise(child(code, process=1), str(tmp_path))
    assert ended.code == 137 and "process 1: was ended by SIGKILL" in ended.line
    found = first_error.first(tmp_path, "abc")
    assert found is not None and found.code == 137 and found.process == 1


def test_a_killed_child_is_the_cause_also_where_others_spoke_first(tmp_path):
    lost = Failure(0, 1, "lost another process", time.time() - 9, True)
    first_error.write(tmp_path, "abc", lost)
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    ended = supervisor.supervise(child(code, process=1), str(tmp_path))
    assert ended.code == 137 and "process 1: was ended by SIGKILL" in ended.line


def test_a_child_that_said_nothing_is_named_by_its_code(tmp_path):
    ended = supervisor.supervise(child("raise SystemExit(7)", 2), str(tmp_path))
    found = first_error.first(tmp_path, "abc")
    assert ended.code == 7 and found is not None
    assert (found.process, found.code, found.line) == (2, 7, "ended with code 7")


def test_a_child_that_was_aborted_lost_another(tmp_path):
    ended = supervisor.supervise(child("import os; os.abort()"), str(tmp_path))
    assert ended.code == 1 and "process 0: lost another process" in ended.line


@pytest.mark.parametrize("code", [0, 2, 143])
def test_a_store_that_is_away_changes_no_ending(tmp_path, monkeypatch, code):
    def away(*args):
        raise files.StoreAwayError("away")

    for name in ("of", "first", "write"):
        monkeypatch.setattr(first_error, name, away)
    ended = supervisor.supervise(
        child(f"import sys; print('{{}}'); sys.exit({code})"), str(tmp_path)
    )
    assert (ended.code, ended.output, ended.line) == (code, b"{}\n", "")


def test_records_of_another_start_mean_nothing(tmp_path):
    first_error.write(tmp_path, "old", Failure(1, 2, "before", 0.0, False))
    ended = supervisor.supervise(child("print(1)"), str(tmp_path))
    assert (ended.code, ended.line) == (0, "")


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_reach_the_child_as_sigterm(tmp_path, number, code):
    catch = (
        "import signal, sys, time; "
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(143)); "
        f"open({str(tmp_path / 'ready')!r}, 'w').close(); time.sleep(60)"
    )

    def send():
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    ended = supervisor.supervise(child(catch), str(tmp_path / "run"))
    thread.join()
    assert ended.code == code


def test_what_ended_a_process_is_one_line():
    wrong = first_error.of_exception(3, UserError("mesh: no"))
    assert (wrong.process, wrong.code, wrong.line, wrong.lost) == (
        *(3, 2, "mesh: no"),
        False,
    )
    bug = first_error.of_exception(0, ValueError("a\nb"))
    assert (bug.code, bug.line, bug.lost) == (1, "ValueError: a b", False)
    lost = first_error.of_exception(0, RuntimeError("Gloo all-reduce failed"))
    assert lost.lost


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_an_unreachable_coordinator_is_one_line_within_its_time():
    where = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(UserError, match=f"{where} cannot be reached within 1 s"):
        distributed.join(distributed.Group(where, 2, 1, timeout_s=1))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "group, message",
    [
        (("localhost", 2, 0), "--coordinator 'localhost': expected HOST:PORT"),
        (("localhost:99999", 2, 0), "expected HOST:PORT"),
        (("localhost:1", 0, 0), "--num-processes 0: expected 1 or more"),
        (("localhost:1", 2, 2), "--process-id 2: expected 0 to 1"),
    ],
)
def test_a_group_that_is_none_is_refused(group, message):
    with pytest.raises(UserError, match=message):
        distributed.check(distributed.Group(*group))
