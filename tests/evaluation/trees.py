# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trees whose every number is known by hand."""

from lrm_jax.evaluation.step_tree import StepTree


def sum_tree(**changes):
    """Return a search for 12+30+5 with one right end, one wrong and one dead."""
    columns = {
        "prompt": "12+30+5=",
        "gold": "47",
        "method": "puct, 8 simulations",
        "separator": "\n",
        "worth": "gold",
        "parents": [-1, 0, 0, 1, 1, 2, 3],
        "steps": ["", "12+30=42\n", "12+30=43\n", "42+5=47\n", "42+5=48\n", "?", "=47"],
        "visits": [8, 5, 2, 3, 1, 1, 1],
        "values": [0.6, 0.8, 0.1, 0.95, 0.0, 0.0, 0.0],
        "priors": [1.0, 0.6, 0.4, 0.5, 0.5, 1.0, 1.0],
        "rewards": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        "discounts": [1.0] * 7,
        "terminal": [False] * 4 + [True] * 3,
        "closed": [False, False, True, True, True, True, True],
        "answers": [None] * 4 + ["48", None, "47"],
        "right": [None] * 4 + [False, None, True],
    }
    return StepTree(**(columns | changes))
