# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The compiler's processes: several at a time, and none that outlives a failure."""

import time

import pytest

from lrm_jax.cost import child
from lrm_jax.types import UserError

ECHO = "json.tool"
SLOW = """
import json, sys, time
request = json.load(sys.stdin)
time.sleep(request.get("sleep_s", 0))
print(json.dumps(request))
"""


@pytest.fixture(autouse=True)
def without_libtpu(monkeypatch):
    monkeypatch.setattr(child, "check_libtpu", lambda: None)


def test_replies_come_in_the_order_of_requests():
    requests = [{"number": n} for n in range(3)]
    assert child.ask_all(ECHO, requests, 60) == requests


def test_a_refusal_ends_the_others(tmp_path, monkeypatch):
    (tmp_path / "slow_child.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(UserError, match="no such slice"):
        child.ask_all("slow_child", [{"refused": "no such slice"}, {"sleep_s": 50}], 60)
    assert time.monotonic() - began < 40


def test_one_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    (tmp_path / "slow_child.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match="--timeout 0.2: compiling takes longer"):
        child.ask_all("slow_child", [{"sleep_s": 50}], 0.2)
