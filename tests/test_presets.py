# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Presets hold the published hyper-parameters; goldens show every change of one.

Regenerate the goldens: LRM_UPDATE_GOLDEN=1 pytest tests/test_presets.py
"""

import inspect
import os
from pathlib import Path

import jax
import pytest

from lrm_jax import presets
from lrm_jax.config import checked, flatten, from_json, replace, to_json
from lrm_jax.models.latent import LatentCore
from lrm_jax.recipes import run_config
from lrm_jax.recipes.registry import recipe_of
from lrm_jax.recipes.run_config import validate
from lrm_jax.types import UserError

GOLDEN = Path(__file__).parent / "golden" / "configs"
PUBLISHED = {
    "hrm_sudoku": {
        "model.h_layers": 4,
        "model.l_layers": 4,
        "model.h_cycles": 2,
        "model.l_cycles": 2,
        "model.grad_depth": "one_step",
        "model.positions": "rope",
        "model.vocab_size": 11,
        "model.seq_len": 81,
        "halting.rule": "q_learning",
        "optim.weight_decay": 1.0,
        "optim.puzzle_emb_lr": 1e-4,
        "optim.puzzle_emb_weight_decay": 1.0,
        "train.total_steps": 26_041,
        "train.ema_decay": 0.0,
    },
    "hrm_maze": {
        "model.vocab_size": 6,
        "model.seq_len": 900,
        "train.total_steps": 26_041,
        "data.augment": False,
    },
    "hrm_arc": {
        "model.vocab_size": 12,
        "optim.weight_decay": 0.1,
        "optim.puzzle_emb_lr": 1e-2,
        "optim.puzzle_emb_weight_decay": 0.1,
        "train.total_steps": 414_000,
    },
    "trm_att_sudoku": {
        "model.h_layers": 0,
        "model.l_layers": 2,
        "model.h_cycles": 3,
        "model.l_cycles": 6,
        "model.puzzle_prefix_len": 16,
        "model.grad_depth": "last_recursion",
        "model.mixer": "attention",
        "model.positions": "rope",
        "halting.rule": "halt_only",
        "train.total_steps": 65_104,
        "train.ema_decay": 0.999,
    },
    "trm_mlp_sudoku": {
        "model.mixer": "mlp_t",
        "model.positions": "none",
        "train.total_steps": 65_104,
    },
    "trm_maze": {
        "model.l_cycles": 4,
        "model.seq_len": 900,
        "data.augment": False,
        "train.total_steps": 65_104,
    },
    "trm_arc": {
        "model.l_cycles": 4,
        "model.num_puzzle_ids": 876_406,
        "optim.weight_decay": 0.1,
        "optim.puzzle_emb_lr": 1e-2,
        "train.total_steps": 518_071,
    },
}
SHARED = {
    "model.d_model": 512,
    "model.n_heads": 8,
    "model.expansion": 4.0,
    "model.puzzle_emb_dim": 512,
    "model.norm_eps": 1e-5,
    "model.rope_theta": 10000.0,
    "model.norm_placement": "post",
    "model.dtype": "bfloat16",
    "halting.max_steps": 16,
    "halting.exploration_prob": 0.1,
    "loss.kind": "stablemax",
    "loss.q_weight": 0.5,
    "optim.kind": "adam_atan2",
    "optim.lr": 1e-4,
    "optim.lr_min_ratio": 1.0,
    "optim.lr_warmup_steps": 2000,
    "optim.beta1": 0.9,
    "optim.beta2": 0.95,
    "optim.clip_norm": 0.0,
    "train.batch_size": 768,
}
# Trainable weights of the published models; the puzzle table is not among them.
COUNTS = {
    "hrm_sudoku": 27_275_266,
    "hrm_maze": 27_270_146,
    "hrm_arc": 27_276_290,
    "trm_att_sudoku": 6_828_034,
    "trm_mlp_sudoku": 5_028_866,
    "trm_maze": 6_822_914,
    "trm_arc": 6_829_058,
}


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_golden(name):
    text = to_json(presets.get(name))
    file = GOLDEN / f"{name}.json"
    if os.environ.get("LRM_UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text, "see this file's head for how to regenerate"
    cls = recipe_of(presets.get(name)).config
    assert from_json(cls, file.read_text()) == presets.get(name)


def test_no_golden_without_its_preset():
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(presets.PRESETS)


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_every_preset_is_valid_typed_and_named_after_itself(name):
    config = presets.get(name)
    assert config.name == name
    assert checked(config) == config
    recipe_of(config).validate(config, n_devices=1)
    assert inspect.signature(presets.PRESETS[name]).parameters == {}
    assert presets.summaries()[name].endswith((".", ")."))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_hyper_parameters(name):
    leaves = flatten(presets.get(name))
    wanted = SHARED | PUBLISHED[name]
    assert {key: leaves[key] for key in wanted} == wanted


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_published_parameter_counts(name):
    core = LatentCore(replace(presets.get(name).model, {"num_puzzle_ids": 1}))
    abstract = jax.eval_shape(core.init, jax.random.key(0))
    leaves = jax.tree.leaves(abstract["weights"])
    assert sum(leaf.size for leaf in leaves) == COUNTS[name]


def test_prefix_is_one_position_in_hrm_and_sixteen_in_trm():
    assert presets.hrm_sudoku().model.total_len == 82
    assert presets.trm_mlp_sudoku().model.total_len == 97
    assert presets.trm_maze().model.total_len == 916


def test_get(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_presets.py").write_text(
        "from lrm_jax import presets\n"
        "def small():\n    return presets.sudoku4_tiny()\n"
        "wrong = 3\n"
    )
    (tmp_path / "config.json").write_text(to_json(presets.quickstart_latent()))
    (tmp_path / "sft.json").write_text(to_json(presets.sft_addition_tiny()))
    (tmp_path / "bad.json").write_text('{"recipe": "sfd"}')
    (tmp_path / "list.json").write_text("[1]")
    assert presets.get("mine_presets:small") == presets.sudoku4_tiny()
    assert presets.get("config.json") == presets.quickstart_latent()
    assert presets.get("sft.json") == presets.sft_addition_tiny()
    for name, message in [
        ("hrm_sodoku", "unknown preset 'hrm_sodoku'; did you mean 'hrm_sudoku'"),
        ("mine_presets:wrong", "expected a run's config .*, got int"),
        ("bad.json", "bad.json: recipe='sfd': expected one of .*did you mean 'sft'"),
        ("list.json", "list.json: expected an object of settings"),
        ("mine_presets:smal", "did you mean 'small'"),
        ("none.json", "no such file"),
    ]:
        with pytest.raises(UserError, match=message):
            presets.get(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.n_heads": 6},
            "model.n_heads=6: must divide model.d_model=64; for example 2, 4, 8",
        ),
        ({"model.d_model": 62}, "model.n_heads=4: must divide model.d_model=62"),
        (
            {"model.d_model": 12, "model.positions": "rope"},
            "model.n_heads=4: rope needs an even head width, got 3",
        ),
        ({"model.h_cycles": 0}, "model.h_cycles=0: expected 1 or more"),
        ({"model.l_cycles": -1}, "model.l_cycles=-1: expected 1 or more"),
        ({"model.l_layers": 0}, "model.l_layers=0: expected 1 or more"),
        ({"model.grad_depth": 0}, "model.grad_depth=0: expected 1 or more"),
        ({"model.expansion": 0.0}, "model.expansion=0.0: expected more than 0"),
        (
            {"model.puzzle_emb_dim": 200, "model.puzzle_prefix_len": 2},
            "model.puzzle_emb_dim=200: at most puzzle_prefix_len x d_model = 128",
        ),
        (
            {"model.puzzle_prefix_len": 2},
            "model.puzzle_prefix_len=2: must be 0 where model.puzzle_emb_dim is 0",
        ),
        (
            {"model.positions": "grid", "model.grid_shape": (4, 5, 2, 2)},
            "model.grid_shape=4,5,2,2: rows x columns must be model.seq_len=16",
        ),
        (
            {"model.positions": "grid", "model.grid_shape": (4, 4, 3, 2)},
            "model.grid_shape=4,4,3,2: boxes must tile rows and columns",
        ),
        (
            {"model.seq_len": 81, "model.grid_shape": (9, 9, 3, 3)},
            "model.seq_len=81: data.kind='sudoku', data.side=4 needs 16",
        ),
        (
            {"model.vocab_size": 5},
            "model.vocab_size=5: data.kind='sudoku', data.side=4 needs at least 6",
        ),
        ({"data.side": 5}, "data.side=5: expected 4, 6 or 9 for sudoku"),
        ({"halting.max_steps": 0}, "halting.max_steps=0: expected 1 or more"),
        (
            {"halting.exploration_prob": 1.5},
            "halting.exploration_prob=1.5: expected between 0 and 1",
        ),
        (
            {"halting.rule": "q_lerning"},
            "halting.rule='q_lerning': expected q_learning, halt_only, fixed or "
            "package.module:name; did you mean 'q_learning'?",
        ),
        ({"halting.rule": "nowhere:rule"}, "halting.rule='nowhere:rule': no module"),
        ({"model.mixer": "conv"}, "model.mixer='conv': expected attention, mlp_t or"),
        ({"loss.kind": "hinge"}, "loss.kind='hinge': expected stablemax, softmax or"),
        ({"eval.budgets": ("9",)}, "budget '9': beyond the cap of 8 segments"),
        (
            {"train.batch_size": 60},
            "train.batch_size=60: must divide over 8 devices (mesh data x fsdp); the "
            "nearest is 56 or 64",
        ),
        (
            {"train.grad_accum": 16},
            "train.batch_size / train.grad_accum=4: must divide over 8 devices",
        ),
        ({"eval.batch_size": 12}, "eval.batch_size=12: must divide over 8 devices"),
        ({"mesh.data": 16}, "mesh data=16 x fsdp=1 x model=1 needs 16 devices"),
    ],
)
def test_validate_names_key_value_and_what_is_accepted(changes, message):
    changed = replace(presets.sudoku4_tiny(), changes)
    with pytest.raises(UserError) as excinfo:
        validate(changed, n_devices=8)
    assert str(excinfo.value).startswith(message)
    assert "\n" not in str(excinfo.value)


def test_run_id_sees_what_is_computed_and_not_where():
    base = presets.sudoku4_tiny()
    same = {"mesh.model": 2, "data.path": "/elsewhere/puzzles.csv"}
    assert run_config.run_id(replace(base, same)) == run_config.run_id(base)
    for changes in ({"train.total_steps": 7}, {"seed": 1}, {"optim.lr": 0.5}):
        assert run_config.run_id(replace(base, changes)) != run_config.run_id(base)


def test_a_longer_total_is_the_same_run_unless_the_schedule_depends_on_it():
    constant = presets.sudoku4_tiny()
    assert "train.total_steps" in run_config.not_identity(constant)
    cosine = replace(constant, {"optim.lr_min_ratio": 0.1})
    assert "train.total_steps" not in run_config.not_identity(cosine)
    leaves = flatten(constant)
    parts = {key.partition(".")[0] for key in leaves}
    assert all(key in leaves or key in parts for key in run_config.NOT_IDENTITY)
