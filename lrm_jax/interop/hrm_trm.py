# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""State dicts of HRM and TRM <-> our parameter tree.

Both repositories name their tensors alike (HRM: `H_level` and `L_level`; TRM:
`L_level` only, `mlp_t` in place of `self_attn` in the mixer variant). A compiled
module's file carries the prefix `_orig_mod.` more. Linear weights are
`[out, in]` there and `[in, out]` here, fused ones `[in, parts, out]`. Nothing is
rounded: dtypes are the file's.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.interop.tensors import StateDict
from lrm_jax.models.latent import LatentConfig, latent_core
from lrm_jax.types import Params, UserError, first_of

COMPILED_PREFIX = "_orig_mod.model.inner."
"""Prefix of published files; both references' own loaders expect it."""

_PREFIX = re.compile(r"(?:_orig_mod\.)?(?:model\.)?(?:inner\.)?")

_OUTER_NAMES = {
    "weights/embed_tokens/embedding": "embed_tokens.embedding_weight",
    "weights/embed_pos/embedding": "embed_pos.embedding_weight",
    "weights/lm_head/kernel": "lm_head.weight",
    "weights/q_head/kernel": "q_head.weight",
    "weights/q_head/bias": "q_head.bias",
    "fixed/z_h_init": "H_init",
    "fixed/z_l_init": "L_init",
    "puzzle_table": "puzzle_emb.weights",
}
_LEVELS = {"h_level": "H_level", "l_level": "L_level"}
_LAYER_NAMES = {
    "attn/qkv_proj/kernel": "self_attn.qkv_proj.weight",
    "attn/o_proj/kernel": "self_attn.o_proj.weight",
    "mlp_t/gate_up_proj/kernel": "mlp_t.gate_up_proj.weight",
    "mlp_t/down_proj/kernel": "mlp_t.down_proj.weight",
    "mlp/gate_up_proj/kernel": "mlp.gate_up_proj.weight",
    "mlp/down_proj/kernel": "mlp.down_proj.weight",
}
_ORDER = (
    "H_init",
    "L_init",
    "embed_tokens.",
    "lm_head.",
    "q_head.weight",
    "q_head.bias",
    "embed_pos.",
    "puzzle_emb.",
    "H_level.",
    "L_level.",
)
"""The order of the references' own state dicts, for torch files."""


class Entry(NamedTuple):
    """Where one published tensor lives in our tree.

    Attributes:
      name: published name without prefix.
      path: keys of our tree.
      layer: index into a stacked leaf (`scan_layers`), or None.
      shape: the published shape.
      leaf_shape: the shape of our leaf, without the layer axis; kernels are
        `[in, out]` or, for fused projections, `[in, parts, out]`.
      dtype: dtype of our initialiser.
    """

    name: str
    path: tuple[str, ...]
    layer: int | None
    shape: tuple[int, ...]
    leaf_shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def is_kernel(self) -> bool:
        """Whether the published tensor is the transpose of ours."""
        return self.path[-1] == "kernel"

    @property
    def is_buffer(self) -> bool:
        """Whether the references keep it out of the trained parameters."""
        return self.path[0] != "weights"


class Imported(NamedTuple):
    """What a state dict became.

    Attributes:
      params: our tree; NumPy leaves in the file's dtypes.
      prefix: what stood before every name in the file.
      unused: names in the file that no parameter took.
    """

    params: Params
    prefix: str
    unused: list[str]


def layout(cfg: LatentConfig) -> list[Entry]:
    """List the published tensors of a config, in the references' order.

    Raises:
      UserError: the config has a weight for which the published layout has no
        place.
    """
    abstract = jax.eval_shape(latent_core(cfg).init, jax.random.key(0))
    entries = []
    for key_path, leaf in jax.tree_util.tree_leaves_with_path(abstract):
        path = tuple(str(key.key) for key in key_path)
        entries += _entries(path, leaf)
    rank = lambda name: next(i for i, p in enumerate(_ORDER) if name.startswith(p))
    return sorted(entries, key=lambda e: (rank(e.name), _layer_rank(e.name)))


def bare_name(name: str) -> str:
    """Return a published name without the prefix it may carry."""
    return _PREFIX.sub("", name, count=1)


def split_prefix(names: list[str]) -> str:
    """Return the prefix that all names share, of the known ones.

    Raises:
      UserError: some names carry another prefix than the rest.
    """
    found: dict[str, str] = {}
    for name in names:
        match = _PREFIX.match(name)
        found.setdefault(match[0] if match else "", name)
    if len(found) > 1:
        pairs = ", ".join(f"{name!r}" for name in sorted(found.values()))
        raise UserError(f"names with different prefixes in one state dict: {pairs}")
    return next(iter(found), "")


