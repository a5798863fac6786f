# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tensor names of the Hugging Face families <-> paths in our parameters.

Linear weights are `[out, in]` there and `[in, out]` here. Stacked layers and experts
are one tensor each there.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.types import Params, UserError

EMBEDDING = "model.embed_tokens.weight"
LM_HEAD = "lm_head.weight"

_TOP = {
    "embed_tokens/embedding": EMBEDDING,
    "final_norm/scale": "model.norm.weight",
    "lm_head/kernel": LM_HEAD,
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    **{f"attn/{n}": f"self_attn.{n}" for n in ("q_proj", "k_proj", "v_proj", "o_proj")},
    **{f"attn/{n}": f"self_attn.{n}" for n in ("q_norm", "k_norm")},
    **{f"attn/{n}": f"self_attn.{n}" for n in ("q_a_proj", "q_b_proj", "kv_b_proj")},
    "attn/q_a_norm": "self_attn.q_a_layernorm",
    "attn/kv_a_norm": "self_attn.kv_a_layernorm",
    "attn/kv_a_proj": "self_attn.kv_a_proj_with_mqa",
    **{f"mlp/{n}": f"mlp.{n}" for n in ("gate_proj", "up_proj", "down_proj")},
    **{
        f"moe/shared/{n}": f"mlp.shared_experts.{n}"
        for n in ("gate_proj", "up_proj", "down_proj")
    },
}
_MTP = {
    "embed_norm": "enorm",
    "hidden_norm": "hnorm",
    "join_proj": "eh_proj",
    "final_norm": "shared_head.norm",
}
_SUFFIX = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_EXPERTS = ("gate_proj", "up_proj", "down_proj")


class HfEntry(NamedTuple):
    """One tensor of the folder and where it is in our tree.

    Attributes:
      name: in the folder.
      path: keys of the leaf in our tree.
      at: index of the layer and the expert inside a stacked leaf; () for a whole leaf.
      shape: of the tensor in the folder.
      transposed: whether ours is its transpose.
    """

    name: str
    path: tuple[str, ...]
    at: tuple[int, ...]
    shape: tuple[int, ...]
    transposed: bool


def hf_layout(cfg: PolicyConfig) -> list[HfEntry]:
    """List the tensors of a config, sorted as the library sorts them.

    A value head, which the format does not know, is left out.
    """
    abstract = jax.eval_shape(token_policy(cfg).init, jax.random.key(0))
    entries = []
    for key_path, leaf in jax.tree_util.tree_leaves_with_path(abstract):
        path = tuple(str(key.key) for key in key_path)
        entries += _entries(cfg, path, tuple(leaf.shape))
    return sorted(entries, key=lambda entry: _natural(entry.name))


def leaf_of(params: Params, path: tuple[str, ...]) -> np.ndarray:
    """Return a leaf of nested dicts."""
    for key in path:
        params = params[key]
    return params


def hf_tensor(entry: HfEntry, params: Params) -> np.ndarray:
    """Return one tensor of our tree (or of its gradient) as the folder has it."""
    leaf = leaf_of(params, entry.path)
    value = np.asarray(leaf[entry.at] if entry.at else leaf)
    return np.ascontiguousarray(value.T) if entry.transposed else value


def later_blocks(names: Iterable[str], n_layers: int) -> set[str]:
    """Return the tensors of multi-token prediction: blocks after the last.

    Such a block joins two inputs; one that does not is of a model with more layers.
    """
    blocks: dict[int, set[str]] = {}
    for name in names:
        match = re.match(r"model\.layers\.(\d+)\.", name)
        if match and int(match[1]) >= n_layers:
            blocks.setdefault(int(match[1]), set()).add(name)
    joins = f".{_MTP['join_proj']}.weight"
    return {
        name
        for block in blocks.values()
        if any(name.endswith(joins) for name in block)
        for name in block
    }


def _entries(
    cfg: PolicyConfig, path: tuple[str, ...], shape: tuple[int, ...]
) -> list[HfEntry]:
    whole = "/".join(path)
    transposed = path[-1] == "kernel"
    if whole in _TOP:
        return [_entry(_TOP[whole], path, (), shape, transposed)]
    stage = re.fullmatch(r"(layers|stage|mtp)_(\d+)", path[0])
    if not stage:
        return []  # value_head
    first = int(stage[2])
    if stage[1] == "mtp" and path[1] == "block":
        return _layer_entries(cfg.n_layers + first, path, (), shape, 2)
    if stage[1] == "mtp":
        name = f"model.layers.{cfg.n_layers + first}.{_MTP[path[1]]}.weight"
        return [_entry(name, path, (), shape, transposed)]
    if stage[1] == "layers":
        return _layer_entries(first, path, (), shape)
    return [
        entry
        for i in range(shape[0])
        for entry in _layer_entries(first + i, path, (i,), shape[1:])
    ]


def _layer_entries(
    layer: int,
    path: tuple[str, ...],
    index: tuple[int, ...],
    shape: tuple[int, ...],
    depth: int = 1,
) -> list[HfEntry]:
    prefix = f"model.layers.{layer}."
    inner = path[depth:]
    if inner == ("moe", "router"):
        return [_entry(f"{prefix}mlp.gate.weight", path, index, shape, True)]
    if inner == ("moe", "router_bias"):
        name = f"{prefix}mlp.gate.e_score_correction_bias"
        return [_entry(name, path, index, shape, False)]
    if inner[0] == "moe" and len(inner) == 2 and inner[1] in _EXPERTS:
        return [
            _entry(
                f"{prefix}mlp.experts.{i}.{inner[1]}.weight",
                path,
                (*index, i),
                shape[1:],
                True,
            )
            for i in range(shape[0])
        ]
    name = _LAYER.get("/".join(inner[:-1]))
    if name is None or inner[-1] not in _SUFFIX:
        raise UserError(
            f"{'/'.join(path)}: the Hugging Face layout has no such weight; merge "
            "adapters before exporting"
        )
    full = f"{prefix}{name}.{_SUFFIX[inner[-1]]}"
    return [_entry(full, path, index, shape, inner[-1] == "kernel")]


def _entry(
    name: str,
    path: tuple[str, ...],
    index: tuple[int, ...],
    shape: tuple[int, ...],
    transposed: bool,
) -> HfEntry:
    return HfEntry(name, path, index, shape[::-1] if transposed else shape, transposed)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that counts: layer 2 before layer 10."""
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)]
