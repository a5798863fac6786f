# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import struct

from lrm_jax.evaluation import policy_plots
from tests.evaluation.written import RECORDS


def size(png):
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


def test_only_what_was_logged_is_drawn():
    one = size(policy_plots.plot_learning_curves([{"step": 1, "loss/lm": 2.0}]))
    # Reward, accuracy, entropy, KL, length, groups, log-prob gap: 3 + 3 + 1 panels.
    seven = size(policy_plots.plot_learning_curves(RECORDS))
    assert seven == (3 * one[0], 3 * one[1])


def test_runs_without_numbers_have_a_picture():
    nothing = policy_plots.plot_learning_curves([])
    diverged = [{"step": 1, "loss/lm": float("nan")}, {"step": 2, "alarm": "x"}]
    assert policy_plots.plot_learning_curves(diverged) == nothing


def test_pass_at_any_k_is_drawn():
    records = [
        {"step": s, "eval/pass_at_1": 0.1, "eval/pass_at_16": 0.3} for s in (1, 2)
    ]
    (held_out,) = [p for p in policy_plots.PANELS if p.title == "Held out"]
    labels = policy_plots._series(records, held_out)
    assert list(labels) == ["pass at 1", "pass at 16"]


def test_accuracy_by_tokens():
    results = [
        {"budget": b, "mean_steps": x, "exact_accuracy": y, "ci95": [y - 0.1, y + 0.1]}
        for b, x, y in (("16", 16.0, 0.6), ("0", 0.0, 0.2))
    ]
    two = policy_plots.plot_accuracy_by_tokens({"a": results, "b": results[:1]})
    assert size(two) == size(policy_plots.plot_accuracy_by_tokens({"a": results}))
