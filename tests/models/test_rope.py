# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.interop.hf_config import policy_config
from lrm_jax.models.policy_config import RopeConfig
from lrm_jax.models.rope import (
    attention_factor,
    inverse_frequencies,
    rope_cos_sin,
    rotate,
    softmax_scale,
    yarn_mscale,
)

BASE = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 8,
    "hidden_size": 64,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 64,
}
SCALINGS = {
    "default": None,
    "linear": {"rope_type": "linear", "factor": 3.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
    },
    "yarn": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16
    },
    "yarn betas": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
        "beta_fast": 4, "beta_slow": 0.5,
    },
    "yarn mscale": {
        "type": "yarn", "factor": 40.0, "original_max_position_embeddings": 16,
        "mscale": 1.0, "mscale_all_dim": 0.7,
    },
    "yarn attention factor": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
        "attention_factor": 1.25,
    },
    "yarn untruncated": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
        "truncate": False,
    },
    "yarn without factor": {
        "rope_type": "yarn", "factor": None, "original_max_position_embeddings": 16
    },
}  # fmt: skip


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("length", [40, 100])
def test_angles_are_those_of_the_library(name, length):
    torch = pytest.importorskip("torch", reason="needs the reference extra")
    pytest.importorskip("transformers", reason="needs the reference extra")
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    raw = {**BASE, "rope_theta": 500.0, "rope_scaling": SCALINGS[name]}
    library = LlamaRotaryEmbedding(LlamaConfig.from_dict(raw))
    at = np.arange(length)[None]
    want = library(torch.zeros(1, 1, 64), torch.tensor(at))
    cfg = policy_config(raw)
    got = rope_cos_sin(cfg.rope, 32, cfg.max_seq_len, jnp.asarray(at), jnp.float32)
    for ours, theirs in zip(got, want, strict=True):
        both = np.concatenate([ours, ours], axis=-1)
        np.testing.assert_allclose(both, theirs.numpy(), atol=2e-5)


def test_linear_and_llama3_by_hand():
    plain = inverse_frequencies(RopeConfig(theta=100.0), 4, 64)
    np.testing.assert_allclose(plain, [1, 0.1])
    slow = RopeConfig(theta=100.0, kind="linear", factor=2.0)
    np.testing.assert_allclose(inverse_frequencies(slow, 4, 64), [0.5, 0.05])
    # Over 64 positions the pairs turn 10.2 and 1.02 times; between 1 and 4 blends.
    llama = RopeConfig(theta=100.0, kind="llama3", factor=8.0, original_max_len=64)
    keep = (64 * 0.1 / (2 * math.pi) - 1) / 3
    want = [1, keep * 0.1 + (1 - keep) * 0.1 / 8]
    np.testing.assert_allclose(inverse_frequencies(llama, 4, 999), want)


def test_temperatures_of_yarn():
    assert yarn_mscale(1.0) == 1.0
    np.testing.assert_allclose(yarn_mscale(40.0, 2.0), 0.2 * math.log(40) + 1)
    deepseek = RopeConfig(kind="yarn", factor=40.0, mscale=1.0, mscale_all_dim=1.0)
    assert attention_factor(deepseek) == 1.0
    want = 192**-0.5 * (0.1 * math.log(40) + 1) ** 2
    np.testing.assert_allclose(softmax_scale(deepseek, 192), want)
    assert softmax_scale(RopeConfig(), 16) == 0.25


def test_products_depend_on_distance_only_and_pairs_on_the_layout():
    x = jax.random.normal(jax.random.key(0), (1, 1, 1, 8))
    y = jax.random.normal(jax.random.key(1), (1, 1, 1, 8))

    def product(i, j, interleaved):
        rope = RopeConfig(interleaved=interleaved)
        turned = []
        for value, at in ((x, i), (y, j)):
            table = rope_cos_sin(rope, 8, 64, jnp.array([[at]]), jnp.float32)
            turned.append(rotate(value, *table, interleaved=interleaved))
        return float(jnp.sum(turned[0] * turned[1]))

    for interleaved in (False, True):
        assert abs(product(3, 1, interleaved) - product(9, 7, interleaved)) < 1e-5
    assert abs(product(3, 1, False) - product(3, 1, True)) > 1e-2


def test_interleaved_pairs_are_neighbours():
    quarter = jnp.array([[[0.0, 1.0]]])  # cos and sin of pair 1 turned by 90 degrees
    cos, sin = 1 - quarter, quarter
    x = jnp.arange(1.0, 5.0).reshape(1, 1, 1, 4)
    assert rotate(x, cos, sin).ravel().tolist() == [1, -4, 3, 2]
    # Pairs (1, 2) and (3, 4); the result has the first of each pair in front.
    assert rotate(x, cos, sin, interleaved=True).ravel().tolist() == [1, -4, 2, 3]
