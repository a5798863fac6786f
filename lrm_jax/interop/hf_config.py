# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face `config.json` <-> `PolicyConfig`, in the styles of transformers 4 and 5.

What a file leaves out has the default of its family's class. Whatever would change
the numbers and is not implemented is refused, by name.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrm_jax.models.policy_config import (
    MlaConfig,
    MoeConfig,
    PolicyConfig,
    RopeConfig,
    check_policy,
)
from lrm_jax.types import UserError

Raw = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """One architecture of the hub.

    Attributes:
      architecture: its class, as configs name it.
      model_type: its short name, as configs name it.
      defaults: what a config may leave out and then means.
    """

    architecture: str
    model_type: str
    defaults: Mapping[str, Any]


_COMMON: dict[str, Any] = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
    "max_position_embeddings": 32768,
    "num_key_value_heads": 32,
    "head_dim": None,
}
FAMILIES = (
    Family("Qwen3ForCausalLM", "qwen3", {**_COMMON, "head_dim": 128}),
    Family("Qwen2ForCausalLM", "qwen2", _COMMON),
    Family(
        "LlamaForCausalLM",
        "llama",
        {
            **_COMMON,
            "num_key_value_heads": None,
            "max_position_embeddings": 2048,
            "mlp_bias": False,
        },
    ),
    Family(
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        {
            **_COMMON,
            "num_key_value_heads": 4,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
            "norm_topk_prob": False,
            "decoder_sparse_step": 1,
            "mlp_only_layers": None,
        },
    ),
    Family(
        "DeepseekV3ForCausalLM",
        "deepseek_v3",
        {
            **_COMMON,
            "num_key_value_heads": None,
            "max_position_embeddings": 4096,
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "n_group": 8,
            "topk_group": 4,
            "norm_topk_prob": True,
            "routed_scaling_factor": 2.5,
            "first_k_dense_replace": 3,
            "kv_lora_rank": 512,
            "q_lora_rank": 1536,
            "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
            "rope_interleave": True,
            "scoring_func": "sigmoid",
            "topk_method": "noaux_tc",
            "moe_layer_freq": 1,
            "num_nextn_predict_layers": 1,
        },
    ),
)
_ROPE_KINDS = ("default", "linear", "dynamic", "llama3", "yarn")


def read_hf_config(folder: Path) -> dict[str, Any]:
    """Read `config.json` of a Hugging Face folder.

    Raises:
      UserError: the folder or the file is missing or damaged.
    """
    path = folder / "config.json"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a Hugging Face folder")
    if not path.is_file():
        raise UserError(f"{folder}: has no config.json; expected a Hugging Face folder")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: holds a {type(raw).__name__}; expected an object")
    return raw


def family_of(raw: Raw) -> Family:
    """Return the family that a config names.

    Raises:
      UserError: none is named, or one that is not known.
    """
    named = raw.get("architectures") or []
    if not isinstance(named, list):
        raise UserError(
            f"config.json: architectures={named!r}: expected a list of names"
        )
    name = named[0] if named else raw.get("model_type")
    for family in FAMILIES:
        if name in (family.architecture, family.model_type):
            return family
    known = ", ".join(family.architecture for family in FAMILIES)
    if not named:
        other = "" if name is None else f", and its model_type {name!r} is not known"
        raise UserError(f"config.json has no architectures{other}; known are {known}")
    raise UserError(f"architecture {name!r} is not known; known are {known}")


