# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole runs of fine-tuning: resumed exactly, started from others, stopped early."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import apply_overrides, to_dict
from lrm_jax.models.policy import token_policy
from lrm_jax.recipes import sft
from lrm_jax.recipes.policy_build import load_policy, resolve_config, start_from
from lrm_jax.recipes.policy_config import ImportedPolicyConfig
from lrm_jax.tooling.bench import bench
from lrm_jax.training.compiles import watched
from lrm_jax.training.loading import load_params, write_params
from lrm_jax.training.run_folder import open_run
from lrm_jax.types import UserError
from tests.recipes.chaos_train import run_chaos

TINY = [
    "model.d_model=16",
    "model.n_layers=1",
    "model.n_heads=2",
    "model.d_ff=16",
    "model.max_seq_len=80",
    "task.max_digits=1",
    "data.test_size=12",
    "train.batch_size=8",
    "train.total_steps=6",
    "train.log_every=2",
    "eval.every_steps=3",
    "eval.batch_size=8",
    "eval.max_new_tokens=24",
    "checkpoint.every_steps=3",
    "optim.lr_warmup_steps=2",
    "optim.lr_min_ratio=1.0",
]
QUICK = ["eval.greedy=false", "checkpoint.best_metric=eval/loss"]
"""Without decoding, which costs most to compile."""


def tiny(*words):
    return apply_overrides(presets.get("sft_addition_tiny"), [*TINY, *words])


def train(config, folder, **how):
    return lrm_jax.train(config, str(folder), progress="off", **how)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft") / "run"
    result = train(tiny(), folder)
    assert result["step"] == 6 and result["recompiles"] == 0
    return folder


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    rows = [{"prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(50)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def same_bits(first, second):
    one, two = (load_params(str(folder)) for folder in (first, second))
    assert one.step == two.step
    for a, b in ((one.params, two.params), (one.ema, two.ema)):
        jax.tree.map(np.testing.assert_array_equal, a, b)


def records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    timed = ("time_s", "perf/steps_per_s", "perf/items_per_s")
    return [
        {k: v for k, v in json.loads(line).items() if k not in timed} for line in lines
    ]


@pytest.mark.parametrize("endless", [True, False])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, sums, endless):
    words = ["train.ema_decay=0.9", "train.steps_per_dispatch=2", "train.grad_accum=2"]
    words += ["mesh.data=2", *QUICK]
    if not endless:
        words += ["task=none", f"data.path={sums}", "tokenizer.kind=symbols"]
        words += ["model.vocab_size=0"]
    whole = train(tiny(*words), tmp_path / "whole")
    assert whole["recompiles"] == 0
    half = tiny(*words, "train.total_steps=4")
    assert train(half, tmp_path / "half")["step"] == 4
    resumed = train(tiny(*words), tmp_path / "half")
    assert resumed["resumed_from"] == 4 and resumed["recompiles"] == 0
    same_bits(tmp_path / "whole", tmp_path / "half")


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, 20])
def test_killed_runs_end_bit_equal(tmp_path, kills):
    tally = run_chaos(tmp_path, kills, seed=kills, kind="sft")
    assert tally.differences == []
    assert tally.in_save >= kills // 4


def test_evaluation_is_recorded_and_compiles_once(run_dir):
    found = [r for r in records(run_dir) if "eval/greedy_accuracy" in r]
    assert [r["step"] for r in found] == [3, 6]
    assert all(0 <= r["eval/greedy_accuracy"] <= 1 for r in found)
    assert all(0 < r["eval/loss"] < 4 for r in found)
    config = sft.resolve_config(tiny(), None, None)
    run = sft.build(config)
    with jax.set_mesh(run.mesh):
        state, measure = run.init_state(), watched(run.evaluate())
        first, _ = measure(state)
        second, compiled = measure(state)
    assert compiled == 0 and first == second


def test_it_learns_and_stops_early(tmp_path):
    """One sum out of few: greedy accuracy gets anywhere within a minute."""
    words = ["train.total_steps=400", "data.train_size=8", "optim.lr=1e-2"]
    words += ["model.d_model=32", "train.stop_at_accuracy=0.3", "train.log_every=50"]
    words += ["train.stop_evaluations=1", "eval.every_steps=25", "sft.pack=true"]
    words += ["data.path=" + str(tmp_path / "x.jsonl"), "task=none", "data.raw=true"]
    words += ["tokenizer.kind=symbols", "model.vocab_size=0", "checkpoint.keep=1"]
    rows = [{"prompt": f"{i}+1=", "answer": str(i + 1)} for i in range(8)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "x.jsonl").write_text(text)
    words.append("data.test_path=" + str(tmp_path / "x.jsonl"))
    result = train(tiny(*words), tmp_path / "run")
    assert result["reason"] == "mastered" and result["step"] < 400
    assert result["metrics"]["eval/greedy_accuracy"] >= 0.3
    assert result["best"]["value"] == result["metrics"]["eval/greedy_accuracy"]


