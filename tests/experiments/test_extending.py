# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A user's own task, block and halting rule, by import path through real training."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrm_jax
from experiments.extending import own_block, own_halting, own_task
from lrm_jax import presets
from lrm_jax.config import apply_overrides, replace
from lrm_jax.data.pipeline import PuzzleDataConfig, make_source
from lrm_jax.models.latent import LatentConfig
from lrm_jax.types import UserError

FOLDER = Path(own_task.__file__).parent
TINY = [
    *("model.d_model=32", "model.l_layers=1", "model.h_cycles=1"),
    *("train.batch_size=32", "train.log_every=10", "eval.every_steps=0"),
    *("eval.batch_size=32", "eval.num_traces=2", "checkpoint.every_steps=0"),
]
TASK = [
    *(f"data.kind={own_task.NAME}", "data.side=2", "model.seq_len=4"),
    "model.grid_shape=2,2,1,1",
    *("data.train_size=200", "data.test_size=64", "halting.max_steps=4"),
    *("optim.lr=0.01", "train.ema_decay=0.9"),
]


def config_of(*overrides: str):
    return apply_overrides(presets.sudoku4_tiny(), [*TINY, *overrides])


def history(run_dir: Path, name: str) -> list[float]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [row[name] for row in map(json.loads, lines) if name in row]


@pytest.fixture(scope="module")
def task_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "reversal"
    lrm_jax.train(config_of(*TASK, "train.total_steps=180"), str(folder))
    return folder


def test_own_task_is_what_it_says():
    source = make_source(PuzzleDataConfig(own_task.NAME, side=3, test_size=100))
    assert source.train.inputs.shape == (2000, 9)
    assert (source.train.labels == source.train.inputs[:, ::-1]).all()
    rows = {row.tobytes() for row in source.train.inputs}
    assert len(rows) == 2000
    assert not rows & {row.tobytes() for row in source.test.inputs}
    assert set(np.unique(source.train.inputs)) == {1, 2, 3, 4, 5}
    again = make_source(PuzzleDataConfig(own_task.NAME, side=3, test_size=100))
    assert (source.train.inputs == again.train.inputs).all()
    with pytest.raises(UserError, match=r"data.side=1 are up to 2"):
        make_source(PuzzleDataConfig(own_task.NAME, side=1))


def test_own_task_is_learnt_and_solved_by_name(task_run: Path):
    losses = history(task_run, "loss/lm")
    assert losses[-1] < 0.5 * losses[0]
    run = lrm_jax.load(str(task_run))
    (row,) = run.evaluate(budgets=["4"])["results"]
    assert row["exact_accuracy"] > 0.8
    # One right answer a list: the task's own rule and the stored answer agree.
    assert row["backwards_accuracy"] == row["exact_accuracy"]
    assert history(task_run, "eval/backwards_accuracy")
    assert run.view.parse("53 24").tolist() == run.view.parse("5324").tolist()
    test = run.source.test_set()
    solved = [run.solve(run.view.render(x), budget=4) for x in test["inputs"][:8]]
    answers = [s.answer.replace("\n", "") for s in solved]
    wanted = [run.view.render(x)[::-1] for x in test["inputs"][:8]]
    assert [s.valid for s in solved] == [
        a == w for a, w in zip(answers, wanted, strict=True)
    ]
    assert sum(a == w for a, w in zip(answers, wanted, strict=True)) >= 6


def test_own_block_mixes_within_its_reach():
    block = own_block.GatedConv(LatentConfig(d_model=4))
    x = jax.random.normal(jax.random.key(0), (1, 16, 4))
    params = block.init(jax.random.key(1), x)
    slope = jax.grad(lambda x: jnp.sum(block.apply(params, x)[0, 8]))(x)
    reached = np.flatnonzero(np.abs(np.asarray(slope[0])).sum(-1))
    at = 8 + np.arange(-own_block.REACH, own_block.REACH + 1)
    assert reached.tolist() == at.tolist()


@pytest.mark.parametrize("optim", ["adamw", "muon"])
def test_own_block_learns_by_name(tmp_path: Path, optim: str):
    words = [f"model.mixer={own_block.NAME}", f"optim.kind={optim}"]
    words += ["data.train_size=64", "data.test_size=32", "train.total_steps=30"]
    lrm_jax.train(config_of(*words), str(tmp_path / "run"))
    losses = history(tmp_path / "run", "loss/lm")
    assert losses[-1] < 0.9 * losses[0]
    weights = lrm_jax.load(str(tmp_path / "run")).params["weights"]
    mixer = weights["l_level"]["layers_0"]["mixer"]
    shapes = {name: leaf["kernel"].shape for name, leaf in mixer.items()}
    assert shapes == {"gate": (32, 32), "conv": (11, 1, 32), "out": (32, 32)}


def test_own_rule_wants_both_published_ones_by_a_margin():
    q_halt = jnp.array([-1.0, 1.0, 2.5, 2.5, 4.0])
    q_continue = jnp.array([-9.0, -9.0, -9.0, 1.0, 1.0])
    wants = own_halting.when_sure(q_halt, q_continue)
    assert wants.tolist() == [False, False, True, False, True]


def test_own_rule_changes_the_steps(task_run: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(own_halting, "MARGIN", 50.0)  # more than any logit
    steps = {}
    for name, rule in (("own", own_halting.NAME), ("trm", "halt_only")):
        words = [f"halting.rule={rule}", "train.total_steps=10", "optim.lr=0.0"]
        config = config_of(*TASK, *words, "halting.exploration_prob=0")
        folder = tmp_path / name
        lrm_jax.train(config, str(folder), init_from=str(task_run))
        steps[name] = history(folder, "halt/steps_mean")[-1]
    assert 1 <= steps["trm"] < 2.5
    assert steps["own"] == 4

    run = lrm_jax.load(str(task_run))
    other = replace(run.config, {"halting.rule": own_halting.NAME})
    own = lrm_jax.Run(other, run.params).evaluate(budgets=["-1"])["results"][0]
    trm = run.evaluate(budgets=["-1"])["results"][0]
    assert own["mean_steps"] == 4 > trm["mean_steps"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_an_example_is_at_most_60_lines(path: Path):
    assert len(path.read_text().splitlines()) <= 60
