# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole trainings: nothing compiles twice; kills leave no mark.

Twenty kills: `pytest -m slow tests/recipes/test_latent_train.py`, or
`python -m tests.recipes.chaos_train --kills 20 [--resident]`.
"""

import dataclasses

import jax
import pytest

from lrm_jax import presets
from lrm_jax.config import apply_overrides
from lrm_jax.recipes import latent
from lrm_jax.recipes.latent_build import build
from lrm_jax.recipes.run import load
from lrm_jax.training.compiles import watched
from lrm_jax.types import UserError
from tests.cli.test_commands import TINY
from tests.recipes.chaos_train import run_chaos


@pytest.mark.parametrize("resident", [False, True])
def test_nothing_compiles_again(tmp_path, resident):
    words = [*TINY, "train.total_steps=12", "train.steps_per_dispatch=2"]
    words.append(f"data.resident={str(resident).lower()}")
    config = apply_overrides(presets.get("sudoku4_tiny"), words)
    run = build(config)
    result = latent.train(config, str(tmp_path / "run"), progress="off", run=run)
    assert result["step"] == 12 and result["recompiles"] == 0
    longer = dataclasses.replace(config.train, total_steps=14)
    again = dataclasses.replace(config, train=longer)
    result = latent.train(again, str(tmp_path / "run"), progress="off")
    assert result["resumed_from"] == 12 and result["recompiles"] == 0
    # The evaluations of training (six here) share the reasoner of one `LatentRun`.
    measure = watched(latent.make_evaluate(run))
    state = run.init_state()
    measure(state)
    assert measure(state)[1] == 0


def test_an_unknown_style_of_progress_is_refused_before_anything_is_made(tmp_path):
    config = apply_overrides(presets.get("sudoku4_tiny"), TINY)
    with pytest.raises(UserError, match="progress='none': accepted are auto, bar"):
        latent.train(config, str(tmp_path / "run"), progress="none")
    assert not (tmp_path / "run").exists()


def test_a_second_evaluation_compiles_nothing(tmp_path):
    config = apply_overrides(presets.get("sudoku4_tiny"), TINY)
    latent.train(config, str(tmp_path / "run"), progress="off")
    trained = load(str(tmp_path / "run"))
    evaluate = watched(lambda *budgets: trained.evaluate(budgets=budgets))
    first, _ = evaluate("0", "2", "-1")  # training may have compiled it already
    second, compiled = evaluate("0", "2", "-1")
    assert compiled == 0 and second == first
    compact = watched(trained.evaluate_compact)
    compact()
    assert compact()[1] == 0
    assert watched(jax.jit(lambda x: x + 1))(1.0)[1] > 0  # the counter does count


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["streamed", "resident"])
@pytest.mark.parametrize("kills", [2, 20])
def test_killed_runs_end_bit_equal(tmp_path, kills, kind):
    tally = run_chaos(tmp_path, kills, seed=kills, kind=kind)
    assert tally.differences == []
    assert tally.in_save >= kills // 4