def test_other_data_and_other_settings_are_refused(tmp_path, sums):
    words = ["task=none", "tokenizer.kind=bytes", "model.vocab_size=0"]
    words += ["train.total_steps=1", "model.max_seq_len=64", *QUICK]
    data = tmp_path / "mine.jsonl"
    shutil.copy(sums, data)
    config = tiny(*words, f"data.path={data}")
    train(config, tmp_path / "run")
    with pytest.raises(UserError, match="holds another run: sft.seq_len is 64 there"):
        train(tiny(*words, f"data.path={data}", "sft.seq_len=32"), tmp_path / "run")
    data.write_text(data.read_text().replace("3+1=", "3+2="))
    with pytest.raises(UserError, match="not the training data of the run"):
        train(config, tmp_path / "run")


# --- Starting from other runs -----------------------------------------------------


def test_a_run_starts_from_another(run_dir, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(run_dir, source)
    words = [*QUICK, "optim.lr=0.0", "seed=7"]
    config = tiny(*words, "train.total_steps=1")
    train(config, tmp_path / "run", init_from=f"{source}@3")
    there = load_params(str(source), 3)
    jax.tree.map(
        np.testing.assert_array_equal,
        load_params(str(tmp_path / "run")).params,
        there.params,
    )
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert written["init_from_sha256"] == there.source_hash
    shutil.rmtree(source)  # it is not needed to go on
    longer = tiny(*words, "train.total_steps=2")
    again = train(longer, tmp_path / "run", init_from=f"{source}@3")
    assert again["resumed_from"] == 1


def test_weights_are_loaded_onto_their_mesh(run_dir, tmp_path):
    words = ["mesh.data=2", "mesh.fsdp=2", "mesh.model=2", "train.total_steps=1"]
    config = tiny(*words, *QUICK, "optim.lr=0.0")
    train(config, tmp_path / "run", init_from=str(run_dir))
    run = lrm_jax.load(str(tmp_path / "run"))
    kernel = run.weights["layers_0"]["mlp"]["gate_proj"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape) == (8, 8)
    there = load_policy(str(run_dir)).weights
    jax.tree.map(np.testing.assert_array_equal, run.weights, there)
    alone = lrm_jax.load(str(run_dir)).sample("1+1=", n=2, max_new=8)
    assert [c.ids for c in run.sample("1+1=", n=2, max_new=8)] == [c.ids for c in alone]


def test_the_average_is_what_others_start_from(run_dir, tmp_path):
    words = ["train.ema_decay=0.5", "train.total_steps=2", "optim.lr=0.1"]
    config = tiny(*words, *QUICK)
    train(config, tmp_path / "source")
    loaded = load_params(str(tmp_path / "source"))
    weights = load_policy(str(tmp_path / "source")).weights
    jax.tree.map(np.testing.assert_array_equal, weights, loaded.ema)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model.d_model=32"],
            r"'embed_tokens/embedding' is \[19, 16\] there and \[19, 32\] by model"
            r".*; inherit=true takes the model and tokenizer of the source",
        ),
        (["model.n_layers=2"], "has no 'layers_1/attn.*', which model.* asks for"),
        (["model.scan_layers=true"], "has no 'stage_0/.*', which model.* asks for"),
    ],
)
def test_what_does_not_fit_is_named(run_dir, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        train(tiny(*words), tmp_path / "run", init_from=str(run_dir))
    assert not (tmp_path / "run").exists()


def test_a_value_head_may_be_new(run_dir, tmp_path):
    words = [*QUICK, "train.total_steps=1", "optim.lr=0.0"]
    config = tiny(*words, "model.value_head=true")
    train(config, tmp_path / "run", init_from=str(run_dir))
    params = load_params(str(tmp_path / "run")).params["weights"]
    assert params["value_head"]["kernel"].shape == (16, 1)
    train(tiny(*words), tmp_path / "again", init_from=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def imported(run_dir, tmp_path_factory):
    """What an import leaves: weights in bfloat16 and a config of recipe `policy`."""
    folder = tmp_path_factory.mktemp("imported") / "run"
    config = sft.resolve_config(tiny(), None, None)
    model = dataclasses.replace(config.model, param_dtype="bfloat16")
    as_import = ImportedPolicyConfig(name="imported", model=model, task=config.task)
    weights = token_policy(model).init(jax.random.key(5))
    with open_run(folder, to_dict(as_import)):
        write_params(folder, {"weights": weights})
    return folder


def test_model_and_tokenizer_are_inherited(imported, tmp_path, capsys):
    words = ["inherit=true", "model.d_model=999", "train.total_steps=1"]
    config = tiny(*words, *QUICK)
    with pytest.raises(UserError, match="inherit=true takes model and tokenizer from"):
        train(config, tmp_path / "run")
    train(config, tmp_path / "run", init_from=str(imported))
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert written["model"]["d_model"] == 16
    assert written["model"]["param_dtype"] == "float32"
    assert written["model"]["dtype"] == "float32"
    assert "activations" not in capsys.readouterr().err
    params = load_params(str(tmp_path / "run")).params["weights"]
    assert params["final_norm"]["scale"].dtype == np.float32


@pytest.mark.parametrize(
    ("asked", "got"),
    [("inherited", "bfloat16"), ("bfloat16", "bfloat16"), ("float32", "float32")],
)
def test_the_dtype_of_activations_is_kept_or_its_change_is_said(
    imported, tmp_path, capsys, asked, got
):
    source = tmp_path / "source"
    shutil.copytree(imported, source)
    written = json.loads((source / "config.json").read_text())
    written["model"]["dtype"] = "bfloat16"
    (source / "config.json").write_text(json.dumps(written))
    config = tiny("inherit=true", f"model.dtype={asked}", f"init_from={source}")
    config = resolve_config(config, None, None)
    assert config.model.dtype == got
    start_from(config, str(tmp_path / "run"))
    said = f"model.dtype=float32: activations of {source} are bfloat16; "
    said += "model.dtype=inherited keeps that\n"
    assert capsys.readouterr().err == (said if got == "float32" else "")
    with pytest.raises(UserError, match="model.dtype='inherited': is for inherit=true"):
        sft.validate(tiny("model.dtype=inherited"))


def test_an_import_is_opened_and_not_trained(imported, tmp_path):
    run = lrm_jax.load(str(imported))
    assert len(run.sample("1+1=", n=2, max_new=5)) == 2
    with pytest.raises(UserError, match="that of an import .* is not trained"):
        lrm_jax.train(run.config, str(tmp_path / "x"))


def test_an_import_without_a_tokenizer(imported, tmp_path, sums):
    source = tmp_path / "source"
    shutil.copytree(imported, source)
    written = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(written | {"task": None}))
    message = "imported: imported from a folder without tokenizer.json"
    with pytest.raises(UserError, match=message):
        lrm_jax.load(str(source))
    words = ["inherit=true", "train.total_steps=1", "task=none", f"data.path={sums}"]
    with pytest.raises(UserError, match=message):
        train(tiny(*words), tmp_path / "run", init_from=str(source))
    words += ["tokenizer.kind=symbols", "tokenizer.symbols=0 1 2 3 4 5 6 7 8 9 + ="]
    train(tiny(*words, *QUICK), tmp_path / "run", init_from=str(source))


def test_latent_runs_are_no_policies(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"recipe": "latent"}))
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="recipe 'latent', not of a token policy"):
        train(tiny(), tmp_path / "run", init_from=str(tmp_path))


