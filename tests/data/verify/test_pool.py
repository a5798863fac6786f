# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pool against calls that hang, crash, raise, eat memory or are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lrm_jax.data.verify.pool import Pool
from lrm_jax.types import UserError

ROOT = Path(__file__).resolve().parents[3]

CALLS = """
import os, subprocess, sys, time

def double(x):
    return 2 * x

def act(x):
    if x == "hang":
        time.sleep(60)
    if x == "spin":
        return 9 ** 9 ** 9 ** 9
    if x == "exit":
        os._exit(3)
    if x == "sysexit":
        sys.exit(4)
    if x == "abort":
        os.abort()
    if x == "raise":
        raise ValueError("two\\nlines")
    if x == "memory":
        return len(bytearray(2 ** 34))
    if x == "unsendable":
        return object()
    if x == "print":
        print("to standard output")
        return sys.stdin.read()
    if x == "child":
        return subprocess.Popen(["sleep", "60"]).pid
    if x == "modules":
        return sorted(m for m in sys.modules if m in ("jax", "numpy", "lrm_jax"))
    return x

def pid(x):
    return os.getpid()

def exit_soon(x):
    import threading
    threading.Timer(0.05, os._exit, (9,)).start()
    return os.getpid()

def wait(x):
    open(x, "w").write(str(os.getpid()))
    time.sleep(60)

def spin(x):
    open(x, "w").write(str(os.getpid()))
    return 9 ** 9 ** 9 ** 9
"""


@pytest.fixture(autouse=True)
def calls(tmp_path, monkeypatch):
    (tmp_path / "pool_calls.py").write_text(CALLS)
    monkeypatch.chdir(tmp_path)


