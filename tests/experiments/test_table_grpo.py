# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of objectives: rows are valid, start alike, and run at smoke scale."""

from pathlib import Path

import pytest

from lrm_jax import presets
from lrm_jax.config import diff
from lrm_jax.recipes.registry import recipe_of
from lrm_jax.recipes.sweep import load_table, run_table

FILE = Path(__file__).parents[2] / "experiments" / "table_grpo.py"
ASKED = ("ppo", "rloo", "dr_grpo", "gspo", "cispo", "raft", "more cold start")


@pytest.mark.parametrize(("scale", "seeds"), [("smoke", 1), ("small", 1), ("full", 3)])
def test_every_row_is_valid_and_starts_from_its_seeds_cold_start(scale, seeds):
    rows = load_table(str(FILE)).rows(scale)
    assert len(rows) == 10 * seeds
    assert {f"{name},seed=0" for name in ASKED} <= set(rows)
    for name, config in rows.items():
        recipe_of(config).validate(config, n_devices=1)
        if not name.startswith("cold start"):
            assert config.init_from == f"row:cold start,seed={config.seed}"
    assert len({recipe_of(c).run_id(c) for c in rows.values()}) == len(rows)


def test_rows_differ_from_the_quickstart_in_their_objective_alone():
    rows = load_table(str(FILE)).rows("full")
    quickstart = rows["quickstart,seed=0"]
    changed = {d.key for d in diff(quickstart, presets.get("grpo_addition"))}
    assert (
        changed
        == {"name", "init_from", "train.stop_at_accuracy"}
        | {"train.total_steps"} & changed
    )
    for name in ASKED[:-1]:
        changed = diff(quickstart, rows[f"{name},seed=0"], ignore={"name"})
        others = {d.key for d in changed if not d.key.startswith("rl.")}
        assert others == ({"model.value_head"} if name == "ppo" else set())
        same = ("rl.rollout", "train", "optim")
        assert not [d for d in changed if d.key.startswith(same)]


def test_equal_time_and_equal_rollouts():
    small, full = (load_table(str(FILE)).rows(scale) for scale in ("small", "full"))
    for rows in (small, full):
        limits = {
            (c.train.max_time_s, c.train.total_steps, c.train.stop_at_accuracy)
            for name, c in rows.items()
            if not name.startswith("cold start")
        }
        assert len(limits) == 1
    more, rl = full["more cold start,seed=0"], full["grpo,seed=0"].rl
    lanes = rl.rollout.n_prompts * rl.rollout.group_size
    assert more.train.batch_size == lanes == 256


@pytest.mark.slow  # `.ci/run` runs the same command
def test_rows_run_at_smoke_scale_after_the_row_they_start_from(tmp_path):
    table = load_table(str(FILE))
    done = run_table(table, root=tmp_path, scale="smoke", only=["dr_grpo"])
    names = ["cold start,seed=0", "dr_grpo,seed=0"]
    assert [row["row"] for row in done["rows"]] == names
    assert [row["state"] for row in done["rows"]] == ["finished"] * 2
    assert "published" not in done["table"]
    for row in done["rows"]:
        assert row["metrics"]["step"] == 2
        assert 0 <= row["metrics"]["eval/greedy_accuracy"] <= 1