def import_state_dict(
    cfg: LatentConfig, tensors: Mapping[str, np.ndarray], *, where: str = ""
) -> Imported:
    """Turn a state dict into our parameter tree, exactly.

    Args:
      cfg: the model that it should fit.
      tensors: arrays by published name.
      where: the file they are from, for what is said of it.

    Raises:
      UserError: a tensor is missing, has another shape or is not floating, or
        one that only another config would have is there.
    """
    prefix = split_prefix(list(tensors))
    bare = {name.removeprefix(prefix): value for name, value in tensors.items()}
    entries = layout(cfg)
    known = {entry.name for entry in entries}
    missing = [entry.name for entry in entries if entry.name not in bare]
    unused = [name for name in bare if name not in known]
    start = f"{where}: " if where else ""
    _check_names(start, missing, unused)
    leaves: dict[tuple[str, ...], Any] = {}
    for entry in entries:
        value = _checked_tensor(start, entry, bare[entry.name])
        if entry.layer is None:
            leaves[entry.path] = value
        else:
            leaves.setdefault(entry.path, []).append(value)
    stacked = {
        path: np.stack(value) if isinstance(value, list) else value
        for path, value in leaves.items()
    }
    return Imported(_nest(stacked), prefix, unused)


def export_state_dict(
    cfg: LatentConfig, params: Params, *, prefix: str = COMPILED_PREFIX
) -> StateDict:
    """Turn our parameter tree into a published state dict, exactly.

    Raises:
      UserError: the published layout has no place for a weight of the config.
    """
    return {
        prefix + entry.name: published_tensor(entry, params) for entry in layout(cfg)
    }


def published_tensor(entry: Entry, tree: Params) -> np.ndarray:
    """Return one tensor of our tree (or of its gradient) as it is published.

    Raises:
      UserError: the tree's leaf has another shape than the config gives.
    """
    leaf = tree
    for key in entry.path:
        leaf = leaf[key]
    value = np.asarray(leaf if entry.layer is None else leaf[entry.layer])
    if entry.is_kernel:
        value = np.ascontiguousarray(value.reshape(value.shape[0], -1).T)
    if value.shape != entry.shape:
        raise UserError(
            f"{'/'.join(entry.path)}: shape {value.shape}, but the config gives "
            f"{entry.name} {entry.shape}"
        )
    return value


def _entries(path: tuple[str, ...], leaf: jax.ShapeDtypeStruct) -> list[Entry]:
    shape, dtype = tuple(leaf.shape), np.dtype(leaf.dtype)
    outer = _OUTER_NAMES.get("/".join(path))
    if outer is not None:
        published = _published_shape(shape) if path[-1] == "kernel" else shape
        return [Entry(outer, path, None, published, shape, dtype)]
    level = _LEVELS.get(path[1]) if len(path) > 3 else None
    stacked = level is not None and path[2:4] == ("layers", "block")
    inner = _LAYER_NAMES.get("/".join(path[4 if stacked else 3 :]))
    if level is None or inner is None:
        raise UserError(
            f"{'/'.join(path)}: the published HRM and TRM layouts have no such "
            "weight; positions, mixer and norms must be ones that they know"
        )
    if not stacked:
        index = "".join(path[2:3]).removeprefix("layers_")
        name = f"{level}.layers.{index}.{inner}"
        return [Entry(name, path, None, _published_shape(shape), shape, dtype)]
    published, one = _published_shape(shape[1:]), shape[1:]
    return [
        Entry(f"{level}.layers.{i}.{inner}", path, i, published, one, dtype)
        for i in range(shape[0])
    ]


def _published_shape(kernel: tuple[int, ...]) -> tuple[int, int]:
    """`[out, in]`, the parts of a fused kernel side by side."""
    return math.prod(kernel[1:]), kernel[0]


def _layer_rank(name: str) -> tuple[int, int]:
    match = re.search(r"\.layers\.(\d+)\.(.*)", name)
    if not match:
        return (0, 0)
    return int(match[1]), list(_LAYER_NAMES.values()).index(match[2])


def _check_names(start: str, missing: list[str], unused: list[str]) -> None:
    foreign = [
        name
        for name in unused
        if re.match(r"[HL]_level\.layers\.", name)
        or name in ("embed_pos.embedding_weight", "puzzle_emb.weights")
    ]
    if missing or foreign:
        parts = []
        if missing:
            parts.append(f"missing tensors: {first_of(missing)}")
        if foreign:
            parts.append(f"tensors of another config: {first_of(foreign)}")
        others = [name for name in unused if name not in foreign]
        if others:
            parts.append(f"unexpected tensors: {first_of(others)}")
        raise UserError(
            f"{start}the checkpoint does not fit the config; {'; '.join(parts)}"
        )


def _checked_tensor(start: str, entry: Entry, value: np.ndarray) -> np.ndarray:
    if tuple(value.shape) != entry.shape:
        raise UserError(
            f"{start}{entry.name}: the checkpoint has shape {tuple(value.shape)}, "
            f"the config asks for {entry.shape}"
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise UserError(
            f"{start}{entry.name}: dtype {value.dtype}; expected a float dtype"
        )
    if not np.isfinite(value).all():
        raise UserError(
            f"{start}{entry.name}: holds NaN or infinity; the file is damaged"
        )
    if not entry.is_kernel:
        return value
    return np.ascontiguousarray(value.T.reshape(entry.leaf_shape))


def _nest(leaves: Mapping[tuple[str, ...], np.ndarray]) -> Params:
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value
    return tree
