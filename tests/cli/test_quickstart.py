# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm quickstart`: what it hands on and what it prints."""

import json

import pytest

from lrm_jax.cli.main import main
from lrm_jax.recipes import quickstart

RESULT = {"budget": "0", "exact_accuracy": 0.5, "ci95": [0.4, 0.6], "mean_steps": 1.0}
DONE = {
    "time_s": 61.2,
    "latent": {"n": 100, "results": [RESULT]},
    "report": "runs/quickstart/latent/report/index.html",
}


@pytest.mark.parametrize(
    ("result", "code", "text"),
    [
        (DONE, 0, "100 unseen puzzles after 61 s\nbudget  exact accuracy"),
        ({"reason": "interrupted", "message": "saved step 3", "step": 3}, 130, "saved"),
        ({"reason": "terminated", "message": "saved step 3", "step": 3}, 143, "saved"),
    ],
)
def test_quickstart(monkeypatch, capfd, result, code, text):
    asked = []

    def run(part, out, *, control):
        asked.append((part, out, control))
        return result

    monkeypatch.setattr(quickstart, "run", run)
    assert main(["quickstart", "--part", "latent", "--control"]) == code
    assert asked == [("latent", "runs/quickstart", True)]
    assert capfd.readouterr().out.startswith(text)
    assert main(["quickstart", "--json"]) == code
    assert json.loads(capfd.readouterr().out) == result
