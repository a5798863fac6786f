# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs are evaluated and sampled from on the mesh they were trained on."""

import dataclasses

import jax
import numpy as np
import pytest

from lrm_jax import meshes, presets
from lrm_jax.config import replace, to_dict
from lrm_jax.data.pipeline import make_source
from lrm_jax.models.latent import latent_core
from lrm_jax.models.policy import token_policy
from lrm_jax.recipes.run import Run, load
from lrm_jax.recipes.token_run import TokenRun
from lrm_jax.sharding import MeshConfig
from lrm_jax.training.loading import write_params
from lrm_jax.training.run_folder import open_run

ONE = MeshConfig(data=1)
LATENT = {
    "data.train_size": 64, "data.test_size": 24, "model.d_model": 16,
    "model.ff_multiple": 16, "model.l_layers": 1, "model.puzzle_emb_dim": 16,
    "model.num_puzzle_ids": 64, "eval.batch_size": 8, "eval.num_traces": 2,
    "halting.max_steps": 3, "train.batch_size": 16,
}  # fmt: skip
POLICY = {
    "model.d_model": 32, "model.n_layers": 1, "model.n_heads": 2, "model.d_ff": 64,
    "eval.batch_size": 8, "eval.max_new_tokens": 6,
}  # fmt: skip


@pytest.fixture
def small_devices(monkeypatch):
    """Devices too small for a copy of what training keeps."""
    monkeypatch.setattr(meshes, "device_memory", lambda: 2**12)


def split(params):
    """Whether the devices hold parts of the larger arrays."""
    large = [x for x in jax.tree.leaves(params) if x.size >= 256]
    return {x.sharding.shard_shape(x.shape) != x.shape for x in large}


@pytest.fixture(scope="module")
def puzzles():
    config = replace(presets.get("sudoku4_tiny"), LATENT)
    params = jax.jit(latent_core(config.model).init)(jax.random.key(0))
    return config, jax.device_get(params), make_source(config.data)


def on(config, mesh):
    return dataclasses.replace(config, mesh=mesh)


def same(found, expected):
    """Counts are equal, and what is averaged within rounding."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        close = pytest.approx(value, rel=1e-5) if isinstance(value, float) else value
        assert found[name] == close, name


def test_a_latent_run_lies_where_training_would_put_it(puzzles, small_devices, capfd):
    config, params, source = puzzles
    alone = Run(on(config, ONE), params, source=source)
    expected = alone.evaluate(budgets=["1", "3", "-1"])
    chosen = Run(on(config, MeshConfig()), params, source=source)
    assert chosen.mesh.shape["fsdp"] == 8 and split(chosen.params) == {True}
    assert "mesh: data=1 x fsdp=8 x model=1" in capfd.readouterr().err
    for run in (chosen, Run(on(config, MeshConfig(2, 2, 2)), params, source=source)):
        found = run.evaluate(budgets=["1", "3", "-1"])
        for row, there in zip(found["results"], expected["results"], strict=True):
            same(row, there)
    puzzle = "1.....3..4.....2"
    solution = chosen.solve(puzzle, budget="3")
    assert solution.answer == alone.solve(puzzle, budget="3").answer


def test_a_latent_run_is_loaded_in_parts(puzzles, tmp_path):
    config, params, _ = puzzles
    with open_run(tmp_path, to_dict(on(config, MeshConfig(1, 8, 1)))):
        write_params(tmp_path, params, ema=params["weights"])
    run = load(str(tmp_path))
    assert split(run.params) == {True}
    for a, b in zip(jax.tree.leaves(run.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_policys_run_lies_where_training_would_put_it(small_devices):
    config = replace(presets.get("sft_addition_tiny"), POLICY)
    config = replace(config, {"data.test_size": 16})
    weights = jax.jit(token_policy(config.model).init)(jax.random.key(0))
    alone = TokenRun(on(config, ONE), weights)
    chosen = TokenRun(on(config, MeshConfig()), weights)
    assert chosen.mesh.shape["fsdp"] == 8 and split(chosen.weights) == {True}
    expected = alone.sample("12+34=", n=8, max_new=6, raw=True)
    found = chosen.sample("12+34=", n=8, max_new=6, raw=True)
    assert [one.ids for one in found] == [one.ids for one in expected]
    for one, there in zip(found, expected, strict=True):
        assert one.logprob == pytest.approx(there.logprob, abs=1e-4)
    assert chosen.evaluate() == alone.evaluate()
