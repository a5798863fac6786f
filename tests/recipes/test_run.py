# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import jax
import numpy as np
import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import replace
from lrm_jax.data.pipeline import make_source
from lrm_jax.data.puzzle_build import build_sudoku
from lrm_jax.models.latent import latent_core
from lrm_jax.recipes import latent, quickstart
from lrm_jax.recipes.run import Run
from lrm_jax.recipes.run_config import run_id
from lrm_jax.types import UserError

TINY = {
    "data.train_size": 64, "data.test_size": 24, "model.d_model": 16,
    "model.ff_multiple": 16, "model.l_layers": 1, "train.total_steps": 6,
    "train.batch_size": 16, "train.log_every": 2, "eval.batch_size": 8,
    "eval.every_steps": 3, "eval.num_traces": 2, "halting.max_steps": 4, "mesh.data": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def config():
    return replace(presets.get("sudoku4_tiny"), TINY)


def fresh(config, q_bias):
    """A run with random weights whose halting logits are what `q_bias` says."""
    params = latent_core(config.model).init(jax.random.key(0))
    params["weights"]["q_head"]["bias"] = np.asarray(q_bias, np.float32)
    return Run(config, params, source=make_source(config.data))


def test_the_rule_says_who_halted_and_the_cap_is_the_budgets(config):
    unsure = fresh(config, (-5.0, -5.0))
    (row,) = unsure.evaluate(budgets=["-1"])["results"]
    assert row["mean_steps"] == 4 and row["halted"] == 0
    (row,) = unsure.evaluate(budgets=["-1"], cap=9)["results"]
    assert row["mean_steps"] == 9
    # Q-learning halts where halting is worth more than going on, below 0 too.
    eager = fresh(config, (-1.0, -5.0))
    (row,) = eager.evaluate(budgets=["-1"], halting="q_learning")["results"]
    assert row["mean_steps"] == 1 and row["halted"] == 1
    (row,) = eager.evaluate(budgets=["-1"], halting="halt_only")["results"]
    assert row["mean_steps"] == 4
    solution = unsure.solve("1.....3..4.....2", budget="-1")
    assert not solution.halted and solution.steps == 4
    with pytest.raises(UserError, match="halt_only"):
        eager.evaluate(budgets=["-1"], halting="q_lerning")


def test_a_margin_delays_the_rule_but_not_the_logit(config):
    sure = fresh(config, (2.0, 0.0))
    margin = fresh(replace(config, {"halting.eval_margin": 3.0}), (2.0, 0.0))
    steps = lambda run, budget: run.evaluate(budgets=[budget])["results"][0][
        "mean_steps"
    ]
    assert steps(sure, "-1") == 1 and steps(margin, "-1") == 4
    assert steps(margin, "4+halt") == 1


def test_compaction_agrees_with_one_pass(config):
    run = fresh(config, (0.0, 0.0))
    head = run.params["weights"]["q_head"]
    noise = jax.random.normal(jax.random.key(3), head["kernel"].shape)
    run.params["weights"]["q_head"] = {**head, "kernel": 0.05 * noise}
    one_pass = run.evaluate(budgets=["-1"])["results"][0]
    compact = run.evaluate_compact(budget="-1", lanes=8)
    assert 1 < one_pass["mean_steps"] < 4
    assert compact.report["mean_steps"] == pytest.approx(one_pass["mean_steps"])
    assert compact.report["exact_accuracy"] == one_pass["exact_accuracy"]
    assert compact.report["lane_segments_launched"] < 24 * 4


def test_other_data_need_a_test_split_only(config, tmp_path):
    data = replace(config.data, {"train_size": 8, "test_size": 5})
    build_sudoku(tmp_path / "built", data)
    for part in (tmp_path / "built" / "train").iterdir():
        part.unlink()
    (tmp_path / "built" / "train").rmdir()
    found = fresh(config, (0, 0)).evaluate(str(tmp_path / "built"), budgets=["1"])
    assert found["n"] == 5
    with pytest.raises(UserError, match="no such file"):
        fresh(config, (0, 0)).evaluate("nowhere.csv")


def test_evaluation_compiles_once(config):
    run = fresh(config, (0.0, 0.0))
    run.evaluate(budgets=["2"])
    with NoCompile():
        run.evaluate(budgets=["2"])


class NoCompile:
    """Fail if anything is compiled in `with`."""

    def __enter__(self):
        self.events = []
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event, duration, **kwargs):
        if "backend_compile" in event:
            self.events.append(event)

    def __exit__(self, *exc_info):
        jax.monitoring.unregister_event_duration_listener(self._listen)
        assert not self.events


def test_equal_data_are_one_run_wherever_they_lie(config, tmp_path):
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    ids = {
        name: run_id(replace(config, {"data.path": str(tmp_path / name)}))
        for name in "abc"
    }
    assert ids["a"] == ids["b"] != ids["c"]
    assert run_id(config) not in ids.values()


def test_a_shrunk_quickstart_runs_to_its_report(config, tmp_path):
    small = replace(
        presets.get("quickstart_latent"),
        {k: v for k, v in TINY.items() if k != "model.l_layers"}
        | {"train.steps_per_dispatch": 4, "data.train_size": 200, "eval.max_steps": 4}
        | {"eval.budgets": ("0", "2", "4", "-1"), "data.reveal_steps": 4},
    )
    out = quickstart.run(
        "latent", str(tmp_path), control=True, config=small, progress="off"
    )
    assert out["latent"]["n"] == 24 and len(out["latent"]["results"]) == 4
    assert len(out["latent"]["control"]["depth_curve"]) == 4
    assert {"data_s", "train_s", "control_s", "report_s"} <= set(out["split"])
    page = (tmp_path / "latent" / "report" / "index.html").read_text()
    assert "<svg" in page or "data:image/png" in page
    json.dumps(out)


def test_a_run_that_started_elsewhere_goes_on_without_its_source(config, tmp_path):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    latent.train(config, first, progress="off")
    again = replace(config, {"train.total_steps": 3})
    latent.train(again, second, init_from=first, progress="off")
    (tmp_path / "first").rename(tmp_path / "moved")
    longer = dataclasses.replace(
        again, train=dataclasses.replace(again.train, total_steps=6)
    )
    result = latent.train(longer, second, init_from=first, progress="off")
    assert result["resumed_from"] == 3 and result["step"] == 6
    assert lrm_jax.load(second).step == 6
