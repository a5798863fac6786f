# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables: rows to runs, finished ones skipped, mean and standard error."""

import json
from pathlib import Path

import pytest

from lrm_jax import presets
from lrm_jax.config import replace
from lrm_jax.recipes import sweep
from lrm_jax.recipes.run_config import run_id
from lrm_jax.types import UserError

ACCURACY = "eval/exact_accuracy"


def rows(scale="smoke"):
    base = replace(presets.sudoku4_tiny(), {"train.total_steps": 4})
    plain = {
        "one step": replace(base, {"model.grad_depth": "one_step"}),
        "all": replace(base, {"model.grad_depth": "all"}),
    }
    return sweep.with_seeds(plain, 3)


class FakeTrain:
    """Writes the metrics of a run; fails or stops where it is told to."""

    def __init__(self, fail=(), stop=(), broken=()):
        self.calls, self.fail, self.stop, self.broken = [], fail, stop, broken

    def __call__(self, config, run_dir):
        self.calls.append(Path(run_dir).name)
        folder = Path(run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text("{}")
        key = (config.model.grad_depth, config.seed)
        if key in self.fail:
            raise UserError("a checkpoint is damaged")
        value = {"one_step": 0.5, "all": 0.25}[config.model.grad_depth]
        lines = [
            {"step": 2, ACCURACY: 0.0, "loss/total": 1.0},
            {"step": 3, "loss/total": 0.5, ACCURACY: None},
            {"step": 4, ACCURACY: value + 0.1 * config.seed},
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)
        if key in self.broken:
            return {"step": 2, "reason": "nan", "message": "loss/lm is nan at step 2"}
        return {"step": 4, "reason": "interrupted" if key in self.stop else "done"}


def test_with_seeds_names_each_run():
    made = rows()
    assert list(made)[:4] == [
        "one step,seed=0",
        "one step,seed=1",
        "one step,seed=2",
        "all,seed=0",
    ]
    assert made["all,seed=2"].seed == 2
    assert len({run_id(config) for config in made.values()}) == 6


def test_runs_all_then_skips_finished_and_resumes_partial(tmp_path):
    train = FakeTrain()
    results = sweep.run_all(rows(), tmp_path, train=train)
    assert [r.state for r in results.values()] == ["finished"] * 6
    assert train.calls == [r.run_id for r in results.values()]
    assert results["all,seed=1"].metrics == {
        "step": 4,
        ACCURACY: pytest.approx(0.35),
        "loss/total": 0.5,
    }
    again = FakeTrain()
    assert sweep.run_all(rows(), tmp_path, train=again) == results
    assert again.calls == []
    partial = results["one step,seed=1"].run_id
    (tmp_path / partial / sweep.MARKER).unlink()
    assert sweep.inspect(rows()["one step,seed=1"], tmp_path).state == "partial"
    sweep.run_all(rows(), tmp_path, train=again)
    assert again.calls == [partial]


def test_a_row_that_fails_does_not_stop_the_rest_and_is_named(tmp_path):
    train = FakeTrain(fail={("one_step", 1)}, broken={("all", 2)})
    results = sweep.run_all(rows(), tmp_path, train=train)
    assert len(train.calls) == 6
    assert results["one step,seed=1"].state == "failed"
    text = sweep.markdown(rows(), results, [ACCURACY], {})
    assert text.endswith(
        "\none step,seed=1: a checkpoint is damaged"
        "\nall,seed=2: loss/lm is nan at step 2"
    )
    assert "| one step | 3 | 4 | 0.6000 ± 0.1000 |\n" in text  # nothing published


def test_an_interrupted_row_stops_the_sweep(tmp_path):
    train = FakeTrain(stop={("one_step", 1)})
    with pytest.raises(KeyboardInterrupt):
        sweep.run_all(rows(), tmp_path, train=train)
    assert len(train.calls) == 2
    assert sweep.inspect(rows()["one step,seed=1"], tmp_path).state == "partial"


def test_markdown_by_hand(tmp_path):
    results = sweep.run_all(rows(), tmp_path, train=FakeTrain())
    text = sweep.markdown(rows(), results, [ACCURACY], {"all": {ACCURACY: 0.4}})
    # Three values 0.1 apart: s.e. 0.1 / sqrt(3).
    assert text == (
        "| row | runs | steps | eval/exact_accuracy | published | difference |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| one step | 3 | 4 | 0.6000 ± 0.0577 |  |  |\n"
        "| all | 3 | 4 | 0.3500 ± 0.0577 | 0.4000 | -0.0500 |\n"
    )


def test_a_row_starts_from_another():
    cold = presets.get("sft_addition_cold")
    warm = replace(presets.get("grpo_addition"), {"init_from": "row:cold,seed=0"})
    made = {"warm,seed=0": warm, "cold,seed=0": cold, "other,seed=0": cold}
    found = sweep.with_sources(sweep.select(made, ["warm"]), made, "root")
    assert list(found) == ["cold,seed=0", "warm,seed=0"]
    assert found["warm,seed=0"].init_from == sweep.inspect(cold, "root").run_dir
    lost = {"warm": replace(warm, {"init_from": "row:cald"}), "cold": cold}
    with pytest.raises(UserError, match="leads to no row; did you mean 'cold'"):
        sweep.with_sources(lost, lost, "root")
    loop = {"warm": replace(warm, {"init_from": "row:warm"})}
    with pytest.raises(UserError, match="row 'warm': .* leads to itself"):
        sweep.with_sources(loop, loop, "root")


def test_select():
    made = rows()
    assert list(sweep.select(made, ["all"])) == [
        "all,seed=0",
        "all,seed=1",
        "all,seed=2",
    ]
    assert list(sweep.select(made, ["all,seed=1"])) == ["all,seed=1"]
    assert list(sweep.select(made, ["*,seed=0"])) == ["one step,seed=0", "all,seed=0"]
    with pytest.raises(UserError, match="--only 'al': no such row; did you mean 'all'"):
        sweep.select(made, ["al"])


TABLE = """
from pathlib import Path
from lrm_jax import presets
from lrm_jax.recipes.sweep import with_seeds
EXPECTED = Path(__file__).with_name("expected.json")
METRICS = ("eval/exact_accuracy",)
def rows(scale):
    return with_seeds({"all": presets.sudoku4_tiny()}, 2 if scale == "smoke" else 5)
"""


def test_a_table_is_a_file(tmp_path):
    file = tmp_path / "table_x.py"
    file.write_text(TABLE)
    expected = {"source": "a paper", "rows": {"all": {ACCURACY: 0.4}}}
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    table = sweep.load_table(str(file))
    overrides = ["model.grad_depth=all", "--optim.lr", "0.01"]
    common = dict(root=tmp_path / "runs", scale="smoke", overrides=overrides)
    dry = sweep.run_table(table, **common, dry_run=True)
    assert [row["state"] for row in dry["rows"]] == ["new", "new"]
    assert dry["path"] is None and not (tmp_path / "runs").exists()
    done = sweep.run_table(table, **common, train=FakeTrain())
    assert "| all | 2 | 4 | 0.3000 ± 0.0500 | 0.4000 | -0.1000 |" in done["table"]
    assert Path(done["path"]).read_text() == done["table"]
    assert [row["run_id"] for row in done["rows"]] == [r["run_id"] for r in dry["rows"]]
    with pytest.raises(UserError, match="did you mean 'optim.lr'"):
        sweep.run_table(table, root=tmp_path, scale="smoke", overrides=["optm.lr=1"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.py", None, "no such file"),
        ("empty.py", "", "defines no function rows"),
        ("table.txt", "", "expected a Python file"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        sweep.load_table(str(tmp_path / name))
