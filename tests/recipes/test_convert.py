# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from lrm_jax.cli import main as cli
from lrm_jax.config import from_dict, to_dict
from lrm_jax.interop.hrm_trm import COMPILED_PREFIX
from lrm_jax.interop.tensors import read_safetensors, write_safetensors
from lrm_jax.models.latent import latent_core
from lrm_jax.recipes.convert import export_checkpoint, find_weights, import_checkpoint
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.training.loading import load_params, write_params
from lrm_jax.training.run_folder import open_run, read_config
from lrm_jax.types import UserError

FIXTURES = Path(__file__).parents[1] / "fixtures"
HRM = FIXTURES / "hrm" / "rope_multi_puzzle_token"
TRM = FIXTURES / "trm" / "att_learned_ceil_len"
CASES = pytest.mark.parametrize(("kind", "src"), [("hrm", HRM), ("trm", TRM)])


@CASES
def test_import_then_export_is_byte_equal(tmp_path, kind, src):
    imported = import_checkpoint(kind, src, tmp_path / "run")
    want = json.loads((src / "config.json").read_text())["n_params"]
    assert imported == {
        "run_dir": str(tmp_path / "run"),
        "params": want,
        "unused": [],
        "missing": [],
    }
    exported = export_checkpoint(kind, tmp_path / "run", tmp_path / "out")
    assert [Path(file).name for file in exported["files"]] == [
        "weights.safetensors",
        "config.json",
    ]
    for name in ("weights.safetensors", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (src / name).read_bytes()


def test_an_imported_run_is_a_run(tmp_path):
    import_checkpoint("trm", TRM, tmp_path / "run")
    config = from_dict(RunConfig, read_config(tmp_path / "run"))
    assert config.model.puzzle_prefix_len == 0 and config.model.prefix_len == 2
    assert config.halting.rule == "halt_only" and config.halting.max_steps == 3
    assert config.loss.kind == "stablemax"
    assert config.optim.lr == 1e-3 and config.optim.lr_warmup_steps == 2
    assert config.optim.puzzle_emb_lr == 1e-2 and config.train.total_steps == 10
    assert config.train.batch_size == 6
    abstract = jax.eval_shape(latent_core(config.model).init, jax.random.key(0))
    loaded = load_params(tmp_path / "run", abstract=abstract)
    stored = read_safetensors(TRM / "weights.safetensors")[0]
    table = stored["model.inner.puzzle_emb.weights"]
    np.testing.assert_array_equal(loaded.params["puzzle_table"], table)


def published_folder(tmp_path, fmt):
    """The fixture as HRM publishes: prefix, bfloat16 states, all_config.yaml."""
    src = tmp_path / "src"
    src.mkdir()
    stored = read_safetensors(HRM / "weights.safetensors")[0]
    tensors = {"_orig_mod." + name: value for name, value in stored.items()}
    for name in ("H_init", "L_init"):
        bf16 = tensors[COMPILED_PREFIX + name].astype("bfloat16")
        tensors[COMPILED_PREFIX + name] = bf16
    arch = json.loads((HRM / "config.json").read_text())["arch"]
    lines = [f"  {key}: {value}" for key, value in sorted(arch.items())]
    yaml = "arch:\n" + "\n".join(lines) + "\nlr: 7.0e-05\nglobal_batch_size: 384\n"
    (src / "all_config.yaml").write_text(yaml)
    if fmt == "torch":
        from lrm_jax.interop.torch_files import write_torch

        write_torch(src / "checkpoint", dict(reversed(tensors.items())))
    else:
        write_safetensors(src / "model.safetensors", tensors, {"format": "pt"})
    return src, tensors


def test_prefix_dtypes_and_metadata_come_back(tmp_path):
    src, _ = published_folder(tmp_path, "safetensors")
    import_checkpoint("hrm", src, tmp_path / "run")
    config = from_dict(RunConfig, read_config(tmp_path / "run"))
    assert config.optim.lr == 7e-5 and config.train.batch_size == 384
    export_checkpoint("hrm", tmp_path / "run", tmp_path / "out")
    for name in ("model.safetensors", "all_config.yaml"):
        assert (tmp_path / "out" / name).read_bytes() == (src / name).read_bytes()


def test_torch_checkpoints_come_in_and_go_out(tmp_path):
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    src, tensors = published_folder(tmp_path, "torch")
    import_checkpoint("hrm", src, tmp_path / "run")
    export_checkpoint("hrm", tmp_path / "run", tmp_path / "out")
    before = torch.load(src / "checkpoint", weights_only=True)
    after = torch.load(tmp_path / "out" / "checkpoint", weights_only=True)
    assert list(after) == list(before) and set(after) == set(tensors)
    for name, value in before.items():
        assert after[name].dtype == value.dtype
        assert torch.equal(after[name], value)
    export_checkpoint("hrm", tmp_path / "run", tmp_path / "st", fmt="safetensors")
    again = safetensors.numpy.load_file(tmp_path / "st" / "model.safetensors")
    assert again[COMPILED_PREFIX + "H_init"].dtype == "bfloat16"


@pytest.fixture
def trained(tmp_path):
    """A run of our own, with averaged weights, that nobody imported."""
    import_checkpoint("trm", TRM, tmp_path / "imported")
    config = from_dict(RunConfig, read_config(tmp_path / "imported"))
    params = load_params(tmp_path / "imported").params
    ema = jax.tree.map(lambda x: x + 1, params["weights"])
    with open_run(tmp_path / "own", to_dict(config)):
        write_params(tmp_path / "own", params, step=3, ema=ema)
    return tmp_path / "own", params


def test_a_run_of_our_own_is_exported_with_its_average(tmp_path, trained):
    run, params = trained
    exported = export_checkpoint("trm", run, tmp_path / "out")
    assert exported["step"] == 3
    tensors = read_safetensors(tmp_path / "out" / "model.safetensors")[0]
    bias = tensors[COMPILED_PREFIX + "q_head.bias"]
    want = np.asarray(params["weights"]["q_head"]["bias"])
    np.testing.assert_array_equal(bias, want + 1)
    export_checkpoint("trm", f"{run}@3", tmp_path / "last", ema=False)
    tensors = read_safetensors(tmp_path / "last" / "model.safetensors")[0]
    np.testing.assert_array_equal(tensors[COMPILED_PREFIX + "q_head.bias"], want)
    # What was written is a checkpoint that comes in again.
    import_checkpoint("trm", tmp_path / "last", tmp_path / "again")
    again = load_params(tmp_path / "again").params
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_export_says_which_step_it_wrote(tmp_path, trained, capfd):
    run = str(trained[0])
    words = ["export", "trm", run, str(tmp_path / "out")]
    assert cli.main(words) == 0
    first, *files = capfd.readouterr().out.splitlines()
    assert first.startswith("checkpoint of step 3, ") and len(files) >= 2
    Path(run, "checkpoints/9").mkdir()
    words[-1] = str(tmp_path / "newest")
    assert cli.main([*words, "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["step"] == 3
    assert data["warning"].startswith("checkpoint 9 cannot be used: half-written")


def test_the_wrong_kind_is_refused(tmp_path, trained):
    with pytest.raises(UserError, match="is a model of kind hrm, but trm was asked"):
        import_checkpoint("trm", HRM, tmp_path / "a")
    with pytest.raises(UserError, match="kind 'hf': expected hrm or trm"):
        import_checkpoint("hf", HRM, tmp_path / "a")
    with pytest.raises(UserError, match="halting.rule='halt_only'"):
        export_checkpoint("hrm", trained[0], tmp_path / "b")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_a_checkpoint_of_another_config_is_refused(tmp_path):
    src = tmp_path / "src"
    shutil.copytree(HRM, src)
    config = json.loads((src / "config.json").read_text())
    for field, value, words in (
        ("hidden_size", 32, r"H_init: the checkpoint has shape \(16,\)"),
        ("H_layers", 2, "missing tensors: H_level.layers.1"),
        ("L_layers", 1, "tensors of another config: L_level.layers.1"),
        ("num_puzzle_identifiers", 9, r"puzzle_emb.weights: .*\(5, 40\).*\(9, 40\)"),
        ("num_heads", 3, "n_heads=3"),
    ):
        changed = {**config, "arch": {**config["arch"], field: value}}
        (src / "config.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=words) as caught:
            import_checkpoint("hrm", src, tmp_path / "run")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()


def test_truncated_weights_and_missing_files_are_refused(tmp_path):
    src = tmp_path / "src"
    src.mkdir()
    with pytest.raises(UserError, match="no weights; expected"):
        import_checkpoint("hrm", src, tmp_path / "run")
    raw = (HRM / "weights.safetensors").read_bytes()
    (src / "weights.safetensors").write_bytes(raw[:-100])
    with pytest.raises(UserError, match="give the model's config with --arch"):
        import_checkpoint("hrm", src, tmp_path / "run")
    arch = HRM / "config.json"
    with pytest.raises(UserError, match="damaged, truncated"):
        import_checkpoint("hrm", src, tmp_path / "run", arch=arch)
    with pytest.raises(UserError, match="no such file or folder"):
        import_checkpoint("hrm", tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_arch_may_be_given_apart(tmp_path):
    shutil.copy(HRM / "weights.safetensors", tmp_path / "step_7")
    dst, arch = tmp_path / "run", HRM / "config.json"
    assert import_checkpoint("hrm", tmp_path / "step_7", dst, arch=arch)["params"]
    export_checkpoint("hrm", dst, tmp_path / "out")
    raw = (HRM / "weights.safetensors").read_bytes()
    assert (tmp_path / "out" / "step_7").read_bytes() == raw


def test_several_weight_files_need_a_choice(tmp_path):
    for name in ("step_10", "step_20"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=r"several weight files \(step_10, step_20\)"):
        find_weights(tmp_path)
    assert find_weights(tmp_path / "step_10") == tmp_path / "step_10"
    (tmp_path / "checkpoint").write_bytes(b"x")
    assert find_weights(tmp_path).name == "checkpoint"


def test_nothing_is_written_over(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty; import never writes over"):
        import_checkpoint("hrm", HRM, taken)
    import_checkpoint("hrm", HRM, tmp_path / "run")
    with pytest.raises(UserError, match="not empty; export never writes over"):
        export_checkpoint("hrm", tmp_path / "run", taken)
    assert [path.name for path in taken.iterdir()] == ["notes.txt"]


def test_states_that_the_activations_cannot_hold_are_refused(tmp_path):
    src = tmp_path / "src"
    shutil.copytree(HRM, src)
    config = json.loads((src / "config.json").read_text())
    config["arch"]["forward_dtype"] = "bfloat16"
    (src / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"z_h_init.*set arch.forward_dtype to float32"):
        import_checkpoint("hrm", src, tmp_path / "run")


def test_other_architectures_of_ours_are_not_exported(tmp_path, trained):
    run, _ = trained
    config = from_dict(RunConfig, read_config(run))
    changed = dataclasses.replace(
        config, model=dataclasses.replace(config.model, qk_norm=True)
    )
    (run / "config.json").write_text(json.dumps(to_dict(changed)))
    with pytest.raises(UserError, match="model.qk_norm=True: the published trm model"):
        export_checkpoint("trm", run, tmp_path / "out")
