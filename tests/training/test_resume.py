# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run killed with SIGKILL ends with the bits of the run never killed.

Twenty kills: `pytest -m slow tests/training/test_resume.py`, or
`python tests/training/chaos_resume.py --kills 20`.
"""

import importlib.util
import json
import signal
from pathlib import Path

import pytest

CHAOS = Path(__file__).with_name("chaos_resume.py")


def load_chaos():
    spec = importlib.util.spec_from_file_location("chaos_resume", CHAOS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "kills", [3, pytest.param(20, marks=pytest.mark.slow)], ids=str
)
def test_killed_runs_end_bit_equal(tmp_path, kills):
    tally = load_chaos().run_chaos(tmp_path, kills, seed=kills)
    assert tally.differences == []
    assert tally.kills == kills and tally.in_save >= kills // 4


def test_sigterm_saves_and_exits_143(tmp_path):
    child = load_chaos().start(tmp_path / "run", 5000)
    assert child.stdout is not None
    assert child.stdout.readline() == "running\n"  # inside the loop by now
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 143, err
    end = json.loads(out.splitlines()[-1])
    assert end["reason"] == "terminated"
    assert f"saved step {end['step']}" in err and "Traceback" not in err
