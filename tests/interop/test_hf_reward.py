# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published reward models against the classes that they were trained with."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lrm_jax.interop.hf import load_hf
from lrm_jax.interop.hf_reward import is_reward_folder, load_hf_reward
from lrm_jax.models.policy import token_policy
from lrm_jax.models.reward import reward_model
from lrm_jax.prm.readers import SignReader
from lrm_jax.prm.scorer import step_logits
from lrm_jax.types import UserError

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore")]

TINY = dict(
    vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    tie_word_embeddings=False, bos_token_id=None, eos_token_id=1, pad_token_id=0,
)  # fmt: skip
FAMILIES = ("Qwen2", "Qwen3", "Llama")


def _config(family):
    transformers = pytest.importorskip(
        "transformers", reason="needs the reference extra"
    )
    pytest.importorskip("torch", reason="needs the reference extra")
    extra = {"head_dim": 8} if family == "Qwen3" else {}
    return getattr(transformers, f"{family}Config")(**TINY, **extra, num_labels=2)


def _random(model, seed=0):
    """Weights of a usual size, biases too; a fresh model's are nearly all 0."""
    import torch

    torch.manual_seed(seed)
    with torch.no_grad():
        for name, leaf in model.named_parameters():
            leaf.normal_(std=0.3)
            if "norm" in name:
                leaf.add_(1)
    return model.eval()


def _texts():
    rng = np.random.default_rng(0)
    ids = rng.integers(2, 40, (3, 12))
    mask = np.arange(12) < np.asarray([12, 9, 10])[:, None]
    return (
        np.where(mask, ids, 0),
        mask,
        np.asarray([[2, 7, 11], [3, 8, -1], [0, 9, -1]]),
    )


def _theirs(model, ids, mask, ends):
    """Logits `[B, S, classes]` at the ends, by the model's own class."""
    import torch

    with torch.no_grad():
        out = model(torch.tensor(ids), attention_mask=torch.tensor(mask.astype(int)))
    logits = out.logits if hasattr(out, "logits") else out[0]
    return np.take_along_axis(logits.numpy(), np.maximum(ends, 0)[..., None], axis=1)


def _ours(folder):
    ids, mask, ends = _texts()
    found = load_hf_reward(folder)
    model = reward_model(found.policy.cfg, "step_correctness")
    params = {**found.policy.params, "value_head": found.head}
    args = map(jnp.asarray, (ids, mask, ends))
    return found, np.asarray(
        jax.jit(lambda p, *a: step_logits(model, p, *a))(params, *args)
    )


def _assert_parity(ours, theirs, ends):
    there = ends >= 0
    one = theirs[..., -1] - (theirs[..., 0] if theirs.shape[-1] == 2 else 0)
    assert np.std(one[there]) > 0.1
    np.testing.assert_allclose(ours[there], one[there], rtol=2e-5, atol=2e-5)
    assert (ours[~there] == 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_token_classification_as_trl_trains_it(tmp_path, family):
    config = _config(family)
    import transformers

    model = _random(getattr(transformers, f"{family}ForTokenClassification")(config))
    model.save_pretrained(tmp_path)
    found, ours = _ours(tmp_path)
    _, _, ends = _texts()
    _assert_parity(ours, _theirs(model, *_texts()), ends)
    assert found.classes == 2 and "hidden" not in found.head
    assert is_reward_folder(found.policy.raw) and not found.policy.unused


def _process_reward_model():
    """Two layers with a ReLU between, as Qwen2.5-Math-PRM names and places them."""
    import torch
    from transformers import Qwen2Model, Qwen2PreTrainedModel

    class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.model = Qwen2Model(config)
            width = config.hidden_size
            layers = (torch.nn.Linear(width, width), torch.nn.ReLU())
            self.score = torch.nn.Sequential(*layers, torch.nn.Linear(width, 2))
            self.post_init()

        def forward(self, input_ids, attention_mask):
            return (self.score(self.model(input_ids, attention_mask)[0]),)

    return _random(Qwen2ForProcessRewardModel(_config("Qwen2")))


def _save(model, folder, *, name="model.safetensors", **more):
    tensors = {k: v.detach().numpy() for k, v in model.state_dict().items()}
    save_file(tensors | more, folder / name, {"format": "pt"})
    body = model.config.to_dict() | {"architectures": [type(model).__name__]}
    (folder / "config.json").write_text(json.dumps(body))


def test_two_classes_at_a_marker(tmp_path):
    _config("Qwen2")
    model = _process_reward_model()
    # The published files carry a head over words that their class ignores.
    _save(model, tmp_path, **{"lm_head.weight": np.zeros((40, 16), np.float32)})
    found, ours = _ours(tmp_path)
    _, _, ends = _texts()
    _assert_parity(ours, _theirs(model, *_texts()), ends)
    assert found.head["hidden"]["kernel"].shape == (16, 16)


def test_a_value_head_beside_the_model(tmp_path):
    _config("Qwen2")
    import torch
    from transformers import Qwen2Model, Qwen2PreTrainedModel

    class Qwen2ForPrmModel(Qwen2PreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.model = Qwen2Model(config)
            self.v_head = torch.nn.Module()
            self.v_head.summary = torch.nn.Linear(config.hidden_size, 1)
            self.post_init()

        def forward(self, input_ids, attention_mask):
            hidden = self.model(input_ids, attention_mask)[0]
            return (self.v_head.summary(hidden),)

    model = _random(Qwen2ForPrmModel(_config("Qwen2")))
    _save(model, tmp_path)
    found, ours = _ours(tmp_path)
    _, _, ends = _texts()
    _assert_parity(ours, _theirs(model, *_texts()), ends)
    assert found.classes == 1


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("early", [0, 1])
def test_signs_of_a_model_that_writes(tmp_path, early, tied):
    config = _config("Llama")
    import transformers

    config.tie_word_embeddings = tied
    model = _random(transformers.LlamaForCausalLM(config))
    model.save_pretrained(tmp_path)
    loaded = load_hf(tmp_path)
    reader = SignReader(token_policy(loaded.cfg), plus_id=7, minus_id=9, early=early)
    ids, mask, ends = _texts()
    ends = np.where(ends == 0, 1, ends)  # a token is before each
    args = map(jnp.asarray, (ids, mask, ends))
    ours = np.asarray(step_logits(reader, loaded.params, *args))
    read_at = np.where(ends >= 0, ends - early, -1)
    theirs = _theirs(model, ids, mask, read_at)[..., [9, 7]]
    _assert_parity(ours, theirs, ends)


def test_what_is_no_reward_model(tmp_path):
    config = _config("Qwen2")
    import transformers

    writes = tmp_path / "writes"
    transformers.Qwen2ForCausalLM(config).save_pretrained(writes)
    with pytest.raises(UserError, match=r"no head of a reward model; expected tensors"):
        load_hf_reward(writes)
    config.num_labels = 3
    three = tmp_path / "three"
    model = transformers.Qwen2ForTokenClassification(config)
    model.save_pretrained(three)
    with pytest.raises(UserError, match="a head of 3 classes"):
        load_hf_reward(three)
    raw = json.loads((three / "config.json").read_text())
    raw["architectures"] = ["BertForTokenClassification"]
    (three / "config.json").write_text(json.dumps(raw))
    tensors = load_file(three / "model.safetensors")
    tensors["score.weight"] = tensors["score.weight"][:2]
    tensors["score.bias"] = tensors["score.bias"][:2]
    save_file(tensors, three / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match="'BertForTokenClassification': no reward model"
    ):
        load_hf_reward(three)
