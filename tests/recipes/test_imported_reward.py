# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published reward models, from folder to scores, against PyTorch on the same text."""

import json

import numpy as np
import pytest

from lrm_jax.cli import main as cli
from lrm_jax.data.hf_tokenizer import HfTokenizer
from lrm_jax.prm.readers import READERS
from lrm_jax.recipes import registry
from lrm_jax.recipes.import_reward import import_reward
from lrm_jax.recipes.imported_reward import ImportedReward, StepTokenizer
from lrm_jax.types import UserError
from tests.data import hf_folders

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore")]

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROMPT, STEPS = "def f(x) + 1?", ["the lazy dog", "x + 1", "return 0"]


def _folder(path, architecture, classes=2, **config):
    """A tiny folder with a tokenizer like Qwen's, and the model in PyTorch."""
    torch = pytest.importorskip("torch", reason="needs the reference extra")
    transformers = pytest.importorskip(
        "transformers", reason="needs the reference extra"
    )
    hf_folders.byte_level(path, chat_template=CHAT)
    body = json.loads((path / "tokenizer.json").read_text())
    last = max(token["id"] for token in body["added_tokens"])
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    marker = {"id": last + 1, "content": "<extra_0>", "special": True, **flags}
    body["added_tokens"].append(marker)
    (path / "tokenizer.json").write_text(json.dumps(body))
    sizes = dict(
        vocab_size=last + 10, hidden_size=16, intermediate_size=24,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=128, tie_word_embeddings=False, num_labels=classes,
        eos_token_id=1, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(
        transformers.Qwen2Config(**sizes | config)
    )
    with torch.no_grad():
        for name, leaf in model.named_parameters():
            leaf.normal_(std=0.3)
            leaf.add_(1.0 if "norm" in name else 0.0)
    model.eval().save_pretrained(path)
    return model


def _logits(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def _softmax(pair):
    return float(np.exp(pair[1]) / np.exp(pair).sum())


def _open(run) -> ImportedReward:
    found = registry.load(str(run))
    assert isinstance(found, ImportedReward)
    return found


def test_a_marker_in_a_chat(tmp_path):
    model = _folder(tmp_path / "hf", "Qwen2ForTokenClassification")
    told = import_reward(tmp_path / "hf", tmp_path / "run", reader="qwen")
    assert told["notes"] == ["head of 2 classes"]
    reward = _open(tmp_path / "run")
    found = reward.score(PROMPT, STEPS)
    tokenizer = HfTokenizer(tmp_path / "hf")
    text = (
        "<|im_start|>system\nPlease reason step by step, and put your final answer "
        f"within \\boxed{{}}.<|im_end|>\n<|im_start|>user\n{PROMPT}<|im_end|>\n"
        f"<|im_start|>assistant\n{'<extra_0>'.join(STEPS)}<extra_0><|im_end|>\n"
    )
    ids = tokenizer.encode(text)
    (marker,) = tokenizer.encode("<extra_0>")
    logits = _logits(model, ids)
    expected = [_softmax(logits[t]) for t, i in enumerate(ids) if i == marker]
    assert len(expected) == 3 and np.std(expected) > 0.01
    np.testing.assert_allclose(found.steps, expected, rtol=1e-4)
    assert (reward.semantics, found.how) == ("step_correctness", "product")
    np.testing.assert_allclose(found.total, np.prod(expected), rtol=1e-4)


def test_many_solutions_come_back_in_their_order(tmp_path):
    _folder(tmp_path / "hf", "Qwen2ForTokenClassification")
    import_reward(tmp_path / "hf", tmp_path / "run", reader="trl", separator="\n\n")
    reward = _open(tmp_path / "run")
    assert reward.config.reader.rule.separator == "\n\n"
    solutions = [(PROMPT, STEPS[: 1 + i % 3]) for i in range(10)]
    scores = reward.score_all(solutions, how="min")
    for one, (_, steps) in zip(scores, solutions, strict=True):
        assert len(one.steps) == len(steps)
        alone = scores[len(steps) - 1]
        np.testing.assert_allclose(one.steps, alone.steps, rtol=1e-5)
        assert one.total == pytest.approx(min(one.steps))
    # A prefix scores what it scores inside the longer text.
    np.testing.assert_allclose(scores[0].steps, scores[2].steps[:1], rtol=1e-5)


def test_pieces_apart_as_trl_trains_them(tmp_path):
    model = _folder(tmp_path / "hf", "Qwen2ForTokenClassification")
    import_reward(tmp_path / "hf", tmp_path / "run", reader="trl")
    found = _open(tmp_path / "run").score(PROMPT, STEPS)
    encode = HfTokenizer(tmp_path / "hf").encode
    ids, ends = encode(PROMPT), []
    for step in STEPS:
        ids += [*encode(step), *encode("\n")]
        ends.append(len(ids) - 1)
    logits = _logits(model, ids)
    np.testing.assert_allclose(
        found.steps, [_softmax(logits[end]) for end in ends], rtol=1e-4
    )


def test_line_ends_after_a_begin_token(tmp_path):
    model = _folder(tmp_path / "hf", "Qwen2ForTokenClassification", classes=1)
    with pytest.raises(UserError, match="the tokenizer names no bos_token"):
        import_reward(tmp_path / "hf", tmp_path / "run", reader="skywork")
    hf_folders.edit(tmp_path / "hf", "tokenizer_config.json", bos_token="<|im_start|>")
    import_reward(tmp_path / "hf", tmp_path / "run", reader="skywork")
    found = _open(tmp_path / "run").score(PROMPT, STEPS)
    encode = HfTokenizer(tmp_path / "hf").encode
    ids, ends = encode(f"<|im_start|>{PROMPT}\n"), []
    for step in STEPS:
        ids += [*encode(step), *encode("\n")]
        ends.append(len(ids) - 1)
    values = _logits(model, ids)[ends, 0]
    np.testing.assert_allclose(found.steps, 1 / (1 + np.exp(-values)), rtol=1e-4)


def test_signs_in_turns_are_read_one_token_earlier(tmp_path):
    model = _folder(tmp_path / "hf", "Qwen2ForCausalLM")
    import_reward(tmp_path / "hf", tmp_path / "run", reader="rlhflow")
    reward = _open(tmp_path / "run")
    found = reward.score(PROMPT, STEPS)
    tokenizer = HfTokenizer(tmp_path / "hf")
    (plus,), (minus,) = tokenizer.encode("+"), tokenizer.encode("-")
    text, expected = "", []
    for i, step in enumerate(STEPS):
        said = step if i else f"{PROMPT} {step}"
        text += f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"
        logits = _logits(model, tokenizer.encode(text))[-1]
        expected.append(_softmax(logits[[minus, plus]]))
        text += "+<|im_end|>\n"
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(found.steps, expected, rtol=1e-4)
    assert found.how == "last"


def test_signs_at_a_tag(tmp_path):
    model = _folder(tmp_path / "hf", "Qwen2ForCausalLM")
    import_reward(tmp_path / "hf", tmp_path / "run", reader="math_shepherd")
    found = _open(tmp_path / "run").score(PROMPT, STEPS)
    tokenizer = HfTokenizer(tmp_path / "hf")
    lines = [f"Step {i}: {step} ки" for i, step in enumerate(STEPS, 1)]
    (plus,), (minus,) = tokenizer.encode("+"), tokenizer.encode("-")
    expected = []
    for i in range(3):  # a score is that of the text up to its tag
        solution = tokenizer.encode("\n".join(lines[: i + 1]))
        logits = _logits(model, [*tokenizer.encode(PROMPT), *solution])[-1]
        expected.append(_softmax(logits[[minus, plus]]))
    np.testing.assert_allclose(found.steps, expected, rtol=1e-4)


def test_what_is_refused(tmp_path):
    _folder(tmp_path / "head", "Qwen2ForTokenClassification")
    _folder(tmp_path / "writes", "Qwen2ForCausalLM")
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"reader 'quen': expected one of .*'qwen'"):
        import_reward(tmp_path / "head", run, reader="quen")
    with pytest.raises(UserError, match="ForTokenClassification, which has a head"):
        import_reward(tmp_path / "head", run, reader="rlhflow")
    with pytest.raises(UserError, match="no head of a reward model"):
        import_reward(tmp_path / "writes", run, reader="qwen")
    (tmp_path / "head" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        import_reward(tmp_path / "head", run, reader="qwen")
    assert not run.exists()


def test_what_cannot_be_scored(tmp_path):
    _folder(tmp_path / "hf", "Qwen2ForTokenClassification", max_position_embeddings=64)
    import_reward(tmp_path / "hf", tmp_path / "run", reader="trl")
    reward = _open(tmp_path / "run")
    with pytest.raises(UserError, match=r"solution 2: .* holds the separator"):
        reward.score_all([(PROMPT, STEPS), (PROMPT, ["a\nb"])])
    with pytest.raises(UserError, match=r"solution 1: \d+ tokens; the model reads 64"):
        reward.score_all([(PROMPT, STEPS * 9)])
    reward.params["value_head"]["bias"] *= np.nan
    with pytest.raises(
        UserError, match="hf-import: the score of lane 0, step 0 is NaN"
    ):
        reward.score(PROMPT, STEPS)
    with pytest.raises(UserError, match="is not trained"):
        registry.train(reward.config, str(tmp_path / "again"))


def test_a_tokenizer_without_what_a_reader_needs(tmp_path):
    tokenizer = HfTokenizer(hf_folders.byte_level(tmp_path / "plain"))
    with pytest.raises(UserError, match="has no chat template"):
        StepTokenizer(tokenizer, READERS["rlhflow"])


def test_from_the_command_line(tmp_path, capfd):
    _folder(tmp_path / "hf", "Qwen2ForTokenClassification")
    src, run = str(tmp_path / "hf"), str(tmp_path / "run")
    reader = ["--reader", "trl", "--separator", r"\n\n"]
    assert cli.main(["import", "hf", src, run, *reader]) == 0
    assert "head of 2 classes" in capfd.readouterr().out
    assert _open(run).config.reader.rule.separator == "\n\n"
    assert cli.main(["import", "hf", src, run + "2", "--separator", "x"]) == 2
    assert "name a --reader" in capfd.readouterr().err
