# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import math

import jax.numpy as jnp

from lrm_jax.training import metrics


def test_windows_weigh_sums_by_hand():
    window = metrics.Window()
    window.add({"accuracy/exact": (3.0, 4.0), "halt/steps_mean": (0.0, 0.0)})
    window.add({"accuracy/exact": (1.0, 16.0), "halt/steps_mean": (0.0, 0.0)})
    assert window.means() == {"accuracy/exact": 0.2, "halt/steps_mean": None}
    window.clear()
    assert window.means() == {}


def test_windows_survive_a_checkpoint_exactly():
    window = metrics.Window()
    window.add({"a/b": (0.1 + 0.2, 1 / 3), "a/inf": (math.inf, 1.0)})
    again = metrics.Window(json.loads(json.dumps(window.to_json(), allow_nan=False)))
    assert again.means() == window.means() and again.to_json() == window.to_json()


def test_device_metrics_come_as_floats():
    on_device = {"loss/total": (jnp.asarray(1.5), jnp.asarray(2, jnp.int32))}
    metrics.start_copy(on_device)
    assert metrics.to_host(on_device) == {"loss/total": (1.5, 2.0)}


def test_only_losses_stop_a_run():
    assert metrics.bad_loss({"grad/norm": (math.inf, 1.0)}) is None
    assert metrics.bad_loss({"loss/lm": (math.nan, 1.0)}) == "loss/lm"
    assert metrics.bad_loss({"loss/lm": (-math.inf, 1.0)}) == "loss/lm"


def test_lines_are_json_whatever_the_numbers():
    line = metrics.json_line({"step": 1, "a/b": math.nan, "a/c": -math.inf, "d": 1e300})
    assert line == '{"step": 1, "a/b": null, "a/c": null, "d": 1e+300}\n'
