# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face folders in and out: weights of a policy, tensor by tensor."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from lrm_jax.interop.hf_config import policy_config, read_hf_config
from lrm_jax.interop.hf_files import DTYPES, HfWeights
from lrm_jax.interop.hf_layout import (
    EMBEDDING,
    LM_HEAD,
    HfEntry,
    hf_layout,
    hf_tensor,
    later_blocks,
    leaf_of,
)
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.types import Params, UserError, first_of

_NEVER_WEIGHTS = ("rotary_emb.inv_freq",)
"""Buffers that old files carry and nothing reads."""


class HfPolicy(NamedTuple):
    """A policy from a Hugging Face folder.

    Attributes:
      cfg: its config; `vocab_rows` are the embedding's, `vocab_size` what the
        tokenizer has.
      params: NumPy arrays of `cfg.param_dtype`.
      raw: `config.json` as it was.
      dtypes: of each tensor in the folder, in safetensors' words, in its order.
      unused: names of tensors that no parameter took.
      notes: what a reader must know about how the folder was understood.
      sha256: fingerprint of the weights.
    """

    cfg: PolicyConfig
    params: Params
    raw: dict[str, Any]
    dtypes: dict[str, str]
    unused: list[str]
    notes: list[str]
    sha256: str


class HfFolder(NamedTuple):
    """A Hugging Face folder whose headers are read and fit its config.

    Attributes:
      cfg: see `HfPolicy`.
      raw: `config.json` as it was.
      weights: the tensors, not yet read.
      entries: where each goes.
      unused: names of tensors that no parameter takes.
      notes: see `HfPolicy`.
      sha256: fingerprint of the weights.
    """

    cfg: PolicyConfig
    raw: dict[str, Any]
    weights: HfWeights
    entries: list[HfEntry]
    unused: list[str]
    notes: list[str]
    sha256: str


def load_hf(folder: str | Path, **changes: Any) -> HfPolicy:
    """Read a policy from a Hugging Face folder.

    Args:
      folder: config.json, and model.safetensors or shards with an index.
      **changes: fields of `PolicyConfig` that the folder does not settle (dtype,
        param_dtype, scan_layers, remat, mtp_layers).

    Raises:
      UserError: the folder is incomplete or damaged, or holds a model that is not
        known, or weights that do not fit its config.
    """
    return take_all(open_hf(folder, **changes))


def take_all(there: HfFolder) -> HfPolicy:
    """Read every tensor of a folder that is open."""
    cfg, weights = there.cfg, there.weights
    abstract = jax.eval_shape(token_policy(cfg).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract)
    for entry in there.entries:
        _take(entry, weights, params)
    dtypes = {name: weights.dtype(name) for name in weights.names()}
    return HfPolicy(
        cfg, params, there.raw, dtypes, there.unused, there.notes, there.sha256
    )


def open_hf(folder: str | Path, **changes: Any) -> HfFolder:
    """Read config and headers of a Hugging Face folder, see `load_hf`."""
    raw = read_hf_config(Path(folder))
    policy_config(raw)  # what is wrong with it comes before its weights
    return open_parts(raw, HfWeights(Path(folder), fp8_block(raw)), **changes)


def open_parts(raw: dict[str, Any], weights: HfWeights, **changes: Any) -> HfFolder:
    """Fit headers to a config, see `open_hf`.

    Args:
      raw: of a policy, as `config.json` would have it.
      weights: with the tensors of that policy and no others.
      **changes: see `load_hf`.
    """
    cfg = dataclasses.replace(policy_config(raw), **changes)
    cfg = _with_tokenizer(cfg, weights.folder)
    sha256 = weights.fingerprint()
    cfg, notes = _settle_head(cfg, weights)
    entries = hf_layout(cfg)
    unused = _check_names(cfg, entries, weights)
    found = later_blocks(weights.names(), cfg.n_layers)
    later = [name for name in unused if name in found]
    if later:
        notes.append(
            f"{len(later)} tensors of blocks after {cfg.n_layers - 1} (multi-token "
            f"prediction) were left out: {first_of(later)}"
        )
    return HfFolder(cfg, raw, weights, entries, unused, notes, sha256)


