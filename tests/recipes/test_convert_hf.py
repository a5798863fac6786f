# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.cli import main as cli
from lrm_jax.config import from_dict, to_dict
from lrm_jax.interop.hf import hf_tensors, load_hf
from lrm_jax.interop.hf_export import hf_config
from lrm_jax.interop.hf_files import HfWeights, write_shards
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.convert_hf import export_hf, import_hf, refuse_other_source
from lrm_jax.recipes.policy_build import load_policy, read_policy_config
from lrm_jax.recipes.policy_config import ImportedPolicyConfig
from lrm_jax.training.loading import write_params
from lrm_jax.training.run_folder import open_run
from lrm_jax.types import UserError

TINY = PolicyConfig(
    vocab_size=20, d_model=16, n_layers=2, n_heads=2, n_kv_heads=1, d_head=8, d_ff=24,
    qk_norm=True, max_seq_len=64,
)  # fmt: skip


def draw(cfg):
    shapes = jax.eval_shape(token_policy(cfg).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes
    )


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "tiny"
    path.mkdir()
    write_shards(path, hf_tensors(TINY, draw(TINY), "BF16"), 3000, {"format": "pt"})
    raw = hf_config(TINY, None, "bfloat16") | {"eos_token_id": 1, "model_note": "kept"}
    (path / "config.json").write_text(json.dumps(raw))
    vocab = {f"t{i}": i for i in range(18)}
    text = {"model": {"vocab": vocab}, "added_tokens": []}
    (path / "tokenizer.json").write_text(json.dumps(text))
    (path / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    (path / "chat_template.jinja").write_text("{{ messages }}")
    (path / "README.md").write_text("not copied")
    return path


def stored(path):
    weights = HfWeights(path)
    return {n: (weights.dtype(n), weights._raw(n).tobytes()) for n in weights.stored}


def test_in_and_out_again_is_byte_for_byte_the_same(folder, tmp_path):
    told = import_hf(folder, tmp_path / "run")
    assert told["params"] == sum(x.size for x in jax.tree.leaves(draw(TINY)))
    assert (told["unused"], told["missing"], told["notes"]) == ([], [], [])
    written = export_hf(tmp_path / "run", tmp_path / "out", shard_bytes=3000)
    assert stored(tmp_path / "out") == stored(folder)
    assert written["tensors"] == len(stored(folder))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {path.name for path in folder.iterdir()} - {"README.md"}
    for name in ("tokenizer.json", "generation_config.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_text() == (folder / name).read_text()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config == json.loads((folder / "config.json").read_text())


def test_blocks_of_multi_token_prediction_are_kept_when_asked_for(folder, tmp_path):
    cfg = dataclasses.replace(TINY, mtp_layers=1)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    write_shards(folder, hf_tensors(cfg, draw(cfg), "BF16"), 3000, {"format": "pt"})
    words = ["import", "hf", str(folder)]
    assert cli.main([*words, str(tmp_path / "kept"), "--mtp-layers", "1"]) == 0
    kept = load_policy(str(tmp_path / "kept"))
    assert kept.config.model.mtp_layers == 1 and "mtp_0" in kept.weights
    assert cli.main([*words, str(tmp_path / "left")]) == 0
    left = load_policy(str(tmp_path / "left"))
    assert left.config.model.mtp_layers == 0 and "mtp_0" not in left.weights
    assert cli.main([*words, str(tmp_path / "no"), "--mtp-layers", "-1"]) == 2


def test_an_import_is_a_run_that_recipes_start_from(folder, tmp_path):
    run = tmp_path / "run"
    import_hf(folder, run)
    config = read_policy_config(str(run))
    assert isinstance(config, ImportedPolicyConfig)
    assert (config.model.vocab_size, config.model.rows) == (18, 20)
    assert config.tokenizer.kind == "hf"
    names = {path.name for path in (run / "tokenizer").iterdir()}
    assert names == {
        *("tokenizer.json", "config.json"),
        *("generation_config.json", "chat_template.jinja"),
    }
    assert from_dict(ImportedPolicyConfig, to_dict(config)) == config
    loaded = load_policy(str(run))
    want = load_hf(folder).params
    for a, b in zip(
        jax.tree.leaves(loaded.weights), jax.tree.leaves(want), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("older", [False, True])
def test_a_moved_import_opens_without_its_source(folder, tmp_path, older):
    run, moved = tmp_path / "run", tmp_path / "elsewhere" / "run"
    import_hf(folder, run)
    written = json.loads((run / "config.json").read_text())
    assert written["tokenizer"]["path"] == "tokenizer"
    if older:  # which named it by where it was
        written["tokenizer"]["path"] = str(run / "tokenizer")
        (run / "config.json").write_text(json.dumps(written))
        assert read_policy_config(str(run)).tokenizer.path == str(run / "tokenizer")
    moved.parent.mkdir()
    run.rename(moved)
    shutil.rmtree(folder)
    config = read_policy_config(str(moved))
    assert config.tokenizer.path == str(moved / "tokenizer")
    export_hf(moved, tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def trained(tmp_path, name, source, config, change):
    """A run that started from another, with all weights moved."""
    weights = jax.tree.map(lambda x: x + change, load_policy(source).weights)
    config = dataclasses.replace(config, init_from=source)
    with open_run(tmp_path / name, to_dict(config)):
        ema = jax.tree.map(lambda x: x + change, weights)
        write_params(tmp_path / name, {"weights": weights}, step=3, ema=ema)
    return str(tmp_path / name)


def test_a_run_that_goes_back_to_an_import_keeps_its_style(folder, tmp_path):
    import_hf(folder, tmp_path / "run")
    config = read_policy_config(str(tmp_path / "run"))
    first = trained(tmp_path, "sft", str(tmp_path / "run"), config, 0.5)
    second = trained(tmp_path, "rl", first, config, 0.25)
    shutil.rmtree(folder)
    export_hf(second, tmp_path / "out", ema=False, dtype="float32")
    raw = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (raw["model_note"], raw["torch_dtype"]) == ("kept", "float32")
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    want = load_policy(second)
    got = load_hf(tmp_path / "out").params["final_norm"]["scale"]
    ema = want.weights["final_norm"]["scale"]  # evaluation takes the average
    np.testing.assert_allclose(got, np.asarray(ema) - 0.25, atol=1e-6)
    told = export_hf(f"{second}@3", tmp_path / "averaged", dtype="float32")
    assert told["step"] == 3
    averaged = load_hf(tmp_path / "averaged").params["final_norm"]["scale"]
    np.testing.assert_array_equal(averaged, ema)


def test_a_policy_of_our_own_goes_out_as_the_family_it_fits(tmp_path):
    config = ImportedPolicyConfig(model=TINY)
    with open_run(tmp_path / "run", to_dict(config)):
        weights = jax.tree.map(jnp.asarray, draw(TINY))
        write_params(tmp_path / "run", {"weights": weights})
    export_hf(tmp_path / "run", tmp_path / "out")
    raw = json.loads((tmp_path / "out" / "config.json").read_text())
    assert raw["architectures"] == ["Qwen3ForCausalLM"]
    assert load_hf(tmp_path / "out").cfg.head_dim == 8
    odd = dataclasses.replace(TINY, o_bias=True)
    with pytest.raises(UserError, match=r"model.qkv_bias=False: Qwen3ForCausalLM has"):
        hf_config(odd, None, None)


def test_export_says_which_step_it_wrote(tmp_path, folder, capfd):
    run = str(tmp_path / "run")
    import_hf(folder, run)
    words = ["export", "hf", run, str(tmp_path / "out")]
    assert cli.main(words) == 0
    first, *files = capfd.readouterr().out.splitlines()
    assert first.startswith("checkpoint of step 0, ") and len(files) >= 2
    Path(run, "checkpoints/9").mkdir()
    words[-1] = str(tmp_path / "newest")
    assert cli.main([*words, "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["step"] == 0
    assert data["warning"].startswith("checkpoint 9 cannot be used: half-written")


@pytest.mark.parametrize("older", [False, True])
def test_another_source_is_told_from_the_one_imported(folder, tmp_path, older):
    run = tmp_path / "run"
    import_hf(folder, run)
    if older:  # imports that have no fingerprint: config and dtypes are all there is
        origin = json.loads((run / "hf_origin.json").read_text())
        del origin["sha256"]
        (run / "hf_origin.json").write_text(json.dumps(origin))
    refuse_other_source(folder, run)
    template = folder / "chat_template.jinja"
    template.write_text("{{ other }}")
    if older:
        refuse_other_source(folder, run)
    else:
        with pytest.raises(UserError, match="are not those that .* from .tiny.; name"):
            refuse_other_source(folder, run)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 2}))
    with pytest.raises(UserError, match="are not those that .* from .tiny.; name"):
        refuse_other_source(folder, run)


def test_nothing_is_written_over_and_wrong_choices_are_refused(folder, tmp_path):
    import_hf(folder, tmp_path / "run")
    with pytest.raises(UserError, match="not empty; import never writes over"):
        import_hf(folder, tmp_path / "run")
    with pytest.raises(UserError, match="not empty; export never writes over"):
        export_hf(tmp_path / "run", folder)
    with pytest.raises(UserError, match="dtype 'int8': expected float32 or bfloat16"):
        export_hf(tmp_path / "run", tmp_path / "out", dtype="int8")
    with pytest.raises(UserError, match="shard size 0"):
        export_hf(tmp_path / "run", tmp_path / "out", shard_bytes=0)
    shard = next(folder.glob("model-00002-*"))
    shard.unlink()
    with pytest.raises(UserError, match=f"missing shard {shard.name}"):
        import_hf(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_command_line_imports_and_exports(folder, tmp_path, capfd):
    run, out = str(tmp_path / "run"), str(tmp_path / "out")
    assert cli.main(["import", "hf", str(folder), run, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["missing"] == []
    command = ["export", "hf", run, out, "--step", "0", "--dtype", "bfloat16"]
    assert cli.main([*command, "--no-ema", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["step"] == 0
    assert stored(tmp_path / "out") == stored(folder)
    wrong = (
        (["export", "hf", run, out, "--format", "torch"], "--format is for hrm"),
        (["export", "trm", run, out, "--dtype", "float32"], "--dtype is for hf"),
        (["export", "hf", run, out, "--step", "last"], "--step last: expected"),
        (["import", "hf", str(folder), run, "--arch", "x"], "--arch is for hrm"),
        (["import", "hrm", str(folder), run, "--scan-layers"], "--scan-layers is for"),
    )
    for words, message in wrong:
        assert cli.main(words) == 2
        error = capfd.readouterr().err.strip()
        assert message in error and len(error.splitlines()) == 1
