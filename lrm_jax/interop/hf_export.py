# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The `config.json` of a policy that leaves: as it came, or of the family it fits."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lrm_jax.interop.hf_config import FAMILIES, policy_config
from lrm_jax.models.policy_config import MoeConfig, PolicyConfig, RopeConfig
from lrm_jax.types import UserError

_SHAPE = (
    *("d_model", "n_layers", "n_heads", "kv_heads", "d_ff", "norm_eps", "rows"),
    *("tied_embeddings", "qkv_bias", "o_bias", "mlp_bias", "qk_norm", "rope", "mla"),
)
"""What a config.json must say as the policy has it."""


def hf_config(
    cfg: PolicyConfig, raw: Mapping[str, Any] | None, dtype: str | None
) -> dict[str, Any]:
    """Return the `config.json` of a policy.

    Args:
      cfg: of the policy.
      raw: of the folder it came from, whose style and further keys are kept; None
        for one that was never in a folder.
      dtype: of the written weights, None for the source's.

    Raises:
      UserError: no known family has such a model.
    """
    if raw is None:
        made = _made(cfg) | {"torch_dtype": dtype or "float32"}
        _check_same(cfg, made)
        return made
    kept = dict(raw)
    if cfg.mtp_layers:
        kept["num_nextn_predict_layers"] = cfg.mtp_layers
    quantised = kept.pop("quantization_config", None)
    key = "dtype" if "dtype" in kept else "torch_dtype"
    if dtype is not None or quantised:
        kept[key] = dtype or "bfloat16"
    if kept.get("tie_word_embeddings", False) != cfg.tied_embeddings:
        kept["tie_word_embeddings"] = cfg.tied_embeddings
    _check_same(cfg, kept)
    return kept


def _check_same(cfg: PolicyConfig, raw: Mapping[str, Any]) -> None:
    theirs = policy_config(raw)
    both = [(name, getattr(cfg, name), getattr(theirs, name)) for name in _SHAPE]
    if cfg.mla is None:
        both.append(("d_head", cfg.head_dim, theirs.head_dim))
    both.append(("moe", *map(_routing, (cfg.moe, theirs.moe))))
    for name, ours, read in both:
        if ours != read:
            raise UserError(
                f"model.{name}={ours!r}: {raw['architectures'][0]} has {read!r} in its "
                "place, so the policy cannot be written in that format"
            )


def _routing(moe: MoeConfig | None) -> MoeConfig | None:
    """Without what only says how it is computed."""
    if moe is None:
        return None
    return dataclasses.replace(moe, dispatch="auto", router_dtype="wide")


def _made(cfg: PolicyConfig) -> dict[str, Any]:
    """A config in the style of the hub, which both major versions read."""
    kind = _model_type(cfg)
    family = next(f for f in FAMILIES if f.model_type == kind)
    raw: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": kind,
        "hidden_act": "silu",
        "hidden_size": cfg.d_model,
        "intermediate_size": cfg.d_ff,
        "max_position_embeddings": cfg.max_seq_len,
        "num_attention_heads": cfg.n_heads,
        "num_hidden_layers": cfg.n_layers,
        "num_key_value_heads": cfg.kv_heads,
        "rms_norm_eps": cfg.norm_eps,
        "rope_scaling": _rope(cfg.rope),
        "rope_theta": cfg.rope.theta,
        "tie_word_embeddings": cfg.tied_embeddings,
        "vocab_size": cfg.rows,
    }
    if kind != "qwen2":
        raw["attention_bias"] = cfg.o_bias
    if kind == "llama":
        raw["mlp_bias"] = cfg.mlp_bias
    if cfg.mla is not None:
        raw |= {
            "q_lora_rank": cfg.mla.q_rank or None,
            "kv_lora_rank": cfg.mla.kv_rank,
            "qk_nope_head_dim": cfg.mla.d_nope,
            "qk_rope_head_dim": cfg.mla.d_rope,
            "v_head_dim": cfg.mla.d_value,
            "rope_interleave": cfg.rope.interleaved,
        }
    elif kind != "qwen2":
        raw["head_dim"] = cfg.head_dim
    if kind.startswith("qwen"):
        raw |= _window(cfg)
    if cfg.moe is not None:
        raw |= _experts(cfg.moe, cfg.n_layers)
    if kind == "deepseek_v3":
        raw["num_nextn_predict_layers"] = cfg.mtp_layers
    return raw


def _model_type(cfg: PolicyConfig) -> str:
    if cfg.mla is not None:
        return "deepseek_v3"
    if cfg.moe is not None:
        return "qwen3_moe"
    if cfg.qk_norm:
        return "qwen3"
    if (cfg.qkv_bias and not cfg.o_bias) or cfg.sliding_window:
        return "qwen2"
    return "llama"


def _rope(rope: RopeConfig) -> dict[str, Any] | None:
    if rope.kind == "default":
        return None
    scaling: dict[str, Any] = {"rope_type": rope.kind, "factor": rope.factor}
    if rope.kind in ("llama3", "yarn"):
        scaling["original_max_position_embeddings"] = rope.original_max_len
    if rope.kind == "llama3":
        scaling["low_freq_factor"] = rope.low_freq_factor
        scaling["high_freq_factor"] = rope.high_freq_factor
    if rope.kind == "yarn":
        scaling |= {"beta_fast": rope.beta_fast, "beta_slow": rope.beta_slow}
        scaling["truncate"] = rope.truncate
        for name in ("attention_factor", "mscale", "mscale_all_dim"):
            if getattr(rope, name):
                scaling[name] = getattr(rope, name)
    return scaling


def _window(cfg: PolicyConfig) -> dict[str, Any]:
    if not cfg.sliding_window:
        return {"use_sliding_window": False}
    windowed = [cfg.has_window(layer) for layer in range(cfg.n_layers)]
    types = ["sliding_attention" if has else "full_attention" for has in windowed]
    return {
        "use_sliding_window": True,
        "sliding_window": cfg.sliding_window,
        "max_window_layers": windowed.index(True),
        "layer_types": types,
    }


def _experts(moe: MoeConfig, n_layers: int) -> dict[str, Any]:
    common = {
        "num_experts_per_tok": moe.top_k,
        "moe_intermediate_size": moe.d_expert,
        "norm_topk_prob": moe.norm_topk,
    }
    if moe.scoring == "softmax":
        return common | {
            "num_experts": moe.n_experts,
            "decoder_sparse_step": 1,
            "mlp_only_layers": list(moe.dense_layers),
        }
    dense = len(moe.dense_layers)
    if moe.dense_layers != tuple(range(dense)):
        raise UserError(
            f"model.moe.dense_layers={moe.dense_layers}: DeepseekV3ForCausalLM has "
            "dense layers at the start only"
        )
    return common | {
        "n_routed_experts": moe.n_experts,
        "n_shared_experts": moe.n_shared,
        "first_k_dense_replace": min(dense, n_layers),
        "n_group": moe.n_groups,
        "topk_group": moe.top_groups,
        "routed_scaling_factor": moe.routed_scale,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
    }