def hf_tensors(
    cfg: PolicyConfig, params: Params, dtypes: Mapping[str, str] | str
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of a policy as a Hugging Face folder has them.

    Args:
      cfg: of the policy.
      params: merged, without adapters.
      dtypes: of each tensor as the source had them, in its order; or one for all.
        A name that the source ties (`lm_head.weight`) is written where it is in it.

    Raises:
      UserError: a dtype that is none of the format's.
    """
    entries = {entry.name: entry for entry in hf_layout(cfg)}
    if isinstance(dtypes, str):
        dtypes = dict.fromkeys(entries, dtypes)
    if cfg.tied_embeddings:
        entries[LM_HEAD] = entries[EMBEDDING]
    known = [name for name in dtypes if name in entries]
    missing = [n for n in entries if n not in dtypes and n != LM_HEAD]
    for name in [*known, *missing]:
        # An FP8 source goes out as what it was trained for.
        word = dtypes.get(name, "F32")
        if word not in DTYPES:
            raise UserError(f"dtype {word!r}: expected one of {', '.join(DTYPES)}")
        dtype = DTYPES["BF16" if word.startswith("F8") else word]
        yield name, hf_tensor(entries[name], params).astype(dtype)


def _take(entry: HfEntry, weights: HfWeights, params: Params) -> None:
    """Copy one tensor to its place."""
    value = weights.read(entry.name)
    leaf = leaf_of(params, entry.path)
    ours = leaf[entry.at] if entry.at else leaf
    value = value.T if entry.transposed else value
    if not np.can_cast(value.dtype, ours.dtype, "safe") and value.dtype.itemsize > 4:
        raise UserError(
            f"{entry.name}: {value.dtype} in the folder; parameters of {ours.dtype} "
            "cannot hold it, choose param_dtype=float64"
        )
    ours[...] = value


def _settle_head(
    cfg: PolicyConfig, weights: HfWeights
) -> tuple[PolicyConfig, list[str]]:
    """Decide what ties mean where the file has a head of its own."""
    if not cfg.tied_embeddings or LM_HEAD not in weights.stored:
        return cfg, []
    if EMBEDDING not in weights.stored:
        weights.stored[EMBEDDING] = weights.stored[LM_HEAD]
        return cfg, [f"{EMBEDDING} is not there; {LM_HEAD} is, and they are tied"]
    if np.array_equal(weights.read(EMBEDDING), weights.read(LM_HEAD)):
        return cfg, []
    note = (
        f"config.json ties the head to the embedding, but {LM_HEAD} differs from it: "
        "they are kept apart"
    )
    return dataclasses.replace(cfg, tied_embeddings=False), [note]


def _check_names(
    cfg: PolicyConfig, entries: list[HfEntry], weights: HfWeights
) -> list[str]:
    """Refuse tensors that are missing, unexpected or of another shape."""
    known = {entry.name for entry in entries}
    missing = [entry.name for entry in entries if entry.name not in weights.stored]
    if missing:
        raise UserError(f"{weights.folder}: missing tensors: {first_of(missing)}")
    unused = [name for name in weights.names() if name not in known]
    later = later_blocks(weights.names(), cfg.n_layers)
    spare = [
        name
        for name in unused
        if not name.endswith(_NEVER_WEIGHTS)
        and name not in later
        and not (name == LM_HEAD and cfg.tied_embeddings)
    ]
    if spare:
        raise UserError(
            f"{weights.folder}: unexpected tensors, which the config has no place "
            f"for: {first_of(spare)}"
        )
    for entry in entries:
        shape = weights.shape(entry.name)
        if shape != entry.shape:
            raise UserError(
                f"{entry.name}: shape {shape} in {weights.stored[entry.name].file}, "
                f"but config.json asks for {entry.shape}"
            )
        if weights.dtype(entry.name) not in DTYPES:
            raise UserError(
                f"{entry.name}: dtype {weights.dtype(entry.name)} in "
                f"{weights.stored[entry.name].file}; expected {', '.join(DTYPES)}"
            )
    return [name for name in unused if not (name == LM_HEAD and cfg.tied_embeddings)]


def fp8_block(raw: Mapping[str, Any]) -> tuple[int, int]:
    """Return the block of FP8 scales; other quantisations are refused."""
    quantised = raw.get("quantization_config")
    if not quantised:
        return (128, 128)
    if not isinstance(quantised, Mapping):
        raise UserError(
            f"config.json: quantization_config={quantised!r}: expected an object"
        )
    method, fmt = quantised.get("quant_method"), quantised.get("fmt", "e4m3")
    if method != "fp8" or fmt != "e4m3":
        raise UserError(
            f"config.json: quantization_config of {method!r} {fmt!r}: only 'fp8' "
            "'e4m3' in blocks is read"
        )
    block = quantised.get("weight_block_size")
    sizes = block if isinstance(block, list) else []
    if len(sizes) != 2 or not all(type(size) is int and size > 0 for size in sizes):
        raise UserError(f"config.json: weight_block_size={block!r}: expected two sizes")
    return sizes[0], sizes[1]


def _with_tokenizer(cfg: PolicyConfig, folder: Path) -> PolicyConfig:
    """Cut `vocab_size` to the ids of the tokenizer, where the folder has one."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return cfg
    count = tokenizer_size(path)
    if count > cfg.vocab_size:
        raise UserError(
            f"{path}: has id {count - 1}, but the embedding has only "
            f"{cfg.vocab_size} rows"
        )
    return dataclasses.replace(cfg, vocab_size=count, vocab_rows=cfg.vocab_size)


def tokenizer_size(path: Path) -> int:
    """Return one more than the largest id of a `tokenizer.json`.

    Raises:
      UserError: it is damaged.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        vocab = body["model"]["vocab"]
        # Unigram vocabularies are lists of [piece, score], the rest are mappings.
        ids = list(vocab.values()) if isinstance(vocab, dict) else [len(vocab) - 1]
        ids += [token["id"] for token in body.get("added_tokens") or []]
        return max(map(int, ids)) + 1
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged: has no readable vocabulary") from error
