# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from lrm_jax.training import stall


@pytest.fixture
def limit():
    yield stall.set_limit
    stall.set_limit(stall.DEFAULT_S)


def wait_in_a_named_function():
    time.sleep(0.5)


def test_a_silence_is_reported_once_with_the_stack(limit, capfd):
    limit(0.1)
    with stall.StallWatch("run") as watch:
        watch.heard(7)
        wait_in_a_named_function()
    said = capfd.readouterr().err
    assert said.count("run: no step for 0 s, since step 7") == 1
    assert "wait_in_a_named_function" in said


def test_each_silence_is_reported(limit, capfd):
    limit(0.05)
    with stall.StallWatch("run") as watch:
        for step in (1, 2):
            watch.heard(step)
            time.sleep(0.2)
    said = capfd.readouterr().err
    assert "since step 1" in said and "since step 2" in said


def test_nothing_is_said_while_steps_come_or_before_the_first(limit, capfd):
    limit(0.3)
    with stall.StallWatch("run") as watch:
        time.sleep(0.4)  # the first step compiles
        for step in range(20):
            watch.heard(step)
            time.sleep(0.02)
    limit(0)
    with stall.StallWatch("run") as watch:
        watch.heard(1)
        time.sleep(0.1)
    assert "no step" not in capfd.readouterr().err
