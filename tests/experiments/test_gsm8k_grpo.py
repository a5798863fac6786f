# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""GSM8K from a Hugging Face folder: with a tiny model, from import to report."""

import dataclasses
import json
import shutil
import sys

import pytest

from experiments import gsm8k_grpo
from lrm_jax.evaluation.samples import read_samples
from lrm_jax.recipes.convert_hf import import_hf, refuse_other_source
from lrm_jax.recipes.registry import recipe_of
from tests.data.hf_folders import byte_level
from tests.interop.test_hf import QWEN3, make, write

pytest.importorskip("tokenizers", reason="tokenizers is in the hf extra")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TINY = [
    *("rl.rollout.n_prompts=2", "rl.rollout.group_size=2", "mesh.data=1"),
    *("rl.rollout.max_new_tokens=8", "rl.overlong.buffer_tokens=2"),
    *("grpo.prompt_len=248", "grpo.samples_every=1", "model.dtype=float32"),
    *("train.total_steps=1", "train.grad_accum=1"),
    *("eval.size=2", "eval.batch_size=2", "eval.max_new_tokens=8"),
]
MODEL = dataclasses.replace(
    QWEN3, vocab_size=512, max_seq_len=256, tied_embeddings=True
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder with a tiny Qwen3 of 512 rows and a chat template; two problems each."""
    folder = tmp_path_factory.mktemp("gsm8k")
    write(folder / "model", MODEL, make(MODEL))
    byte_level(folder / "model", chat_template=TEMPLATE)
    (folder / "data").mkdir()
    for split, first in (("train", 1), ("test", 5)):
        rows = [
            {"question": f"Add {n} and 2.", "answer": f"<<{n}+2>>\n#### {n + 2}"}
            for n in range(first, first + 4)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "data" / f"{split}.jsonl").write_text(text)
    return folder


def call(monkeypatch, capfd, sources, run_dir, *words):
    model, data = str(sources / "model"), str(sources / "data")
    imported = str(sources / "imported")
    argv = ["gsm8k_grpo", model, "--data", data, "--run-dir", str(run_dir)]
    argv += ["--imported", imported, *TINY, *words]
    monkeypatch.setattr(sys, "argv", argv)
    code = gsm8k_grpo.main()
    return code, capfd.readouterr()


def test_dry_run_prints_the_config_and_trains_nothing(
    monkeypatch, capfd, sources, tmp_path
):
    code, out = call(monkeypatch, capfd, sources, tmp_path / "run", "--dry-run")
    assert code == 0 and not (tmp_path / "run").exists()
    assert not (sources / "imported").exists()  # nor weights read
    assert (
        '"aggregation": "token_mean"' in out.out and "trainable parameters" in out.out
    )
    assert '"qk_norm": true' in out.out  # the model is the folder's
    shown = json.loads(out.out[out.out.index("{") : out.out.rindex("}") + 1])
    assert shown["reward"]["reading"] == "strict" and shown["reward"]["format"] == 0.1
    assert shown["tokenizer"]["kind"] == "hf"


def test_one_update_with_chat_template(monkeypatch, capfd, sources, tmp_path):
    run = tmp_path / "run"
    code, out = call(monkeypatch, capfd, sources, run, "rl.group_filter.kind=none")
    assert code == 0, out.err
    (group,) = read_samples(run).groups[:1]
    assert group.prompt.startswith("<|im_start|>user\nAdd ")
    assert group.prompt.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert "\\boxed{}" in group.prompt
    lines = (run / "metrics.jsonl").read_text().splitlines()
    logged = {key for line in lines for key in json.loads(line)}
    assert {"accuracy/strict", "accuracy/lenient", "eval/greedy_accuracy"} <= logged


def test_another_folder_than_the_imports_is_refused(
    monkeypatch, capfd, sources, tmp_path
):
    other, imported = tmp_path / "other", tmp_path / "imported"
    shutil.copytree(sources / "model", other)

    def refused(model):
        argv = ["gsm8k_grpo", str(model), "--data", str(sources / "data"), "--dry-run"]
        words = ["--run-dir", str(tmp_path / "run"), "--imported", str(imported), *TINY]
        monkeypatch.setattr(sys, "argv", [*argv, *words])
        code = gsm8k_grpo.main()
        out, err = capfd.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return err.removeprefix("gsm8k_grpo: error: ").rstrip()

    assert refused(tmp_path / "none").startswith(f"{tmp_path / 'none'}: no such folder")
    import_hf(other, imported)
    refuse_other_source(sources / "model", imported)  # moved: the same
    message = refused(tmp_path / "none")
    assert message.startswith(f"{tmp_path / 'none'}: no such folder")
    write(other, MODEL, make(MODEL, seed=1))
    message = refused(other)
    assert message.startswith(f"{other}: its config, weights or tokenizer are not")
    assert f"that {imported} was imported from (other)" in message
    (imported / "hf_origin.json").unlink()
    assert "no finished import" in refused(sources / "model")


def test_the_documented_config_is_valid():
    config = gsm8k_grpo.config()
    model = dataclasses.replace(QWEN3, max_seq_len=4096)
    config = dataclasses.replace(config, model=model)
    recipe_of(config).validate(config, n_devices=1)
    sharded = dataclasses.replace(
        config, mesh=dataclasses.replace(config.mesh, data=1, fsdp=8)
    )
    recipe_of(sharded).validate(sharded, n_devices=8)