def policy_config(raw: Raw) -> PolicyConfig:
    """Turn a Hugging Face config into ours; `vocab_size` is the rows there.

    Raises:
      UserError: a field is missing, has a value that cannot be, or means something
        that is not implemented.
    """
    family = family_of(raw)
    fields = _Fields(raw, family)
    fields.only("hidden_act", "silu")
    layers = fields.size("num_hidden_layers")
    heads = fields.size("num_attention_heads")
    width = fields.size("hidden_size")
    bias = fields.flag("attention_bias")
    latent = _latent(fields) if family.model_type == "deepseek_v3" else None
    qwen2 = family.model_type == "qwen2"
    window, sliding = _window(fields, layers)
    return check_policy(
        PolicyConfig(
            vocab_size=fields.size("vocab_size"),
            d_model=width,
            n_layers=layers,
            n_heads=heads,
            n_kv_heads=0 if latent else fields.size("num_key_value_heads", heads),
            d_head=0 if latent else fields.size("head_dim", width // heads),
            d_ff=fields.size("intermediate_size"),
            max_seq_len=fields.size("max_position_embeddings"),
            norm_eps=fields.number("rms_norm_eps"),
            tied_embeddings=fields.flag("tie_word_embeddings"),
            qkv_bias=True if qwen2 else bias,
            o_bias=False if qwen2 else bias,
            mlp_bias=fields.flag("mlp_bias") if family.model_type == "llama" else False,
            qk_norm=family.model_type in ("qwen3", "qwen3_moe"),
            sliding_window=window,
            sliding_layers=sliding,
            rope=_rope(fields),
            moe=_MOE.get(family.model_type, lambda fields, layers: None)(
                fields, layers
            ),
            mla=latent,
        ),
        "config.json",
    )


class _Fields:
    """A config with its family's defaults, read by kind."""

    def __init__(self, raw: Raw, family: Family) -> None:
        self.raw, self.family = raw, family

    def get(self, name: str) -> Any:
        if name in self.raw:
            return self.raw[name]
        if name in self.family.defaults:
            return self.family.defaults[name]
        raise UserError(
            f"config.json has no {name!r}, which {self.family.architecture} needs"
        )

    def size(self, name: str, otherwise: int | None = None) -> int:
        """A whole number, 1 or more; `otherwise` where the file says null."""
        value = self.get(name)
        value = otherwise if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(
                f"config.json: {name}={value!r}: expected a whole number, 1 or more"
            )
        return value

    def number(self, name: str) -> float:
        return _number(self.get(name), name)

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise UserError(f"config.json: {name}={value!r}: expected true or false")
        return bool(value)

    def only(self, name: str, *accepted: Any) -> None:
        if self.get(name) not in accepted:
            choices = " or ".join(map(repr, accepted))
            raise UserError(
                f"config.json: {name}={self.get(name)!r}: only {choices} is implemented"
            )


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UserError(f"config.json: {name}={value!r}: expected a number above 0")
    return float(value)


def _window(fields: _Fields, layers: int) -> tuple[int, tuple[int, ...] | None]:
    """Return the sliding window, 0 for none, and the layers that have it."""
    kind = fields.family.model_type
    if not kind.startswith("qwen") or not fields.flag("use_sliding_window"):
        return 0, None
    if fields.get("sliding_window") is None:
        return 0, None
    window = fields.size("sliding_window")
    if kind == "qwen3_moe":
        return window, None
    types = fields.get("layer_types")
    if types is None:
        first = fields.get("max_window_layers")
        return window, tuple(range(first, layers))
    known = ("full_attention", "sliding_attention")
    if len(types) != layers or not set(types) <= set(known):
        raise UserError(
            f"config.json: layer_types={types!r}: expected {layers} of "
            f"{' or '.join(known)}"
        )
    return window, tuple(i for i, t in enumerate(types) if t == "sliding_attention")


def _rope(fields: _Fields) -> RopeConfig:
    raw = fields.raw
    name = "rope_scaling" if raw.get("rope_scaling") else "rope_parameters"
    given = raw.get(name) or {}
    if not isinstance(given, Mapping):
        raise UserError(f"config.json: {name}={given!r}: expected an object")
    kind = given.get("rope_type", given.get("type", "default"))
    if kind not in _ROPE_KINDS:
        raise UserError(
            f"config.json: rope_type={kind!r}: known are {', '.join(_ROPE_KINDS)}"
        )
    partial = given.get("partial_rotary_factor", raw.get("partial_rotary_factor", 1.0))
    if partial not in (None, 1, 1.0):
        raise UserError(
            f"config.json: partial_rotary_factor={partial!r}: only 1 is implemented"
        )
    theta = given.get("rope_theta") or fields.get("rope_theta")
    latent = fields.family.model_type == "deepseek_v3"
    plain = RopeConfig(
        theta=_number(theta, "rope_theta"),
        interleaved=fields.flag("rope_interleave") if latent else False,
    )
    if kind == "default":
        # mscale_all_dim counts for stretched contexts only.
        return plain
    longest = fields.size("max_position_embeddings")
    original = raw.get("original_max_position_embeddings")
    original = original or given.get("original_max_position_embeddings") or longest
    if kind in ("linear", "dynamic"):
        original = longest
    factor = given.get("factor")
    if factor is None and kind == "yarn":
        factor = longest / original
    if factor is None:
        raise UserError(f"config.json: rope_type={kind!r} needs a factor")
    numbers = ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow")
    scales = ("attention_factor", "mscale", "mscale_all_dim")
    return dataclasses.replace(
        plain,
        kind=kind,
        factor=_number(factor, "factor"),
        original_max_len=int(_number(original, "original_max_position_embeddings")),
        **{n: _number(given[n], n) for n in numbers if given.get(n)},
        **{n: float(given[n]) for n in scales if given.get(n)},
        truncate=bool(given.get("truncate", True)),
    )


def _latent(fields: _Fields) -> MlaConfig:
    return MlaConfig(
        q_rank=0 if fields.get("q_lora_rank") is None else fields.size("q_lora_rank"),
        kv_rank=fields.size("kv_lora_rank"),
        d_nope=fields.size("qk_nope_head_dim"),
        d_rope=fields.size("qk_rope_head_dim"),
        d_value=fields.size("v_head_dim"),
    )


def _qwen3_moe(fields: _Fields, layers: int) -> MoeConfig | None:
    count = "num_local_experts" if "num_local_experts" in fields.raw else "num_experts"
    dense = set(fields.get("mlp_only_layers") or ())
    step = fields.size("decoder_sparse_step")
    dense |= {layer for layer in range(layers) if (layer + 1) % step}
    if fields.get(count) == 0:
        return None
    return MoeConfig(
        n_experts=fields.size(count),
        top_k=fields.size("num_experts_per_tok"),
        d_expert=fields.size("moe_intermediate_size"),
        dense_layers=tuple(sorted(layer for layer in dense if layer < layers)),
        norm_topk=fields.flag("norm_topk_prob"),
    )


def _deepseek_moe(fields: _Fields, layers: int) -> MoeConfig:
    fields.only("scoring_func", "sigmoid")
    fields.only("topk_method", "noaux_tc")
    fields.only("moe_layer_freq", 1)
    dense = fields.get("first_k_dense_replace") or 0
    shared = fields.get("n_shared_experts")
    return MoeConfig(
        n_experts=fields.size("n_routed_experts"),
        top_k=fields.size("num_experts_per_tok"),
        d_expert=fields.size("moe_intermediate_size"),
        n_shared=fields.size("n_shared_experts") if shared else 0,
        dense_layers=tuple(range(min(dense, layers))),
        scoring="sigmoid",
        n_groups=fields.size("n_group", 1),
        top_groups=fields.size("topk_group", 1),
        norm_topk=fields.flag("norm_topk_prob"),
        routed_scale=fields.number("routed_scaling_factor"),
    )


_MOE: dict[str, Callable[[_Fields, int], MoeConfig | None]] = {
    "qwen3_moe": _qwen3_moe,
    "deepseek_v3": _deepseek_moe,
}