# --- Adapters ---------------------------------------------------------------------

LORA = ["lora=LoraConfig", "lora.rank=2", "lora.targets=(q|v|up)_proj", "optim.lr=0.05"]


@pytest.mark.parametrize("mesh", [["mesh.data=8"], ["mesh.fsdp=2", "mesh.model=2"]])
def test_adapters_alone_are_trained(run_dir, tmp_path, mesh):
    words = [*LORA, *QUICK, *mesh, "train.total_steps=2", "train.ema_decay=0.5"]
    train(tiny(*words), tmp_path / "run", init_from=str(run_dir))
    loaded = load_params(str(tmp_path / "run"))
    before = load_params(str(run_dir)).params["weights"]
    jax.tree.map(np.testing.assert_array_equal, loaded.params["weights"], before)
    adapter = loaded.params["lora"]["layers_0"]["attn"]["q_proj"]
    assert adapter["lora_a"].shape == (16, 2) and np.abs(adapter["lora_b"]).max() > 0
    assert set(loaded.params["lora"]["layers_0"]["mlp"]) == {"up_proj"}
    # Whoever starts from it or samples gets kernels with the averaged adapters in.
    average = loaded.ema["layers_0"]["attn"]["q_proj"]
    weights = load_policy(str(tmp_path / "run")).weights
    np.testing.assert_allclose(
        weights["layers_0"]["attn"]["q_proj"]["kernel"],
        before["layers_0"]["attn"]["q_proj"]["kernel"]
        + 16.0 / 2 * average["lora_a"] @ average["lora_b"],
        atol=1e-6,
    )
    plain = tiny(*QUICK, "train.total_steps=1", "optim.lr=0.0")
    train(plain, tmp_path / "next", init_from=str(tmp_path / "run"))
    after = load_params(str(tmp_path / "next")).params["weights"]
    jax.tree.map(np.testing.assert_array_equal, after, weights)
    told = train(tiny(*LORA), tmp_path / "dry", dry_run=True)
    assert told["params"] == 2 * (32 + 32) + 2 * (16 + 16)