def _alive(pid: int) -> bool:
    """Whether a process runs (one that only waits to be reaped does not)."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _gone(pid: int, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not _alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_results_are_in_order_whatever_happens_between():
    items = [0, "hang", 1, "exit", 2, "raise", 3, "sysexit", "abort", 4, "spin", 5]
    with Pool("pool_calls:act", workers=2, deadline_s=0.5) as pool:
        outcomes = pool.map(items)
        again = pool.map([6, 7])
    assert [o.value for o in outcomes if o.status == "ok"] == [0, 1, 2, 3, 4, 5]
    found = {i: o for i, o in zip(items, outcomes, strict=True) if isinstance(i, str)}
    assert {name: o.status for name, o in found.items()} == {
        **{"hang": "timeout", "spin": "timeout", "exit": "crash", "abort": "crash"},
        **{"raise": "error", "sysexit": "error"},
    }
    assert found["hang"].message == "no result within 0.5 s"
    assert found["exit"].message == "its process ended with status 3"
    assert found["raise"].message.startswith("ValueError: two lines (")
    assert [o.value for o in again] == [6, 7]


def test_a_hang_costs_its_deadline_only():
    start = time.monotonic()
    with Pool("pool_calls:act", workers=2, deadline_s=1.0) as pool:
        outcomes = pool.map([*range(50), "hang", *range(50)])
    assert time.monotonic() - start < 10
    assert [o.status for o in outcomes].count("timeout") == 1


def test_memory_has_a_limit():
    with Pool("pool_calls:act", workers=1, deadline_s=20, memory_mb=1024) as pool:
        outcomes = pool.map(["memory", 1])
    assert outcomes[0].status == "error"
    assert outcomes[0].message.startswith("MemoryError")
    assert outcomes[1].value == 1


def test_children_print_apart_and_have_no_input(capfd):
    with Pool("pool_calls:act", workers=1, deadline_s=20) as pool:
        outcomes = pool.map(["print", "unsendable", 1])
    assert [o.value for o in outcomes] == ["", None, 1]
    assert "object cannot be passed" in outcomes[1].message
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "to standard output\n")


def test_children_import_neither_jax_nor_numpy():
    with Pool("pool_calls:act", workers=1, deadline_s=20) as pool:
        assert pool.map(["modules"])[0].value == ["lrm_jax"]


def test_many_easy_calls_are_fast():
    with Pool("pool_calls:double", workers=2, deadline_s=5) as pool:
        pool.start()
        start = time.monotonic()
        outcomes = pool.map(list(range(1000)))
        took = time.monotonic() - start
    assert [o.value for o in outcomes] == [2 * i for i in range(1000)]
    assert took < 2.0  # 0.09 s on two idle cores


def test_large_calls_do_not_block():
    with Pool("pool_calls:act", workers=2, deadline_s=20) as pool:
        items = ["x" * 3_000_000, "y", "z" * 3_000_000]
        assert [o.value for o in pool.map(items)] == items


def test_closing_ends_children_and_grandchildren():
    with Pool("pool_calls:act", workers=2, deadline_s=20) as pool:
        grandchild = pool.map(["child"])[0].value
        pids = [child.process.pid for child in pool._children]
        assert _alive(grandchild)
    assert not any(_alive(pid) for pid in pids)
    assert _gone(grandchild, 5)


def test_a_forgotten_pool_ends_its_children():
    pool = Pool("pool_calls:pid", workers=1, deadline_s=20)
    pid = pool.map([0])[0].value
    del pool
    assert not _alive(pid)


def test_a_child_that_died_while_idle_is_replaced():
    with Pool("pool_calls:exit_soon", workers=1, deadline_s=20) as pool:
        first = pool.map([0])[0].value
        assert _gone(first, 5)
        again = pool.map([0])[0]
    assert again.status == "ok" and again.value != first


def test_what_cannot_be_imported_is_the_users_error():
    (Path.cwd() / "pool_broken.py").write_text("1 / 0\n")
    for target, message in {
        "pool_calls:absent": "has no attribute 'absent'",
        "pool_calls:os": "os is a module, not a function",
        "pool_broken:f": r"division by zero \(.*pool_broken.py:1\)",
        "no_such_module:f": "No module named 'no_such_module'",
    }.items():
        with Pool(target, deadline_s=5, what="reward.x") as pool:
            with pytest.raises(UserError, match=f"reward.x: .*{message}"):
                pool.start()
            with pytest.raises(UserError, match=message):
                pool.map([1])


def test_an_interrupt_leaves_a_clean_pool():
    with Pool("pool_calls:act", workers=2, deadline_s=30) as pool:
        pool.map([1, 2])
        pids = [child.process.pid for child in pool._children]
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            pool.map(["hang", "hang"])
        assert not any(_alive(pid) for pid in pids)
        assert [o.value for o in pool.map([1, 2, 3])] == [1, 2, 3]


def _parent(body: str, tmp_path: Path) -> subprocess.Popen:
    code = (
        "from lrm_jax.data.verify.pool import Pool\n"
        f"pool = Pool({body!r}, workers=1, deadline_s=30)\n"
        f"pool.map([{str(tmp_path / 'pid')!r}])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], env=env, cwd=tmp_path)


def _pid_of_call(tmp_path: Path) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        file = tmp_path / "pid"
        if file.exists() and file.read_text():
            return int(file.read_text())
        time.sleep(0.02)
    raise AssertionError("the call never began")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_children_end_with_their_parent(tmp_path, number):
    parent = _parent("pool_calls:wait", tmp_path)
    pid = _pid_of_call(tmp_path)
    parent.send_signal(number)
    parent.wait(30)
    assert _gone(pid, 10)


@pytest.mark.slow
def test_a_call_that_holds_the_interpreter_ends_after_its_parent(tmp_path):
    code = (
        "from lrm_jax.data.verify.pool import Pool\n"
        "pool = Pool('pool_calls:spin', workers=1, deadline_s=0.5)\n"
        "import time, os, threading\n"
        "threading.Timer(0.3, os._exit, (1,)).start()\n"
        f"pool.map([{json.dumps(str(tmp_path / 'pid'))}])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, check=False)
    assert _gone(_pid_of_call(tmp_path), 10 * (os.cpu_count() or 1))
