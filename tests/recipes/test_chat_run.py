# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""An import with a tokenizer and a chat template, fine-tuned on messages."""

import json

import jax
import numpy as np
import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.config import apply_overrides, to_dict
from lrm_jax.data.hf_tokenizer import HfTokenizer
from lrm_jax.data.tokenizer import TokenizerConfig
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.policy_config import ImportedPolicyConfig
from lrm_jax.training.loading import write_params
from lrm_jax.training.run_folder import open_run
from lrm_jax.types import UserError
from tests.data import hf_folders
from tests.data.test_chat import TURNS

MODEL = PolicyConfig(
    vocab_size=384, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_len=160
)
WORDS = [
    "train.total_steps=2",
    "train.batch_size=8",
    "sft.seq_len=128",
    "data.test_size=4",
    "eval.every_steps=2",
    "model.dtype=float32",
]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    source = hf_folders.byte_level(folder / "hf", chat_template=TURNS)
    hf_folders.edit(source, "generation_config.json", eos_token_id=[2, 0])
    tokenizer = TokenizerConfig("hf", str(source))
    config = ImportedPolicyConfig(name="chat", model=MODEL, tokenizer=tokenizer)
    with open_run(folder / "run", to_dict(config)):
        weights = token_policy(MODEL).init(jax.random.key(0))
        write_params(folder / "run", {"weights": weights})
    return folder / "run"


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "talks.jsonl"
    rows = []
    for i in range(30):
        user = {"role": "user", "content": f"{i}+1?"}
        prompt = [user] if i % 2 else [{"role": "system", "content": "Be brief"}, user]
        rows.append({"prompt": prompt, "answer": str(i + 1), "solution": f"{i}, next"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_messages_are_fine_tuned_on(imported, talks, tmp_path):
    completion = "data.completion=<think>{solution}</think>{answer}"
    words = [*WORDS, f"data.path={talks}", completion]
    config = apply_overrides(presets.get("sft_jsonl"), words)
    folder = str(tmp_path / "run")
    result = lrm_jax.train(config, folder, init_from=str(imported), progress="off")
    assert result["step"] == 2 and result["best"]["value"] > 0
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    # The tokenizer's ids are fewer than the rows, which keep their number.
    rows = written["model"]["vocab_rows"], written["model"]["vocab_size"]
    assert rows == (384, 363)
    run = lrm_jax.load(folder)
    assert run.source.completion(run.source.test[0]).startswith("<think>")
    report = run.evaluate(max_new=4)
    assert report["n"] == 4 and report["results"][0]["mean_tokens"] <= 4


def test_templates_and_all_ends_are_applied(imported):
    run = lrm_jax.load(str(imported))
    tokenizer = run.tokenizer
    assert isinstance(tokenizer, HfTokenizer) and tokenizer.eos_ids == (2, 0)
    assert run.encoder("Hi")[0] == 1  # <|im_start|>
    talk = [{"role": "user", "content": "Hi"}]
    by_text, by_messages = run.sample("Hi", max_new=6), run.sample(talk, max_new=6)
    assert by_text == by_messages
    assert run.sample("Hi", max_new=6, raw=True) != by_text
    found = run.sample("Hi", n=64, max_new=24, temperature=3.0)
    ended = [one for one in found if one.stop == "stop_id"]
    assert {one.ids[-1] for one in ended} == {0, 2}
    assert all(not {0, 2} & set(one.ids[:-1]) for one in found)
    assert all(np.max(one.ids) < 363 for one in found)


def test_no_data_of_its_own(imported, talks, tmp_path):
    run = lrm_jax.load(str(imported))
    with pytest.raises(UserError, match="was imported and has no data of its own; gi"):
        run.evaluate()
    assert run.evaluate(str(talks), size=3, max_new=3)["n"] == 3


def test_an_embedding_with_too_few_rows(imported, tmp_path):
    folder = imported.parent / "small"
    config = json.loads((imported / "config.json").read_text())
    config["model"]["vocab_size"] = 360
    with open_run(folder, config):
        model = MODEL.__class__(**(vars(MODEL) | {"vocab_size": 360}))
        write_params(folder, {"weights": token_policy(model).init(jax.random.key(0))})
    with pytest.raises(UserError, match="ids up to 362, and the model 360 rows"):
        lrm_jax.load(str(folder))