def test_a_run_with_adapters_resumes_exactly(run_dir, tmp_path):
    words = [*LORA, *QUICK]
    train(tiny(*words), tmp_path / "whole", init_from=str(run_dir))
    half = tiny(*words, "train.total_steps=3")
    train(half, tmp_path / "half", init_from=str(run_dir))
    resumed = train(tiny(*words), tmp_path / "half", init_from=str(run_dir))
    assert resumed["resumed_from"] == 3
    same_bits(tmp_path / "whole", tmp_path / "half")


# --- Configs ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sft.seq_len=200"], "sft.seq_len=200: more than model.max_seq_len=80"),
        (["sft.seq_len=1"], "sft.seq_len=1: expected 2 or more"),
        (["sft.seq_len=8"], "12 held-out examples have more than sft.seq_len=8"),
        (["model.n_heads=3"], "model.n_heads=3: must divide d_model=16"),
        (["tokenizer.kind=bytes"], "the tokenizer has ids up to 257, and the model 19"),
        (["tokenizer.kind=hf"], "tokenizer.path is empty"),
        (["train.batch_size=12"], "train.batch_size=12: must divide over 8 devices"),
        (["eval.batch_size=3"], "eval.batch_size=3: must divide over 8 devices"),
        (["eval.max_new_tokens=79"], "eval.max_new_tokens=79: a held-out prompt has"),
        (["eval.greedy=false"], "checkpoint.best_metric='eval/greedy_accuracy' needs"),
        (["model.dtype=float64"], "model.dtype='float64': JAX has 64 bits switched"),
        ([*LORA, "lora.targets=none"], "lora.targets='none': matches no projection"),
        ([*LORA, "lora.rank=0"], "lora.rank=0: expected 1 or more"),
        ([*LORA, "lora.alpha=0"], "lora.alpha=0.0: expected more than 0"),
        (["data.test_size=0"], "data.test_size=0: no held-out example"),
        (["task.name=additon"], "task.name='additon'"),
        (["task=none", "model.vocab_size=0"], "data.path is empty and there is no"),
    ],
)
def test_configs_that_cannot_run(tmp_path, words, message):
    with pytest.raises(UserError, match=message) as excinfo:
        train(tiny(*words), tmp_path / "run")
    assert "\n" not in str(excinfo.value)


def test_padded_rows_are_legal(tmp_path):
    config = tiny(*QUICK, "model.vocab_size=32", "train.total_steps=1")
    train(config, tmp_path / "run")
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (written["model"]["vocab_size"], written["model"]["vocab_rows"]) == (19, 32)
    found = lrm_jax.load(str(tmp_path / "run")).sample("1+1=", n=8, max_new=20)
    assert all(0 <= i < 19 for one in found for i in one.ids)


def test_dry_run_and_bench(tmp_path):
    told = train(tiny(), tmp_path / "run", dry_run=True)
    assert told["data"]["train"] == "endless" and told["batch"]["ids"] == [8, 64]
    assert told["params"] == 19 * 16 + 16 + 2 * 16 + 4 * 16 * 16 + 3 * 16 * 16
    assert not (tmp_path / "run").exists()
    timed = bench(tiny(), steps=1)
    assert timed["steps_per_s"] > 0 and timed["flops_per_step"] > 0
