# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The halting table: every row is valid at every scale, published ones are rows."""

from pathlib import Path

import pytest

from lrm_jax import presets
from lrm_jax.config import diff
from lrm_jax.recipes.run_config import validate
from lrm_jax.recipes.sweep import load_table, run_table

FILE = Path(__file__).parents[2] / "experiments" / "table_halting.py"
ROWS = ("TRM", "no EMA", "one-step gradient", "self-attention", "HRM")


@pytest.mark.parametrize(("scale", "seeds"), [("smoke", 1), ("small", 3), ("full", 1)])
def test_every_row_is_valid_and_named_once(scale, seeds):
    table = load_table(str(FILE))
    rows = table.rows(scale)
    for config in rows.values():
        validate(config, n_devices=1)
    assert len(rows) == 12 * seeds
    assert set(table.expected) <= {name.partition(",seed=")[0] for name in rows}
    assert {f"{name},seed=0" for name in ROWS} <= set(rows)


def test_the_full_base_is_the_published_preset_and_rows_change_what_they_say():
    rows = load_table(str(FILE)).rows("full")
    base = rows["TRM,seed=0"]
    assert not diff(base, presets.trm_mlp_sudoku(), ignore={"name"})
    changed = {
        name.partition(",seed=")[0]: {d.key for d in diff(base, config)}
        for name, config in rows.items()
    }
    assert changed["no EMA"] == {"train.ema_decay"}
    assert changed["Q-continue"] == {"halting.rule"}
    assert changed["separate modules"] == {"model.h_layers"}
    assert changed["one-step gradient"] == {"model.grad_depth"}
    hrm = diff(rows["HRM,seed=0"], presets.hrm_sudoku(), ignore={"name"})
    assert {d.key for d in hrm} == {"train.total_steps"}


@pytest.mark.slow  # `.ci/run` runs all rows
def test_two_rows_run_at_smoke_scale(tmp_path):
    table = load_table(str(FILE))
    done = run_table(
        table, root=tmp_path, scale="smoke", only=["TRM", "no EMA"], overrides=[]
    )
    assert [row["state"] for row in done["rows"]] == ["finished", "finished"]
    assert "| TRM | 1 | 4 | 0." in done["table"] and "| 0.8740 |" in done["table"]


def test_a_table_is_at_most_80_lines():
    assert len(FILE.read_text().splitlines()) <= 80
